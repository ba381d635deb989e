"""Kalshi's wire form of money: balances, transfers, settlements, allocations. Source: openapi.yaml 3.34."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from feed.exchange.trading.accounts import PRIMARY, Account
from feed.exchange.trading.clearing import Settlement
from feed.exchange.trading.ledger import Entry
from feed.exchange.trading.transfers import Allocation, Transfer
from feed.exchange.wire.public import money, rfc3339, seconds
from markets.core.units import format_count

CENT_UD = 10_000
EVENT_CONTRACT = "event_contract"

Instance = Literal["event_contract", "margined"]


class CreateSubaccountRequest(msgspec.Struct):
    exchange_index: int = 0


class ApplySubaccountTransferRequest(msgspec.Struct):
    client_transfer_id: str
    from_subaccount: int
    to_subaccount: int
    amount_cents: int
    exchange_index: int = 0


class UpdateSubaccountNettingRequest(msgspec.Struct):
    subaccount_number: int
    enabled: bool


class IntraExchangeInstanceTransferRequest(msgspec.Struct):
    source: Instance
    destination: Instance
    amount: int  # centi-cents
    source_exchange_shard: int = 0
    destination_exchange_shard: int = 0
    source_subaccount: int = 0
    destination_subaccount: int = 0
    client_transfer_id: str = ""


class TargetBalanceAllocationInput(msgspec.Struct):
    exchange_index: int
    percent: int


class SetTargetBalanceAllocationRequest(msgspec.Struct):
    allocations: list[TargetBalanceAllocationInput]
    resting_margin_reservation: Literal["sum", "max", "none"] = "sum"


def cents(value_ud: int) -> int:
    """Return whole cents, cut and not rounded: 98.0186 is 9801 [recorded]."""
    return value_ud // CENT_UD if value_ud >= 0 else -(-value_ud // CENT_UD)


def balance_body(account: Account, exchange_index: int | None, subaccount: int = PRIMARY) -> dict[str, Any]:
    """Return the balances of a subaccount; the portfolio is valued at what it cost, less collateral returned."""
    cash = {
        shard: amount
        for (shard, number), amount in account.cash_ud.items()
        if number == subaccount and exchange_index in (None, shard)
    }
    held = [
        p
        for p in account.positions.values()
        if p.subaccount == subaccount and exchange_index in (None, p.exchange_index)
    ]
    returned = sum(account.returned_ud.get((subaccount, event), 0) for event in {p.event_ticker for p in held})
    return {
        "balance": cents(sum(cash.values())),
        "balance_dollars": money(sum(cash.values())),
        "portfolio_value": cents(sum(p.cost_ud for p in held) - returned),
        "updated_ts": seconds(account.updated_us),
        "balance_breakdown": [{"exchange_index": i, "balance": money(c)} for i, c in sorted(cash.items())],
    }


def resting_value_body(account: Account, subaccount: int | None) -> dict[str, Any]:
    """Return what the resting orders would cost at their own prices, in all and by shard; None is all subaccounts."""
    worth: dict[int, int] = {}
    for order in account.open.values():
        if subaccount in (None, order.subaccount):
            value_ud = order.price_cc * order.remaining_cx
            worth[order.exchange_index] = worth.get(order.exchange_index, 0) + value_ud
    return {
        "total_resting_order_value": cents(sum(worth.values())),
        "resting_order_value_breakdown": [{"exchange_index": i, "balance": money(v)} for i, v in sorted(worth.items())],
    }


def subaccount_balances(account: Account) -> list[dict[str, Any]]:
    """Return a row for each balance there is; a subaccount without any shows zero where it was opened."""
    cash = dict.fromkeys(((s.exchange_index, s.number) for s in account.subaccounts.values()), 0) | account.cash_ud
    return [
        {
            "subaccount_number": number,
            "exchange_index": shard,
            "balance": money(amount),
            "updated_ts": seconds(account.updated_us),
        }
        for (shard, number), amount in sorted(cash.items(), key=lambda row: (row[0][1], row[0][0]))
    ]


def netting_configs(account: Account) -> list[dict[str, Any]]:
    return [
        {"subaccount_number": s.number, "enabled": s.nets, "exchange_index": s.exchange_index}
        for s in account.subaccounts.values()
    ]


def subaccount_transfer_row(transfer: Transfer) -> dict[str, Any]:
    return {
        "transfer_id": transfer.transfer_id,
        "from_subaccount": transfer.source[1],
        "to_subaccount": transfer.destination[1],
        "amount_cents": cents(transfer.amount_ud),
        "created_ts": seconds(transfer.created_us),
        "exchange_index": transfer.source[0],
    }


def shard_transfer_row(transfer: Transfer) -> dict[str, Any]:
    return {
        "transfer_id": transfer.transfer_id,
        "source": EVENT_CONTRACT,
        "destination": EVENT_CONTRACT,
        "source_exchange_shard": transfer.source[0],
        "destination_exchange_shard": transfer.destination[0],
        "amount": money(transfer.amount_ud),
        "status": transfer.status,
        "created_ts": seconds(transfer.created_us),
    }


def settlement_row(settlement: Settlement) -> dict[str, Any]:
    """Return a settlement as GET /portfolio/settlements lists it; revenue and value are whole cents, cut."""
    held, cost = abs(settlement.position_cx), settlement.cost_ud
    is_yes = settlement.position_cx > 0
    return {
        "ticker": settlement.ticker,
        "event_ticker": settlement.event_ticker,
        "exchange_index": settlement.exchange_index,
        "market_result": settlement.result,
        "yes_count_fp": format_count(held if is_yes else 0),
        "yes_total_cost_dollars": money(cost if is_yes else 0),
        "no_count_fp": format_count(0 if is_yes else held),
        "no_total_cost_dollars": money(0 if is_yes else cost),
        "revenue": cents(settlement.revenue_ud),
        "settled_time": rfc3339(settlement.at_us),
        "fee_cost": money(settlement.fees_ud),
        "value": settlement.value_cc // 100,
    }


def cash_book_row(entry: Entry) -> dict[str, Any]:
    """Return a cash book entry for the control port; a balance is the sum of its entries."""
    return {
        "at": rfc3339(entry.at_us),
        "kind": entry.kind,
        "exchange_index": entry.exchange_index,
        "subaccount_number": entry.subaccount,
        "amount_dollars": money(entry.amount_ud),
        "reference": entry.reference,
    }


def allocation_body(allocation: Allocation) -> dict[str, Any]:
    rows = [{"exchange_index": i, "percent": p} for i, p in sorted(allocation.percents.items())]
    return {"allocations": rows, "resting_margin_reservation": allocation.reservation}
