"""Programs, credits and fees on the control port: what a test lays on, and what it judges by.

GET  /programs   every program with its status          POST /programs        put one on the list
GET  /credits    seconds, sums and credits by program    POST /fees/series     schedule other fees of a series
                 (?program_id=, ?account=)               POST /fees/events     schedule or clear an override
                                                         POST /fees/waivers    waive a market's fees until then
                                                         POST /fees/members    direct member, or through a broker
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from feed.exchange.catalog import LIQUIDITY, FeeTerms, Program
from feed.exchange.control_bodies import moment_us, problem, read_body
from feed.exchange.incentives.ledger import Statement
from feed.exchange.rest.incentives import event_change_row, series_change_row
from feed.exchange.wire import public as wire
from feed.exchange.wire.answers import answer
from markets.core.units import format_dollars, parse_count

if TYPE_CHECKING:
    from feed.exchange.server import LocalExchange

MULTIPLIER_MAX = 1_000
PAID_AFTER_MAX_S = 31 * 86_400


class NewProgram(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A program in the venue's words; `paid_after_s` says how long after its end it is paid."""

    market_ticker: str
    start_date: datetime
    end_date: datetime
    period_reward: int
    target_size_fp: str | None = None
    discount_factor_bps: int | None = None
    max_reward_per_account: int | None = None
    incentive_type: str = LIQUIDITY
    incentive_description: str = "series_lip"
    paid_after_s: int = 60


class NewSeriesFees(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    series_ticker: str
    fee_type: str
    fee_multiplier: Decimal
    scheduled_ts: datetime


class NewEventFees(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An override: both fields, or null in both to clear it."""

    event_ticker: str
    fee_type_override: str | None
    fee_multiplier_override: Decimal | None
    scheduled_ts: datetime


class NewWaiver(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    market_ticker: str
    fee_waiver_expiration_time: datetime


class NewMembership(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    account: str
    is_direct_member: bool


class IncentiveControl:
    """Handlers of /programs, /credits and /fees."""

    def __init__(self, exchange: LocalExchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/programs", self.programs),
            web.post("/programs", self.add_program),
            web.get("/credits", self.credits),
            web.post("/fees/series", self.change_series),
            web.post("/fees/events", self.change_event),
            web.post("/fees/waivers", self.waive),
            web.post("/fees/members", self.set_membership),
        ]

    async def programs(self, _request: web.Request) -> web.Response:
        world = self._exchange.step()
        rows = [
            {
                **wire.program_body(program, world.now_us),
                "status": program.status(world.now_us),
                "paid_date": wire.rfc3339(program.paid_us),
            }
            for program in world.programs.values()
        ]
        return answer({"programs": rows})

    async def add_program(self, request: web.Request) -> web.Response:
        """Put a program on the list: it runs, ends and is paid by itself; answers its id."""
        try:
            new = read_body(await request.read(), NewProgram)
            program = self._program(new)
            self._exchange.step().incentives.enrol(program)
        except ValueError as exc:
            return problem(exc)
        return answer({"id": program.program_id}, status=201)

    def _program(self, new: NewProgram) -> Program:
        world = self._exchange.world
        if new.market_ticker not in world.markets:
            raise ValueError(f"market_ticker: no market {new.market_ticker!r} is listed")
        if not 0 <= new.paid_after_s <= PAID_AFTER_MAX_S:
            raise ValueError(f"paid_after_s: expected 0 to {PAID_AFTER_MAX_S}, found {new.paid_after_s}")
        end_us = moment_us(new.end_date, "end_date")
        return Program(
            program_id=world.new_id(),
            market_id=world.markets[new.market_ticker].terms.market_id,
            market_ticker=new.market_ticker,
            description=new.incentive_description,
            start_us=moment_us(new.start_date, "start_date"),
            end_us=end_us,
            paid_us=end_us + new.paid_after_s * 1_000_000,
            period_reward_cc=new.period_reward,
            incentive_type=new.incentive_type,
            target_size_cx=_count(new.target_size_fp, "target_size_fp"),
            discount_bps=new.discount_factor_bps,
            max_reward_cc=new.max_reward_per_account,
        )

    async def credits(self, request: web.Request) -> web.Response:
        world = self._exchange.step()
        wanted, account = request.query.get("program_id", ""), request.query.get("account", "")
        statements = [
            statement
            for program_id in world.programs
            if wanted in ("", program_id) and (statement := world.incentives.statement(program_id)) is not None
        ]
        return answer({"programs": [statement_body(s, world.now_us, account=account) for s in statements]})

    # --- fees -----------------------------------------------------------------------------------------------------

    async def change_series(self, request: web.Request) -> web.Response:
        try:
            new = read_body(await request.read(), NewSeriesFees)
            terms = FeeTerms(new.fee_type, _multiplier_bps(new.fee_multiplier, "fee_multiplier"))
            world = self._exchange.step()
            if new.series_ticker not in world.series:
                raise ValueError(f"series_ticker: no series {new.series_ticker!r} is listed")
            at_us = moment_us(new.scheduled_ts, "scheduled_ts")
            change = world.tariff.change_series(new.series_ticker, terms, at_us=at_us)
        except ValueError as exc:
            return problem(exc)
        self._exchange.step()
        return answer(series_change_row(change), status=201)

    async def change_event(self, request: web.Request) -> web.Response:
        try:
            new = read_body(await request.read(), NewEventFees)
            world = self._exchange.step()
            if new.event_ticker not in world.events:
                raise ValueError(f"event_ticker: no event {new.event_ticker!r} is listed")
            at_us = moment_us(new.scheduled_ts, "scheduled_ts")
            change = world.tariff.change_event(new.event_ticker, _override(new), at_us=at_us)
        except ValueError as exc:
            return problem(exc)
        self._exchange.step()
        return answer(event_change_row(change), status=201)

    async def waive(self, request: web.Request) -> web.Response:
        try:
            new = read_body(await request.read(), NewWaiver)
            market = self._exchange.step().markets.get(new.market_ticker)
            if market is None:
                raise ValueError(f"market_ticker: no market {new.market_ticker!r} is listed")
            until_us = moment_us(new.fee_waiver_expiration_time, "fee_waiver_expiration_time")
        except ValueError as exc:
            return problem(exc)
        market.terms = msgspec.structs.replace(market.terms, fee_waiver_until_us=until_us)
        return answer({"market_ticker": market.ticker, "fee_waiver_expiration_time": wire.rfc3339(until_us)})

    async def set_membership(self, request: web.Request) -> web.Response:
        try:
            new = read_body(await request.read(), NewMembership)
        except ValueError as exc:
            return problem(exc)
        self._exchange.step().account(new.account).is_direct_member = new.is_direct_member
        return answer({"account": new.account, "is_direct_member": new.is_direct_member})


def statement_body(statement: Statement, now_us: int, *, account: str) -> dict[str, Any]:
    """Return a program's credits; `raw` dollars are an exact fraction, or one held very closely (`is_exact`)."""
    program = statement.program
    return {
        "program_id": program.program_id,
        "market_ticker": program.market_ticker,
        "status": program.status(now_us),
        "seconds_total": program.seconds,
        "seconds_included": statement.included,
        "is_paid": statement.is_paid,
        "credits": [
            {
                "account": credit.owner,
                "raw": f"{credit.raw.numerator}/{credit.raw.denominator}",
                "is_exact": credit.is_exact,
                "credit_dollars": format_dollars(credit.amount_ud),
            }
            for credit in statement.credits
            if account in ("", credit.owner)
        ],
    }


def _count(text: str | None, field: str) -> int | None:
    try:
        return None if text is None else parse_count(text)
    except ValueError as exc:
        raise ValueError(f"{field}: {exc}") from exc


def _multiplier_bps(value: Decimal, field: str) -> int:
    if not (value.is_finite() and 0 <= value <= MULTIPLIER_MAX):
        raise ValueError(f"{field}: expected 0 to {MULTIPLIER_MAX}, found {value}")
    bps = value * 10_000
    if bps != bps.to_integral_value():
        raise ValueError(f"{field}: expected at most four decimals, found {value}")
    return int(bps)


def _override(new: NewEventFees) -> FeeTerms | None:
    if (new.fee_type_override is None) != (new.fee_multiplier_override is None):
        raise ValueError("fee_type_override, fee_multiplier_override: expected both, or null in both")
    if new.fee_type_override is None or new.fee_multiplier_override is None:
        return None
    return FeeTerms(new.fee_type_override, _multiplier_bps(new.fee_multiplier_override, "fee_multiplier_override"))
