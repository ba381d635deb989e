"""Order histories heard over the wire: what our client and desk make of the frames is what the exchange has.

The frames are the exchange's own, the session, books and account view those of gateway and desk; only the sockets are
left out. `tests/integration/feed/test_desk.py` has them, and polls, and a bad line.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule
from test_exchange_order_histories import TICKERS, OrderHistories

from feed import schema
from feed.account import reading
from feed.account.view import AccountView
from feed.books import Books
from feed.exchange.faults.plan import FaultPlan
from feed.exchange.happenings import Happening
from feed.exchange.stream.commands import Commander
from feed.exchange.stream.hub import Hub
from feed.exchange.trading.accounts import Order
from feed.exchange.world import World
from feed.kalshi import channels, events
from feed.kalshi.session import Session
from markets.core.units import Side

WHO = "a"  # the one with two subaccounts
MS_US = 1_000
SPOILT = {"gaps", "malformed", "refused", "negative_levels", "deltas_without_book", "removed", "ignored"}


class HeardHistories(OrderHistories):
    """The same histories, heard by a gateway's books and a desk's view of one account."""

    def get_ready(self) -> None:
        self.hub = Hub(self.world)
        self.view = AccountView(lambda _client_order_id: True)
        before_us = self.world.now_us - MS_US
        for subaccount in (0, 1):
            flat = [schema.AccountPosition(ticker, subaccount, 0, None, None, None, True) for ticker in TICKERS]
            self.view.on_positions([(row, before_us) for row in flat], subaccount, before_us)
        self.gateways: list[GatewayLine] = []
        self.desk = DeskLine(self.hub, self.world)
        self.plug_in()

    @rule()
    def plug_in(self) -> None:
        """Connect anew: the books begin at snapshots again, the account goes on where it was."""
        self.listen()
        self.gateways = [GatewayLine(self.hub, self.world, use_yes_price=is_yes) for is_yes in (False, True)]
        self.desk = DeskLine(self.hub, self.world)
        self.listen()

    @rule(tickers=st.lists(st.sampled_from(TICKERS), min_size=1, unique=True))
    def ask_for_snapshots(self, tickers: list[str]) -> None:
        for gateway in self.gateways:
            gateway.ask(tickers)
        self.listen()

    def hear(self, happenings: list[Happening]) -> None:
        super().hear(happenings)
        self.hub.publish(happenings, wall_ms=self.world.now_us // MS_US)
        for gateway in self.gateways:
            gateway.read(self.world.now_us)
        for event in self.desk.read():
            self.fold(event)

    def fold(self, event: events.Event) -> None:
        now_us = self.world.now_us
        match event:
            case events.OrderEvent():
                self.view.on_order(reading.told_order(event, now_us))
            case events.FillEvent():
                self.view.on_fill(reading.told_fill(event, now_us))
            case events.PositionEvent():
                self.view.on_position(event.ticker, event.subaccount or 0, event.position_cx, now_us)
            case events.GroupEvent():
                self.view.on_group(reading.told_group(event))

    # --- always -------------------------------------------------------------------------------------------------------

    @invariant()
    def every_frame_is_understood(self) -> None:
        assert self.desk.spoilt == []
        for gateway in self.gateways:
            assert not SPOILT & gateway.books.counters.keys()

    @invariant()
    def the_books_are_the_exchanges(self) -> None:
        for gateway in self.gateways:
            for ticker, market in self.world.markets.items():
                ours = gateway.books.markets[ticker]
                assert ours.is_valid
                assert {side: ours.levels[side] for side in Side} == {side: market.levels(side) for side in Side}

    @invariant()
    def the_orders_and_fills_are_the_exchanges(self) -> None:
        account = self.world.account(WHO)
        seen = {order_id: facts(order) for order_id, order in self.view.orders.items()}
        assert seen == {order.order_id: truth(order) for order in self.orders if order.account == WHO}
        fills = {(f.order_id, f.trade_id): (f.count_cx, f.yes_price_cc, f.fee_ud, f.subaccount) for f in account.fills}
        assert len(fills) == len(account.fills)
        assert fills == {
            (f.order_id, f.trade_id): (f.count_cx, f.yes_price_cc, f.fee_ud, f.subaccount)
            for f in self.view.fills.all()
        }

    @invariant()
    def the_positions_and_groups_are_the_exchanges(self) -> None:
        held = {(p.ticker, p.subaccount): p.position_cx for p in self.world.account(WHO).positions.values()}
        seen = {(p.ticker, p.subaccount): p.position_cx for p in self.view.positions.all()}
        assert {k: v for k, v in seen.items() if v} == {k: v for k, v in held.items() if v}
        assert not self.view.wanted()
        triggered = {group_id for group_id, group in self.view.groups.items() if group.is_triggered}
        heard = [group for group in self.groups.values() if group.group_id in self.view.groups]
        assert triggered == {group.group_id for group in heard if group.is_triggered}


class Line:
    """One connection to the exchange with our session at its end."""

    def __init__(self, hub: Hub, world: World, session: Session, subscribing: Iterable[str]) -> None:
        self._commander = Commander(world, hub, FaultPlan(seed=1))
        self._theirs = hub.open(WHO)
        self.session = session
        for channel in subscribing:
            self._say(session.subscribe(channel, TICKERS if channel in channels.MARKET_CHANNELS else ()))

    def _say(self, commands: list[bytes]) -> None:
        for command in commands:
            self._commander.handle(self._theirs, command.decode())

    def frames(self) -> list[bytes]:
        return self._theirs.take()


class GatewayLine(Line):
    """Books, as the gateway keeps them."""

    def __init__(self, hub: Hub, world: World, *, use_yes_price: bool) -> None:
        self.books = Books(1, Session(use_yes_price=use_yes_price))
        super().__init__(hub, world, self.books.session, (channels.BOOK, channels.TRADE))

    def ask(self, tickers: list[str]) -> None:
        subscription = self.session.of_channel(channels.BOOK)
        assert subscription is not None
        self._say(self.session.get_snapshot(subscription.sid, tickers))

    def read(self, now_us: int) -> None:
        for frame in self.frames():
            self.books.receive(frame, now_us)


class DeskLine(Line):
    """The events of the private channels."""

    def __init__(self, hub: Hub, world: World) -> None:
        self.spoilt: list[events.Event] = []
        super().__init__(hub, world, Session(), channels.PRIVATE_CHANNELS)

    def read(self) -> list[events.Event]:
        heard = [event for frame in self.frames() for event in self.session.receive(frame)]
        spoilt = (events.Gap, events.Malformed, events.Refused, events.Ignored, events.Removed)
        self.spoilt += [event for event in heard if isinstance(event, spoilt)]
        return heard


def facts(order: schema.AccountOrder) -> tuple[object, ...]:
    return (
        order.ticker, order.side, order.yes_price_cc, order.filled_cx, order.remaining_cx, order.status,
        order.subaccount, order.group_id, order.is_complete,
    )  # fmt: skip


def truth(order: Order) -> tuple[object, ...]:
    return (
        order.ticker, order.side, order.yes_price_cc, order.fill_cx, order.remaining_cx, order.status,
        order.subaccount, order.order_group_id, order.status != "resting",
    )  # fmt: skip


class TestHeardHistories(HeardHistories.TestCase):
    settings = settings(max_examples=100, stateful_step_count=30)


@pytest.mark.long
@pytest.mark.timeout(1_200)
class TestLongHeardHistories(HeardHistories.TestCase):
    settings = settings(max_examples=200, stateful_step_count=100)
