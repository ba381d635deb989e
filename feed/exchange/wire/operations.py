"""Kalshi's wire form of the exchange's own state: status and schedule. Source: openapi.yaml 3.34, facts.md 7.1, 13."""

from __future__ import annotations

from typing import Any

from feed.exchange.catalog import SHARD_DEFAULT, SHARDS
from feed.exchange.pauses import Pauses
from feed.exchange.wire.public import rfc3339

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
WHOLE_DAY = [{"open_time": "00:00", "close_time": "00:00"}]
MAINTENANCE_DAY = [{"open_time": "00:00", "close_time": "03:00"}, {"open_time": "05:00", "close_time": "00:00"}]


def status_body(pauses: Pauses, now_us: int) -> dict[str, Any]:
    """Return the status of every shard; the top level mirrors shard 0."""
    body: dict[str, Any] = _flags(pauses, SHARD_DEFAULT)
    resume_us = pauses.resume_us(now_us)
    if resume_us is not None:
        body["exchange_estimated_resume_time"] = rfc3339(resume_us)
    body["exchange_index_statuses"] = [
        {"exchange_index": index, "description": text, **_flags(pauses, index)} for index, text in SHARDS.items()
    ]
    return body


def _flags(pauses: Pauses, exchange_index: int) -> dict[str, bool]:
    is_up = not pauses.exchange_paused(exchange_index)
    return {
        "exchange_active": is_up,
        "trading_active": not pauses.trading_paused(exchange_index),
        "intra_exchange_transfers_active": is_up,
    }


def schedule_body(pauses: Pauses, *, weekly: bool) -> dict[str, Any]:
    """Return trading hours in Eastern Time, and the windows that are planned or running.

    Args:
        weekly: Whether the Thursday window is kept.
    """
    hours: dict[str, Any] = {"start_time": "2024-12-01T00:00:00Z", "end_time": "2200-12-01T00:00:00Z"}
    hours |= {day: MAINTENANCE_DAY if weekly and day == "thursday" else WHOLE_DAY for day in DAYS}
    windows = [
        {"start_datetime": rfc3339(window.start_us), "end_datetime": rfc3339(window.end_us)}
        for window in sorted(pauses.windows, key=lambda window: window.start_us)
    ]
    return {"schedule": {"standard_hours": [hours], "maintenance_windows": windows}}
