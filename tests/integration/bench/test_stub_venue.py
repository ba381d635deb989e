"""The stub venue of `bench tick_to_order`: the product's own client takes its answers for a venue's."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from feed.kalshi.environments import REST_PATH, Environment
from feed.kalshi.errors import NotFound
from feed.kalshi.rest import Rest
from feed.kalshi.signing import Signer
from feed.kalshi.wire.orders import AmendOrder, Cancelled, CancelOrder, Placed, PlaceOrder
from kalshimm.bench.blaster import Own
from kalshimm.bench.stubvenue import Line, Stub
from kalshimm.runtime.clock import SystemClock
from markets.core.units import NO, YES, Side

TICKER = "KXBENCH-26NOV26-MOVES"


def an_order(name: str, side: Side = YES, yes_price_cc: int = 3_100) -> PlaceOrder:
    return PlaceOrder(
        ticker=TICKER, client_order_id=name, side=side, count_cx=100, yes_price_cc=yes_price_cc, exchange_index=0
    )


def a_cancel(placed: Placed) -> CancelOrder:
    return CancelOrder(order_id=placed.order_id, market_ticker=TICKER, exchange_index=0)


def a_stub() -> Stub:
    told: list[Own] = []
    return Stub(told.append)


@contextlib.asynccontextmanager
async def client(stub: Stub) -> AsyncIterator[Rest]:
    server = await asyncio.get_running_loop().create_server(lambda: Line(stub.answer), "127.0.0.1", 0)
    signer = Signer("local", "a-key-id", Ed25519PrivateKey.generate())
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{REST_PATH}"
    async with server, Rest(Environment("local", url, ""), signer, SystemClock()) as rest:
        yield rest


async def test_an_order_is_placed_read_and_canceled_once() -> None:
    stub = a_stub()
    async with client(stub) as rest:
        before_s = time.monotonic()
        placed = await rest.orders.place(an_order("one"))
        after_s = time.monotonic()
        assert (placed.fill_count_cx, placed.remaining_count_cx) == (0, 100)
        (bid,) = stub.take().bids
        assert bid.bid_cc == 3_100
        assert before_s < bid.at_s < after_s
        shown = await rest.portfolio.order(placed.order_id)
        assert (shown.status, shown.yes_price_cc, shown.remaining_count_cx) == ("resting", 3_100, 100)
        assert (await rest.orders.cancel(a_cancel(placed))).reduced_by_cx == 100
        assert (await rest.portfolio.order(placed.order_id)).status == "canceled"
        with pytest.raises(NotFound):
            await rest.orders.cancel(a_cancel(placed))


async def test_batches_answer_each_order() -> None:
    async with client(a_stub()) as rest:
        placed = await rest.orders.place_all([an_order("bid"), an_order("ask", NO, 7_000)])
        assert [one.client_order_id for one in placed if isinstance(one, Placed)] == ["bid", "ask"]
        wanted = [a_cancel(one) for one in placed if isinstance(one, Placed)]
        cancelled = await rest.orders.cancel_many(wanted)
        assert [one.reduced_by_cx for one in cancelled if isinstance(one, Cancelled)] == [100, 100]
        assert [type(one) for one in await rest.orders.cancel_many(wanted)] == [NotFound, NotFound]


async def test_a_renewal_keeps_what_rests() -> None:
    async with client(a_stub()) as rest:
        placed = await rest.orders.place(an_order("one"))
        change = AmendOrder(
            ticker=TICKER, side=YES, yes_price_cc=3_100, count_cx=100, exchange_index=0, expiration_s=2_000_000_000
        )
        amended = await rest.orders.amend(placed.order_id, change, is_renewal=True)
        assert amended.remaining_count_cx == 100


async def test_a_trader_in_doubt_can_look() -> None:
    async with client(a_stub()) as rest:
        placed = await rest.orders.place(an_order("one"))
        assert (await rest.exchange.status()).trading_active
        assert (await rest.exchange.user_data_timestamp()).as_of_us > 0
        assert (await rest.portfolio.fills(order_id=placed.order_id).all()).items == ()
        assert [order.client_order_id for order in (await rest.portfolio.orders(ticker=TICKER).all()).items] == ["one"]
        assert rest.clock_offset() is not None  # its answers are dated
