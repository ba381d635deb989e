"""REST of what trading earns and costs beside the price: incentive programs and scheduled fee changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from feed.exchange.catalog import INCENTIVE_TYPES, Program
from feed.exchange.rest.public import BASE
from feed.exchange.trading.tariff import EventFeeChange, SeriesFeeChange
from feed.exchange.wire import public as wire
from feed.exchange.wire.answers import Query, answer, newest_first, page

if TYPE_CHECKING:
    from feed.exchange.server import LocalExchange

PROGRAM_STATUSES = ("all", "active", "upcoming", "closed", "paid_out")
PROGRAM_TYPES = ("all", *INCENTIVE_TYPES)


class IncentiveReads:
    """Handlers anybody may call."""

    def __init__(self, exchange: LocalExchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(BASE + "/incentive_programs", self.incentive_programs),
            web.get(BASE + "/series/fee_changes", self.series_fee_changes),
            web.get(BASE + "/events/fee_changes", self.event_fee_changes),
        ]

    async def incentive_programs(self, request: web.Request) -> web.Response:
        query = Query("GetIncentivePrograms", request.query)
        limit = query.limit(default=100, maximum=10_000)
        status = query.choice("status", PROGRAM_STATUSES) or "all"
        kind = query.choice("type", PROGRAM_TYPES) or "all"
        description = query.text("incentive_description")
        world = self._exchange.step()

        def is_wanted(program: Program) -> bool:
            return (
                status in ("all", program.status(world.now_us))
                and kind in ("all", program.incentive_type)
                and description in ("", program.description)
            )

        programs, cursor = page(
            [p for p in world.programs.values() if is_wanted(p)],
            lambda p: newest_first(p.start_us, p.program_id),
            limit=limit,
            cursor=query.text("cursor"),
        )
        rows = [wire.program_body(program, world.now_us) for program in programs]
        # The one list of the venue whose cursor is called so.
        return answer({"incentive_programs": rows, "next_cursor": cursor})

    async def series_fee_changes(self, request: web.Request) -> web.Response:
        query = Query("GetSeriesFeeChanges", request.query)
        ticker, with_past = query.text("series_ticker"), query.flag("show_historical")
        world = self._exchange.step()
        rows = [
            series_change_row(change)
            for change in world.tariff.series_changes
            if ticker in ("", change.series_ticker) and (with_past or change.scheduled_us > world.now_us)
        ]
        return answer({"series_fee_change_arr": rows})

    async def event_fee_changes(self, request: web.Request) -> web.Response:
        query = Query("GetEventFeeChanges", request.query)
        limit = query.limit(default=100, maximum=1_000)
        ticker = query.text("event_ticker")
        changes, cursor = page(
            [c for c in self._exchange.step().tariff.event_changes if ticker in ("", c.event_ticker)],
            lambda c: newest_first(c.scheduled_us, c.change_id),
            limit=limit,
            cursor=query.text("cursor"),
        )
        return answer({"event_fee_changes": [event_change_row(change) for change in changes], "cursor": cursor})


def series_change_row(change: SeriesFeeChange) -> dict[str, Any]:
    return {
        "id": change.change_id,
        "series_ticker": change.series_ticker,
        "fee_type": change.terms.fee_type,
        "fee_multiplier": wire.multiplier(change.terms.multiplier_bps),
        "scheduled_ts": wire.rfc3339(change.scheduled_us),
    }


def event_change_row(change: EventFeeChange) -> dict[str, Any]:
    return {
        "id": change.change_id,
        "event_ticker": change.event_ticker,
        "series_ticker": change.series_ticker,
        **wire.fee_override(change.terms),
        "scheduled_ts": wire.rfc3339(change.scheduled_us),
    }
