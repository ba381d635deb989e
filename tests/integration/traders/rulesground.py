"""Live series rules without processes: an installation, a rule with two markets, and a supervisor's looks at it."""

from __future__ import annotations

import io
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone
from test_grants import a_key

from feed.models import Settlement
from markets.models import Event, Market, Series
from traders.grants import permission
from traders.models import Fill, Grant, Mode, SeriesRule, Trader
from traders.rulegrants import create_rule_grant, start_rule
from traders.seriesrules import SeriesRules
from traders.services import strategy_named

DOLLAR = 1_000_000
NOW_US = int(datetime.now(UTC).timestamp() * 1_000_000)
LOOK_US = 2_500_000


@pytest.fixture(autouse=True)
def installation(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An installation on demo, with KALSHIMM_LIVE=1, a key and a home of its own."""
    for name in ("KALSHIMM_MASTER_KEY", "KALSHIMM_MASTER_KEY_FILE", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    settings.KALSHIMM_HOME, settings.KALSHIMM_LIVE, settings.KALSHI_ENV = tmp_path / "home", True, "demo"
    settings.KALSHIMM_HOME.mkdir()
    a_key(settings.KALSHIMM_HOME)
    return settings


def a_market(number: int, *, closes_in: timedelta | None = None, series: str = "ROLL") -> Market:
    """Return a market of a series, each in an event of its own; by default they close one after the other."""
    now = datetime.now(UTC)
    Series.objects.get_or_create(ticker=series, defaults={"title": "Rolling", "seen_at": now})
    event = Event.objects.create(ticker=f"{series}-{number}", series_id=series, title="Up?", seen_at=now)
    closes = now + (closes_in or timedelta(minutes=15 * number))
    return Market.objects.create(
        ticker=f"{event.ticker}-T", event=event, status="active", open_time=now - timedelta(hours=1), close_time=closes,
        price_ranges=[[0, 10_000, 100]], seen_at=now,
    )  # fmt: skip


def a_rule(**fields: Any) -> SeriesRule:
    """Return a live rule, with two markets that it means."""
    told = {
        "series_ticker": "ROLL", "mode": Mode.LIVE, "strategy": strategy_named("join-best"), "max_traders": 1,
    } | fields  # fmt: skip
    for number in (1, 2):
        a_market(number, series=told["series_ticker"])
    return SeriesRule.objects.create(**told)


def a_grant(rule: SeriesRule, **options: Any) -> Grant:
    return create_rule_grant(rule, actor="somebody", confirm_series=rule.series_ticker, **options)


def a_going(**fields: Any) -> SeriesRule:
    rule = a_rule(**fields)
    a_grant(rule)
    return start_rule(rule, actor="somebody")


class Looks:
    """A supervisor's looks at the rules, each later than the one before."""

    def __init__(self) -> None:
        self._rules, self.now_us = SeriesRules(), int(time.time() * 1_000_000)  # not that of the import, long ago

    def look(self, *, living: tuple[int, ...] = (), told_ud: dict[int, int] | None = None) -> list[str]:
        self.now_us += LOOK_US
        return self._rules.step(self.now_us, living=living, told_ud=told_ud or {})


def look(**seen: Any) -> list[str]:
    """Return what a supervisor makes that has just come."""
    return Looks().look(**seen)


def fresh(rule: SeriesRule) -> SeriesRule:
    rule.refresh_from_db()
    return rule


def codes(trader: Trader) -> set[str]:
    return {one.code for one in permission(trader.pk)[1]}


def run(command: str, *argv: str) -> str:
    out = io.StringIO()
    call_command(command, *argv, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def run_json(command: str, *argv: str) -> Any:
    return json.loads(run(command, *argv, "--json"))


def a_fill(trader: Trader, side: int, price_cc: int, count_cx: int, *, fee_ud: int | None = 0, at: Any = None) -> None:
    number = Fill.objects.count()
    Fill.objects.create(
        account="demo", order_id=f"o{number}", trade_id=f"t{number}", client_order_id=f"c{number}", trader=trader,
        ticker=trader.market_ticker, mode=Mode.LIVE, side=side, price_cc=price_cc, count_cx=count_cx, is_taker=False,
        fee_ud=fee_ud, time=at or timezone.now(),
    )  # fmt: skip


def a_payment(trader: Trader, result: str, *, at: Any = None) -> None:
    now = timezone.now()
    Settlement.objects.create(
        account="demo", ticker=trader.market_ticker, subaccount=0, result=result, yes_cx=0, yes_cost_ud=0, no_cx=0,
        no_cost_ud=0, revenue_ud=0, fee_ud=0, settled_at=at or now, told_at=now,
    )  # fmt: skip
