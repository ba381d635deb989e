"""Our session on both socket adapters before the local exchange: every channel, told of one trade and one market."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import pytest

from feed.kalshi import channels, events, socket
from feed.kalshi.session import Session
from feed.kalshi.wire.orders import PlaceOrder
from markets.core.units import Side

if TYPE_CHECKING:
    from conftest import Desk

TICKER = "KXTEST-26NOV22-A"
WITHIN_S = 10.0
CHANNELS = (*channels.MARKET_CHANNELS, channels.LIFECYCLE, channels.COMBO_LIFECYCLE, *channels.PRIVATE_CHANNELS)

E = TypeVar("E")
numbers = itertools.count(1)


class Ear:
    """A connection with every channel, and all that it was told."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.session, self.heard = desk, Session(), list[events.Event]()
        self._news = asyncio.Event()

    def on_frame(self, data: bytes | memoryview) -> None:
        self.heard += self.session.receive(data)
        self._news.set()

    def on_turn(self) -> None:
        pass

    def on_ping(self) -> None:
        pass

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.heard if isinstance(event, kind)]

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def trade(self, order_group_id: str = "") -> str:
        """Rest an order of ours and let an outsider take part of it; return its id."""
        placed = await self.desk.rest.orders.place(
            PlaceOrder(
                ticker=TICKER, client_order_id=f"mm-{next(numbers)}", side=Side.YES, count_cx=1_000,
                yes_price_cc=4_000, exchange_index=0, order_group_id=order_group_id,
            )
        )  # fmt: skip
        body = {
            "ticker": TICKER, "side": "ask", "price": "0.4000", "count": "3.00", "time_in_force": "immediate_or_cancel",
            "self_trade_prevention_type": "taker_at_cross",
        }  # fmt: skip
        await self.desk.control("POST", "/orders", body)
        return placed.order_id


@pytest.fixture(params=["picows", "websockets"])
async def ear(desk: Desk, request: pytest.FixtureRequest) -> AsyncIterator[Ear]:
    listening = Ear(desk)
    headers = desk.signer.headers("GET", desk.environment.ws_url, wall_ms=desk.clock.wall_us() // 1_000)
    connection = await socket.connect(request.param, desk.environment.ws_url, headers, listening)
    for channel in CHANNELS:
        tickers = (TICKER,) if channel in channels.MARKET_CHANNELS else ()
        for command in listening.session.subscribe(channel, tickers):
            connection.send(command)
    await listening.until(lambda: all(listening.session.of_channel(channel) for channel in CHANNELS))
    yield listening
    await connection.close()
    spoilt: Sequence[type] = (events.Gap, events.Malformed, events.Refused, events.Ignored, events.Removed)
    assert [event for event in listening.heard if type(event) in spoilt] == []


async def test_book_ticker_and_trade_tell_of_one_trade(ear: Ear) -> None:
    await ear.until(lambda: ear.of(events.BookSnapshot))
    await ear.trade()
    await ear.until(lambda: ear.of(events.TradeEvent) and len(ear.of(events.BookDelta)) >= 2)
    (snapshot,) = ear.of(events.BookSnapshot)
    assert (snapshot.yes, snapshot.no) == ([], [])
    assert [(d.side, d.price_cc, d.delta_cx) for d in ear.of(events.BookDelta)] == [(0, 4_000, 1_000), (0, 4_000, -300)]
    (trade,) = ear.of(events.TradeEvent)
    assert (trade.yes_price_cc, trade.count_cx, trade.taker_side) == (4_000, 300, Side.NO)
    ear.desk.clock.advance_us(2_000_000)  # tickers come once a second
    await ear.until(lambda: any(ticker.volume_cx == 300 for ticker in ear.of(events.TickerEvent)))
    assert ear.of(events.TickerEvent)[-1].yes_bid_cx == 700


async def test_the_private_channels_tell_of_an_order_its_fill_and_the_position(ear: Ear) -> None:
    order_id = await ear.trade()
    await ear.until(lambda: ear.of(events.FillEvent) and ear.of(events.PositionEvent))
    await ear.until(lambda: any(order.remaining_cx == 700 for order in ear.of(events.OrderEvent)))
    (fill,), (position,) = ear.of(events.FillEvent), ear.of(events.PositionEvent)
    assert (fill.order_id, fill.count_cx, fill.post_position_cx, fill.is_taker) == (order_id, 300, 300, False)
    assert (position.ticker, position.position_cx) == (TICKER, 300)
    assert [order.remaining_cx for order in ear.of(events.OrderEvent)] == [1_000, 700]


async def test_a_group_tells_of_its_making_and_its_trigger(ear: Ear) -> None:
    created = await ear.desk.rest.groups.create(200, exchange_index=0)
    await ear.trade(created.order_group_id)
    await ear.until(lambda: any(order.status == "canceled" for order in ear.of(events.OrderEvent)))
    await ear.until(lambda: len(ear.of(events.GroupEvent)) >= 2)
    told = [(group.group_id, group.event_type) for group in ear.of(events.GroupEvent)]
    assert told == [(created.order_group_id, "created"), (created.order_group_id, "triggered")]


async def test_the_life_of_a_market_is_told_to_its_end(ear: Ear) -> None:
    await ear.desk.control("POST", f"/markets/{TICKER}/close")
    ear.desk.clock.advance_us(4_000_000_000)
    await ear.until(lambda: any(event.event_type == "settled" for event in ear.of(events.LifecycleEvent)))
    told = [event.event_type for event in ear.of(events.LifecycleEvent) if event.ticker == TICKER]
    assert told[-2:] == ["determined", "settled"]
