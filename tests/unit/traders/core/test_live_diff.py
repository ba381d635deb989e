"""Live orders under the diff: what is wanted comes to rest whatever is lost on the way (C8, C13, C17)."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from markets.core.units import DOLLAR_CC, Side
from tests.unit.traders.core.liveclient import SECOND_US, LiveClient
from traders.core.diff import DiffTerms, diff
from traders.core.types import Quote, Quotes

ORDERS_A_SIDE = 2
WAYS = ("answered", "answered", "answered", "held", "lost", "answer lost", "given up", "sent", "arrived")
SIZES, BIDS, ASKS = st.integers(1, 5), st.sampled_from([4_000, 4_100, 4_900]), st.sampled_from([5_000, 5_050, 5_200])


def quotes_of(bid: int, bid_cx: int, ask: int, ask_cx: int) -> Quotes:
    wished = [Quote(Side.YES, bid, bid_cx * 100)] if bid_cx > 1 else []
    if ask_cx > 1 and bid + ask < DOLLAR_CC:
        wished.append(Quote(Side.NO, ask, ask_cx * 100))
    return Quotes(tuple(wished))


WISHES = st.lists(st.builds(quotes_of, BIDS, SIZES, ASKS, SIZES), min_size=1, max_size=6)


class Trader(LiveClient):
    """Decides by the diff, over and over."""

    def decides(self, wanted: Quotes, ways: list[str]) -> None:
        terms = DiffTerms(
            now_us=self.now_us,
            lifetime_s=600,
            orders_a_side=ORDERS_A_SIDE,
            unknown=self.live.unproven(),
            in_flight=self.live.in_flight(),
        )
        for command in diff(wanted, self.live.resting(), terms):
            self.wishes(command, ways.pop(), "rest")
        self.repeat_cancels("answered")

    def goes_on(self, chance: random.Random) -> None:
        """Let what is on its way arrive, or be given up, and look at what is due."""
        for request in list(self.requests):
            if request.answer is None and chance.random() < 0.7:
                self.arrives(request, "rest")
            elif request.answer is not None and chance.random() < 0.7:
                self.hears_answer(request)
            elif request.left_us is None:
                self.gives_up(request, is_lost=False)
        for one in self.live.due_looks(self.now_us):
            self.looks(one, self.now_us)
        self.pass_time(2 * SECOND_US + 50_000)

    def check(self) -> None:
        live = [order for order in self.venue.orders.values() if order.status == "resting"]
        best = {side: max((o.price_cc for o in live if o.side is side), default=0) for side in Side}
        assert sum(best.values()) < DOLLAR_CC  # none of ours meets another
        assert all(sum(o.side is side for o in live) <= ORDERS_A_SIDE for side in Side)


@settings(max_examples=150)
@given(WISHES, st.integers(0, 1 << 32))
def test_C8_what_is_wanted_comes_to_rest_whatever_is_lost_and_never_too_much(wishes: list[Quotes], seed: int) -> None:
    trader, chance = Trader(), random.Random(seed)
    trader.start()
    for wanted in wishes:
        for _ in range(2):
            trader.decides(wanted, [chance.choice(WAYS) for _ in range(20)])
            trader.check()
            trader.goes_on(chance)
            trader.check()
    for _ in range(12):
        trader.decides(wishes[-1], ["answered"] * 20)
        trader.check()
        trader.goes_on(chance)
    assert not trader.live.fenced
    rests = sorted((quote.side, quote.price_cc, quote.remaining_cx) for quote in trader.live.resting())
    total = {side: sum(count for one, _, count in rests if one is side) for side in Side}
    assert total == {side: quote.count_cx if (quote := wishes[-1].on(side)) else 0 for side in Side}
    assert all(price_cc == wishes[-1].on(side).price_cc for side, price_cc, _ in rests)
    assert rests == sorted((o.side, o.price_cc, o.live_cx) for o in trader.venue.orders.values() if o.live_cx)
