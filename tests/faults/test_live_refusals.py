"""Rows about what is refused: by the exchange again and again, for want of a key or of money, or by ourselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.base import OWNER
from tests.faults.liverig import CANCELLING, PLACING, LiveCase, LiveOptions, LiveRig
from tests.faults.livetrader import NO_GUARDS, WIDE, Plan
from traders.core.breaker import ROW_MOST
from traders.core.pipeline import Choice, StrategyChoices

pytestmark = pytest.mark.long

RUNAWAY, FLAPPING, POOR = 1, 2, 3  # places of traders
RATE = 6  # new orders a minute
RATE_EXCEEDED = "new orders in the last minute"
# Self-trades and prices off the grid are two more codes of the same shape: traders.core.breaker has tests of its own.
REFUSALS = {
    "post-only cross": {"code": "invalid_order", "message": "invalid order", "details": "post only cross"},
    "no money": {"code": "insufficient_balance", "message": "insufficient balance"},
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
