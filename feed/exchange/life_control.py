"""The control port's hand on markets, halts and money: what only the exchange itself can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from aiohttp import web

from feed.exchange.catalog import PRICE_STRUCTURES, SHARDS
from feed.exchange.control_bodies import problem, read_body, seconds_us
from feed.exchange.life import WrongState
from feed.exchange.market import Market
from feed.exchange.pauses import Halt, Scope, Window
from feed.exchange.trading.ledger import Kind
from feed.exchange.wire import money as money_wire
from feed.exchange.wire import public as wire
from feed.exchange.wire.answers import answer
from markets.core.units import DOLLAR_UD, parse_price

if TYPE_CHECKING:
    from feed.exchange.server import LocalExchange


class PauseRequest(msgspec.Struct, forbid_unknown_fields=True):
    """`halt` trading or everything; on a shard, in a market, or everywhere when neither is named."""

    halt: Halt = "trading"
    exchange_index: int | None = None
    ticker: str | None = None

    @property
    def scope(self) -> Scope:
        return self.ticker if self.ticker is not None else self.exchange_index


class MaintenanceRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A planned window, Unix seconds."""

    start_ts: int
    end_ts: int
    halt: Halt = "trading"


class MoveCloseRequest(msgspec.Struct, forbid_unknown_fields=True):
    close_ts: int


class ResultRequest(msgspec.Struct, forbid_unknown_fields=True):
    """`value` is what a YES contract is worth, only for a scalar result."""

    result: Literal["yes", "no", "scalar"]
    value: str | None = None

    def value_cc(self) -> int | None:
        return None if self.value is None else parse_price(self.value)


class StructureRequest(msgspec.Struct, forbid_unknown_fields=True):
    price_level_structure: str


class StrikeFields(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The strike of a market in the venue's words; only what is given changes."""

    strike_type: str | msgspec.UnsetType = msgspec.UNSET
    floor_strike: int | float | msgspec.UnsetType = msgspec.UNSET
    cap_strike: int | float | msgspec.UnsetType = msgspec.UNSET
    custom_strike: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


class MetadataRequest(msgspec.Struct, forbid_unknown_fields=True):
    yes_sub_title: str | None = None
    strike: StrikeFields = msgspec.field(default_factory=StrikeFields)


class CashRequest(msgspec.Struct, forbid_unknown_fields=True):
    """`amount` in dollars, up to six decimals."""

    amount: str
    exchange_index: int = 0
    subaccount: int = 0

    def amount_ud(self) -> int:
        whole, _, fraction = self.amount.partition(".")
        if not (self.amount.isascii() and whole.isdigit() and (fraction or "0").isdigit() and len(fraction) <= 6):
            raise ValueError(f"amount must be dollars such as 12.50, found {self.amount!r}")
        return int(whole) * DOLLAR_UD + int(fraction.ljust(6, "0"))


class LifeControl:
    """Handlers of the control port."""

    def __init__(self, exchange: LocalExchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        changes: dict[str, Callable[[Market, bytes], None]] = {
            "close": self._close,
            "deactivate": self._deactivate,
            "activate": self._activate,
            "move_close": self._move_close,
            "determine": self._determine,
            "dispute": self._dispute,
            "amend": self._amend,
            "settle": self._settle,
            "structure": self._restructure,
            "metadata": self._update_metadata,
        }
        return [
            web.post("/pauses", self.pause),
            web.delete("/pauses", self.resume),
            web.post("/maintenance", self.plan),
            web.post("/accounts/{name}/deposit", self.deposit),
            web.post("/accounts/{name}/withdraw", self.withdraw),
            *(web.post(f"/markets/{{ticker}}/{word}", self._on_market(change)) for word, change in changes.items()),
        ]

    # --- halts ----------------------------------------------------------------------------------------------------

    async def pause(self, request: web.Request) -> web.Response:
        return await self._halt(request, self._exchange.world.pause)

    async def resume(self, request: web.Request) -> web.Response:
        return await self._halt(request, self._exchange.world.resume)

    async def _halt(self, request: web.Request, act: Callable[[Halt, Scope], None]) -> web.Response:
        try:
            body = read_body(await request.read(), PauseRequest)
        except ValueError as exc:
            return problem(exc)
        world = self._exchange.step()
        if body.ticker is not None and (body.halt == "exchange" or body.ticker not in world.markets):
            return answer({"problem": f"ticker: a listed market, and halt trading; found {body.ticker}"}, status=400)
        if body.exchange_index is not None and (body.ticker is not None or body.exchange_index not in SHARDS):
            return answer({"problem": "exchange_index: a shard, and then no ticker"}, status=400)
        act(body.halt, body.scope)
        self._exchange.flush()
        return answer({"halt": body.halt, "scope": body.scope})

    async def plan(self, request: web.Request) -> web.Response:
        """Plan a maintenance window."""
        try:
            body = read_body(await request.read(), MaintenanceRequest)
            start_us, end_us = seconds_us(body.start_ts, "start_ts"), seconds_us(body.end_ts, "end_ts")
        except ValueError as exc:
            return problem(exc)
        world = self._exchange.step()
        if not world.now_us // 1_000_000 * 1_000_000 <= start_us < end_us:
            return answer({"problem": "start_ts: not past, and before end_ts"}, status=400)
        world.plan(Window(start_us, end_us, body.halt))
        return answer({"windows": len(world.pauses.windows)})

    # --- markets --------------------------------------------------------------------------------------------------

    def _on_market(self, change: Callable[[Market, bytes], None]) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            raw = await request.read()
            market = self._exchange.step().markets.get(request.match_info["ticker"])
            if market is None:
                return answer({"problem": "no such market"}, status=404)
            try:
                change(market, raw)
            except WrongState as exc:
                return answer({"problem": str(exc)}, status=409)
            except ValueError as exc:
                return problem(exc)
            self._exchange.flush()
            close_time = wire.rfc3339(market.terms.close_us)
            return answer(
                {"ticker": market.ticker, "status": market.status, "result": market.result, "close_time": close_time}
            )

        return handle

    def _close(self, market: Market, _raw: bytes) -> None:
        self._exchange.world.life.close_early(market)

    def _deactivate(self, market: Market, _raw: bytes) -> None:
        self._exchange.world.life.deactivate(market)

    def _activate(self, market: Market, _raw: bytes) -> None:
        self._exchange.world.life.activate(market)

    def _move_close(self, market: Market, raw: bytes) -> None:
        close_us = seconds_us(read_body(raw, MoveCloseRequest).close_ts, "close_ts")
        self._exchange.world.life.move_close(market, close_us)

    def _determine(self, market: Market, raw: bytes) -> None:
        body = read_body(raw, ResultRequest)
        self._exchange.world.life.determine(market, body.result, body.value_cc())

    def _dispute(self, market: Market, _raw: bytes) -> None:
        self._exchange.world.life.dispute(market)

    def _amend(self, market: Market, raw: bytes) -> None:
        body = read_body(raw, ResultRequest)
        self._exchange.world.life.amend(market, body.result, body.value_cc())

    def _settle(self, market: Market, _raw: bytes) -> None:
        self._exchange.world.life.settle(market)

    def _restructure(self, market: Market, raw: bytes) -> None:
        structure = read_body(raw, StructureRequest).price_level_structure
        if structure not in PRICE_STRUCTURES:
            raise ValueError(f"price_level_structure: no structure {structure!r}")
        self._exchange.world.life.restructure(market, structure)

    def _update_metadata(self, market: Market, raw: bytes) -> None:
        body = read_body(raw, MetadataRequest)
        strike = msgspec.to_builtins(body.strike)
        self._exchange.world.life.update_metadata(market, yes_sub_title=body.yes_sub_title, strike=strike)

    # --- money ----------------------------------------------------------------------------------------------------

    async def deposit(self, request: web.Request) -> web.Response:
        return await self._cash(request, Kind.DEPOSIT)

    async def withdraw(self, request: web.Request) -> web.Response:
        """Take cash out, whatever rests on it; more than is there is refused."""
        return await self._cash(request, Kind.WITHDRAWAL)

    async def _cash(self, request: web.Request, kind: Kind) -> web.Response:
        try:
            body = read_body(await request.read(), CashRequest)
            amount_ud = body.amount_ud()
        except ValueError as exc:
            return problem(exc)
        world = self._exchange.step()
        account = world.account(request.match_info["name"])
        where = (body.exchange_index, body.subaccount)
        if body.exchange_index not in SHARDS or body.subaccount not in account.subaccounts:
            return answer({"problem": "exchange_index, subaccount: no such balance"}, status=400)
        if kind is Kind.DEPOSIT:
            account.post(kind, amount_ud, where, at_us=world.now_us)
        elif amount_ud > account.balance_ud(*where):
            return answer({"problem": "amount: more than the balance"}, status=409)
        else:
            world.clearing.withdraw(account, amount_ud, where)
        self._exchange.flush()
        return answer(money_wire.balance_body(account, None, body.subaccount))
