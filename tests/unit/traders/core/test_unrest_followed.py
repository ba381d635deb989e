"""Unrest is followed from message to message, and must be what a look at the whole history finds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import pytest
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


def sweep_by_looking(
    history: History, now_us: int, *, within_us: int, least_cx: int, least_levels: int, hold_us: int
) -> Sweep | None:
    prints = list(history.prints_since(now_us - hold_us - within_us))  # newest first
    if not prints or prints[0].time_us < now_us - hold_us:
        return None
    found = []
    for side in Side:
        ours, end = [one for one in prints if one.taker_side is side.other], 0
        for at, newest in enumerate(ours):
            while end < len(ours) and ours[end].time_us >= newest.time_us - within_us:
                end += 1
            count_cx = sum(one.count_cx for one in ours[at:end])
            levels = len({one.yes_price_cc for one in ours[at:end]})
            if (least_cx and count_cx >= least_cx) or (least_levels and levels >= least_levels):
                found.append(Sweep(side, count_cx, levels, newest.time_us + hold_us))
                break
    last = max(found, key=lambda sweep: sweep.until_us, default=None)
    return last if last is not None and last.until_us >= now_us else None


def flows_by_looking(history: History, now_us: int, *, span_us: int, least_cx: int, hold_us: int) -> list[Flow]:
    prints = list(history.prints_since(now_us - span_us - hold_us))[::-1]
    found: dict[Side, tuple[int, int]] = {}
    net_cx, at_us = 0, 0

    def change(by_cx: int, time_us: int) -> None:
        nonlocal net_cx, at_us
        if time_us > at_us and abs(net_cx) >= least_cx:
            found[Side.YES if net_cx > 0 else Side.NO] = (abs(net_cx), time_us)
        at_us = max(at_us, time_us)
        net_cx += by_cx

    def signed_cx(one: Print) -> int:
        return one.count_cx if one.taker_side is Side.NO else -one.count_cx

    gone = 0
    for happened in (*prints, None):
        time_us = now_us if happened is None else min(now_us, happened.time_us)
        while gone < len(prints) and prints[gone].time_us + span_us <= time_us:
            change(-signed_cx(prints[gone]), prints[gone].time_us + span_us)
            gone += 1
        if happened is not None:
            change(signed_cx(happened), time_us)
    change(0, now_us + 1)
    return [
        Flow(side, found[side][0], found[side][1] + hold_us)
        for side in Side
        if side in found and found[side][1] + hold_us > now_us
    ]


# What happens, so many microseconds after what happened before. After some of it come looks at that moment, later and
# earlier, by several sets of terms: what one found must not answer the other.

LOOKS_US = (*range(12), -4)
KEPT_MOST = st.sampled_from([3, 1_000])  # a busy market keeps its newest alone
prices = st.sampled_from([0, 4_000, 4_100, 4_200, 4_300])
are_looks = st.sampled_from([True, True, False])
touches = st.lists(st.tuples(st.integers(0, 3), prices, prices, are_looks), max_size=12)
printed = st.sampled_from([st.integers(0, 4), st.integers(-3, 4)]).flatmap(  # in order, or in any
    lambda after_us: st.lists(
        st.tuples(
            after_us, st.sampled_from([4_000, 4_100, 4_200]), st.integers(1, 20), st.sampled_from(Side), are_looks
        ),
        max_size=12,
    )
)
# How long after a print somebody looks: at it and later, or before it, as with a clock that lags.
looks = st.lists(st.integers(-2, 11), min_size=1, max_size=4)
Told = list[tuple[int, int, int, Side, bool]]


@settings(max_examples=200)
@given(touches, st.integers(1, 8), st.integers(1, 4), st.integers(0, 12), KEPT_MOST)
def test_a_jump_that_is_followed_is_the_one_that_the_whole_history_shows(
    told: list[tuple[int, int, int, bool]], span_us: int, least: int, hold_us: int, kept_most: int
) -> None:
    history, at_us = History(), 1_000
    history.touches = deque(maxlen=kept_most)
    terms = {"span_us": span_us, "least_cc": 50 * least, "hold_us": hold_us}
    for after_us, yes_cc, no_cc, is_look in told:
        at_us += after_us
        history.note_touch(at_us, yes_cc, no_cc)
        for now_us in (at_us + look_us for look_us in LOOKS_US if is_look):
            for asked in (terms, terms | {"span_us": span_us + 2, "hold_us": 2}, terms | {"least_cc": 100}):
                assert last_jump(history, now_us, **asked) == jump_by_looking(history, now_us, **asked)


@settings(max_examples=200)
@given(printed, looks, st.integers(0, 6), st.integers(0, 4), st.integers(0, 3), st.integers(0, 10), KEPT_MOST)
def test_a_sweep_that_is_followed_is_the_one_that_the_whole_history_shows(
    told: Told, looks_us: list[int], within_us: int, least: int, least_levels: int, hold_us: int, kept_most: int
) -> None:
    terms = {"within_us": within_us, "least_cx": 10 * least, "least_levels": least_levels, "hold_us": hold_us}
    for history, now_us in looks_at(told, looks_us, kept_most):
        for asked in (terms, terms | {"within_us": 2}, terms | {"least_cx": 20}, terms | {"hold_us": 9}):
            assert last_sweep(history, now_us, **asked) == sweep_by_looking(history, now_us, **asked)


@settings(max_examples=200)
@given(printed, looks, st.integers(1, 12), st.integers(1, 6), st.integers(0, 12), KEPT_MOST)
def test_flow_that_is_followed_is_the_one_that_the_whole_history_shows(
    told: Told, looks_us: list[int], span_us: int, least: int, hold_us: int, kept_most: int
) -> None:
    terms = {"span_us": span_us, "least_cx": 8 * least, "hold_us": hold_us}
    for history, now_us in looks_at(told, looks_us, kept_most):
        for asked in (terms, terms | {"span_us": span_us + 3}, terms | {"least_cx": 10}, terms | {"hold_us": 9}):
            assert flows(history, now_us, **asked) == flows_by_looking(history, now_us, **asked)


def test_a_sweep_is_told_whole_when_what_comes_later_is_close_to_half_of_it() -> None:
    history = History()
    for at_us, count_cx in ((8, 10), (10, 20)):
        history.note_print(Print(at_us, 4_000, count_cx, Side.NO))
    terms = {"within_us": 5, "least_cx": 20, "least_levels": 0, "hold_us": 30}
    assert last_sweep(history, 11, **terms) == Sweep(Side.YES, 30, 1, 40)
    history.note_print(Print(14, 6_000, 1, Side.YES))
    assert last_sweep(history, 15, **terms) == Sweep(Side.YES, 30, 1, 40)


def test_of_prints_at_the_edge_of_what_matters_those_that_were_dropped_do_not_count() -> None:
    history = History()
    history.prints = deque(maxlen=2)
    for at_us in (10, 10):
        history.note_print(Print(at_us, 4_000, 10, Side.NO))
    terms = {"within_us": 0, "least_cx": 20, "least_levels": 0, "hold_us": 5}
    assert last_sweep(history, 15, **terms) == Sweep(Side.YES, 20, 1, 15)
    history.note_print(Print(10, 4_000, 1, Side.YES))
    assert last_sweep(history, 15, **terms) == sweep_by_looking(history, 15, **terms) is None


def looks_at(told: Told, looks_us: list[int], kept_most: int) -> Iterator[tuple[History, int]]:
    """Yield a history into which is told what happens, and moments at which somebody looks at it."""
    history, at_us = History(), 1_000
    history.prints = deque(maxlen=kept_most)
    for after_us, price_cc, count_cx, taker, is_look in told:
        at_us += after_us
        history.note_print(Print(at_us, price_cc, count_cx, taker))
        if is_look:
            yield from ((history, at_us + look_us) for look_us in looks_us)


@pytest.fixture
def walked(monkeypatch: pytest.MonkeyPatch) -> list[Print]:
    """Return a list into which every print goes that somebody walks over."""
    walk = History.prints_since
    passed: list[Print] = []

    def prints_since(history: History, since_us: int) -> Iterator[Print]:
        for happened in walk(history, since_us):
            passed.append(happened)
            yield happened

    monkeypatch.setattr(History, "prints_since", prints_since)
    return passed


def look(history: History, now_us: int) -> None:
    flows(history, now_us, span_us=20, least_cx=10, hold_us=80)
    last_sweep(history, now_us, within_us=2, least_cx=100, least_levels=2, hold_us=98)


def test_a_look_costs_the_same_however_much_traded_before(walked: list[Print]) -> None:
    history = History()
    for at_us in range(1_000, 1_500):
        history.note_print(Print(at_us, 4_000, 1, Side.YES))
        look(history, at_us + 3)  # a print is told some time after it happened
        look(history, at_us + 3)
    assert len(walked) < 500 * 5


def test_a_print_that_tells_an_earlier_time_costs_until_it_is_too_old(walked: list[Print]) -> None:
    history = History()
    for at_us in range(1_000, 1_300):
        history.note_print(Print(at_us - 2 * (at_us == 1_100), 4_000, 1, Side.YES))
        look(history, at_us)
        if at_us in (1_099, 1_210):
            walked.clear()
        elif at_us == 1_150:
            assert len(walked) > 50 * 50
    assert len(walked) < 90 * 5


def test_what_was_found_goes_with_the_history_that_is_forgotten() -> None:
    history = History()
    for at_us, yes_cc in ((10, 4_000), (20, 5_000)):
        history.note_touch(at_us, yes_cc, 4_500)
    terms = {"span_us": 15, "least_cc": 400, "hold_us": 100}
    assert last_jump(history, 30, **terms) == Jump(500, 120)
    history.clear()
    assert history.findings == {}
    assert last_jump(history, 30, **terms) is None
    history.note_touch(31, 5_000, 4_500)
    assert history.touches == deque([Touch(31, 5_000, 4_500)])
    assert last_jump(history, 32, **terms) is None
