"""Every order answers why: the decision that it was sent on, with its figures."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command

from tests.integration.traders.test_fleet_commands import a_series, a_trader
from traders.models import DecisionRow, Mode, Order, Trader
from traders.services import RefusedChange

pytestmark = pytest.mark.django_db
BEGIN = datetime(2026, 11, 27, 7, 0, tzinfo=UTC)


@pytest.fixture
def trader() -> Trader:
    a_series("HIGH", events=[1])
    return a_trader()


def decided(trader: Trader, number: int, kind: str = "decision", **figures: Any) -> None:
    time = BEGIN + timedelta(seconds=number)
    DecisionRow.objects.create(
        time=time, trader=trader.pk, number=number, kind=kind, reason=f"line {number}", figures=figures
    )


def an_order(trader: Trader, mode: str, at: int, client_order_id: str = "c-1") -> Order:
    time = BEGIN + timedelta(seconds=at)
    return Order.objects.create(
        account="local", client_order_id=client_order_id, order_id=f"v-{client_order_id}", trader=trader,
        ticker=trader.market_ticker, mode=mode, side=0, price_cc=4_000, placed_cx=100, filled_cx=0, remaining_cx=100,
        status="resting", created_at=time, updated_at=time, journal_number=at,
    )  # fmt: skip


def why(order: str) -> Any:
    out = io.StringIO()
    call_command("traders", "why", order, "--json", stdout=out)
    return json.loads(out.getvalue())["why"]


def test_a_live_order_was_sent_on_the_decision_before_its_intent(trader: Trader) -> None:
    decided(trader, 1)
    decided(trader, 2, why=[{"code": "joins", "yes_price_cc": 4_000}])
    decided(trader, 3, "intent", client_order_id="c-1", verb="place")
    decided(trader, 4)
    decided(trader, 5, "intent", client_order_id="c-1", verb="cancel")
    an_order(trader, Mode.LIVE, at=6)

    assert why("c-1")["reason"] == "line 2"
    assert why("v-c-1")["figures"]["why"] == [{"code": "joins", "yes_price_cc": 4_000}]


def test_a_paper_order_stands_just_before_its_decision(trader: Trader) -> None:
    decided(trader, 1)
    an_order(trader, Mode.DRY_RUN, at=2)
    decided(trader, 3, why=[{"code": "joins"}])
    decided(trader, 4)

    assert why("c-1")["reason"] == "line 3"


def test_an_order_that_is_nobodys_of_ours_says_so(trader: Trader) -> None:
    order = an_order(trader, Mode.LIVE, at=1)
    order.trader = None
    order.save()

    with pytest.raises(RefusedChange, match="No decision of ours"):
        why("c-1")
    with pytest.raises(RefusedChange, match="no order c-9"):
        why("c-9")


def test_the_reasons_are_told_line_by_line(trader: Trader) -> None:
    decided(trader, 1, why=[{"code": "joins", "yes_price_cc": 4_000, "count_cx": 100}])
    decided(trader, 2, "intent", client_order_id="c-1", verb="place")
    an_order(trader, Mode.LIVE, at=3)
    out = io.StringIO()

    call_command("traders", "why", "c-1", stdout=out)

    assert "joins                    count_cx 100, yes_price_cc 4000" in out.getvalue()
