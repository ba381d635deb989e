"""The blaster as a venue: what it says is what the product's own session and books take for a venue's words."""

from __future__ import annotations

import asyncio
import contextlib
import socket as socketlib
import sys
from collections.abc import AsyncIterator, Callable

import msgspec

from feed.books import Books
from feed.kalshi import channels, socket
from feed.kalshi.session import MOST_TICKERS_A_COMMAND, Session
from feed.schema import BookDelta
from kalshimm.bench import frames, moves
from kalshimm.bench.blaster import Drop, Dropped, Own, Play, Played, Ready
from kalshimm.settings import BASE_DIR
from markets.core.units import YES

MARKETS, DELTAS = 700, 2_000  # more markets than one command takes
WITHIN_S = 30.0


class Client:
    """A connection that keeps books, and wakes whoever waits for something to become true of them."""

    def __init__(self) -> None:
        self.books = Books(1, Session())
        self.connection: socket.Connection | None = None
        self._came = asyncio.Event()

    def on_frame(self, data: bytes | memoryview) -> None:
        self.books.receive(data, 1)
        self._came.set()

    def on_turn(self) -> None: ...

    def on_ping(self) -> None: ...

    def send(self, commands: list[bytes]) -> None:
        assert self.connection is not None
        for command in commands:
            self.connection.send(command)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not condition():
                self._came.clear()
                await self._came.wait()

    async def until_deltas(self, count: int) -> None:
        await self.until(lambda: self.books.counters["deltas"] == count)

    async def subscribe(self, tickers: list[str]) -> None:
        session = self.books.session
        self.send(session.subscribe(channels.BOOK, tickers))
        await self.until(lambda: session.of_channel(channels.BOOK) is not None)
        if tickers[MOST_TICKERS_A_COMMAND:]:
            self.send(session.add_markets(frames.BOOK_SID, tickers[MOST_TICKERS_A_COMMAND:]))
        await self.until(lambda: self.valid() == len(tickers))

    def valid(self) -> int:
        return sum(market.is_valid for market in self.books.markets.values())

    def levels(self, tickers: list[str]) -> list[object]:
        return [self.books.markets[ticker].levels for ticker in tickers]


class Server:
    """A blaster process and its pipes."""

    def __init__(self, process: asyncio.subprocess.Process, ready: Ready) -> None:
        self.process, self.ws, self._own_port = process, ready.ws, ready.own_port

    def own(self, own: Own) -> None:
        with socketlib.socket(socketlib.AF_INET, socketlib.SOCK_DGRAM) as sender:
            sender.sendto(msgspec.json.encode(own), ("127.0.0.1", self._own_port))

    async def ask(self, order: Play | Drop) -> Played | Dropped:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(msgspec.json.encode(order) + b"\n")
        kind = Played if isinstance(order, Play) else Dropped
        return msgspec.json.decode(await asyncio.wait_for(self.process.stdout.readline(), WITHIN_S), type=kind)


@contextlib.asynccontextmanager
async def blaster(*, markets: int = MARKETS, deltas: int = DELTAS, moves_every: int = 0) -> AsyncIterator[Server]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "kalshimm.bench.blaster", "--markets", str(markets), "--deltas", str(deltas)),
        *("--moves-every", str(moves_every)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=BASE_DIR,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), WITHIN_S)
        yield Server(process, msgspec.json.decode(line, type=Ready))
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), WITHIN_S) == 0, "it ends by itself when its input does"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


@contextlib.asynccontextmanager
async def connected(server: Server) -> AsyncIterator[Client]:
    client = Client()
    client.connection = await socket.connect("picows", server.ws, {}, client)
    yield client
    await client.connection.close()


async def test_every_delta_arrives_in_order_and_the_books_are_the_tapes() -> None:
    tape = frames.tape(MARKETS, DELTAS)
    async with blaster() as server, connected(server) as client:
        await client.subscribe(tape.tickers)
        for played, rate in ((900, 0.0), (1_800, 20_000.0), (2_700, 0.0)):  # past the end of the lap
            await server.ask(Play(900, rate))
            await client.until_deltas(played)
            assert client.levels(tape.tickers) == [book.levels for book in tape.books_at(played)]
        assert client.books.counters["gaps"] == 0
        assert client.books.counters["malformed"] == 0


async def test_a_market_asked_for_again_gets_its_book_as_it_is_now() -> None:
    tape = frames.tape(MARKETS, DELTAS)
    async with blaster() as server, connected(server) as client:
        await client.subscribe(tape.tickers)
        await server.ask(Play(700))
        asked = tape.tickers[:20]
        client.send(client.books.session.get_snapshot(frames.BOOK_SID, asked))
        await client.until(lambda: client.books.counters["snapshots"] == MARKETS + len(asked))
        assert client.levels(tape.tickers) == [book.levels for book in tape.books_at(700)]
        assert client.books.counters["gaps"] == 0


async def test_orders_of_the_client_show_themselves_with_their_tag_and_in_snapshots() -> None:
    tape = moves.tape(DELTAS, every=100)
    (ticker,) = tape.tickers
    price_cc = moves.FIRST_BID_CC + moves.TICK_CC
    async with blaster(markets=1, moves_every=100) as server, connected(server) as client:
        client.books.lease(ticker, is_leased=True, now_us=1)
        await client.subscribe([ticker])
        client.books.take()
        for number, delta_cx in enumerate((100, 100, -200, -100), 1):  # the last is of none that it told of
            server.own(Own(YES, price_cc, delta_cx, "of-ours"))
            await client.until_deltas(min(number, 3))
        told = client.books.take().events[ticker]
        assert [(e.price_cc, e.delta_cx, e.client_order_id) for e in told if isinstance(e, BookDelta)] == [
            (price_cc, 100, "of-ours"), (price_cc, 100, "of-ours"), (price_cc, -200, "of-ours"),
        ]  # fmt: skip
        server.own(Own(YES, price_cc, 300, "of-ours"))
        await client.until_deltas(4)
        await server.ask(Play(DELTAS))
        client.send(client.books.session.get_snapshot(frames.BOOK_SID, [ticker]))
        await client.until(lambda: client.books.counters["snapshots"] == 2)
        (book,) = tape.books_at(0)
        book.apply(YES, price_cc, 300)
        assert client.levels([ticker]) == [book.levels]
        assert client.books.counters["gaps"] == client.books.counters["malformed"] == 0


async def test_subscriptions_shrink_are_listed_and_end() -> None:
    tape = frames.tape(20, 100)
    async with blaster(markets=20, deltas=100) as server, connected(server) as client:
        await client.subscribe(tape.tickers)
        session = client.books.session
        client.send(session.delete_markets(frames.BOOK_SID, tape.tickers[10:]))
        await client.until(lambda: client.valid() == 10)
        client.send(session.list_subscriptions())
        client.send(session.unsubscribe([frames.BOOK_SID]))
        await client.until(lambda: not session.subscriptions)
        assert client.valid() == 0


async def test_a_dropped_client_connects_again_and_begins_anew() -> None:
    tape = frames.tape(MARKETS, DELTAS)
    async with blaster() as server:
        async with connected(server) as client:
            await client.subscribe(tape.tickers)
            await server.ask(Play(300))
            await server.ask(Drop())
            assert client.connection is not None
            await asyncio.wait_for(client.connection.wait_closed(), WITHIN_S)
        async with connected(server) as client:
            await client.subscribe(tape.tickers)
            assert client.levels(tape.tickers) == [book.levels for book in tape.books_at(0)]
