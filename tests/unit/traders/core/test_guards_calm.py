"""Guards that found nothing need not look again for a while, and must say what a first look finds."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markets.core.units import Side
from tests.fixtures.views import NOW_US, a_view
from traders.core.guards import Guards, guarded
from traders.core.history import History, Print, Touch
from traders.core.types import MarketView, Quote, Quotes, TraderState
from traders.core.unrest import is_calm, note_calm

SECOND_US = 1_000_000
QUICK = Guards(
    flow_s=2, flow_cx=300, sweep_ms=500, sweep_cx=500, sweep_levels=3, jump_s=2, jump_cc=200, hold_s=1, last_quote_s=0
)
ALONE = [
    Guards(**{**msgspec.structs.asdict(QUICK), **off})
    for off in ({"sweep_cx": 0, "sweep_levels": 0, "jump_cc": 0}, {"flow_cx": 0, "jump_cc": 0}, {"flow_cx": 0})
]
BOTH = Quotes((Quote(Side.YES, 4_000, 100), Quote(Side.NO, 5_800, 100)))


def seen_at(history: History, time_us: int) -> MarketView:
    return a_view({4_000: 100}, {5_800: 100}, history=history, time_us=time_us)


def unseen(history: History) -> History:
    """Return what was noted, as somebody finds it who looks for the first time."""
    fresh = History()
    fresh.prints.extend(history.prints)
    fresh.touches.extend(history.touches)
    return fresh


after_us = st.sampled_from([-700_000, -1, 0, 0, 1, 100_000, 400_000, 1_000_000, 2_500_000])
happenings = st.one_of(
    st.tuples(st.just("print"), after_us, st.sampled_from([100, 200, 250]), st.sampled_from(list(Side))),
    st.tuples(st.just("touch"), after_us, st.sampled_from([4_000, 4_000, 4_150, 4_300]), st.just(5_700)),
    st.tuples(st.just("look"), after_us, st.just(0), st.just(0)),
)


@settings(max_examples=200)
@given(st.lists(happenings, min_size=3, max_size=30), st.sampled_from([QUICK, *ALONE]))
def test_guards_say_of_a_followed_history_what_they_say_of_one_never_seen(
    told: list[tuple[str, int, Any, Any]], guards: Guards
) -> None:
    history, now_us = History(), NOW_US
    for number, (what, by_us, one, other) in enumerate(told):
        if what == "print":
            history.note_print(Print(now_us + min(by_us, 1), 4_000 + 100 * (number % 4), one, other))
        elif what == "touch":
            history.note_touch(now_us, one, other)
        now_us += by_us
        found = guarded(seen_at(history, now_us), TraderState(), BOTH, guards)
        assert found == guarded(seen_at(unseen(history), now_us), TraderState(), BOTH, guards)


def test_flow_that_only_shows_once_older_prints_have_left_is_not_slept_through() -> None:
    history = History()
    history.note_print(Print(NOW_US, 4_000, 250, Side.YES))
    history.note_print(Print(NOW_US + SECOND_US, 4_000, 400, Side.NO))
    calm = seen_at(history, NOW_US + SECOND_US)
    assert guarded(calm, TraderState(), BOTH, QUICK) == BOTH
    flowing = seen_at(history, NOW_US + 2 * SECOND_US)
    whys = guarded(flowing, TraderState(), BOTH, QUICK).whys
    assert [(why.code, why.side) for why in whys] == [("guard_flow", Side.YES)]


def test_prints_told_in_disorder_are_looked_at_each_time() -> None:
    history = History()
    for at_us, count_cx, taker in ((2 * SECOND_US, 250, Side.YES), (0, 1, Side.NO), (2 * SECOND_US, 400, Side.NO)):
        history.note_print(Print(NOW_US + at_us, 4_000, count_cx, taker))
    assert guarded(seen_at(history, NOW_US + 2 * SECOND_US), TraderState(), BOTH, QUICK) == BOTH
    later_us = NOW_US + 3 * SECOND_US + 1  # nobody looks further back than to the one in the middle now
    found = guarded(seen_at(history, later_us), TraderState(), BOTH, QUICK)
    assert found == guarded(seen_at(unseen(history), later_us), TraderState(), BOTH, QUICK) != BOTH


@pytest.mark.parametrize(
    "note",
    [
        lambda history: history.note_print(Print(NOW_US, 4_000, 1, Side.YES)),
        lambda history: history.note_touch(NOW_US, 4_100, 5_800),
        lambda history: history.clear(),
    ],
)
def test_calm_ends_with_whatever_is_noted(note: Any) -> None:
    history = History()
    history.note_touch(NOW_US - 1, 4_000, 5_800)
    note_calm(history, QUICK, NOW_US)
    assert is_calm(history, QUICK, NOW_US + 1)
    note(history)
    assert not is_calm(history, QUICK, NOW_US + 1)


def test_calm_holds_for_those_who_looked_and_not_before_they_did() -> None:
    history = History()
    history.touches.append(Touch(NOW_US - 1, 4_000, 5_800))
    note_calm(history, QUICK, NOW_US)
    assert not is_calm(history, ALONE[0], NOW_US)
    assert not is_calm(history, QUICK, NOW_US - 1)
