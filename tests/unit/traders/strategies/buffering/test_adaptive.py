from __future__ import annotations

from markets.core.units import Side
from tests.fixtures.views import NOW_US, a_view
from traders.core.history import KEPT_MOST, History, Print
from traders.core.types import Quote, Quotes, TraderState
from traders.core.why import Why, said
from traders.strategies.buffering.adaptive import Params, adjust

LEVELS = {6_200: 10_000, 6_100: 20_000, 6_000: 90_000}
SECOND_US = 1_000_000


def a_history(*, sold_cx: int, ago_s: int = 10, began_s: int = 1_000, taker_side: Side = Side.NO) -> History:
    """Return a history of one trade, by a taker who met bids unless told otherwise."""
    history = History()
    history.note_touch(NOW_US - began_s * SECOND_US, 6_200, 3_700)
    history.note_print(Print(NOW_US - ago_s * SECOND_US, 6_200, sold_cx, taker_side))
    return history


def kept(history: History, params: Params, side: Side = Side.YES) -> tuple[int | None, Why]:
    view = a_view(LEVELS, history=history) if side is Side.YES else a_view(no=LEVELS, history=history)
    adjusted = adjust(view, TraderState(), Quotes((Quote(side, 6_200, 1_000),)), params)
    quote = adjusted.on(side)
    return (None if quote is None else quote.price_cc), adjusted.whys[0]


MINUTE_OF_100_S = Params(min_s=60, window_s=100, floor_cx=0)


def test_what_trades_in_the_time_must_stand_before_the_quote() -> None:
    assert kept(a_history(sold_cx=16_666), MINUTE_OF_100_S)[0] == 6_200  # 9 999.6 a minute
    assert kept(a_history(sold_cx=16_667), MINUTE_OF_100_S)[0] == 6_100  # 10 000.2 a minute
    assert kept(a_history(sold_cx=200_001), MINUTE_OF_100_S)[0] is None


def test_it_says_when_it_expects_to_be_reached_and_from_what() -> None:
    why = kept(a_history(sold_cx=20_000), MINUTE_OF_100_S)[1]
    assert {name: why.figures[name] for name in ("buffer_cx", "needed_cx", "traded_cx", "traded_over_us")} == {
        "buffer_cx": 30_000,
        "needed_cx": 12_000,
        "traded_cx": 20_000,
        "traded_over_us": 100 * SECOND_US,
    }
    assert said((why,)) == (
        "bid 61¢ has 300 before it (96.8 %); reached in 2 m 30 s at 200 in 1 m 40 s; 1 m 0 s or 120 needed"
    )


def test_trades_against_the_other_side_do_not_count() -> None:
    assert kept(a_history(sold_cx=90_000, taker_side=Side.YES), MINUTE_OF_100_S)[0] == 6_200
    assert kept(a_history(sold_cx=90_000, taker_side=Side.YES), MINUTE_OF_100_S, Side.NO)[0] == 6_000


def test_trades_before_the_window_do_not_count() -> None:
    assert kept(a_history(sold_cx=90_000, ago_s=100), MINUTE_OF_100_S)[0] == 6_000
    assert kept(a_history(sold_cx=90_000, ago_s=101), MINUTE_OF_100_S)[0] == 6_200


def test_a_young_history_is_measured_over_its_own_length() -> None:
    price_cc, why = kept(a_history(sold_cx=4_000, began_s=20), MINUTE_OF_100_S)
    assert (price_cc, why.figures["needed_cx"]) == (6_100, 12_000)


def test_a_history_that_just_began_is_measured_over_a_second() -> None:
    why = kept(a_history(sold_cx=100, ago_s=0, began_s=0), MINUTE_OF_100_S)[1]
    assert (why.figures["traded_over_us"], why.figures["needed_cx"]) == (SECOND_US, 6_000)


def test_a_history_that_is_full_is_measured_from_its_oldest_trade() -> None:
    history = History()
    history.note_touch(NOW_US - 90 * SECOND_US, 6_200, 3_700)
    for _ in range(KEPT_MOST):
        history.note_print(Print(NOW_US - 40 * SECOND_US, 6_200, 1, Side.NO))
    assert kept(history, MINUTE_OF_100_S)[1].figures["traded_over_us"] == 40 * SECOND_US


def test_while_nothing_trades_the_floor_is_enough() -> None:
    quiet = History()
    assert kept(quiet, Params(floor_cx=10_000))[0] == 6_200
    price_cc, why = kept(quiet, Params(floor_cx=10_001))
    assert (price_cc, why.figures["reached_us"]) == (6_100, None)
    assert said((why,)).endswith("; 100.01 needed while nothing trades against it")


def test_one_small_trade_does_not_bring_a_quote_closer_than_none() -> None:
    assert kept(a_history(sold_cx=1), Params(floor_cx=10_001))[0] == 6_100
