"""A trader that has the venue's socket in its own hands: no gateway, no store, no token budget, no journal.

    python -m kalshimm.bench.direct --trader N --ws URL

The limit of `bench tick_to_order`. Session, books, engine, live broker and sender are the product's, set up by the
start file of a trader; every frame goes from the socket to a decision in one turn of one loop, and orders leave at
once. It runs until it is terminated.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path

from feed import keys
from feed.books import Books
from feed.kalshi import channels, socket
from feed.kalshi.environments import Environment
from feed.kalshi.rest import Rest
from feed.kalshi.session import Session
from feed.schema import FEED_EVERY_S, VERSION, FeedState
from kalshimm.bench import account
from kalshimm.errors import KalshimmError
from kalshimm.runtime.clock import Clock, SystemClock
from kalshimm.runtime.worker import every, runner
from markets.core.orderids import Owner
from markets.core.settlement import Position
from traders.brokers.live import LiveBroker, venue_clock
from traders.brokers.sending import Sender
from traders.brokers.venue import Venue
from traders.core import registry
from traders.core.intents import Record
from traders.core.inventory import Inventory
from traders.core.liveorders import LiveOrders
from traders.engine import Engine, Now
from traders.processes import trader_folder
from traders.start import LiveStart, Start, read_start

CONN = 1


class Direct:
    """The trader, and the handler of its socket."""

    def __init__(self, start: Start, live: LiveStart, rest: Rest, clock: Clock) -> None:
        self._start, self._clock = start, clock
        now_us = venue_clock(clock.wall_us(), clock.monotonic)
        orders = LiveOrders(Owner(live.installation, start.trader, live.epoch), start.ticker, group_id=live.group_id)
        venue = Venue(rest, live, start.ticker, now_us)
        self._broker = LiveBroker(
            orders, start.ticker, now_us=now_us, exchange_index=live.exchange_index, subaccount=0, held=Position()
        )
        self._sender = Sender(orders, venue, write=_nowhere, synced=_at_once, now_us=now_us, changed=self._react)
        self._broker.why_not_sending = lambda: self._sender.stopped
        self._engine = Engine(start.setup(), self._broker, inventory=Inventory(), desired=start.desired)
        self._books = Books(CONN, Session())
        self._books.lease(start.ticker, is_leased=True, now_us=0)
        self._turn: list[bytes] = []

    async def run(self, ws_url: str) -> None:
        """Trade until the venue's connection ends."""
        stop = asyncio.Event()
        self._broker.on_account([account.entry(self._start.account, self._clock.wall_us(), is_whole=True)])
        connection = await socket.connect("picows", ws_url, {}, self)
        for command in self._books.session.subscribe(channels.BOOK, [self._start.ticker]):
            connection.send(command)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sender.run(stop), name="send")
            tasks.create_task(every(stop, FEED_EVERY_S, self._tell), name="tell")
            why = await connection.wait_closed()
            raise KalshimmError(f"The blaster's connection ended: {why}.")

    async def _tell(self) -> None:
        """Tell what gateway and desk would."""
        now, generations = self._now(), self._books.generations()
        feed = FeedState(VERSION, CONN, "live", generations, 0, self._books.last_lag_ms, now.wall_us, 1)
        self._engine.on_feed(feed, now)
        self._broker.on_account([account.entry(self._start.account, now.wall_us, is_whole=False)])
        self._react()

    # The socket's handler

    def on_frame(self, data: bytes) -> None:
        self._turn.append(data)

    def on_turn(self) -> None:
        if not self._turn:
            return
        turn, self._turn = self._turn, []
        self._books.receive_turn(turn, self._clock.wall_us())
        events = self._books.take().events.get(self._start.ticker)
        if events:
            self._engine.on_events(events)
            self._engine.decide(self._now())
            self._flush()

    def on_ping(self) -> None: ...

    # The decision

    def _react(self) -> None:
        now = self._now()
        self._engine.settle(now)
        self._engine.decide(now)
        self._flush()

    def _flush(self) -> None:
        for intent in self._broker.take_intents():
            self._sender.put(intent)

    def _now(self) -> Now:
        return Now(self._clock.wall_us(), self._clock.monotonic())


def _nowhere(record: Record) -> None:
    del record


async def _at_once() -> None:
    """Wait for nothing."""


async def _run(trader: int, ws_url: str) -> None:
    home, clock = Path(os.environ["KALSHIMM_HOME"]), SystemClock()
    start = read_start(trader_folder(home, trader))
    assert start.live is not None, "the bench writes a live one"
    environment = Environment(start.live.environment, start.live.rest_url, "")
    async with Rest(environment, keys.open_key(home, start.live.key), clock) as rest:
        await rest.exchange.status()
        await Direct(start, start.live, rest, clock).run(ws_url)


def main() -> None:
    parser = argparse.ArgumentParser(description="A trader with the venue's socket in its own hands.")
    parser.add_argument("--trader", type=int, required=True)
    parser.add_argument("--ws", required=True)
    options = parser.parse_args()
    registry.load()
    with runner() as loop:  # the loop that a trader runs on
        loop.run(_run(options.trader, options.ws))


if __name__ == "__main__":
    main()
