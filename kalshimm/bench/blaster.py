"""A venue that can only shout: a WebSocket server that plays a tape as fast as it is told, cheaply.

It answers the commands of a book subscription as the venue would (subscribe, add, delete, snapshots, list,
unsubscribe), accepts the other channels and stays silent on them. Frames are encoded beforehand up to their sequence
number and time, joined to chunks and written straight to the socket, so that it costs a small part of a processor.
A full socket makes it wait: nothing is dropped, and nothing gathers here.

    python -m kalshimm.bench.blaster --markets 500 --deltas 200000
    python -m kalshimm.bench.blaster --markets 1 --deltas 8000 --moves-every 200      the market of moves.py

talks JSON lines: first {"ws"} when it serves; then for each line of its input (Play or Drop) one answer. It ends with
its input. What orders of the client's own do to the book (Own) it takes from a datagram socket, and tells at once, with
their tag, between the deltas of the tape.
"""

from __future__ import annotations

import argparse
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from kalshimm.bench import frames, moves
from kalshimm.bench.frames import Delta, Tape
from markets.core.book import OrderBook

CHANNEL_SIDS = {"orderbook_delta": frames.BOOK_SID, "trade": 2, "ticker": 3, "market_lifecycle_v2": 4}
PATH = "/trade-api/ws/v2"
CHUNK_FRAMES = 250  # one write of about 64 KiB
OWN_BYTES_MOST = 1_000
PING_EVERY_S = 5.0  # the venue's own is 10 s; a client gives up after 15 s of silence
HEADERS = [b"\x81\x7e" + size.to_bytes(2, "big") for size in range(65_536)]  # of unmasked text frames of 126 bytes on


class Play(msgspec.Struct, frozen=True, tag="play"):
    """Send `count` deltas at `rate` a second, 0 for as fast as they are taken.

    `step_s` is the shortest time between two writes: what is due meanwhile goes out together.
    """

    count: int
    rate: float = 0.0
    step_s: float = 0.001


class Drop(msgspec.Struct, frozen=True, tag="drop"):
    """Cut the connection."""


class Own(msgspec.Struct, frozen=True):
    """An order of the client's own has come to a level of the first market, or gone from it; a signed change."""

    side: int
    price_cc: int
    delta_cx: int
    client_order_id: str


class Played(msgspec.Struct, frozen=True):
    """What was sent. The nth delta was due `(n − 1) / rate` after `began_s`, on the machine's monotonic clock."""

    first_seq: int
    last_seq: int
    began_s: float
    ended_s: float
    cpu_s: float


class Dropped(msgspec.Struct, frozen=True):
    at_s: float


class Ready(msgspec.Struct, frozen=True):
    """Where it serves; `own_port`, on loopback, is where each datagram is one Own."""

    ws: str
    own_port: int = 0


class Told(msgspec.Struct):
    """A command of the client."""

    id: int
    cmd: str
    params: dict[str, Any] = {}


decode_told = msgspec.json.Decoder(Told).decode
decode_order = msgspec.json.Decoder(Play | Drop).decode
decode_own = msgspec.json.Decoder(Own).decode


def due(count: int, rate: float, step_s: float) -> Iterator[int]:
    """Yield how many of `count` are due now, sleeping until some are; never more than a chunk at once."""
    sent, began_s = 0, time.monotonic()
    while sent < count:
        if rate:
            waiting = int((time.monotonic() - began_s) * rate) + 1 - sent
            if waiting <= 0:
                next_s = began_s + sent / rate - time.monotonic()
                time.sleep(max(next_s, step_s))
                continue
        else:
            waiting = count
        ready = min(waiting, count - sent, CHUNK_FRAMES)
        yield ready
        sent += ready


class Line:
    """One client's connection: its subscriptions, their sequences, and how far the tape was played on it."""

    def __init__(self, connection: ServerConnection, tape: Tape, bodies: list[bytes]) -> None:
        self._connection, self._tape, self._bodies = connection, tape, bodies
        self._by_ticker = {market.ticker: index for index, market in enumerate(tape.markets)}
        self._lock = threading.Lock()  # numbers leave in their order
        self._seqs: dict[int, int] = {}
        self._markets: dict[int, list[str]] = {}
        self._position = 0
        self._books_at: tuple[int, list[OrderBook]] = (-1, [])
        self._own: Counter[tuple[int, int]] = Counter()

    def cut(self) -> None:
        self._connection.close_socket()

    # ---- what the client asks ---------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Answer commands until the connection ends."""
        for text in self._connection:
            told = decode_told(text)
            with self._lock:
                self._write(b"".join(_text_frame(answer) for answer in self._answers(told)))

    def _answers(self, told: Told) -> Iterator[bytes]:
        match told.cmd:
            case "subscribe":
                for channel in told.params["channels"]:
                    yield from self._subscribe(told, channel)
            case "update_subscription":
                yield from self._update(told, told.params["sids"][0])
            case "unsubscribe":
                for sid in told.params["sids"]:
                    yield _encode({"id": told.id, "sid": sid, "seq": self._next(sid), "type": "unsubscribed"})
                    del self._markets[sid]
            case "list_subscriptions":
                channels = {sid: channel for channel, sid in CHANNEL_SIDS.items()}
                yield _encode(
                    {"id": told.id, "type": "ok", "msg": [{"channel": channels[s], "sid": s} for s in self._markets]}
                )
            case _:
                yield _encode({"id": told.id, "type": "error", "msg": {"code": 5, "msg": "Unknown command"}})

    def _subscribe(self, told: Told, channel: str) -> Iterator[bytes]:
        sid, tickers = CHANNEL_SIDS[channel], told.params.get("market_tickers", [])
        self._markets[sid], self._seqs[sid] = list(tickers), 0
        yield _encode({"id": told.id, "type": "subscribed", "msg": {"channel": channel, "sid": sid}})
        yield from self._snapshots(sid, tickers)

    def _update(self, told: Told, sid: int) -> Iterator[bytes]:
        tickers, held = told.params["market_tickers"], self._markets[sid]
        known = set(held)
        if told.params["action"] == "get_snapshot":
            yield from self._snapshots(sid, tickers, command_id=told.id)
            return
        is_adding = told.params["action"] == "add_markets"
        added = [ticker for ticker in tickers if ticker not in known] if is_adding else []
        gone = set() if is_adding else set(tickers)
        self._markets[sid] = [ticker for ticker in held if ticker not in gone] + added
        full = {"market_tickers": self._markets[sid]}
        yield _encode({"id": told.id, "sid": sid, "seq": self._next(sid), "type": "ok", "msg": full})
        yield from self._snapshots(sid, added)

    def _snapshots(self, sid: int, tickers: list[str], *, command_id: int = 0) -> Iterator[bytes]:
        """Return the books as they are now; an unknown market gets none, as at the venue."""
        if sid != frames.BOOK_SID or not tickers:
            return
        books = self._books()
        for index in [self._by_ticker[ticker] for ticker in tickers if ticker in self._by_ticker]:
            market = self._tape.markets[index]
            yield frames.snapshot_frame(market, books[index], seq=self._next(sid), command_id=command_id)

    def _books(self) -> list[OrderBook]:
        """Return every market's book as it is now; remembered, for a client asks in many commands."""
        at, books = self._books_at
        if at != self._position:
            books = self._tape.books_at(self._position)
            for (side, price_cc), count_cx in self._own.items():
                books[0].apply(side, price_cc, count_cx)
            self._books_at = (self._position, books)
        return books

    def _next(self, sid: int) -> int:
        self._seqs[sid] += 1
        return self._seqs[sid]

    # ---- what we shout ----------------------------------------------------------------------------------------------

    def play(self, play: Play) -> Played:
        """Send the next deltas of the tape.

        Raises:
            ConnectionError: Nobody listens to books, or no more.
        """
        if frames.BOOK_SID not in self._seqs:
            raise ConnectionError("nobody has subscribed any book")
        first_seq, cpu_s = self._seqs[frames.BOOK_SID] + 1, time.process_time()
        began_s = time.monotonic()
        for count in due(play.count, play.rate, play.step_s):
            with self._lock:
                self._write(self._chunk(count))
        return Played(
            first_seq, self._seqs[frames.BOOK_SID], began_s, time.monotonic(), time.process_time() - cpu_s
        )  # fmt: skip

    def tell_own(self, own: Own) -> None:
        """Tell a change that an order of the client's own has made; not of one that an earlier connection was told."""
        with self._lock:
            level = (own.side, own.price_cc)
            if frames.BOOK_SID not in self._seqs or self._own[level] + own.delta_cx < 0:
                return
            self._own[level] += own.delta_cx
            self._books_at = (-1, [])
            delta = Delta(0, own.side, own.price_cc, own.delta_cx)
            body = frames.body(self._tape.markets[0], delta, own.client_order_id)
            now_us, seq = time.time_ns() // 1_000, self._next(frames.BOOK_SID)
            self._write(
                b"".join(_text_frame(one) for one in frames.delta_frames([body], first_seq=seq, time_us=now_us))
            )

    def _chunk(self, count: int) -> bytes:
        """Return the next deltas as WebSocket frames, from the beginning again after the last."""
        front, end = frames.head(), frames.tail(time.time_ns() // 1_000)
        around, seq = len(front) + len(end), self._seqs[frames.BOOK_SID]
        parts: list[bytes] = []
        for body in self._taken(count):
            seq += 1
            number = b"%d" % seq
            parts += (HEADERS[around + len(number) + len(body)], front, number, body, end)
        self._seqs[frames.BOOK_SID] = seq
        return b"".join(parts)

    def _taken(self, count: int) -> list[bytes]:
        at = self._position % len(self._bodies)
        self._position = at + count
        taken = self._bodies[at : at + count]
        while len(taken) < count:
            taken += self._bodies[: count - len(taken)]
        return taken

    def _write(self, data: bytes) -> None:
        # Past the library, which would copy and queue each frame; its own lock keeps pings out of our frames.
        with self._connection.protocol_mutex:
            self._connection.socket.sendall(data)


class Blaster:
    """The server, and the newest connection to it."""

    def __init__(self, tape: Tape) -> None:
        self._tape, self._bodies = tape, frames.bodies(tape)
        self._line: Line | None = None

    def serve(self) -> None:
        """Answer orders from the input until it ends."""
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own,
            serve(
                self._connected, "127.0.0.1", 0, compression=None, ping_interval=PING_EVERY_S, ping_timeout=None
            ) as server,
        ):
            own.bind(("127.0.0.1", 0))
            threading.Thread(target=server.serve_forever, name="accept", daemon=True).start()
            threading.Thread(target=self._tell_own, args=(own,), name="own orders", daemon=True).start()
            _say(Ready(f"ws://127.0.0.1:{server.socket.getsockname()[1]}{PATH}", own.getsockname()[1]))
            for line in sys.stdin.buffer:
                _say(self._obey(decode_order(line)))
            if self._line is not None:
                self._line.cut()

    def _obey(self, order: Play | Drop) -> Played | Dropped:
        if self._line is None:
            raise ConnectionError("nobody is connected")
        if isinstance(order, Play):
            return self._line.play(order)
        line, self._line = self._line, None
        at_s = time.monotonic()
        line.cut()
        return Dropped(at_s)

    def _tell_own(self, own: socket.socket) -> None:
        while True:
            change = decode_own(own.recv(OWN_BYTES_MOST))
            if self._line is not None:
                self._line.tell_own(change)

    def _connected(self, connection: ServerConnection) -> None:
        line = self._line = Line(connection, self._tape, self._bodies)
        try:
            line.follow()
        except (ConnectionClosed, OSError):
            return  # the client left, or we cut it: whoever plays to it hears of that


def _text_frame(payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    return (HEADERS[size] if size < 65_536 else b"\x81\x7f" + size.to_bytes(8, "big")) + payload


def _say(line: msgspec.Struct) -> None:
    sys.stdout.buffer.write(_encode(line) + b"\n")
    sys.stdout.buffer.flush()


_encode = msgspec.json.Encoder().encode


def main() -> None:
    parser = argparse.ArgumentParser(description="Play a tape of order book deltas over a WebSocket.")
    parser.add_argument("--markets", type=int, required=True, help="how many books")
    parser.add_argument("--deltas", type=int, required=True, help="how many deltas a lap has")
    parser.add_argument("--moves-every", type=int, default=0, help="of one market: its best bid moves each so many")
    options = parser.parse_args()
    every = options.moves_every
    Blaster(moves.tape(options.deltas, every=every) if every else frames.tape(options.markets, options.deltas)).serve()


if __name__ == "__main__":
    main()
