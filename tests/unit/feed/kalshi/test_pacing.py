from __future__ import annotations

from feed.kalshi import pacing
from feed.kalshi.pacing import BURST, COMMANDS_A_SECOND, HELD_FIRST_US, HELD_MOST_US, Pace


def test_a_burst_leaves_at_once_and_the_rest_evenly() -> None:
    pace = pacing.sent(Pace(), BURST, 0)
    assert pacing.allowed(pace, 0) == 0
    assert pacing.allowed(pace, 1_000_000 // COMMANDS_A_SECOND) == 1
    assert pacing.allowed(pace, 3_600_000_000) == BURST


def test_B13_after_too_many_commands_nothing_leaves_for_a_while_that_doubles() -> None:
    pace, now_us, holds = Pace(), 0, []
    for _ in range(8):
        pace = pacing.refused(pace, now_us)
        holds.append(pace.held_until_us - now_us)
        assert pacing.allowed(pace, pace.held_until_us - 1) == 0
        now_us = pace.held_until_us
    assert holds[:3] == [HELD_FIRST_US, 2 * HELD_FIRST_US, 4 * HELD_FIRST_US]
    assert holds[-1] == HELD_MOST_US
    assert pacing.allowed(pace, now_us) == 0, "it begins slowly"
    assert pacing.allowed(pace, now_us + 1_000_000) == COMMANDS_A_SECOND


def test_a_long_quiet_time_forgives() -> None:
    pace = pacing.refused(pacing.refused(Pace(), 0), 0)
    assert pacing.refused(pace, 600_000_000).held_until_us == 600_000_000 + HELD_FIRST_US


def test_thousands_of_markets_are_subscribed_within_what_the_venue_takes() -> None:
    """100,000 markets in batches of 500: no second sees more commands than the venue takes by a wide margin."""
    pace, now_us, left, sent_at = Pace(), 0, 100_000 // 500, []
    while left:
        commands = min(left, pacing.allowed(pace, now_us))
        sent_at += [now_us] * commands
        pace, left, now_us = pacing.sent(pace, commands, now_us), left - commands, now_us + 250_000
    a_second = max(sum(t <= at < t + 1_000_000 for at in sent_at) for t in sent_at)
    assert a_second <= BURST + COMMANDS_A_SECOND < 10_000
