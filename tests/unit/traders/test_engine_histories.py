"""Strategies trade live against an exchange that loses, delays, repeats and lags (B15, C1 to C18, A2, A3, F11).

Each history draws a set of strategies, others in its course, and some hundred steps. At no moment: an order sent twice,
a fill booked twice or never made, an order larger or dearer than the limits allow, or more in the exchange's ledger and
on the wire than they allow. Once all is quiet the position is the sum of fills and the exchange's, and every intent is
explained.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from markets.core.units import SIDES, yes_price_cc
from tests.unit.traders.core.test_live_histories import FATES, LAGS_US, WAYS
from tests.unit.traders.engineclient import FACTS, LIMITS, PRICES, RUNAWAY, EngineClient
from traders.core import registry
from traders.core.decision import Rules
from traders.core.intents import Place, Take
from traders.core.pipeline import Choice, Strategies, StrategyChoices
from traders.core.types import FairValue

registry.load()

STEPS = 60
GRID = FACTS.grid()
SIZES = {"bid_cx": 20, "ask_cx": 20}
PLACEMENTS = (
    Choice("join_best", SIZES),
    Choice("join_best", {"bid_cx": 30, "ask_cx": 5}),
    Choice("improve", SIZES),
    Choice("depth", SIZES),
    Choice("avellaneda_stoikov", SIZES),
    Choice("fair_value", SIZES),
    Choice("reward_max"),
)
BUFFERINGS = (
    Choice("none"),
    Choice("min_ahead", {"ahead_cx": 10}),
    Choice("percent", {"min_bps": 3_000}),
    Choice("adaptive", {"floor_cx": 10}),
)
FLATTENS = ([], [{"name": "passive_exit"}], [{"name": "cross_at_limit"}], [{"name": "stop_loss"}])
OPEN_EYED = {
    "need_both_sides": False, "max_spread_cc": 0, "flow_cx": 0, "sweep_cx": 0, "sweep_levels": 0, "jump_cc": 0,
    "weekly_maintenance": False,
}  # fmt: skip


def a_set(chance: random.Random) -> Strategies:
    """Return strategies as a person may choose them, or one gone wild."""
    tolerances = {"lifetime_s": chance.choice([0, 120]), "orders_a_side": chance.choice([1, 2, 3])}
    chosen = StrategyChoices(
        chance.choice(PLACEMENTS), chance.choice(BUFFERINGS), chance.choice(FLATTENS), OPEN_EYED, tolerances
    ).parse()
    return Strategies(RUNAWAY, *chosen_rest(chosen)) if chance.random() < 0.15 else chosen


def chosen_rest(chosen: Strategies) -> tuple[object, ...]:
    return chosen.buffering, chosen.flattens, chosen.guards, chosen.tolerances


class History:
    """One history, told by a seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.client = EngineClient()
        self.client.begin(a_set(self.chance))
        self.judged = 0

    def run(self, steps: int) -> EngineClient:
        kinds: list[Callable[[], None]] = [
            *[self.decide] * 6, *[self.move] * 4, *[self.hear] * 4, *[self.fill] * 2, *[self.wait] * 2,
            *[self.go_on] * 3, self.look, self.repeat, self.person, self.rare,
        ]  # fmt: skip
        for _ in range(steps):
            self.chance.choice(kinds)()
            self.look_at_what_must_be_so()
        self.come_to_rest()
        return self.client

    # --- what happens -------------------------------------------------------------------------------------------------

    def decide(self) -> None:
        self.client.decides(self.chance.choice(WAYS), self.chance.choice(FATES))

    def move(self) -> None:
        client = self.client
        client.others_move(self.chance)
        client.write(
            client.engine.on_fair(FairValue(self.chance.choice(PRICES) + 50, client.now_us, "test"), client.now)
        )
        client.wished_goes("answered", "rest")
        self.client.hears_changes()
        self.decide()

    def hear(self) -> None:
        """Hear some messages of the account: in order, out of order, twice, or not at all."""
        messages = self.client.venue.messages
        how = self.chance.choice(("next", "next", "next", "any", "copy", "drop"))
        for _ in range(min(self.chance.randint(1, 9), len(messages))):
            at = 0 if how == "next" else self.chance.randrange(len(messages))
            message = messages[at] if how == "copy" else messages.pop(at)
            if how != "drop":
                self.client.hears(message)

    def fill(self) -> None:
        """Let somebody trade with an order at the exchange."""
        venue = self.client.venue
        resting = [order for order in venue.orders.values() if order.status == "resting"]
        if resting and not venue.is_closed:
            order = self.chance.choice(resting)
            venue.fill(order, self.chance.randint(1, order.live_cx))

    def wait(self) -> None:
        self.client.pass_time(
            self.chance.choice((1_000, 40_000, 300_000, 1_500_000, 2_100_000, 12_000_000, 61_000_000))
        )

    def go_on(self) -> None:
        """Let something that is on its way come further, or be given up."""
        client = self.client
        if not client.requests:
            return
        request = self.chance.choice(client.requests)
        if request.answer is not None:
            client.hears_answer(request)
        elif request.left_us is None and self.chance.random() < 0.3:
            client.gives_up(request, is_lost=self.chance.random() < 0.5)
        else:
            client.arrives(request, self.chance.choice(FATES))

    def look(self) -> None:
        for one in self.client.live.due_looks(self.client.now_us):
            self.client.looks(one, self.client.now_us - self.chance.choice(LAGS_US))

    def repeat(self) -> None:
        self.client.repeat_cancels(self.chance.choice(WAYS))

    def person(self) -> None:
        """Let the account's owner change or cancel an order by hand, or place one of his own."""
        venue = self.client.venue
        resting = [order for order in venue.orders.values() if order.status == "resting"]
        venue.now_us += 1_000
        if not resting or self.chance.random() < 0.3:
            venue.place_external(self.chance.choice(list(self.client.others))[0], 3_300, self.chance.randint(1, 9))
        elif (order := self.chance.choice(resting)).live_cx > 1 and self.chance.random() < 0.5:
            venue.reduce(order, self.chance.randint(1, order.live_cx - 1))
        else:
            venue.cancel(order)
        venue.now_us += 1_000

    def rare(self) -> None:
        client, venue = self.client, self.client.venue
        kinds = ("open", "open", "closed", "paused", "crash", "crash", "crash", "pause", "trigger", "keep", "params")
        what = self.chance.choice(kinds)
        venue.is_closed, venue.is_paused = what == "closed", what == "paused"
        if what == "crash":
            client.crashes(self.chance.choice((0, 3, 1_000)))
            client._wake()
        elif what == "pause":
            client.write(client.engine.pause("test", client.now))
            client.wished_goes("answered", "rest")
            client.write(client.engine.resume("test", client.now))
            client.wished_goes("answered", "rest")
        elif what == "params":
            client.rules = Rules(a_set(self.chance), LIMITS)
            client.write(client.engine.on_rules(client.rules, 1, client.now))
            client.wished_goes(self.chance.choice(WAYS), self.chance.choice(FATES))
        elif what == "trigger" and self.chance.random() < 0.3:
            venue.trigger(client.group_id)
        elif what == "keep":
            client.note()
            client.keeps()

    # --- what must be so ----------------------------------------------------------------------------------------------

    def look_at_what_must_be_so(self) -> None:
        client = self.client
        assert all(times == 1 for times in client.creates.values())
        assert all(times == 1 for times in client.booked.values())
        worst = client.worst_cx()
        assert max(worst.values()) <= LIMITS.position_cx_most, client.describe()
        counted, could = client.counted(), client.could_fill()
        assert all(counted[key] >= could[key] for key in could), (counted, could)
        for wish in client.asked()[self.judged :]:
            self.is_within_limits(wish)
        self.judged = len(client.wished)

    @staticmethod
    def is_within_limits(wish: Place | Take) -> None:
        price_cc = wish.limit_cc if isinstance(wish, Take) else wish.price_cc
        assert GRID.contains(wish.side, price_cc), wish
        if isinstance(wish, Place):
            assert wish.count_cx <= max(LIMITS.order_cx_most, LIMITS.position_cx_most), wish
            assert LIMITS.price_cc_least <= yes_price_cc(wish.side, price_cc) <= LIMITS.price_cc_most, wish

    def come_to_rest(self) -> None:
        """Let everything arrive and be told; look at what is in doubt; then all must be known, and equal."""
        client = self.client
        client.venue.is_closed = client.venue.is_paused = False
        client.write(client.engine.pause("the end", client.now))
        client.wished_goes("answered", "rest")
        client.everything_arrives(has_channel=True)
        client.settles()
        for _ in range(3):
            client.decides("answered", "rest")
            client.settles()
        self.everything_is_known_and_equal()
        self.the_book_of_others_is_theirs()

    def the_book_of_others_is_theirs(self) -> None:
        client = self.client
        client.hears_changes()
        client.pass_time(3_000_000)
        book = client.broker.others(client.engine.view.book)
        found = {(side, price_cc): count_cx for side in SIDES for price_cc, count_cx in book.levels[side].items()}
        assert found == client.public(), "nothing of ours rests: what is shown is others'"
        assert not client.broker.uncertain

    def everything_is_known_and_equal(self) -> None:
        client = self.client
        assert not client.live.unsettled(), client.describe()
        assert not client.live.unproven()
        assert client.position_cx == client.venue.position_cx(set(client.wished))
        assert client.engine.inventory.position_cx == client.position_cx
        ours = {o.client_order_id: o for o in client.venue.orders.values() if o.client_order_id in client.wished}
        assert not [order for order in ours.values() if order.status == "resting"], "nothing rests of who is paused"
        assert set(client.ended) == set(client.wished), "every intent ends explained"
        made = {(fill.order_id, fill.trade_id) for fill in client.venue.fills if fill.client_order_id in client.wished}
        assert set(client.booked) == made


SEEDS = st.integers(0, 1 << 48)
EVERYTHING = list(HealthCheck)


@settings(max_examples=500, deadline=None, suppress_health_check=EVERYTHING)
@given(SEEDS)
def test_whatever_happens_to_orders_the_ledger_holds(seed: int) -> None:
    History(seed).run(STEPS)


@pytest.mark.long
@pytest.mark.timeout(400)
@settings(max_examples=2_000, deadline=None, suppress_health_check=EVERYTHING)
@given(SEEDS)
def test_whatever_happens_to_orders_the_ledger_holds_for_longer(seed: int) -> None:
    History(seed).run(2 * STEPS)


def test_histories_are_worth_something() -> None:
    """Orders rest, are filled and end in each of the ways, in the first 120 histories."""
    wished = booked = cancels = crashes = 0
    for seed in range(120):
        client = History(seed).run(STEPS)
        wished += len(client.wished)
        booked += len(client.booked)
        cancels += sum(record.__class__.__name__ == "Intent" for record in client.journal) - len(client.wished)
        crashes += client.epoch - 1
    assert (wished > 400, booked > 100, cancels > 200, crashes > 50) == (True,) * 4, (
        wished,
        booked,
        cancels,
        crashes,
    )
