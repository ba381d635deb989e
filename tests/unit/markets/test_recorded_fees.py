"""What the recorded fills cost, to the digit. Pure like the core, but the recordings lie outside it."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from markets.core.fees import FINE, FeeSchedule, FeeTerms, Generation, OrderRounding, charged_fee
from markets.core.units import format_dollars, parse_count, parse_price

# Baseball series charged half (facts.md section 9); all others are of multiplier 1.
HALF_PRICE = {"KXMLBGAME", "KXMLBSPREAD", "KXMLBKS"}


def recorded_fills(recorded: Path) -> list[dict[str, Any]]:
    demo = json.loads((recorded / "rest/fortuna_demo_2026-06/fills__after_taker.json").read_bytes())
    prod = json.loads((recorded / "rest/cockpit_2026-08/portfolio_fills_redacted.json").read_bytes())
    return [*demo["fills"], *prod["payload"]["fills"]]


def fee_of(fill: dict[str, Any], generation: Generation | None = None) -> str:
    own = fill["yes_price_dollars"] if fill["outcome_side"] == "yes" else fill["no_price_dollars"]
    multiplier_bps = 5000 if fill["ticker"].split("-")[0] in HALF_PRICE else 10_000
    found = charged_fee(
        FeeTerms(FeeSchedule("quadratic", multiplier_bps)),
        OrderRounding(),
        is_taker=fill["is_taker"],
        price_cc=parse_price(own),
        count_cx=parse_count(fill["count_fp"]),
        at_us=int(datetime.fromisoformat(fill["created_time"]).timestamp()) * 1_000_000,
        generation=generation,
    )
    assert found is not None
    return format_dollars(found.fee_ud)


@pytest.mark.recorded
def test_the_recorded_fills_cost_what_they_cost(recorded: Path) -> None:
    fills = recorded_fills(recorded)
    assert len(fills) == 36
    assert len({fill["order_id"] for fill in fills}) == 36, "each is its order's only fill: nothing gathered before"
    assert [fee_of(fill) for fill in fills] == [fill["fee_cost"] for fill in fills]


@pytest.mark.recorded
def test_one_recorded_fill_tells_the_generations_apart(recorded: Path) -> None:
    differing = [fill for fill in recorded_fills(recorded) if fee_of(fill, FINE) != fill["fee_cost"]]
    assert [(f["count_fp"], f["yes_price_dollars"], f["fee_cost"], fee_of(f, FINE)) for f in differing] == [
        ("71.94", "0.0130", "0.064780", "0.064680")
    ]


@pytest.mark.recorded
def test_the_recorded_series_have_the_multipliers_assumed_of_them(recorded: Path) -> None:
    series = json.loads((recorded / "rest/cockpit_2026-08/series_fee_fields.json").read_bytes())["payloads"]
    for ticker, body in series.items():
        assert body["series"]["fee_multiplier"] == (0.5 if ticker in HALF_PRICE else 1)
        assert body["series"]["fee_type"].startswith("quadratic")
    # Of KXMLBKS no series row was recorded; its one fill shows the half.
    assert series.keys() & HALF_PRICE == {"KXMLBGAME", "KXMLBSPREAD"}
