"""What the bars are measured on: every process on a home, stores and an exchange of its own, with live traders.

    exchange ◄─ws── relay ◄── gateway ──► Valkey ──► writer ──► PostgreSQL ◄── clerk
        ▲ ▲                                  │                       ▲
        │ └────────── desk ──────────────────┤                       │
        └──────────── traders ◄── spawner ◄──┴── supervisor ─────────┘

Times of waiting are those of production. Nothing here touches the installation of whoever runs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import redis.asyncio as redis_async

from feed.schema import TraderView, book_stream, decode_trader_view
from kalshimm.bench.faults import clerk
from kalshimm.bench.faults.evidence import OWNER, Evidence, Lines, Most
from kalshimm.bench.faults.relay import Relay
from kalshimm.bench.report import Progress
from kalshimm.bench.rig import Child, Exchange, Rig, all_valid, rig, want
from kalshimm.bench.scratch import scratch
from kalshimm.errors import KalshimmError
from kalshimm.runtime.heartbeat import Beat, beat_key, decode_beat
from kalshimm.runtime.home import installation_number
from traders.processes import living, send_signal, stop_all

MARKETS, LIVE, PAPER, RESTING = 20, 2, 1, 40
SERIES = "KXNFLGAME"  # the lively ones of the scenario
WORLD = ("--scenario", "busy", "--speed", "6", "--keep-frames", "100000", "--switch", "cancel_all_tail=none")
STORM_MARKETS = 200
STORM = ("--scenario", "storm", "--speed", "0.35")
LOOK_S = 0.02
WITHIN_S = 60.0
TRADERS_END_WITHIN_S = 10.0
BY_HAND = "control"  # what the exchange calls things that are done at its control port
LOW = {"side": "bid", "price": "0.0100", "count": "1.00", "time_in_force": "good_till_canceled",
       "self_trade_prevention_type": "taker_at_cross"}  # fmt: skip
IS_LIVE = {"KALSHIMM_LIVE": "1"}


class Control:
    """The exchange's control port."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url, self._session = url, session

    async def ask(self, method: str, path: str, body: object = None) -> bytes:
        async with self._session.request(method, f"{self._url}{path}", json=body) as answer:
            return await answer.read()

    async def told(self, path: str) -> Any:
        return msgspec.json.decode(await self.ask("GET", path))

    async def arm(self, *faults: dict[str, Any]) -> None:
        await self.ask("POST", "/faults", list(faults))

    async def applied(self, name: str) -> list[dict[str, Any]]:
        """Return the faults of a name that have happened."""
        found: list[dict[str, Any]] = (await self.told(f"/faults/applied?id={name}"))["applied"]
        return found


class Feed:
    """An exchange, a gateway behind a relay, and the store that it writes to."""

    def __init__(self, own: Rig, venue: Exchange, control: Control, relay: Relay, client: redis_async.Redis) -> None:
        self.own, self.venue, self.control, self.relay, self.client = own, venue, control, relay, client
        self.children: dict[str, Child] = {}
        self.tickers: list[str] = []
        self.conn = 0
        self._stacks: dict[str, contextlib.AsyncExitStack] = {}

    async def start(self, name: str, more: dict[str, str]) -> Child:
        """Start a command of manage.py, which runs until `end` or the end of the ground."""
        stack = contextlib.AsyncExitStack()
        child = await stack.enter_async_context(self.own.manage(name, name, more=self.settings() | more))
        self._stacks[name], self.children[name] = stack, child
        return child

    async def end(self, name: str, *, kill: bool = False) -> None:
        child = self.children.pop(name)
        if kill:
            child.process.kill()
            await child.process.wait()
        await self._stacks.pop(name).aclose()

    async def close(self) -> None:
        """End what was started last first."""
        for name in list(self._stacks)[::-1]:
            await self.end(name)

    def settings(self) -> dict[str, str]:
        """Return the exchange's part of a process's environment, with a key that may only read."""
        keys = Path(self.venue.private_key_path).parent
        files = {entry["file"]: entry["key_id"] for entry in msgspec.json.decode((keys / "keys.json").read_bytes())}
        return {
            "KALSHI_ENV": clerk.ENVIRONMENT,
            "KALSHI_REST_URL": self.venue.rest,
            "KALSHI_WS_URL": self.venue.ws,
            "KALSHI_KEY_ID": files["read.pem"],
            "KALSHI_PRIVATE_KEY_PATH": str(keys / "read.pem"),
        }

    async def subscribe(self, tickers: Sequence[str]) -> None:
        """Start the gateway, and wait until the books of these markets are valid."""
        self.tickers = list(tickers)
        await want(self.client, tickers, tickers)
        gateway = await self.start("gateway", {"KALSHI_WS_URL": self.relay.url})
        self.conn = await all_valid(self.client, len(tickers), gateway=gateway)

    async def beat(self, role: str, name: str) -> Beat | None:
        value: Any = await self.client.get(beat_key(role, name))
        return decode_beat(value) if value else None

    async def until(self, is_so: Callable[[], Awaitable[bool]], what: str, *, within_s: float = WITHIN_S) -> None:
        """Wait for something.

        Raises:
            KalshimmError: A process ended, or it has not come about in time.
        """
        deadline_s = time.monotonic() + within_s
        while not await is_so():
            for child in self.children.values():
                child.require_alive()
            if time.monotonic() > deadline_s:
                raise KalshimmError(f"Not within {within_s:g} s: {what}.")
            await asyncio.sleep(LOOK_S)


class Ground(Feed):
    """With traders: `live` and `paper` by number, each with its market."""

    database_url = ""
    began_s = 0.0
    _frame = 0
    done = 0  # faults that were none of the exchange's
    live: dict[int, str]
    paper: dict[int, str]
    most: dict[int, Most]
    evidence: Evidence
    _clerk: Child

    async def populate(self, say: Progress) -> None:
        """Start everybody."""
        self.live, self.paper, self.most = {}, {}, {}
        self.evidence = Evidence(installation_number(self.own.home), self.most)
        markets = sorted((await self.control.told("/state"))["markets"])
        await self.subscribe([ticker for ticker in markets if ticker.startswith(SERIES)][:MARKETS])
        for name in ("desk", "writer"):
            await self.start(name, {})
        await self._clerk.ask(clerk.Prepare(self.venue.key_id, self.venue.private_key_path), clerk.Done)
        await self.until(self._desk_is_live, "the desk is live")
        say("exchange, gateway, desk and writer run")
        await self.start("spawner", IS_LIVE)
        await self.until(self._spawner_listens, "the spawner listens")
        await self.start("supervisor", IS_LIVE)
        await self._sort_by_life()
        for number in range(RESTING - 2 * LIVE):
            ticker = self.tickers[LIVE + number % (MARKETS - LIVE)]
            await self.control.ask("POST", f"/orders?account={OWNER}", {**LOW, "ticker": ticker})
        await self.hire(self.tickers[:LIVE], is_live=True)
        await self.hire(self.tickers[LIVE : LIVE + PAPER], is_live=False)
        await self.until_all_quote()
        self.began_s, self._rows_before = time.monotonic(), await self._rows()
        say(f"{len(self.live)} live traders quote")

    async def feed_rows(self) -> int:
        """Return how many messages the gateway has taken in since the traders quoted."""
        return await self._rows() - self._rows_before

    async def _rows(self) -> int:
        beat = await self.beat("gateway", clerk.ENVIRONMENT)
        return beat.counters.get("rows", 0) if beat else 0

    async def faults(self) -> int:
        """Return how many faults there were: by the exchange's log, of the line, and of processes."""
        at_exchange = [one for one in (await self.control.told("/faults/applied"))["applied"] if one["do"] != BY_HAND]
        return len(at_exchange) + self.done

    async def _sort_by_life(self) -> None:
        """Put the markets first whose books change most: in a market that stands still a trader sends nothing."""
        lengths = {ticker: await self.client.xlen(book_stream(ticker)) for ticker in self.tickers}
        self.tickers.sort(key=lengths.__getitem__, reverse=True)

    async def hire(self, tickers: Sequence[str], *, is_live: bool) -> None:
        done = await self._clerk.ask(clerk.Hire(list(tickers), is_live), clerk.Done)
        hired = dict(zip(done.numbers, tickers, strict=True))
        (self.live if is_live else self.paper).update(hired)
        self.most.update(dict.fromkeys(hired, Most(clerk.ORDER_CX_MOST, clerk.POSITION_CX_MOST)))

    async def resume(self) -> None:
        await self._clerk.ask(clerk.Resume(), clerk.Done)

    async def look(self) -> Evidence:
        """Take over what has happened at the exchange since the last look."""
        told = await self.control.ask("GET", f"/ledger/lines?after={self.evidence.last_number}")
        self.evidence.add(msgspec.json.decode(told, type=Lines).lines)
        return self.evidence

    async def frames(self) -> list[dict[str, Any]]:
        """Return what the exchange has sent us since the last call."""
        told = await self.control.told(f"/frames?after={self._frame}&account={OWNER}")
        frames: list[dict[str, Any]] = told["frames"]
        self._frame = frames[-1]["number"] if frames else self._frame
        return frames

    async def view(self, trader: int, *, since_us: int = 0) -> TraderView | None:
        """Return what the process of a trader that runs now last said, if it has said anything since a moment."""
        beat = await self.beat("trader", str(trader))
        process = living(self.own.home).get(trader)
        is_its = beat is not None and process is not None and beat.pid == process.pid and beat.written_us >= since_us
        return decode_trader_view(beat.detail) if beat is not None and is_its and beat.detail else None

    async def quotes(self, trader: int) -> bool:
        """Return whether a live trader has an order at rest, and says that it quotes."""
        view = await self.view(trader)
        return view is not None and view.state == "quoting" and bool((await self.look()).resting(trader))

    async def until_quotes(self, trader: int) -> None:
        try:
            await self.until(lambda: self.quotes(trader), f"trader {trader} quotes")
        except KalshimmError as exc:
            view = await self.view(trader)
            told = f"it says {view.state}: {view.why}" if view else "it says nothing"
            raise KalshimmError(f"{exc} Resting: {len(self.evidence.resting(trader))}; {told}.") from exc

    async def until_all_quote(self) -> None:
        for trader in self.live:
            await self.until_quotes(trader)

    def signal(self, trader: int, number: signal.Signals) -> None:
        """Signal the process of a trader.

        Raises:
            KalshimmError: It has none.
        """
        process = living(self.own.home).get(trader)
        if process is None or not send_signal(process, number):
            raise KalshimmError(f"Trader {trader} has no process to be signalled.")

    def log(self, name: str) -> str:
        """Return what a process has written so far."""
        return (self.own.home / f"{name}.log").read_text(errors="replace")

    async def _desk_is_live(self) -> bool:
        beat = await self.beat("desk", clerk.ACCOUNT)
        return beat is not None and beat.state == "live"

    async def _spawner_listens(self) -> bool:
        return (self.own.home / "run" / "spawner.sock").exists()


@contextlib.asynccontextmanager
async def ground(say: Progress) -> AsyncIterator[Ground]:
    """Run everything with two live traders that quote, until the end of the block."""
    say("making a database, a store and an exchange")
    with scratch() as stores, tempfile.TemporaryDirectory(prefix="kalshimm-bench-") as folder:
        own = Rig(Path(folder), stores.redis_url, stores.database_url)
        async with _feed(Ground, own, WORLD) as made:
            made.database_url = stores.database_url
            more = made.settings() | IS_LIVE | {"DJANGO_SETTINGS_MODULE": "kalshimm.settings"}
            async with own.python("clerk", "-m", "kalshimm.bench.faults.clerk", more=more) as made._clerk:
                try:
                    await made.populate(say)
                    yield made
                finally:
                    await _end(made)


async def _end(made: Ground) -> None:
    """End the supervisor before its traders, for it would start them anew, and them while they can still cancel."""
    for name in ("supervisor", "spawner"):
        if name in made.children:
            await made.end(name)
    await asyncio.to_thread(stop_all, made.own.home, TRADERS_END_WITHIN_S)


@contextlib.asynccontextmanager
async def storm(say: Progress) -> AsyncIterator[Feed]:
    """Run an exchange and a gateway with 200 valid books, until the end of the block."""
    with rig() as own:
        async with _feed(Feed, own, STORM) as made:
            markets = sorted((await made.control.told("/state"))["markets"])
            await made.subscribe(markets[:STORM_MARKETS])
            say(f"{STORM_MARKETS} books are valid")
            yield made


@contextlib.asynccontextmanager
async def _feed(kind: Any, own: Rig, world: Sequence[str]) -> AsyncIterator[Any]:
    async with contextlib.AsyncExitStack() as running:
        process, venue = await running.enter_async_context(own.exchange(*world))
        session = await running.enter_async_context(aiohttp.ClientSession(raise_for_status=True))
        relay = await running.enter_async_context(Relay(venue.ws).running())
        client = await running.enter_async_context(own.client())
        made = kind(own, venue, Control(venue.control, session), relay, client)
        made.children["exchange"] = process
        running.push_async_callback(made.close)
        yield made
