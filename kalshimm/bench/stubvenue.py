"""A venue that takes every order at once and fills none: the far end of the way that `bench tick_to_order` times.

It notes when the last byte of each new bid had come, before it looks what was asked. Creates, cancels (one by one and
in batches), renewals, and the reads of a trader in doubt are answered as the venue would; anything else is 404.

    python -m kalshimm.bench.stubvenue --own-port N

tells the blaster of that port what orders do to the book, so that they show there as at the venue. It talks JSON lines:
first {"rest"} when it serves; then for each line of its input ({}) the bids that came since the last one. It ends with
its input.
"""

from __future__ import annotations

import argparse
import asyncio
import email.utils
import socket
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

import msgspec

from feed.kalshi.convert import count_of, price_of
from feed.kalshi.environments import REST_PATH
from kalshimm.bench.blaster import Own
from kalshimm.bench.moves import Arrival
from kalshimm.runtime.worker import runner
from markets.core.units import DOLLAR_CC, NO, YES, format_price, yes_price_cc

ORDERS = "/portfolio/events/orders"
BATCHED = f"{ORDERS}/batched"
READ = "/portfolio/orders"
BOOK_SIDES = {"bid": YES, "ask": NO}
BID, RESTING, CANCELED = "bid", "resting", "canceled"
HEAD_END = b"\r\n\r\n"
NOTHING_FILLED = "0.00"

Json = dict[str, Any]


class Serving(msgspec.Struct, frozen=True):
    rest: str


class Ask(msgspec.Struct, frozen=True):
    """Which bids have come since the last time?"""


class Came(msgspec.Struct, frozen=True):
    """They, in their order; of `requests` of every kind."""

    bids: list[Arrival]
    requests: int


class Request(NamedTuple):
    method: str
    path: str
    body: Json


class Stub:
    """The orders, and what is answered.

    Args:
        tell: Hears of each change of the book.
    """

    def __init__(self, tell: Callable[[Own], None]) -> None:
        self._tell = tell
        self.orders: dict[str, Json] = {}
        self._bids: list[Arrival] = []
        self._requests = 0

    def take(self) -> Came:
        """Return what came since the last time."""
        came = Came(self._bids, self._requests)
        self._bids, self._requests = [], 0
        return came

    def answer(self, request: Request, at_s: float) -> tuple[int, Json]:
        """Return status and body of the answer to a request whose last byte came at `at_s`."""
        self._requests += 1
        if request.method == "POST" and request.path in (ORDERS, BATCHED):
            return self._place(request, at_s)
        if request.path.startswith(ORDERS):
            return self._change(request)
        return self._read(request)

    def _place(self, request: Request, at_s: float) -> tuple[int, Json]:
        wanted = request.body["orders"] if request.path == BATCHED else [request.body]
        self._bids.extend(Arrival(at_s, price_of(one["price"])) for one in wanted if one["side"] == BID)
        placed = [self._placed(one) for one in wanted]
        return (201, {"orders": placed}) if request.path == BATCHED else (201, placed[0])

    def _placed(self, order: Json) -> Json:
        order_id = f"order-{len(self.orders) + 1}"
        self.orders[order_id] = {**order, "order_id": order_id, "status": RESTING, "placed": _now_text()}
        self._tell(_own(order, count_of(order["count"])))
        return self._numbers(order_id)

    def _numbers(self, order_id: str) -> Json:
        order = self.orders[order_id]
        return {
            "order_id": order_id,
            "client_order_id": order["client_order_id"],
            "fill_count": NOTHING_FILLED,
            "remaining_count": order["count"],
            "ts_ms": _now_ms(),
        }

    def _change(self, request: Request) -> tuple[int, Json]:
        if request.path == BATCHED:
            return 200, {"orders": [self._cancelled(one["order_id"])[1] for one in request.body["orders"]]}
        order_id, _, what = request.path.removeprefix(f"{ORDERS}/").partition("/")
        if order_id not in self.orders or (request.method, what) not in (("DELETE", ""), ("POST", "amend")):
            return NOT_FOUND
        return (200, self._numbers(order_id)) if what else self._cancelled(order_id)

    def _cancelled(self, order_id: str) -> tuple[int, Json]:
        order = self.orders.get(order_id)
        if order is None or order["status"] != RESTING:
            return NOT_FOUND
        order["status"] = CANCELED
        self._tell(_own(order, -count_of(order["count"])))
        names = {name: order[name] for name in ("order_id", "client_order_id")}
        return 200, {**names, "reduced_by": order["count"], "ts_ms": _now_ms()}

    def _read(self, request: Request) -> tuple[int, Json]:
        match request.path:
            case "/exchange/status":
                return 200, {"exchange_active": True, "trading_active": True}
            case "/exchange/user_data_timestamp":
                return 200, {"as_of_time": _now_text()}
            case "/portfolio/fills":
                return 200, {"fills": [], "cursor": ""}
            case "/portfolio/orders":
                return 200, {"orders": [self._shown(order_id) for order_id in self.orders], "cursor": ""}
        order_id = request.path.removeprefix(f"{READ}/")
        return (200, {"order": self._shown(order_id)}) if order_id in self.orders else NOT_FOUND

    def _shown(self, order_id: str) -> Json:
        order = self.orders[order_id]
        rests, yes_cc = order["status"] == RESTING, price_of(order["price"])
        return {
            "order_id": order_id,
            "client_order_id": order["client_order_id"],
            "ticker": order["ticker"],
            "status": order["status"],
            "outcome_side": "yes" if order["side"] == BID else "no",
            "book_side": order["side"],
            "yes_price_dollars": order["price"],
            "no_price_dollars": format_price(DOLLAR_CC - yes_cc),
            "initial_count_fp": order["count"],
            "fill_count_fp": NOTHING_FILLED,
            "remaining_count_fp": order["count"] if rests else NOTHING_FILLED,
            "created_time": order["placed"],
            "last_update_time": order["placed"],
        }


NOT_FOUND: tuple[int, Json] = (404, {"error": {"code": "not_found", "message": "not found"}})


def _own(order: Json, delta_cx: int) -> Own:
    side, price_cc = BOOK_SIDES[order["side"]], price_of(order["price"])
    return Own(side, yes_price_cc(side, price_cc), delta_cx, order["client_order_id"])


class Line(asyncio.Protocol):
    """One connection: requests one after the other, each answered before the next is looked at."""

    def __init__(self, answer: Callable[[Request, float], tuple[int, Json]]) -> None:
        self._answer = answer
        self._came = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        at_s = time.monotonic()
        assert self._transport is not None, "it is connected"
        self._came += data
        while found := whole_request(self._came):
            request, length = found
            self._came = self._came[length:]
            self._transport.write(_encoded(*self._answer(request, at_s)))


def whole_request(came: bytes) -> tuple[Request, int] | None:
    """Return the first request and how many bytes it takes; None while it has not come whole."""
    head, end, rest = came.partition(HEAD_END)
    if not end:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    size = int(headers.get("content-length", 0))
    if len(rest) < size:
        return None
    method, target, _ = first.split(" ")
    path = urlsplit(target).path.removeprefix(REST_PATH)
    body = msgspec.json.decode(rest[:size]) if size else {}
    return Request(method, path, body), len(head) + len(HEAD_END) + size


def _encoded(status: int, body: Json) -> bytes:
    content = msgspec.json.encode(body)
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
        f"Date: {email.utils.formatdate(usegmt=True)}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _now_text() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


async def serve(own_port: int) -> None:
    """Answer until the input ends."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    blaster = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def tell(own: Own) -> None:
        loop.call_soon(blaster.send, msgspec.json.encode(own))  # after the answer

    stub = Stub(tell)
    server = await loop.create_server(lambda: Line(stub.answer), "127.0.0.1", 0)

    def talk() -> None:
        for _ in sys.stdin.buffer:
            loop.call_soon_threadsafe(lambda: _say(stub.take()))
        loop.call_soon_threadsafe(stop.set)

    async with server:
        blaster.connect(("127.0.0.1", own_port))
        _say(Serving(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{REST_PATH}"))
        threading.Thread(target=talk, name="talk", daemon=True).start()
        await stop.wait()
    blaster.close()


def _say(line: msgspec.Struct) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description="Take every order, fill none.")
    parser.add_argument("--own-port", type=int, required=True, help="of the blaster that shows the book")
    options = parser.parse_args()
    with runner() as loop:
        loop.run(serve(options.own_port))


if __name__ == "__main__":
    main()
