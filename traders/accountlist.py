"""What stands of each account in the database, as the desk told it: ours and others' told apart. Sync.

    position of the account = ours (the fills of our live traders) + external (whatever else it holds)

Costs are the venue's for the whole position. Of ours it is what our fills make of it, and of the external part what is
left (`traders.core.drift`). None is unknown, not zero.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import Q

from feed.keys import Vault
from feed.models import AccountBalance, AccountState, Position
from markets.core.settlement import Position as Held
from markets.core.units import Side
from traders.accounts import account_of, known_accounts
from traders.allotments import reserved_ud
from traders.core.drift import outside_of
from traders.models import Allotment, Fill, Mode, Order, Trader

Row = dict[str, Any]


def account_rows() -> list[Row]:
    """Return every account of this environment; the names are a contract.

    Raises:
        DamagedVault: The index of the keys cannot be read.
    """
    return [_row(account) for account in known_accounts()]


def account_row(account: str) -> Row:
    """Return one account, with each of its positions and open orders."""
    held = [row for row in Position.objects.filter(account=account) if row.position_cx or not row.is_agreed]
    return _row(account) | {
        "positions": [_position(row) for row in held],
        "orders": [_order(row) for row in _open(account)],
    }


def _row(account: str) -> Row:
    state = AccountState.objects.filter(account=account).first()
    orders = _open(account)
    live = [one for one in Trader.objects.filter(mode=Mode.LIVE, archived_at=None) if account_of(one) == account]
    allotted = Allotment.objects.filter(scope=Allotment.Scope.ACCOUNT, key=account, mode=Mode.LIVE).first()
    return {
        "name": account,
        "environment": settings.KALSHI_ENV,
        "keys": _keys(account),
        "state": state.state if state else None,
        "state_reason": state.reason if state else "",
        "told_at": state.told_at.isoformat() if state else None,
        "balances": [
            {"subaccount": row.subaccount, "exchange_index": row.exchange_index, "balance_ud": row.balance_ud}
            for row in AccountBalance.objects.filter(account=account).exclude(exchange_index=AccountBalance.ALL)
        ],
        "orders_ours": sum(not order.is_external for order in orders),
        "orders_external": sum(order.is_external for order in orders),
        "traders": sorted(one.name for one in live),
        "allotted_ud": allotted.most_ud if allotted else None,
        "reserved_ud": sum(one.reserved_ud or 0 for one in live) if allotted is None else reserved_ud(allotted),
    }


def _keys(account: str) -> list[Row]:
    """Return the keys of an account; that of the settings is called so."""
    entries = Vault(settings.KALSHIMM_HOME).entries()
    found = [one for one in entries if (one.environment, one.account) == (settings.KALSHI_ENV, account)]
    rows: list[Row] = [{"name": one.name, "scopes": list(one.scopes)} for one in found]
    if settings.KALSHI_KEY_ID and account == settings.KALSHI_ENV:
        rows.append({"name": "(settings)", "scopes": []})
    return rows


def _open(account: str) -> list[Order]:
    rests = Q(is_complete=False, remaining_cx__gt=0, status="resting")
    return list(Order.objects.filter(rests, account=account, mode=Mode.LIVE).select_related("trader"))


def _position(row: Position) -> Row:
    ours = _ours(row)
    external = outside_of(row.position_cx, row.cost_ud, ours)
    return {
        "market": row.ticker,
        "subaccount": row.subaccount,
        "position_cx": row.position_cx,
        "cost_ud": row.cost_ud,
        "ours_cx": ours.position_cx,
        "ours_cost_ud": ours.cost_ud,
        "external_cx": external.position_cx,
        "external_cost_ud": external.cost_ud if row.cost_ud is not None or not external.position_cx else None,
        "is_agreed": row.is_agreed,
    }


def _ours(row: Position) -> Held:
    """Return what the fills of our live traders come to, as far as they are stored."""
    held = Held()
    fills = Fill.objects.filter(account=row.account, ticker=row.ticker, subaccount=row.subaccount, mode=Mode.LIVE)
    for fill in fills.filter(trader__isnull=False).order_by("time", "id"):
        held = held.after(Side(fill.side), fill.price_cc, fill.count_cx)
    return held


def _order(order: Order) -> Row:
    return {
        "market": order.ticker,
        "subaccount": order.subaccount,
        "trader": order.trader.name if order.trader else None,
        "is_external": order.is_external,
        "side": "yes" if order.side == Side.YES else "no",
        "price_cc": order.price_cc,
        "remaining_cx": order.remaining_cx,
        "order_id": order.order_id,
    }
