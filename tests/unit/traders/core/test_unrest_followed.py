"""Unrest is followed from message to message, and must be what a look at the whole history finds."""

from __future__ import annotations

from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from markets.core.units import Side
from traders.core.history import History, Print, Touch
from traders.core.unrest import Flow, Jump, Sweep, flows, last_jump, last_sweep

# The oracles: all that is kept is looked at, each time anew.


def jump_by_looking(history: History, now_us: int, *, span_us: int, least_cc: int, hold_us: int) -> Jump | None:
    touches = list(history.touches_since(now_us - hold_us - span_us))[::-1]
    if touches[-1].time_us < now_us - hold_us:
        return None
    stood: list[tuple[int, int]] = []  # when a touch ended, and twice its mid
    found = None
    for touch, after in zip(touches, (*touches[1:], None), strict=True):
        mid = touch.twice_mid_cc
        if mid is None or (after is not None and after.time_us <= touch.time_us):
            continue
        before = [other for ended_us, other in stood if ended_us > touch.time_us - span_us]
        moved = max((abs(mid - other) for other in before), default=0)
        if moved >= 2 * least_cc:
            found = Jump(moved // 2, touch.time_us)
        if after is not None:
            stood.append((after.time_us, mid))
    if found is None or found.until_us < now_us - hold_us:
        return None
    return Jump(found.moved_cc, found.until_us + hold_us)


def sweep_by_looking(history: History, now_us: int, **terms: int) -> Sweep | None:
    return last_sweep(without_findings(history), now_us, **terms)


def flows_by_looking(history: History, now_us: int, **terms: int) -> list[Flow]:
    return flows(without_findings(history), now_us, **terms)


def without_findings(history: History) -> History:
    other = History()
    other.prints = history.prints
    return other


# What happens, so many microseconds after what happened before; after each, looks at that moment, later and earlier.

LOOKS_US = (*range(12), -4)
prices = st.sampled_from([0, 4_000, 4_100, 4_200, 4_300])
touches = st.lists(st.tuples(st.integers(0, 3), prices, prices), max_size=12)
printed = st.lists(
    st.tuples(st.integers(-3, 4), st.sampled_from([4_000, 4_100, 4_200]), st.sampled_from(Side)), max_size=12
)


@settings(max_examples=200)
@given(touches, st.integers(1, 8), st.integers(1, 4), st.integers(0, 12), st.sampled_from([3, 1_000]))
def test_a_jump_that_is_followed_is_the_one_that_the_whole_history_shows(
    told: list[tuple[int, int, int]], span_us: int, least: int, hold_us: int, kept_most: int
) -> None:
    history, at_us = History(), 1_000
    history.touches = deque(maxlen=kept_most)  # a busy market keeps its newest alone
    terms = {"span_us": span_us, "least_cc": 50 * least, "hold_us": hold_us}
    for after_us, yes_cc, no_cc in told:
        at_us += after_us
        history.note_touch(at_us, yes_cc, no_cc)
        for now_us in (at_us + look_us for look_us in LOOKS_US):
            assert last_jump(history, now_us, **terms) == jump_by_looking(history, now_us, **terms)


@settings(max_examples=200)
@given(printed, st.integers(0, 6), st.integers(0, 4), st.integers(0, 3), st.integers(0, 10))
def test_a_sweep_that_is_remembered_is_the_one_that_the_whole_history_shows(
    told: list[tuple[int, int, Side]], within_us: int, least: int, least_levels: int, hold_us: int
) -> None:
    history, at_us = History(), 1_000
    terms = {"within_us": within_us, "least_cx": 10 * least, "least_levels": least_levels, "hold_us": hold_us}
    for after_us, price_cc, taker in told:
        at_us += after_us  # prints may come out of order
        history.note_print(Print(at_us, price_cc, 10, taker))
        for now_us in (at_us + look_us for look_us in LOOKS_US):
            assert last_sweep(history, now_us, **terms) == sweep_by_looking(history, now_us, **terms)


@settings(max_examples=200)
@given(printed, st.integers(1, 12), st.integers(1, 6), st.integers(0, 12))
def test_flow_that_was_found_missing_is_missing_until_something_trades(
    told: list[tuple[int, int, Side]], span_us: int, least: int, hold_us: int
) -> None:
    history, at_us = History(), 1_000
    terms = {"span_us": span_us, "least_cx": 10 * least, "hold_us": hold_us}
    for after_us, price_cc, taker in told:
        at_us += after_us
        history.note_print(Print(at_us, price_cc, 10, taker))
        for now_us in (at_us + look_us for look_us in LOOKS_US):
            assert flows(history, now_us, **terms) == flows_by_looking(history, now_us, **terms)


def test_what_was_found_goes_with_the_history_that_is_forgotten() -> None:
    history = History()
    for at_us, yes_cc in ((10, 4_000), (20, 5_000)):
        history.note_touch(at_us, yes_cc, 4_500)
    terms = {"span_us": 15, "least_cc": 400, "hold_us": 100}
    assert last_jump(history, 30, **terms) == Jump(500, 120)
    history.clear()
    assert last_jump(history, 30, **terms) is None
    history.note_touch(31, 5_000, 4_500)
    assert history.touches == deque([Touch(31, 5_000, 4_500)])
    assert last_jump(history, 32, **terms) is None
