"""Bounds of time in queries, which the venue takes in whole seconds: rounded outwards, so that nothing is missed."""

from __future__ import annotations

SECOND_US = 1_000_000


def from_s(time_us: int | None) -> int | None:
    return None if time_us is None else time_us // SECOND_US


def until_s(time_us: int | None) -> int | None:
    return None if time_us is None else -(-time_us // SECOND_US)
