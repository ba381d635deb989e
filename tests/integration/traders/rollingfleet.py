"""A live series rule on a local exchange with a rolling series: real traders, stores and workers, and takers.

exchange (in this process) ◄─── gateway, desk ───► Valkey ───► writer ───► PostgreSQL ◄─── supervisor (in this process)
        ▲                                                                                     │
        └────────────────────────────── traders ◄── spawner ◄─────────────────────────────────┘
"""

from __future__ import annotations

import json
import random
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec
from django.db.models import Max
from livefleet import LiveFleet
from liveground import OWNER_ACCOUNT, Ground
from traderworld import Workers

from feed import catalog
from feed.exchange.flow.agents.hands import Pace
from feed.exchange.flow.beliefs import Spot
from feed.exchange.flow.boards import BITCOIN
from feed.exchange.flow.rolling import Rolling, RollingPlan
from feed.exchange.trading.accounts import Order
from feed.exchange.trading.ledger import Kind
from feed.exchange.world import World
from kalshimm.ops.models import AuditRow
from markets.core.orderids import decode
from markets.core.units import Side
from tests.faults.livetrader import NO_GUARDS, WIDE
from traders.archive import archive_ended
from traders.models import Mode, SeriesRule, StrategySet, Trader

SERIES = msgspec.structs.replace(BITCOIN, fee_type="quadratic_with_maker_fees")
PERIOD_S = 5
TAKER, DEEP_POCKETS = "taker", "1000000"
TAKEN_CX = 137
TRADED = (Kind.FILL, Kind.FEE, Kind.NETTING, Kind.SETTLEMENT)


def rolling_world(now_us: int, **_switches: Any) -> World:
    """Return an exchange on which one market of the series follows the other, with a crowd in each."""
    world = World(seed=3, now_us=now_us)
    world.series[SERIES.ticker] = SERIES
    spot = Spot(random.Random("spot"), start=86_400.0, yearly_volatility=0.55, now_us=now_us)
    plan = RollingPlan(PERIOD_S, listed_before_s=4, determined_after_s=1, settled_after_s=1, pace=Pace(12.0, 90, 12))
    Rolling(world, SERIES, spot, plan).start()
    return world


class RollingFleet:
    """Everything that a live rule needs, at work."""

    def __init__(self, workers: Workers, redis_url: str, settings: Any) -> None:
        self._workers = workers
        self.fleet = LiveFleet(workers.home, redis_url, world=rolling_world)
        self.venue: Ground = self.fleet.venue
        ready = self.venue.ready
        told = {
            "KALSHI_ENV": "local", "KALSHI_REST_URL": ready.rest, "KALSHI_WS_URL": ready.ws,
            "KALSHI_KEY_ID": ready.key_id, "KALSHI_PRIVATE_KEY_PATH": ready.private_key_path,
        }  # fmt: skip
        for name, value in told.items():
            setattr(settings, name, value)
        workers.tell(told)
        self.fleet.add_key()
        deposit = {"amount": DEEP_POCKETS, "exchange_index": SERIES.exchange_index}
        self.control("POST", f"/accounts/{TAKER}/deposit", deposit)
        for role in ("gateway", "desk", "writer"):
            workers.start(role)
        workers.spawner()
        self.refresh()
        self.fleet.supervise()
        self._looked_s = 0.0

    def refresh(self) -> None:
        """Look at the series and put away what is over, as celery does."""
        catalog.refresh([SERIES.ticker])
        archive_ended(actor="test")

    def turn(self) -> None:
        """Let takers trade with whatever of ours rests, and the catalogue be looked at each half second."""
        for order in self.resting():
            self._take(order)
        if time.monotonic() - self._looked_s > 0.5:
            self._looked_s = time.monotonic()
            self.refresh()
        time.sleep(0.1)

    def _take(self, order: Order) -> None:
        yes_cc = order.price_cc if order.side is Side.YES else 10_000 - order.price_cc
        body = {
            "ticker": order.ticker, "side": "ask" if order.side is Side.YES else "bid", "price": f"0.{yes_cc:04}",
            "count": f"{TAKEN_CX // 100}.{TAKEN_CX % 100:02}", "time_in_force": "immediate_or_cancel",
            "self_trade_prevention_type": "taker_at_cross",
        }  # fmt: skip
        try:
            self.control("POST", f"/orders?account={TAKER}", body)
        except urllib.error.HTTPError as refused:  # the market closed meanwhile
            refused.close()

    def control(self, method: str, path: str, body: object) -> Any:
        address, data = self.venue.ready.control + path, json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(address, data, headers, method=method)) as answer:
            return json.loads(answer.read())

    def close(self) -> None:
        self.fleet.close()

    # --- the exchange's own word ----------------------------------------------------------------------------------

    def orders(self) -> list[Order]:
        return list(self.fleet.run(_of(self.venue.orders)).values())

    def resting(self) -> list[Order]:
        return [order for order in self.orders() if order.status == "resting"]

    def traders_by_market(self) -> dict[str, set[int]]:
        """Return who has placed orders in each market, by the names of the orders."""
        found: dict[str, set[int]] = defaultdict(set)
        for order in self.orders():
            owner = decode(order.client_order_id)
            assert owner is not None, f"an order that is not ours: {order.client_order_id}"
            found[order.ticker].add(owner.trader)
        return dict(found)

    def traded_ud(self) -> dict[Kind, int]:
        """Return what the account's cash book says of each kind that trading makes."""

        async def read() -> dict[Kind, int]:
            ledger = self.venue.exchange.world.account(OWNER_ACCOUNT).ledger
            return {kind: ledger.total_ud(kind) for kind in TRADED}

        return self.fleet.run(read())

    def fills(self) -> int:
        """Return how many fills the account has had."""

        async def count() -> int:
            return len(self.venue.exchange.world.account(OWNER_ACCOUNT).fills)

        return self.fleet.run(count())


async def _of(what: Any) -> Any:
    return what()


def a_live_rule(*, most: int, lead_s: int, close_buffer_s: int) -> SeriesRule:
    sizes = {"bid_cx": 500, "ask_cx": 500}
    strategy = StrategySet.objects.create(
        name="rolling", placement="join_best", placement_params=sizes, guards=NO_GUARDS | {"last_quote_s": 1}
    )
    return SeriesRule.objects.create(
        series_ticker=SERIES.ticker, mode=Mode.LIVE, strategy=strategy, limits=WIDE, max_traders=most, lead_s=lead_s,
        close_buffer_s=close_buffer_s, daily_loss_ud=10**9,
    )  # fmt: skip


def most_at_once(traders: Iterable[Trader]) -> int:
    """Return how many traded at once at most: from being made until nothing of theirs could rest any more."""
    names = [trader.name for trader in traders]
    rows = AuditRow.objects.filter(subject__in=names)
    begun = rows.filter(action="trader.created").values_list("subject", "time")
    over = dict(rows.filter(action="trader.pulled").values_list("subject").annotate(Max("time")))
    steps = sorted([(at, 1) for _, at in begun] + [(at, -1) for at in over.values()])
    most = now = 0
    for _, step in steps:
        now += step
        most = max(most, now)
    return most
