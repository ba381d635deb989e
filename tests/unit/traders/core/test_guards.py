from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markets.core.book import OrderBook
from markets.core.grid import CENT_GRID
from markets.core.rewards import ProgramTerms
from markets.core.units import DOLLAR_CC, Side
from traders.core.guards import Guards, guarded
from traders.core.history import KEPT_US, History, Print
from traders.core.types import Flattening, MarketView, Moment, Quote, Quotes, Take, TraderState
from traders.core.why import Why, said

EASTERN = ZoneInfo("America/New_York")
SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
NOW = int(datetime(2026, 11, 23, 12, tzinfo=EASTERN).timestamp()) * SECOND_US  # a Monday

BID, ASK = Quote(Side.YES, 4_000, 100), Quote(Side.NO, 5_800, 100)
BOTH = Quotes((BID, ASK), (Why("joins", "joins"),))


def a_book(*, yes: int = 4_000, no: int = 5_800) -> OrderBook:
    book = OrderBook()
    book.replace([(yes, 1_000)] if yes else [], [(no, 1_000)] if no else [])
    return book


def a_view(**changes: Any) -> MarketView:
    view = MarketView("T", NOW, a_book(), CENT_GRID, NOW + HOUR_US, History(), "active")
    return msgspec.structs.replace(view, **changes)


def printed(*prints: tuple[int, Side, int], price_cc: int = 4_000) -> History:
    """Return prints: seconds before now, the side that takers met, contracts."""
    history = History()
    for ago_s, met, count_cx in prints:
        history.note_print(Print(NOW - ago_s * SECOND_US, price_cc, count_cx, met.other))
    return history


def a_program(start_s: int, end_s: int, incentive_type: str = "liquidity") -> ProgramTerms:
    return ProgramTerms(
        program_id="p",
        period_reward_cc=1,
        target_size_cx=1,
        discount_bps=1,
        start_us=NOW + start_s * SECOND_US,
        end_us=NOW + end_s * SECOND_US,
        incentive_type=incentive_type,
    )


def guard(view: MarketView, quotes: Quotes = BOTH, **params: Any) -> Quotes:
    return guarded(view, TraderState(), quotes, Guards(**params))


def held(view: MarketView, **params: Any) -> list[str]:
    """Return the codes of the guards that hold both sides."""
    after = guard(view, **params)
    codes = [why.code for why in after.whys[1:]]
    assert after.quotes == (() if codes else BOTH.quotes)
    return codes


def test_a_calm_market_is_let_through_as_it_is() -> None:
    assert guard(a_view()) is BOTH


def test_what_was_not_wanted_needs_no_reason() -> None:
    nothing = Quotes((), (Why("empty_side", "nobody to join"),))
    assert guard(a_view(book=a_book(yes=0)), nothing) is nothing


def test_nobody_decides_on_a_crossed_or_locked_book() -> None:
    assert held(a_view(book=a_book(yes=4_300))) == ["guard_crossed"]
    assert held(a_view(book=a_book(yes=4_200))) == ["guard_crossed"]


def test_both_sides_must_be_there_unless_that_is_not_asked_for() -> None:
    assert held(a_view(book=a_book(no=0))) == ["guard_empty_side"]
    assert held(a_view(book=a_book(yes=0))) == ["guard_empty_side"]
    assert held(a_view(book=a_book(yes=0)), need_both_sides=False) == []


def test_a_spread_as_wide_as_allowed_is_quoted_and_a_wider_one_not() -> None:
    assert held(a_view(), max_spread_cc=200) == []
    assert held(a_view(), max_spread_cc=199) == ["guard_spread"]
    assert held(a_view(book=a_book(yes=100, no=100)), max_spread_cc=0) == []


@pytest.mark.parametrize(
    ("status", "codes"),
    [("", []), ("active", []), ("open", []), ("closed", ["guard_status"]), ("a new word", ["guard_status"])],
)
def test_F1_only_a_market_that_trades_is_quoted(status: str, codes: list[str]) -> None:
    assert held(a_view(status=status)) == codes


def test_F5_quoting_ends_a_margin_before_the_close() -> None:
    assert held(a_view(close_time_us=NOW + 5 * SECOND_US + 1)) == []
    assert held(a_view(close_time_us=NOW + 5 * SECOND_US)) == ["guard_close"]
    assert held(a_view(close_time_us=NOW + 1), last_quote_s=0) == []
    assert held(a_view(close_time_us=NOW), last_quote_s=0) == ["guard_close"]


def test_F6_a_close_that_moves_is_followed_at_once() -> None:
    assert held(a_view(close_time_us=NOW)) == ["guard_close"]
    assert held(a_view(close_time_us=NOW + HOUR_US)) == []


def test_F3_nothing_is_quoted_in_the_weekly_maintenance_and_shortly_before() -> None:
    start_us = int(datetime(2026, 11, 26, 3, tzinfo=EASTERN).timestamp()) * SECOND_US

    def at(time_us: int, **params: Any) -> list[str]:
        return held(a_view(time_us=time_us, close_time_us=time_us + HOUR_US), **params)

    assert at(start_us - 121 * SECOND_US) == []
    assert at(start_us - 120 * SECOND_US) == ["guard_maintenance"]
    assert at(start_us + 2 * HOUR_US - 1) == ["guard_maintenance"]
    assert at(start_us + 2 * HOUR_US) == []
    assert at(start_us - 1, before_maintenance_s=0) == []
    assert at(start_us, weekly_maintenance=False) == []


def test_a_moment_of_news_holds_from_before_to_after_it() -> None:
    def at(moment_s: int, **params: Any) -> list[str]:
        return held(a_view(moments=(Moment(NOW + moment_s * SECOND_US, "release"),)), **params)

    assert at(31, lead_s=30, lag_s=20) == []
    assert at(30, lead_s=30, lag_s=20) == ["guard_moment"]
    assert at(-20, lead_s=30, lag_s=20) == ["guard_moment"]
    assert at(-21, lead_s=30, lag_s=20) == []
    assert at(0, lead_s=0, lag_s=0) == []


def test_a_moment_is_named_with_the_time_until_the_last_of_those_near_is_over() -> None:
    moments = (Moment(NOW, "kick-off"), Moment(NOW + 10 * SECOND_US, "whistle"))
    after = guard(a_view(moments=moments), lead_s=30, lag_s=20)
    assert said(after.whys[1:]) == "held: whistle, over in 30 s"


def test_programs_matter_only_when_asked() -> None:
    assert held(a_view()) == []
    assert held(a_view(), programs_only=True) == ["guard_programs"]


def test_it_quotes_while_a_liquidity_program_runs_and_stops_before_the_last_one_ends() -> None:
    def at(*programs: ProgramTerms) -> list[str]:
        return held(a_view(programs=programs), programs_only=True, program_end_s=5)

    assert at(a_program(-9, 6)) == []
    assert at(a_program(-9, 5)) == ["guard_programs"]
    assert at(a_program(-9, 5), a_program(-9, 6)) == []
    assert at(a_program(-9, 9, "volume")) == ["guard_programs"]
    assert at(a_program(1, 9)) == ["guard_programs"]
    assert at(a_program(-9, 0)) == ["guard_programs"]


def test_a_program_that_follows_without_a_gap_keeps_it_quoting() -> None:
    following = (a_program(5, 9), a_program(-9, 5))
    assert held(a_view(programs=following), programs_only=True, program_end_s=5) == []
    after_a_gap = (a_program(6, 9), a_program(-9, 5))
    assert held(a_view(programs=after_a_gap), programs_only=True, program_end_s=5) == ["guard_programs"]


def test_one_sided_flow_holds_the_side_it_meets_alone() -> None:
    view = a_view(history=printed((3, Side.NO, 60), (1, Side.NO, 60)))
    after = guard(view, flow_cx=100, sweep_cx=0)
    assert after.quotes == (BID,)
    assert said(after.whys[1:]) == "ask held: takers met it with 1.2 net within 10 s, for 30 s at least"
    assert guard(view, flow_cx=121, sweep_cx=0) is BOTH
    assert guard(view, flow_cx=0, sweep_cx=0) is BOTH


def test_flow_against_a_side_that_is_not_wanted_needs_no_reason() -> None:
    bid_alone = Quotes((BID,))
    assert guard(a_view(history=printed((1, Side.NO, 100))), bid_alone, flow_cx=100) is bid_alone


def test_a_sweep_holds_both_sides() -> None:
    view = a_view(history=printed((1, Side.YES, 100)))
    assert held(view, sweep_cx=100) == ["guard_sweep"]
    assert held(view, sweep_cx=101) == []
    assert held(view, sweep_cx=0, sweep_levels=1) == ["guard_sweep"]
    assert held(view, sweep_cx=0, sweep_levels=0) == []


def test_prints_within_the_chosen_milliseconds_are_one_sweep() -> None:
    history = History()
    history.note_print(Print(NOW - 9_000, 4_000, 50, Side.NO))
    history.note_print(Print(NOW - 2_000, 4_000, 50, Side.NO))
    assert held(a_view(history=history), sweep_cx=100, sweep_ms=6) == []
    assert held(a_view(history=history), sweep_cx=100, sweep_ms=7) == ["guard_sweep"]


def test_a_jump_holds_both_sides() -> None:
    history = History()
    history.note_touch(NOW - 90 * SECOND_US, 4_000, 5_800)
    history.note_touch(NOW - 30 * SECOND_US, 4_500, 5_300)
    assert held(a_view(history=history), jump_cc=500) == ["guard_jump"]
    assert held(a_view(history=history), jump_cc=501) == []
    assert held(a_view(history=history), jump_cc=0) == []
    assert held(a_view(history=history), jump_cc=500, hold_s=29) == []


def test_each_guard_that_holds_says_so() -> None:
    view = a_view(status="paused", book=a_book(yes=0), history=printed((1, Side.NO, 100)))
    after = guard(view, flow_cx=100)
    assert after.quotes == ()
    assert [(why.code, why.side) for why in after.whys] == [
        ("joins", None),
        ("guard_status", None),
        ("guard_empty_side", None),
        ("guard_flow", Side.NO),
    ]


def test_the_way_out_is_never_touched() -> None:
    out = Quotes((BID, ASK), take=Take(Side.NO, 5_900, 100), flattening=Flattening("stop_loss", 1), must_qualify=True)
    after = guard(a_view(status="closed"), out)
    assert (after.quotes, after.take, after.flattening, after.must_qualify) == ((), out.take, out.flattening, True)


def test_what_a_guard_looks_back_on_is_kept() -> None:
    longest_s = 60 + 240
    assert longest_s * SECOND_US <= KEPT_US
    for too_long in ({"hold_s": 241}, {"flow_s": 61}, {"jump_s": 61}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(too_long, Guards)


prices = st.integers(0, 9_999)
a_guards = st.builds(
    Guards,
    need_both_sides=st.booleans(),
    max_spread_cc=st.sampled_from([0, 500, DOLLAR_CC]),
    flow_cx=st.sampled_from([0, 50, 10_000]),
    sweep_cx=st.sampled_from([0, 50, 10_000]),
    programs_only=st.booleans(),
)


@settings(max_examples=100)
@given(a_guards, prices, prices, st.lists(st.tuples(st.integers(0, 60), st.sampled_from(Side), st.integers(1, 99))))
def test_a_guard_only_takes_away_and_never_without_a_reason(
    guards: Guards, yes_cc: int, no_cc: int, prints: list[tuple[int, Side, int]]
) -> None:
    view = a_view(book=a_book(yes=yes_cc, no=no_cc), history=printed(*sorted(prints, reverse=True)))
    after = guarded(view, TraderState(), BOTH, guards)
    added = after.whys[len(BOTH.whys) :]
    gone = {quote.side for quote in BOTH.quotes} - {quote.side for quote in after.quotes}
    assert set(after.quotes) <= set(BOTH.quotes)
    assert gone == {side for side in Side if any(why.side in (None, side) for why in added)}
    assert said(added) is not None
