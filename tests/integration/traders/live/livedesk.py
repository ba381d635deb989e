"""A sender and a looker before the local exchange, its private messages, and its own ledger to judge by."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import aiohttp
import msgspec

from feed.account.reading import told_fill, told_group, told_order
from feed.exchange.catalog import Event, Series, Terms
from feed.exchange.keyfiles import OWNER
from feed.exchange.server import LocalExchange, Ready, serve
from feed.exchange.switches import Switches
from feed.exchange.world import World
from feed.kalshi import reading
from feed.kalshi.environments import resolve
from feed.kalshi.limiter import BASIC, Ask, Granted, Level, Limits, Refused, charges, drain, take
from feed.kalshi.rest import Rest
from feed.kalshi.signing import Signer
from feed.kalshi.wire import frames
from markets.core.orderids import Owner
from markets.core.units import Side, format_count, format_price, parse_count
from tests.fixtures.virtualtime import LoopClock
from traders.brokers.looking import Looker
from traders.brokers.sending import Sender
from traders.brokers.venue import Venue
from traders.core.commands import CancelOrder, Command, PlaceOrder
from traders.core.intents import Answered, Intent, Outcome, Place, Record, Take
from traders.core.liveorders import LiveOrders
from traders.core.orders import Fill
from traders.start import LiveStart

NOW_US = 1_795_337_400_000_000
SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
TICKER = "KXTEST-26NOV22-A"
ORDERS = "/portfolio/events/orders"
YES, NO = Side.YES, Side.NO
TRADER = Owner(7, 3, 1)
STEP_S = 0.25  # of the exchange: its timers need no more here


class MemoryLimiter:
    """The account's token budget, in this process."""

    def __init__(self, clock: LoopClock, limits: Limits) -> None:
        self.limits = limits
        self._clock = clock
        self._levels: dict[str, Level] = {}

    async def acquire(self, ask: Ask) -> Granted | Refused:
        self._levels, answer = take(self._levels, charges(ask, self.limits), self._clock.now_us())
        return answer

    async def rate_limited(self, ask: Ask) -> None:
        self._levels = drain(self._levels, charges(ask, self.limits), self._clock.now_us(), jitter_permille=0)


class LiveDesk:
    """One live trader at an exchange with one empty market; whoever decides is the test."""

    def __init__(self, clock: LoopClock, exchange: LocalExchange, rest: Rest, control_url: str) -> None:
        self.clock, self.exchange, self.rest, self._control_url = clock, exchange, rest, control_url
        self.journal: list[Record] = []
        self.wished: dict[str, Place | Take] = {}
        self.booked: Counter[tuple[str, str]] = Counter()
        self.position_cx = 0
        self.told: dict[str, str] = {}
        self.limiter: MemoryLimiter | None = None
        self._changed = asyncio.Event()
        self._heard = 0

    async def open(self, **terms: Any) -> None:
        """Make the group, and everything that is in it."""
        self.group_id = (await self.rest.groups.create(100_000_000, exchange_index=0)).order_group_id
        start = LiveStart(
            environment="local", rest_url="", key="k", installation=7, epoch=1, group_id=self.group_id,
            exchange_index=0, grant=1, **{"grant_expires_us": NOW_US + HOUR_US, **terms},
        )  # fmt: skip
        self.live = LiveOrders(TRADER, TICKER, group_id=self.group_id)
        self.venue = Venue(self.rest, start, TICKER, self.clock.now_us)
        self.sender = Sender(
            self.live, self.venue, write=self.journal.append, synced=self._synced, now_us=self.clock.now_us,
            changed=self._note,
        )  # fmt: skip
        self.looker = Looker(self.live, self.venue, now_us=self.clock.now_us, changed=self._note)

    async def _synced(self) -> None:
        await asyncio.sleep(0.002)

    @property
    def now_us(self) -> int:
        return self.clock.now_us()

    # --- what the trader does -----------------------------------------------------------------------------------------

    def wish(self, command: Command, **options: Any) -> Intent:
        intent = self.live.wish(command, self.now_us)
        assert isinstance(intent, Intent), intent
        self._put(intent, **options)
        return intent

    def cancel_all(self) -> list[Intent]:
        intents = self.live.cancel_all("stop", self.now_us)
        for intent in intents:
            self._put(intent)
        return intents

    def _put(self, intent: Intent, **options: Any) -> None:
        self.journal.append(intent)
        if isinstance(intent.wish, Place | Take):
            self.wished[intent.client_order_id] = intent.wish
        self.sender.put(intent, **options)

    async def does(self, command: Command, **options: Any) -> tuple[Outcome, str]:
        return await self.answer(self.wish(command, **options))

    async def answer(self, intent: Intent) -> tuple[Outcome, str]:
        def found() -> list[Answered]:
            return [one for one in self.journal if isinstance(one, Answered) and one.number == intent.number]

        await self.until(found)
        return found()[0].outcome, found()[0].code

    async def placed(self, side: Side = YES, price_cc: int = 4_000, count_cx: int = 1_000, **more: Any) -> str:
        """Return the client order id of an order that rests."""
        intent = self.wish(PlaceOrder(side, price_cc, count_cx, **more))
        assert await self.answer(intent) == (Outcome.ACCEPTED, "")
        return intent.client_order_id

    def cancel(self, client_order_id: str) -> Intent:
        return self.wish(CancelOrder(client_order_id, "repriced"))

    def resting(self) -> dict[str, int]:
        return {quote.client_order_id: quote.remaining_cx for quote in self.live.resting()}

    def unproven_cx(self) -> int:
        return sum(order.remaining_cx for order in self.live.unproven())

    def _note(self) -> None:
        """Count what is told, as the engine does."""
        for event in self.live.take():
            if isinstance(event, Fill):
                self.booked[event.order.order_id, event.trade_id] += 1
                self.position_cx += event.count_cx if event.order.side is YES else -event.count_cx
            else:
                self.told[event.client_order_id] = str(event.status)
        self._changed.set()

    # --- time ---------------------------------------------------------------------------------------------------------

    async def until(self, is_so: Callable[[], Any], *, within_s: float = 900) -> None:
        async with asyncio.timeout(within_s):
            while not is_so():
                await self._changed.wait()
                self._changed.clear()

    async def later(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def settled(self) -> None:
        """Wait until nothing is in doubt any more."""
        await self.until(lambda: not self.live.unsettled())

    # --- the exchange -------------------------------------------------------------------------------------------------

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        async with aiohttp.request(method, self._control_url + path, json=body) as response:
            answer = msgspec.json.decode(await response.read())
            assert response.status < 300, answer
            return answer

    async def fault(self, do: str, **more: Any) -> None:
        await self.control("POST", "/faults", [{"do": do, **more}])

    async def heal(self) -> None:
        await self.control("DELETE", "/faults")

    async def applied(self) -> list[str]:
        """Return the faults that happened, in order."""
        return [one["do"] for one in (await self.control("GET", "/faults/applied"))["applied"] if one["id"]]

    async def outsider(self, side: Side, price_cc: int, count_cx: int) -> None:
        """Place an order of somebody else; `price_cc` is on its own ladder."""
        yes_cc = price_cc if side is YES else 10_000 - price_cc
        body = {
            "ticker": TICKER, "side": side.book_side, "price": format_price(yes_cc), "count": format_count(count_cx),
            "time_in_force": "good_till_canceled", "self_trade_prevention_type": "taker_at_cross",
        }  # fmt: skip
        await self.control("POST", "/orders", body)

    def hear(self, *, times: int = 1, backwards: bool = False) -> None:
        """Take in what the account's private channels have told since the last time."""
        lines = self.exchange.ledger.after(self._heard, kind="event", account=OWNER)
        self._heard = max([self._heard, *(line.number for line in lines)])
        for line in (lines[::-1] if backwards else lines) * times:
            self._hear(line.channel, msgspec.Raw(msgspec.json.encode(line.body)))
        self._note()

    def _hear(self, channel: str, body: msgspec.Raw) -> None:
        if channel == "user_orders":
            event = reading.order(frames.UserOrder(sid=1, msg=body))
            self.live.on_order(told_order(event, self.now_us), self.now_us)
        elif channel == "fill":
            self.live.on_fill(told_fill(reading.fill(frames.Fill(sid=1, msg=body)), self.now_us), self.now_us)
        elif channel == "order_group_updates":
            group = reading.group(frames.OrderGroupUpdate(sid=1, msg=body))
            self.live.on_group(told_group(group), self.now_us)

    def requests(self, method: str, path: str = ORDERS) -> list[Mapping[str, Any]]:
        """Return the bodies of the requests that reached the exchange."""
        lines = self.exchange.ledger.after(0, kind="request", account=OWNER)
        wanted = f"/trade-api/v2{path}"
        return [
            msgspec.json.decode(line.body) or {}
            for line in lines
            if line.method == method and line.path.partition("?")[0] == wanted
        ]

    def cancels(self) -> int:
        """Return how many requests to cancel reached the exchange."""
        lines = self.exchange.ledger.after(0, kind="request", account=OWNER)
        return sum(line.method == "DELETE" and f"{ORDERS}/" in line.path for line in lines)

    # --- the checker --------------------------------------------------------------------------------------------------

    async def orders(self) -> dict[str, Mapping[str, Any]]:
        """Return our orders as the exchange's own ledger has them, each once."""
        account = (await self.control("GET", f"/ledger?account={OWNER}"))[OWNER]
        names = Counter(order["client_order_id"] for order in account["orders"])
        assert all(count == 1 for count in names.values()), names
        return {order["client_order_id"]: order for order in account["orders"]}

    async def agrees(self) -> None:
        """Compare all that is known with the exchange's own ledger: no order twice, fills booked once, position."""
        account = (await self.control("GET", f"/ledger?account={OWNER}"))[OWNER]
        orders = await self.orders()
        assert orders.keys() <= self.wished.keys()
        sent = Counter(body["client_order_id"] for body in self._creates())
        assert all(count == 1 for count in sent.values()), sent
        for name, order in orders.items():
            assert parse_count(order["initial_count_fp"]) <= self.wished[name].count_cx
            assert parse_count(order["fill_count_fp"]) <= self.wished[name].count_cx
        rests = {
            name: parse_count(order["remaining_count_fp"])
            for name, order in orders.items()
            if order["status"] == "resting"
        }
        assert self.resting() == rests
        assert self.live.unproven() == ()
        fills = {(fill["order_id"], fill["trade_id"]) for fill in account["fills"]}
        assert dict.fromkeys(self.booked, 1) == self.booked, "a fill was booked twice"
        assert self.booked.keys() == fills
        positions = {row["ticker"]: parse_count(row["position_fp"]) for row in account["positions"]}
        assert self.position_cx == positions.get(TICKER, 0)

    def _creates(self) -> list[Mapping[str, Any]]:
        batches = self.requests("POST", f"{ORDERS}/batched")
        return [*self.requests("POST"), *(order for batch in batches for order in batch["orders"])]


@contextlib.asynccontextmanager
async def live_desk(
    key_dir: Path,
    *,
    tier: str = "prestige",
    limits: Limits | None = None,
    date_off_s: int = 0,
    start: Mapping[str, Any] | None = None,
    **switches: Any,
) -> AsyncIterator[LiveDesk]:
    """Start an exchange, and a trader at it.

    Args:
        limits: Of the token budget; None has none.
        date_off_s: How far the exchange's dates are ahead of our clock.
    """
    clock, venue_clock = LoopClock(NOW_US), LoopClock(NOW_US)

    def date() -> str:
        return email.utils.formatdate(venue_clock.wall_us() / SECOND_US + date_off_s, usegmt=True)

    with (
        mock.patch("aiohttp.web_response.rfc822_formatted_time", date),
        mock.patch("feed.exchange.server.STEP_S", STEP_S),
    ):
        exchange, stop = LocalExchange(_world(**switches), clock=venue_clock, tier=tier), asyncio.Event()
        ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        server = asyncio.create_task(serve(exchange, stop, port=0, key_dir=key_dir, announce=ready.set_result))
        address = await ready
        signer = Signer.from_file("local", address.key_id, Path(address.private_key_path))
        limiter = limits and MemoryLimiter(clock, limits)
        environment = resolve("local", address.rest, address.ws)
        async with Rest(environment, signer, clock, limiter=limiter) as rest:
            desk = LiveDesk(clock, exchange, rest, address.control)
            desk.limiter = limiter
            await desk.open(**(start or {}))
            async with asyncio.TaskGroup() as tasks:
                running = asyncio.Event()
                tasks.create_task(desk.sender.run(running))
                tasks.create_task(desk.looker.run(running))
                try:
                    yield desk
                finally:
                    running.set()
        stop.set()
        await server


def _world(**switches: Any) -> World:
    world = World(seed=1, now_us=NOW_US, switches=Switches(**switches))
    world.series["KXTEST"] = Series("KXTEST", "Test", "Tests", ("Unit",), "custom", ("Somebody", "https://a.invalid/"))
    world.list_event(Event("KXTEST-26NOV22", "KXTEST", "Test?", "", "MECNET", NOW_US, NOW_US))
    terms = Terms(
        ticker=TICKER, market_id="id-of-A", event_ticker="KXTEST-26NOV22",
        title="Test?", yes_sub_title="Yes", no_sub_title="No", rules_primary="If so.", rules_secondary="",
        created_us=NOW_US, open_us=NOW_US, close_us=NOW_US + 2 * HOUR_US, expected_expiration_us=NOW_US + 2 * HOUR_US,
        latest_expiration_us=NOW_US + 3 * HOUR_US, settlement_timer_s=60, structure="linear_cent",
    )  # fmt: skip
    world.list_market(terms, judge=lambda: "yes", determine_after_us=60_000_000)
    return world


__all__ = ["BASIC", "LiveDesk", "live_desk"]
