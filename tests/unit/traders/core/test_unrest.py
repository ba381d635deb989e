from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from markets.core.units import Side
from traders.core.history import History, Print, Touch
from traders.core.unrest import Flow, Jump, Sweep, flows, last_jump, last_sweep

NOW = 1_000
A_PRICE = 5_000

Traded = tuple[int, Side, int]  # when, the side that takers met, contracts


def a_history(*traded: Traded, price_cc: int = A_PRICE) -> History:
    history = History()
    for time_us, met, count_cx in traded:
        history.note_print(Print(time_us, price_cc, count_cx, met.other))
    return history


# Flow


def test_takers_on_one_side_are_flow_against_it() -> None:
    history = a_history((NOW - 5, Side.YES, 60), (NOW - 3, Side.YES, 50), (NOW - 1, Side.NO, 10))
    assert flows(history, NOW, span_us=10, least_cx=100, hold_us=0) == [Flow(Side.YES, 100, NOW + 1)]
    assert flows(history, NOW, span_us=10, least_cx=101, hold_us=0) == []


def test_flow_holds_for_a_while_after_it_was_last_true() -> None:
    history = a_history((NOW, Side.NO, 100))
    ended_us = NOW + 10  # the print counts for ten microseconds
    for time_us in (NOW, ended_us - 1, ended_us, ended_us + 19):
        assert [flow.side for flow in flows(history, time_us, span_us=10, least_cx=100, hold_us=20)] == [Side.NO]
    assert flows(history, ended_us + 20, span_us=10, least_cx=100, hold_us=20) == []


def test_flow_that_turned_holds_both_sides() -> None:
    history = a_history((NOW - 30, Side.YES, 100), (NOW - 2, Side.NO, 100))
    found = flows(history, NOW, span_us=10, least_cx=100, hold_us=25)
    assert {flow.side for flow in found} == {Side.YES, Side.NO}


def test_trades_of_one_moment_on_both_sides_are_no_flow() -> None:
    history = a_history((NOW - 5, Side.YES, 100), (NOW - 5, Side.NO, 100))
    assert flows(history, NOW, span_us=10, least_cx=100, hold_us=50) == []


def test_a_side_is_met_one_sidedly_when_what_met_the_other_is_too_old() -> None:
    history = a_history((NOW - 12, Side.NO, 100), (NOW - 8, Side.YES, 100))
    assert flows(history, NOW - 4, span_us=10, least_cx=100, hold_us=0) == []
    assert flows(history, NOW, span_us=10, least_cx=100, hold_us=0) == [Flow(Side.YES, 100, NOW + 1)]


trades = st.lists(st.tuples(st.integers(NOW - 70, NOW), st.sampled_from(Side), st.integers(1, 60)), max_size=12).map(
    lambda traded: sorted(traded, key=lambda one: one[0])
)


@settings(max_examples=200)
@given(trades, st.integers(1, 30), st.integers(0, 30), st.integers(1, 120))
def test_flow_holds_exactly_where_looking_at_every_moment_finds_it(
    traded: list[Traded], span_us: int, hold_us: int, least_cx: int
) -> None:
    def net_cx(at_us: int, side: Side) -> int:
        counted = [(met, cx) for time_us, met, cx in traded if time_us <= at_us < time_us + span_us]
        return sum(cx if met is side else -cx for met, cx in counted)

    expected = {
        side for side in Side if any(net_cx(at_us, side) >= least_cx for at_us in range(NOW - hold_us, NOW + 1))
    }
    found = flows(a_history(*traded), NOW, span_us=span_us, least_cx=least_cx, hold_us=hold_us)
    assert {flow.side for flow in found} == expected
    assert all(flow.net_cx >= least_cx and flow.until_us > NOW for flow in found)


# Sweeps


def swept(history: History, now_us: int = NOW, *, within_us: int = 0, cx: int = 0, levels: int = 0) -> Sweep | None:
    return last_sweep(history, now_us, within_us=within_us, least_cx=cx, least_levels=levels, hold_us=20)


def test_prints_of_one_time_stamp_that_took_much_are_a_sweep() -> None:
    history = a_history((NOW - 5, Side.YES, 60), (NOW - 5, Side.YES, 40))
    assert swept(history, cx=100) == Sweep(Side.YES, 100, 1, NOW + 15)
    assert swept(history, cx=101) is None


def test_prints_apart_are_a_sweep_only_within_the_chosen_time() -> None:
    history = a_history((NOW - 9, Side.NO, 60), (NOW - 5, Side.NO, 40))
    assert swept(history, cx=100) is None
    assert swept(history, cx=100, within_us=3) is None
    assert swept(history, cx=100, within_us=4) == Sweep(Side.NO, 100, 1, NOW + 15)


def test_what_met_both_sides_is_no_sweep() -> None:
    assert swept(a_history((NOW - 5, Side.YES, 60), (NOW - 5, Side.NO, 60)), cx=100) is None


def test_few_contracts_at_many_prices_are_a_sweep_too() -> None:
    history = History()
    for price_cc in (5_000, 4_900, 4_800):
        history.note_print(Print(NOW - 5, price_cc, 1, Side.NO))
    assert swept(history, levels=3) == Sweep(Side.YES, 3, 3, NOW + 15)
    assert swept(history, levels=4) is None


def test_a_sweep_holds_for_a_while() -> None:
    history = a_history((NOW, Side.YES, 100))
    assert swept(history, NOW + 20, cx=100) is not None
    assert swept(history, NOW + 21, cx=100) is None


def test_a_calm_print_after_a_sweep_does_not_end_it() -> None:
    assert swept(a_history((NOW - 9, Side.YES, 100), (NOW - 1, Side.YES, 1)), cx=100) == Sweep(
        Side.YES, 100, 1, NOW + 11
    )


prints = st.lists(
    st.tuples(st.integers(NOW - 40, NOW), st.sampled_from(Side), st.integers(1, 60), st.sampled_from([10, 20, 30])),
    max_size=12,
).map(lambda printed: sorted(printed, key=lambda one: one[0]))


@settings(max_examples=200)
@given(prints, st.integers(0, 5), st.integers(0, 150), st.integers(0, 4))
def test_a_sweep_is_found_exactly_where_looking_at_every_print_finds_one(
    printed: list[tuple[int, Side, int, int]], within_us: int, least_cx: int, least_levels: int
) -> None:
    history = History()
    for time_us, met, count_cx, price_cc in printed:
        history.note_print(Print(time_us, price_cc, count_cx, met.other))
    ends = [
        time_us
        for time_us, met, _, _ in printed
        if time_us >= NOW - 20
        for burst in [[one for one in printed if one[1] is met and time_us - within_us <= one[0] <= time_us]]
        if (least_cx and sum(one[2] for one in burst) >= least_cx)
        or (least_levels and len({one[3] for one in burst}) >= least_levels)
    ]
    found = swept(history, within_us=within_us, cx=least_cx, levels=least_levels)
    assert (found.until_us if found else None) == (max(ends) + 20 if ends else None)


# Jumps


def touched(*touches: tuple[int, int, int]) -> History:
    history = History()
    history.touches.extend(Touch(*touch) for touch in touches)
    return history


def jumped(history: History, now_us: int = NOW) -> Jump | None:
    return last_jump(history, now_us, span_us=10, least_cc=500, hold_us=20)


def test_a_mid_that_moves_far_at_once_jumps() -> None:
    assert jumped(touched((0, 4_000, 5_800), (NOW - 5, 4_500, 5_300))) == Jump(500, NOW + 15)
    assert jumped(touched((0, 4_500, 5_300), (NOW - 5, 4_000, 5_800))) == Jump(500, NOW + 15)
    assert jumped(touched((0, 4_000, 5_800), (NOW - 5, 4_499, 5_300))) is None


def test_steps_within_the_span_add_up_to_a_jump() -> None:
    assert jumped(touched((0, 4_000, 5_800), (NOW - 9, 4_300, 5_500), (NOW, 4_500, 5_300))) == Jump(500, NOW + 20)


def test_steps_further_apart_do_not() -> None:
    assert jumped(touched((0, 4_000, 5_800), (NOW - 10, 4_300, 5_500), (NOW, 4_500, 5_300))) is None


def test_a_jump_holds_for_a_while() -> None:
    history = touched((0, 4_000, 5_800), (NOW, 4_500, 5_300))
    assert jumped(history, NOW + 20) is not None
    assert jumped(history, NOW + 21) is None


def test_half_of_a_step_of_the_exchange_is_no_jump() -> None:
    assert jumped(touched((0, 4_000, 5_800), (NOW - 5, 1_000, 5_800), (NOW - 5, 4_100, 5_800))) is None


def test_a_mid_across_a_moment_without_one_is_compared() -> None:
    assert jumped(touched((0, 4_000, 5_800), (NOW - 9, 0, 5_800), (NOW - 5, 4_600, 5_300))) == Jump(550, NOW + 15)
    assert jumped(touched((0, 4_000, 5_800), (NOW - 19, 0, 5_800), (NOW - 5, 4_600, 5_300))) is None


a_touch = st.tuples(st.integers(NOW - 60, NOW), st.integers(0, 15), st.integers(0, 15))


@settings(max_examples=200)
@given(st.lists(a_touch, min_size=1, max_size=12), st.integers(1, 20), st.integers(0, 30), st.integers(1, 20))
def test_a_jump_is_found_exactly_where_looking_at_every_pair_of_mids_finds_one(
    touches: list[tuple[int, int, int]], span_us: int, hold_us: int, least_cc: int
) -> None:
    touches.sort(key=lambda touch: touch[0])
    ends_us = [after[0] for after in touches[1:]] + [NOW + 1]
    stood = [
        (start, end, yes - no)
        for (start, yes, no), end in zip(touches, ends_us, strict=True)
        if end > start and yes and no
    ]
    expected = [
        start
        for start, _, mid in stood
        for before, end, other in stood
        if before < start < end + span_us and abs(mid - other) >= 2 * least_cc and start >= NOW - hold_us
    ]
    found = last_jump(touched(*touches), NOW, span_us=span_us, least_cc=least_cc, hold_us=hold_us)
    assert (found.until_us if found else None) == (max(expected) + hold_us if expected else None)
