from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from traders.core.rulerisk import Hold, Latch, Span, TraderResult, day_result, loss_of

DOLLAR = 1_000_000
DAY = "2026-11-27"
results = st.builds(
    TraderResult,
    told_ud=st.none() | st.integers(-50 * DOLLAR, 50 * DOLLAR),
    cash_ud=st.integers(-50 * DOLLAR, 50 * DOLLAR),
    held_cx=st.integers(0, 5_000),
    before_ud=st.integers(-50 * DOLLAR, 50 * DOLLAR),
)


def verdict(low: int | None, high: int, *, released: int = 0) -> Latch | Hold | None:
    span = Span(None if low is None else low * DOLLAR, high * DOLLAR)
    return loss_of(span, day=DAY, most_ud=25 * DOLLAR, released_ud=released * DOLLAR)


def test_nobody_has_lost_nothing() -> None:
    assert day_result([]) == Span(0, 0)


def test_what_processes_tell_and_what_was_paid_add_up_less_what_was_before_the_day() -> None:
    told = TraderResult(told_ud=-3 * DOLLAR, cash_ud=-9 * DOLLAR, held_cx=1_000, before_ud=-DOLLAR)
    paid = TraderResult(cash_ud=5 * DOLLAR, before_ud=2 * DOLLAR)
    assert day_result([told, paid]) == Span(DOLLAR, DOLLAR)


def test_a_position_without_a_price_is_worth_something_between_nothing_and_a_dollar_a_contract() -> None:
    held = TraderResult(cash_ud=-4 * DOLLAR, held_cx=1_000)
    assert day_result([held]) == Span(-4 * DOLLAR, 6 * DOLLAR)


def test_an_unknown_fee_leaves_only_the_best_known() -> None:
    assert day_result([TraderResult(cash_ud=-DOLLAR, unknown_fees=1)]) == Span(None, -DOLLAR)


@given(st.lists(results), results)
def test_the_worst_is_never_above_the_best_and_traders_only_add_up(
    others: list[TraderResult], one: TraderResult
) -> None:
    alone, without, together = day_result([one]), day_result(others), day_result([*others, one])
    assert alone.low_ud is not None
    assert without.low_ud is not None
    assert alone.low_ud <= alone.high_ud
    assert together == Span(without.low_ud + alone.low_ud, without.high_ud + alone.high_ud)


def test_it_latches_on_what_is_certain_and_holds_on_what_is_not() -> None:
    assert verdict(-24, -24) is None
    assert isinstance(verdict(-25, -25), Latch)
    assert isinstance(verdict(-30, -25), Latch)
    assert isinstance(verdict(-25, 10), Hold)
    assert isinstance(verdict(None, 10), Hold)
    assert isinstance(verdict(None, -25), Latch)


def test_what_a_person_has_released_counts_no_more() -> None:
    assert verdict(-30, -30, released=-30) is None
    assert verdict(-54, -54, released=-30) is None
    assert isinstance(verdict(-55, -55, released=-30), Latch)


def test_the_reason_names_the_figures() -> None:
    latched, held = verdict(-31, -31, released=-5), verdict(-30, 10)
    assert latched is not None
    assert held is not None
    for words in (DAY, "−$31.00", "−$5.00", "$25.00"):
        assert words in latched.reason
    assert "between −$30.00 and +$10.00" in held.reason
