"""How many WebSocket commands may leave now: a pure decision, so that thousands of markets go out in paced batches.

The venue takes 10,000 commands a second and answers more with error 27; we stay far below, and after an error 27 send
nothing for a while that doubles with each one. Source: facts.md sections 12.4 and 12.8.
"""

from __future__ import annotations

import msgspec

COMMANDS_A_SECOND = 100  # of up to 500 markets each
BURST = 100
HELD_FIRST_US = 1_000_000
HELD_MOST_US = 60_000_000
FORGOTTEN_US = 120_000_000  # after so long without an error 27 the next one is a first one again


class Pace(msgspec.Struct, frozen=True):
    """What was sent, as a value: `left` millionths of a command may still leave at `at_us`."""

    left: int = BURST * 1_000_000
    at_us: int = 0
    held_until_us: int = 0
    refusals: int = 0
    refused_us: int = 0


def allowed(pace: Pace, now_us: int) -> int:
    """Return how many commands may leave now. Times are monotonic."""
    return 0 if now_us < pace.held_until_us else _refilled(pace, now_us) // 1_000_000


def sent(pace: Pace, commands: int, now_us: int) -> Pace:
    """Return the pace after sending `commands`, even beyond what was allowed."""
    left = _refilled(pace, now_us) - commands * 1_000_000
    return msgspec.structs.replace(pace, left=left, at_us=now_us)


def refused(pace: Pace, now_us: int) -> Pace:
    """Return the pace after an error 27."""
    refusals = pace.refusals + 1 if pace.refusals and now_us - pace.refused_us < FORGOTTEN_US else 1
    held_us = min(HELD_MOST_US, HELD_FIRST_US * 2 ** min(refusals - 1, 10))
    return Pace(0, now_us + held_us, now_us + held_us, refusals, now_us)


def _refilled(pace: Pace, now_us: int) -> int:
    return min(BURST * 1_000_000, pace.left + COMMANDS_A_SECOND * max(0, now_us - pace.at_us))
