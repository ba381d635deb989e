"""Rows of history, a few at a time, for either server."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from django.db.models import Model

from markets.models import BookDelta
from tests.integration.db.conftest import Server
from traders.models import RateSample

DAY = timedelta(days=1)


def now() -> datetime:
    return datetime.now(UTC)


def insert(server: Server, rows: Iterable[Model]) -> None:
    rows = list(rows)
    type(rows[0])._default_manager.using(server.alias).bulk_create(rows, ignore_conflicts=True, batch_size=500)


def deltas(market: int, begin: datetime, seqs: Iterable[int]) -> list[BookDelta]:
    return [
        BookDelta(
            time=begin + timedelta(milliseconds=37 * seq), market=market, conn=1, seq=seq, side=seq % 2, time_source=0,
            price_cc=100 * (1 + seq % 99), delta_cx=seq - 500,
        )
        for seq in seqs
    ]  # fmt: skip


def a_sample(trader: int, time: datetime, chance: random.Random | None = None) -> RateSample:
    chance = chance or random.Random(1)

    def figure(most: int) -> int | None:
        return chance.choice((None, chance.randrange(-most, most), chance.randrange(-most, most)))

    return RateSample(
        time=time, trader=trader, market=trader, mode="dry-run", state="quoting", rate_ud_h=figure(10**15),
        observed_s=chance.randrange(61), present_yes_s=figure(60), present_no_s=None, position_cx=figure(1_000),
        fills=figure(10), trading_ud=figure(10**12),
    )  # fmt: skip


def a_row(model: type[Model], time: datetime, number: int) -> Model:
    """Return a row of any history table; `number` stands in every whole number and text."""
    row = model(time=time)
    for field in model._meta.local_concrete_fields:
        if field.attname != "time" and not field.null:
            value = {
                "DateTimeField": time, "JSONField": {}, "ArrayField": [number], "BooleanField": False,
                "CharField": "dry-run" if field.attname == "mode" else str(number), "TextField": str(number),
            }.get(field.get_internal_type(), number)  # fmt: skip
            setattr(row, field.attname, value)
    return row
