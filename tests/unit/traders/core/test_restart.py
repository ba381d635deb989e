from __future__ import annotations

from traders.core.restart import MOST_DELAY_S, RESTARTS_MOST, WINDOW_S, CrashHistory, GiveUp, RestartAt


def test_each_crash_waits_longer_than_the_one_before() -> None:
    history, waits = CrashHistory(), []
    for _ in range(RESTARTS_MOST):
        history, verdict = history.after_crash(50.0, "boom")
        assert isinstance(verdict, RestartAt)
        waits.append(verdict.at_s - 50.0)
    assert waits == sorted(set(waits))
    assert waits[-1] <= MOST_DELAY_S


def test_one_crash_too_many_within_the_window_is_given_up_with_the_reason() -> None:
    history = CrashHistory()
    for second in range(RESTARTS_MOST):
        history, _ = history.after_crash(float(second), "boom")
    _, verdict = history.after_crash(10.0, "boom")
    assert isinstance(verdict, GiveUp)
    assert "boom" in verdict.reason


def test_crashes_older_than_the_window_do_not_count() -> None:
    history = CrashHistory()
    for number in range(20):
        history, verdict = history.after_crash(number * WINDOW_S, "boom")
        assert isinstance(verdict, RestartAt)
    assert len(history.crashes_s) == 1
