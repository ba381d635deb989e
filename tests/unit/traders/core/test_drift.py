"""A position that fills do not explain is found, and not before it has lasted."""

from __future__ import annotations

from traders.core.drift import LASTING_US, Drift


def known(ours_cx: int = 300, position_cx: int = 800) -> Drift:
    """Return one that has seen the account agree: 500 are somebody else's."""
    return Drift().on_position(position_cx, is_agreed=True).looked(ours_cx, is_settled=True, now_us=0)


def test_what_was_there_before_is_not_ours() -> None:
    assert known().outside_cx == 500
    assert not known().is_news(LASTING_US * 10)


def test_our_fills_and_theirs_explain_a_change() -> None:
    drift = known().on_outside_fills([200, -100]).on_position(1_000, is_agreed=True)

    assert drift.looked(400, is_settled=True, now_us=1).since_us is None


def test_a_difference_counts_once_it_has_lasted() -> None:
    drift = known().on_position(900, is_agreed=True).looked(300, is_settled=True, now_us=5)

    assert not drift.is_news(4 + LASTING_US)
    assert drift.is_news(5 + LASTING_US)
    assert drift.why(300) == ""
    told = drift.told()
    assert not told.is_news(5 + 2 * LASTING_US)
    assert told.why(300) == "the account holds 900 cx, 300 of ours and 500 of others explain it"


def test_it_is_over_once_both_agree_again() -> None:
    drift = known().on_position(900, is_agreed=True).looked(300, is_settled=True, now_us=0).told()

    assert drift.looked(300, is_settled=False, now_us=1).why(300)  # nothing was compared
    assert drift.looked(400, is_settled=True, now_us=2).why(400) == ""


def test_what_is_on_its_way_or_disputed_is_not_compared() -> None:
    moved = known().on_position(900, is_agreed=True)

    assert moved.looked(300, is_settled=False, now_us=0).since_us is None
    waiting = moved.looked(300, is_settled=True, now_us=0)
    assert waiting.since_us == 0
    assert waiting.looked(300, is_settled=False, now_us=1).since_us is None
    assert known().on_position(900, is_agreed=False).looked(300, is_settled=True, now_us=0).since_us is None
