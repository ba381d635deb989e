"""REST of milestones: the moments events wait for. Each event has one, at its strike date."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from feed.exchange.catalog import Event, Series
from feed.exchange.rest.public import BASE
from feed.exchange.wire import public as wire
from feed.exchange.wire.answers import Query, answer, not_found, page
from feed.exchange.world import stable_uuid

if TYPE_CHECKING:
    from feed.exchange.server import LocalExchange

PAGE_MAX = 500
TARGETS_MAX = 2_000


class MilestoneReads:
    """Handlers anybody may call. Structured targets (teams, players) do not exist here, so their list is empty."""

    def __init__(self, exchange: LocalExchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(f"{BASE}/milestones", self.milestones),
            web.get(f"{BASE}/milestones/{{milestone_id}}", self.milestone),
            web.get(f"{BASE}/structured_targets", self.targets),
            web.get(f"{BASE}/structured_targets/{{structured_target_id}}", self.target),
        ]

    async def milestones(self, request: web.Request) -> web.Response:
        query = Query("GetMilestones", request.query)
        limit = query.required_limit(maximum=PAGE_MAX)
        start_us, since_us = query.moment_us("minimum_start_date"), query.after_us("min_updated_ts")
        category, kind, event_ticker = (
            query.text("category"),
            query.text("type"),
            query.text("related_event_ticker"),
        )
        known_elsewhere = query.text("competition") or query.text("source_id")
        world = self._exchange.step()
        found = [
            event
            for event in world.events.values()
            if not known_elsewhere
            and (start_us is None or event.strike_us >= start_us)
            and (since_us is None or event.created_us >= since_us)
            and category in ("", world.series[event.series_ticker].category)
            and kind in ("", _type_of(world.series[event.series_ticker]))
            and event_ticker in ("", event.ticker)
        ]
        events, cursor = page(
            found, lambda e: f"{e.strike_us:019d}|{e.ticker}", limit=limit, cursor=query.text("cursor")
        )
        rows = [milestone_of(event, world.series[event.series_ticker]) for event in events]
        return answer({"milestones": rows, "cursor": cursor})

    async def milestone(self, request: web.Request) -> web.Response:
        world = self._exchange.step()
        for event in world.events.values():
            if _id_of(event) == request.match_info["milestone_id"]:
                return answer({"milestone": milestone_of(event, world.series[event.series_ticker])})
        return not_found()

    async def targets(self, request: web.Request) -> web.Response:
        query = Query("GetStructuredTargets", request.query)
        query.limit(default=100, maximum=TARGETS_MAX, name="page_size")
        return answer({"structured_targets": [], "cursor": ""})

    async def target(self, _request: web.Request) -> web.Response:
        return not_found()


def milestone_of(event: Event, series: Series) -> dict[str, Any]:
    return {
        "id": _id_of(event),
        "category": series.category,
        "type": _type_of(series),
        "start_date": wire.rfc3339(event.strike_us),
        "end_date": None,
        "related_event_tickers": [event.ticker],
        "primary_event_tickers": [event.ticker],
        "title": event.title,
        "notification_message": "",
        "details": {},
        "last_updated_ts": wire.rfc3339(event.created_us),
    }


def _id_of(event: Event) -> str:
    return stable_uuid(f"milestone:{event.ticker}")


def _type_of(series: Series) -> str:
    return f"{series.category.lower().replace(' ', '_')}_event"
