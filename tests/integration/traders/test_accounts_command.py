"""`manage.py accounts`: what is shown of each account, ours and others' told apart."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from test_account_choice import a_key, installation
from test_grants import MARKET, a_trader, run, run_json

from feed.models import AccountBalance, AccountState, Position
from traders.accounts import NoSuchAccount
from traders.models import Allotment, Fill, Order, Trader

__all__ = ["installation"]  # a fixture

pytestmark = pytest.mark.django_db
NOW = datetime.now(UTC)


def a_fill(trader: Trader | None, trade_id: str, **changes: Any) -> None:
    values = {
        "account": "a", "order_id": "o", "trade_id": trade_id, "client_order_id": "c", "trader": trader,
        "ticker": MARKET, "mode": "live", "side": 0, "price_cc": 4_000, "count_cx": 300, "is_taker": False, "time": NOW,
    }  # fmt: skip
    Fill.objects.create(**(values | changes))


def an_order(number: int, trader: Trader | None, **changes: Any) -> None:
    values = {
        "account": "a", "client_order_id": f"c{number}", "order_id": f"o{number}", "trader": trader, "ticker": MARKET,
        "mode": "live", "side": 1, "price_cc": 5_500, "placed_cx": 700, "filled_cx": 0, "remaining_cx": 700,
        "status": "resting", "created_at": NOW, "updated_at": NOW, "journal_number": 0, "is_external": trader is None,
    }  # fmt: skip
    Order.objects.create(**(values | changes))


def a_position(**changes: Any) -> None:
    values = {
        "account": "a", "ticker": MARKET, "subaccount": 0, "position_cx": 1_000, "cost_ud": 4_100_000,
        "is_agreed": True, "told_at": NOW,
    }  # fmt: skip
    Position.objects.create(**(values | changes))


@pytest.fixture
def trader(installation: Any) -> Trader:
    for account in ("a", "b"):
        a_key(installation, account)
    a_key(installation, "real", "prod")
    return a_trader(account="a")


def shown(account: str = "a") -> Any:
    return run_json("accounts", "show", account)["account"]


def test_every_account_of_the_environment_is_listed_also_one_nobody_told_of(trader: Trader) -> None:
    AccountState.objects.create(account="a", state="blind", reason="orders: HTTP 503", told_at=NOW)
    Allotment.objects.create(scope="account", key="a", mode="live", most_ud=20_000_000)
    Trader.objects.update(reserved_ud=5_000_000)
    first, second = run_json("accounts", "list")["accounts"]
    assert (first["name"], first["environment"], first["state"], first["state_reason"]) == (
        "a", "demo", "blind", "orders: HTTP 503",
    )  # fmt: skip
    assert first["keys"] == [{"name": "key-0", "scopes": ["read", "write"]}]
    assert (first["traders"], first["allotted_ud"], first["reserved_ud"]) == (["mine"], 20_000_000, 5_000_000)
    assert (second["name"], second["state"], second["allotted_ud"], second["reserved_ud"]) == ("b", None, None, 0)
    table = run("accounts", "list")
    assert "unknown" in table, "what nobody told is not called well"
    assert "real" not in table


def test_positions_are_told_apart_with_what_each_part_cost(trader: Trader) -> None:
    a_fill(trader, "t1")
    a_fill(None, "t2", count_cx=700, price_cc=4_143, is_external=True)
    a_position()
    a_position(subaccount=3, position_cx=-200, cost_ud=None)
    a_position(account="b", position_cx=5, cost_ud=1)
    ours, alone = shown()["positions"]
    assert (ours["position_cx"], ours["cost_ud"]) == (1_000, 4_100_000)
    assert (ours["ours_cx"], ours["ours_cost_ud"]) == (300, 1_200_000)
    assert (ours["external_cx"], ours["external_cost_ud"]) == (700, 2_900_000)
    assert (alone["ours_cx"], alone["external_cx"], alone["external_cost_ud"]) == (0, -200, None)
    text = run("accounts", "show", "a")
    assert "cost unknown" in text


def test_orders_and_cash_are_shown(trader: Trader) -> None:
    an_order(1, trader)
    an_order(2, None)
    an_order(3, None, status="canceled", is_complete=True, remaining_cx=0)
    for subaccount, shard, cash_ud in ((0, -1, 9), (0, 0, 7), (3, 0, 2)):
        AccountBalance.objects.create(
            account="a", subaccount=subaccount, exchange_index=shard, balance_ud=cash_ud, told_at=NOW
        )
    account = shown()
    assert (account["orders_ours"], account["orders_external"]) == (1, 1)
    assert {(one["trader"], one["is_external"]) for one in account["orders"]} == {("mine", False), (None, True)}
    assert [(one["subaccount"], one["balance_ud"]) for one in account["balances"]] == [(0, 7), (3, 2)]
    text = run("accounts", "show", "a")
    assert "ours, trader mine" in text
    assert "external" in text


def test_of_several_accounts_one_is_named(trader: Trader) -> None:
    with pytest.raises(NoSuchAccount, match="a, b"):
        run("accounts", "show")
    with pytest.raises(NoSuchAccount, match="no account 'real'"):
        run("accounts", "show", "real")


def test_an_installation_without_a_key_has_the_account_of_its_environment(installation: Any, tmp_path: Path) -> None:
    (row,) = run_json("accounts", "list")["accounts"]
    assert (row["name"], row["keys"], row["state"]) == ("demo", [], None)
