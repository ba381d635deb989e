"""Rows about what is refused: by the exchange again and again, for want of a key or of money, or by ourselves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.base import OWNER
from tests.faults.ledger import OrderAt
from tests.faults.liverig import CANCELLING, PLACING, SILENT_CHANNELS, LiveCase, LiveOptions, LiveRig
from tests.faults.livetrader import NO_GUARDS, WIDE, Plan
from traders.core.breaker import ROW_MOST
from traders.core.pipeline import Choice, StrategyChoices

pytestmark = pytest.mark.long

RUNAWAY, FLAPPING, POOR = 1, 2, 3  # places of traders
SECOND_US = 1_000_000
RATE = 6  # new orders a minute
RATE_EXCEEDED = "new orders in the last minute"
# What REST calls a self-cross that it refuses is not documented: this is FIX's name of it, as our exchange says it.
REFUSALS = {
    "post-only cross": {"code": "invalid_order", "message": "invalid order", "details": "post only cross"},
    "no money": {"code": "insufficient_balance", "message": "insufficient balance"},
    "self-trade": {"code": "self_cross_attempt", "message": "self cross attempt"},
    "bad price": {"code": "invalid_price", "message": "invalid price"},
}
DENIED = {
    401: '{"error":{"code":"unauthorized","message":"unauthorized"}}',
    403: '{"error":{"code":"forbidden","message":"API key lacks the scope write"}}',
}


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    wild, flapping = (StrategyChoices(Choice(name), guards=NO_GUARDS) for name in ("runaway", "flapping"))
    collar = WIDE | {"price_cc_least": 500, "price_cc_most": 9_500}
    plans = (
        Plan(),
        Plan(market=1, strategies=wild, limits=collar, wants=0),
        Plan(market=2, strategies=flapping, limits=WIDE | {"orders_a_minute": RATE}, wants=0),
        Plan(market=3),
    )
    return LiveOptions(quick_leases=True, traders=plans)


def body_of(error: dict[str, str]) -> str:
    words = ",".join(f'"{name}":"{value}"' for name, value in error.items())
    return f'{{"error":{{{words}}}}}'


# ---- C14 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", REFUSALS.values(), ids=REFUSALS)
def test_C14_a_storm_of_refusals_opens_a_breaker(live: LiveCase, error: dict[str, str]) -> None:
    live.pause()
    live.arm({"do": "answer", "id": "no", **PLACING, "status": 400, "text": body_of(error), "times": None})
    live.resume()
    live.until(lambda: "BREAKER_OPEN" in live.alerts(), "the breaker opens, with an alert")
    asked = len(live.creates())
    assert asked <= 2 * ROW_MOST
    live.let_it_look()
    assert len(live.creates()) == asked, "nothing more is sent"
    assert "declined" in live.outcomes()
    assert f"BREAKER: {error['code']}" in live.why(), "its state says so"
    live.restart()
    live.judge()


# ---- C15 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", DENIED, ids=str)
def test_C15_without_credentials_nothing_new_is_sent_and_no_key_is_told(live: LiveCase, status: int) -> None:
    live.pause()
    live.arm({"do": "answer", "id": "no", **PLACING, "status": status, "text": DENIED[status], "times": None})
    live.resume()
    live.until_struck("no")
    live.until(lambda: "NO_CREDENTIALS" in live.alerts(), "an alert")
    asked = len(live.creates())
    live.let_it_look()
    assert len(live.creates()) == asked <= 4, "writes stop"
    assert "NO_CREDENTIALS" in live.why(), "its state says so"
    (offset_us,) = set(re.findall(r"alert=NO_CREDENTIALS .*offset_us=(\S+)", live.output(live.trader.worker)))
    assert abs(int(offset_us)) < SECOND_US, "the clock is looked at, too, and is not to blame"
    secret = "".join(Path(live.rig.ready["private_key_path"]).read_text().splitlines()[1:-1])[10:40]
    said = [path.read_bytes() for path in live.rig.folder.rglob("*") if path.is_file() and "keys" not in path.parts]
    assert len(said) > 5
    assert not any(secret.encode() in content for content in said), "the key stands nowhere"
    live.restart()
    live.judge()


def test_C15_cancels_need_no_leave_and_are_tried_until_they_are_taken(live: LiveCase) -> None:
    (fault,) = live.arm({"do": "answer", **CANCELLING, "status": 401, "text": DENIED[401], "times": 2})
    live.command("pause")
    live.until_struck(fault, times=2)
    live.until(lambda: not live.resting(), "the cancels go through")
    live.restart()
    live.judge()


# ---- C17 -------------------------------------------------------------------------------------------------------------


def test_C17_wild_prices_and_sizes_reach_no_exchange_and_latch_the_trader(live_on: Any) -> None:
    live: LiveCase = live_on(RUNAWAY, quotes=False)
    live.trader.start()
    live.until(lambda: "TRADER_LATCHED" in live.alerts(), "its trader is latched, with an alert")
    live.let_it_look()
    assert live.creates() == []
    assert live.intents("place", "take") == []
    live.did("its strategy went wild")
    live.judge(stirs=False, orders=0)


def test_C17_a_thousand_orders_a_second_are_held_to_the_rate(live_on: Any) -> None:
    live: LiveCase = live_on(FLAPPING, quotes=False)
    live.did("its strategy goes wild")
    live.trader.start()
    live.until(lambda: RATE_EXCEEDED in live.why(), "it may not send any more in this minute")
    live.let_it_look()
    assert 0 < len(live.creates()) <= RATE
    live.judge(stirs=False)


# ---- C19 -------------------------------------------------------------------------------------------------------------

STRANGE: dict[str, tuple[str, str]] = {
    "a status nobody knows": ('"status":"resting"', '"status":"quantum"'),
    "a field nobody knows": ('"order_id"', '"brand_new":{"x":[1,2]},"order_id"'),
    "a finer price": ('"yes_price_dollars":"([0-9.]+)"', r'"yes_price_dollars":"\g<1>00"'),
    "a finer count": ('"remaining_count_fp":"([0-9.]+)"', r'"remaining_count_fp":"\g<1>0"'),
    "a status that is null": ('"status":"resting"', '"status":null'),
}


@pytest.mark.parametrize(("pattern", "by"), STRANGE.values(), ids=STRANGE)
def test_C19_unknown_words_of_the_private_channel_lose_no_order(live: LiveCase, pattern: str, by: str) -> None:
    live.pause()
    live.arm({"do": "alter", "id": "odd", "type": "user_order", "pattern": pattern, "by": by, "times": 2})
    live.resume()
    live.until_struck("odd")
    live.until_quotes("it quotes all the same")
    live.judge()


def test_C19_fills_of_a_hundredth_of_a_contract_are_kept_exactly(live: LiveCase) -> None:
    live.hit_some(count_cx=1)
    live.until(lambda: live.position_cx() == live.true_position_cx(), "it is booked")
    live.judge()


# What reads say of an order, otherwise than the exchange means it; and whether it can be taken for what it is.
READ_STRANGELY: dict[str, tuple[str, str, bool]] = {
    "a status that is null": ('"status": "resting"', '"status": null', False),
    "a price finer than any": ('("yes_price_dollars": "[0-9.]+)"', r'\g<1>5"', False),
    "a field nobody knows": ('"order_id"', '"brand_new": {"x": [1, 2]}, "order_id"', True),
    "a price with more decimals": ('("yes_price_dollars": "[0-9.]+)"', r'\g<1>00"', True),
    "a count with more decimals": ('("remaining_count_fp": "[0-9.]+)"', r'\g<1>0"', True),
}


def lost_in_silence(live: LiveCase) -> list[OrderAt]:
    """Have orders of the trader rest of which only reads can tell; return them."""
    live.pause()
    live.arm({"do": "apply_then_drop", "id": "lost", **PLACING}, *SILENT_CHANNELS)
    live.resume()
    live.until_struck("lost")
    live.until(live.unknown_creates, "the outcome of a create is unknown")
    return [order for name in live.unknown_creates() for order in live.rig.fetch().of_client_id(name)]


def read_as(live: LiveCase, pattern: str, by: str) -> None:
    """Have reads of orders show them as they are now, but for what a pattern finds."""
    listed = live.rig.owner.must("GET", "/portfolio/orders", ticker=live.trader.ticker)
    texts = {"/portfolio/orders": json.dumps({**listed, "cursor": ""})}
    texts |= {f"/portfolio/orders/{one['order_id']}": json.dumps({"order": one}) for one in listed["orders"]}
    odd = {"do": "answer", "id": "odd", "method": "GET", "status": 200, "times": None}
    live.arm(*({**odd, "path": path, "text": re.sub(pattern, by, text)} for path, text in texts.items()))


@pytest.mark.parametrize(("pattern", "by", "is_clear"), READ_STRANGELY.values(), ids=READ_STRANGELY)
def test_C19_unknown_words_of_reads_lose_no_order(live: LiveCase, pattern: str, by: str, *, is_clear: bool) -> None:
    orders = lost_in_silence(live)
    read_as(live, pattern, by)
    live.until_struck("odd", times=1 if is_clear else 3)
    if not is_clear:
        leave_unknown(live, orders)
    until_known(live, orders)
    live.judge()


def test_C19_a_status_that_only_reads_show_and_nobody_knows_is_kept_as_it_is(live: LiveCase) -> None:
    orders = lost_in_silence(live)
    read_as(live, '"status": "resting"', '"status": "quantum"')
    for order in orders:
        live.until(lambda order=order: stored_status(live, order) == "quantum", "it is stored with the venue's word")
    live.until_struck("odd", times=3)
    leave_unknown(live, orders)
    until_known(live, orders)
    live.judge()


def stored_status(live: LiveCase, order: OrderAt) -> str:
    found = live.stored().orders.get(order.order_id)
    return found.status if found else ""


def leave_unknown(live: LiveCase, orders: list[OrderAt]) -> None:
    """See that nobody claims to know them, but for those that the scenario's own takers have hit: a fill is proof."""
    told = {order.client_order_id: live.told(order.client_order_id) for order in orders}
    hit = {fill.client_order_id for fill in live.fills()}
    assert [name for name, state in told.items() if state is not None and name not in hit] == []
    live.rig.control("DELETE", "/faults")


def until_known(live: LiveCase, orders: list[OrderAt]) -> None:
    """Wait until the trader knows orders, as they were placed: what has become of them since is judged anyway."""
    for order in orders:
        live.until(lambda order=order: live.told(order.client_order_id) is not None, "it is known")
        told = live.trader.record.states[order.client_order_id][0].body
        assert (told.order_id, told.price_cc, told.placed_cx) == (order.order_id, order.price_cc, order.initial_cx)


def test_C19_a_hundredth_of_a_contract_that_only_reads_show_is_kept_exactly(live: LiveCase) -> None:
    order = lost_in_silence(live)[0]
    assert [fill.count_cx for fill in live.hit(order, 1)] == [1]
    live.until(lambda: live.position_cx() == live.true_position_cx() != 0, "it is booked")
    live.judge()


# ---- F13 -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def purse(live_rig: LiveRig) -> Iterator[Purse]:
    """The owner's cash on the markets' shard, which is whole again at the end."""
    made = Purse(live_rig)
    yield made
    made.give_back()


class Purse:
    def __init__(self, rig: LiveRig) -> None:
        self._rig = rig
        self._taken_ud = 0

    def leave(self, dollars: int) -> None:
        """Leave so many dollars in it, and let the desk know."""
        amount_ud = self._rig.cash_ud() - dollars * 1_000_000
        self._move("withdraw", amount_ud)
        self._taken_ud += amount_ud

    def give_back(self) -> None:
        if self._taken_ud:
            self._move("deposit", self._taken_ud)
            self._taken_ud = 0

    def _move(self, what: str, amount_ud: int) -> None:
        self._rig.control("POST", f"/accounts/{OWNER}/{what}", {"amount": f"{amount_ud / 1_000_000:.6f}"})
        self._rig.hurry_desk()


def test_F13_with_the_balance_sizes_shrink_and_then_stop_without_a_storm(live_on: Any, purse: Purse) -> None:
    live: LiveCase = live_on(POOR)
    live.pause()
    purse.leave(4)
    live.until(lambda: live.known_cash_ud() == 4_000_000, "the account's stream tells")
    live.resume()
    live.until(live.resting, "it quotes with what is left")
    assert sum(order.remaining_cx for order in live.resting()) < 2_000, "less than it wants"
    live.pause()
    purse.leave(0)
    live.until(lambda: live.known_cash_ud() == 0, "the account's stream tells")
    live.resume()
    live.let_it_look()
    assert live.resting() == []
    refused = [request for request in live.requests("POST") if request.status == 400]
    assert len(refused) <= 3, "no storm"
    purse.give_back()
    live.until_quotes("it quotes as before once there is money")
    live.judge()
