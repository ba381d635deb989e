"""REST of one's own money: balances, subaccounts, transfers, netting, settlements."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from feed.exchange.catalog import SHARDS
from feed.exchange.rest.public import BASE
from feed.exchange.rest.signed import signed, signed_read, subaccount_read, subaccount_written
from feed.exchange.trading.accounts import Account
from feed.exchange.trading.ledger import Balance
from feed.exchange.trading.orders import INSUFFICIENT_BALANCE, Refusal
from feed.exchange.trading.transfers import Allocation, Transfer
from feed.exchange.wire import money as wire
from feed.exchange.wire.answers import BadParameter, Query, answer, nested, newest_first, not_found, page
from feed.exchange.wire.bodies import read_body

if TYPE_CHECKING:
    from feed.exchange.server import LocalExchange

CENT_UD, CENTI_CENT_UD = 10_000, 100
TRANSFERS_MAX, PAGE_MAX = 500, 1_000


class Money:
    """Handlers of balances and what moves them."""

    def __init__(self, exchange: LocalExchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        exchange, portfolio = self._exchange, f"{BASE}/portfolio"
        shards = f"{portfolio}/intra_exchange_instance_transfer"
        reads = {
            f"{portfolio}/balance": self.balance,
            f"{portfolio}/summary/total_resting_order_value": self.resting_value,
            f"{portfolio}/settlements": self.settlements,
            f"{portfolio}/subaccounts/balances": self.subaccount_balances,
            f"{portfolio}/subaccounts/transfers": self.subaccount_transfers,
            f"{shards}s": self.shard_transfers,
            f"{shards}s/{{transfer_id}}": self.shard_transfer,
        }
        return [
            *(web.get(path, signed_read(exchange, handler)) for path, handler in reads.items()),
            web.get(f"{portfolio}/subaccounts/netting", signed(exchange, self.netting)),
            web.put(f"{portfolio}/subaccounts/netting", signed(exchange, self.set_netting)),
            web.get(f"{portfolio}/target_balance_allocation", signed(exchange, self.allocation)),
            web.post(f"{portfolio}/target_balance_allocation", signed(exchange, self.set_allocation)),
            web.post(f"{portfolio}/subaccounts", signed(exchange, self.open_subaccount)),
            web.post(f"{portfolio}/subaccounts/transfer", signed(exchange, self.transfer)),
            web.post(shards, signed(exchange, self.transfer_between_shards)),
        ]

    # --- reads ----------------------------------------------------------------------------------------------------

    async def balance(self, request: web.Request, account: Account) -> web.Response:
        query = Query("GetBalance", request.query)
        number = subaccount_written(request, query.integer("subaccount"))
        if number not in account.subaccounts:
            return not_found()
        return answer(wire.balance_body(account, query.integer("exchange_index"), number))

    async def resting_value(self, request: web.Request, account: Account) -> web.Response:
        return answer(wire.resting_value_body(account, subaccount_read(request, None)))

    async def settlements(self, request: web.Request, account: Account) -> web.Response:
        query = Query("GetSettlements", request.query)
        number = subaccount_read(request, query.integer("subaccount"))
        low, high = query.after_us("min_ts"), query.after_us("max_ts")
        cutoff_us = self._exchange.world.history_cutoff_us
        found = [
            s
            for s in account.settlements
            if query.text("ticker") in ("", s.ticker)
            and query.text("event_ticker") in ("", s.event_ticker)
            and number in (None, s.subaccount)
            and s.at_us >= (cutoff_us if low is None else max(low, cutoff_us))
            and (high is None or s.at_us <= high)
        ]
        rows, cursor = page(
            found,
            lambda s: newest_first(s.at_us, f"{s.ticker}|{s.subaccount}"),
            limit=query.limit(default=100, maximum=PAGE_MAX),
            cursor=query.text("cursor"),
        )
        return answer({"settlements": [wire.settlement_row(row) for row in rows], "cursor": cursor})

    async def subaccount_balances(self, _request: web.Request, account: Account) -> web.Response:
        return answer({"subaccount_balances": wire.subaccount_balances(account)})

    async def subaccount_transfers(self, request: web.Request, account: Account) -> web.Response:
        query = Query("GetSubaccountTransfers", request.query)
        within = [t for t in account.transfers if not t.crosses_shards]
        return _transfers(query, within, wire.subaccount_transfer_row, maximum=PAGE_MAX)

    async def shard_transfers(self, request: web.Request, account: Account) -> web.Response:
        query = Query("GetIntraExchangeInstanceTransfers", request.query)
        across = [t for t in account.transfers if t.crosses_shards]
        return _transfers(query, across, wire.shard_transfer_row, maximum=TRANSFERS_MAX)

    async def shard_transfer(self, request: web.Request, account: Account) -> web.Response:
        wanted = request.match_info["transfer_id"]
        found = next((t for t in account.transfers if t.transfer_id == wanted and t.crosses_shards), None)
        return answer({"transfer": wire.shard_transfer_row(found)}) if found else not_found()

    # --- subaccounts ----------------------------------------------------------------------------------------------

    async def open_subaccount(self, request: web.Request, account: Account) -> web.Response:
        body = read_body(await request.read(), request.content_type, wire.CreateSubaccountRequest, "CreateSubaccount")
        _check_shard(body.exchange_index, "CreateSubaccount")
        opened = account.open_subaccount(body.exchange_index)
        if opened is None:
            return nested(400, "invalid_parameters", "no more than 63 subaccounts")
        return answer({"subaccount_number": opened.number}, status=201)

    async def netting(self, _request: web.Request, account: Account) -> web.Response:
        return answer({"netting_configs": wire.netting_configs(account)})

    async def set_netting(self, request: web.Request, account: Account) -> web.Response:
        body = read_body(
            await request.read(), request.content_type, wire.UpdateSubaccountNettingRequest, "UpdateSubaccountNetting"
        )
        if body.subaccount_number not in account.subaccounts:
            return not_found()
        clearing = self._exchange.world.clearing
        if not clearing.set_netting(account, body.subaccount_number, enabled=body.enabled):
            return answer(INSUFFICIENT_BALANCE.body(), status=INSUFFICIENT_BALANCE.status)
        self._exchange.flush()
        return web.Response(status=200)

    # --- transfers ------------------------------------------------------------------------------------------------

    async def transfer(self, request: web.Request, account: Account) -> web.Response:
        operation = "ApplySubaccountTransfer"
        body = read_body(await request.read(), request.content_type, wire.ApplySubaccountTransferRequest, operation)
        _check_shard(body.exchange_index, operation)
        made = self._request(
            account,
            ((body.exchange_index, body.from_subaccount), (body.exchange_index, body.to_subaccount)),
            body.amount_cents * CENT_UD,
            client_transfer_id=body.client_transfer_id,
            operation=operation,
        )
        return answer(made.body(), status=made.status) if isinstance(made, Refusal) else answer({})

    async def transfer_between_shards(self, request: web.Request, account: Account) -> web.Response:
        operation = "IntraExchangeInstanceTransfer"
        body = read_body(
            await request.read(), request.content_type, wire.IntraExchangeInstanceTransferRequest, operation
        )
        if (body.source, body.destination) != (wire.EVENT_CONTRACT, wire.EVENT_CONTRACT):
            return nested(403, "forbidden", "this account has no margined instance")
        for shard in (body.source_exchange_shard, body.destination_exchange_shard):
            _check_shard(shard, operation)
        made = self._request(
            account,
            (
                (body.source_exchange_shard, body.source_subaccount),
                (body.destination_exchange_shard, body.destination_subaccount),
            ),
            body.amount * CENTI_CENT_UD,
            client_transfer_id=body.client_transfer_id,
            operation=operation,
        )
        if isinstance(made, Refusal):
            return answer(made.body(), status=made.status)
        return answer({"transfer_id": made.transfer_id})

    def _request(
        self,
        account: Account,
        route: tuple[Balance, Balance],
        amount_ud: int,
        *,
        client_transfer_id: str,
        operation: str,
    ) -> Transfer | Refusal:
        if amount_ud <= 0:
            raise BadParameter(operation, "amount must be positive")
        if client_transfer_id and not _is_uuid(client_transfer_id):
            raise BadParameter(operation, "client_transfer_id must be a UUID")
        made = self._exchange.world.transfers.request(account, *route, amount_ud, client_transfer_id=client_transfer_id)
        self._exchange.flush()
        return made

    # --- allocation -----------------------------------------------------------------------------------------------

    async def allocation(self, _request: web.Request, account: Account) -> web.Response:
        return answer(wire.allocation_body(account.allocation or Allocation()))

    async def set_allocation(self, request: web.Request, account: Account) -> web.Response:
        operation = "SetTargetBalanceAllocation"
        body = read_body(await request.read(), request.content_type, wire.SetTargetBalanceAllocationRequest, operation)
        percents: dict[int, int] = {}
        for row in body.allocations:
            _check_shard(row.exchange_index, operation)
            if not 0 <= row.percent <= 100 or row.exchange_index in percents:
                raise BadParameter(operation, "percent must be in 0..100, once for an exchange_index")
            percents[row.exchange_index] = row.percent
        if percents and sum(percents.values()) != 100:
            raise BadParameter(operation, "percentages must total 100")
        self._exchange.world.transfers.allocate(account, Allocation(percents, body.resting_margin_reservation))
        return answer({})


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def _check_shard(exchange_index: int, operation: str) -> None:
    if exchange_index not in SHARDS:
        raise BadParameter(operation, f"exchange_index: no shard {exchange_index}")


def _transfers(
    query: Query, transfers: list[Transfer], row: Callable[[Transfer], dict[str, Any]], *, maximum: int
) -> web.Response:
    rows, cursor = page(
        transfers,
        lambda t: newest_first(t.created_us, t.transfer_id),
        limit=query.limit(default=100, maximum=maximum),
        cursor=query.text("cursor"),
    )
    return answer({"transfers": [row(transfer) for transfer in rows], "cursor": cursor})
