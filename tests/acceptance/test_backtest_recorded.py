"""The engine over every contiguous recording of production, watched from three sides: its broker, its result, and the
file itself, read as plain JSON by code that shares nothing with what is tested."""

from __future__ import annotations

import io
import json
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import zstandard

from markets.core.book import OrderBook
from markets.core.units import DOLLAR_CC, Side, yes_price_cc
from traders.backtest import Plan, backtest
from traders.backtested import BacktestResult, MarketResult, TapeFill, TapeOrder, encode_result
from traders.brokers.base import OrderEvent
from traders.brokers.paper import PaperSettings
from traders.brokers.replay import CauseKind, ReplayBroker
from traders.core import registry
from traders.core.commands import Command, PlaceOrder, TakeOrder
from traders.core.limits import Limits
from traders.core.pipeline import Choice, StrategyChoices

registry.load()
FILES = 22
IN_MAKE_TEST = {"20260513T1640Z", "20260513T1808Z"}  # the shortest; the others take minutes together
LIMITS = Limits()
MINUTE_US = 60_000_000
LATE_MS = 5_000  # a look that is later behind the exchange is none
JOIN = Plan(strategies=StrategyChoices(Choice("join_best")))
LEAVE = Plan(
    strategies=StrategyChoices(Choice("join_best"), Choice("percent"), [{"name": "passive_exit"}]),
)
RUNS = (
    "20260513T1259Z", "20260513T1333Z", "20260513T1522Z", "20260513T1541Z", "20260513T1556Z", "20260513T1610Z",
    "20260513T1626Z", "20260513T1640Z", "20260513T1712Z", "20260513T1722Z", "20260513T1808Z", "20260513T202034Z",
    "20260513T211949Z", "20260513T215130Z", "20260513T222021Z", "20260513T230108Z", "20260514T002426Z",
    "20260514T010859Z", "20260514T014324Z", "20260514T021209Z", "20260514T024042Z", "20260514T043808Z",
)  # fmt: skip


# --- the broker's side ------------------------------------------------------------------------------------------------


class Watched(ReplayBroker):
    """Lets no command pass that the limits or the exchange would not; `growing` are the orders that may grow risk."""

    def __init__(self, new_id: Callable[[], str], settings: PaperSettings) -> None:
        super().__init__(new_id, settings)
        self.growing: set[str] = set()

    def execute(self, command: Command, *, book: OrderBook, time_us: int) -> list[OrderEvent]:
        assert not isinstance(command, TakeOrder), "none of these strategies takes"
        before = {order.client_order_id for order in self.resting()}
        grows = isinstance(command, PlaceOrder) and self.looked_at(command, book)
        events = super().execute(command, book=book, time_us=time_us)
        if grows:
            self.growing |= {order.client_order_id for order in self.resting()} - before
        for side in Side:
            may_fill = (*self.resting(), *self.unproven())
            worst_cx = self.held_cx(side) + sum(order.remaining_cx for order in may_fill if order.side is side)
            assert worst_cx <= LIMITS.position_cx_most
        return events

    def looked_at(self, command: PlaceOrder, book: OrderBook) -> bool:
        """Return whether an order that would be taken can grow the position: what only shrinks it always may."""
        assert command.price_cc + book.best_cc[command.side.other] < DOLLAR_CC, "it would cross"
        against = [order.price_cc for order in self.resting() if order.side is command.side.other]
        assert all(command.price_cc + price_cc < DOLLAR_CC for price_cc in against), "it would meet our own"
        if command.count_cx <= -self.held_cx(command.side):
            return False
        assert 0 < command.count_cx <= LIMITS.order_cx_most
        assert LIMITS.price_cc_least <= yes_price_cc(command.side, command.price_cc) <= LIMITS.price_cc_most
        return True

    def held_cx(self, side: Side) -> int:
        return self.inventory.position_cx if side is Side.YES else -self.inventory.position_cx


class Leaving(Watched):
    """Lets nothing pass that grows a position, or passes through zero."""

    def looked_at(self, command: PlaceOrder, book: OrderBook) -> bool:
        grows = super().looked_at(command, book)
        assert not grows or not self.inventory.position_cx
        return grows


def watched(path: Path, plan: Plan, kind: type[Watched]) -> tuple[BacktestResult, list[Watched]]:
    """Return a result, and the broker of each of its markets."""
    brokers: list[Watched] = []

    def new_broker(new_id: Callable[[], str], settings: PaperSettings) -> Watched:
        brokers.append(kind(new_id, settings))
        return brokers[-1]

    return backtest(path, plan, new_broker=new_broker), brokers


# --- the file's side --------------------------------------------------------------------------------------------------


class Market:
    """What a recording says of one market: its close, its tickers, and what left its levels. Times in milliseconds."""

    def __init__(self) -> None:
        self.close_us = 0
        self.tickers: list[tuple[int, int]] = []  # time, and all that had traded by then, in the order they came
        self.removals: dict[str, list[tuple[int, int]]] = defaultdict(list)  # by side: time and price

    def growth_cx(self, time_ms: int, volume_cx: int) -> int:
        """Return by how much the volume had grown at a ticker, since the one before it."""
        at = self.tickers.index((time_ms, volume_cx))
        return volume_cx - self.tickers[at - 1][1] if at else 0

    def is_removed(self, side: Side, price_cc: int, since_ms: int, until_ms: int) -> bool:
        """Whether something left a level at that price or a worse one in that time."""
        removals = self.removals["yes" if side is Side.YES else "no"]
        first, last = bisect_left(removals, (since_ms, 0)), bisect_right(removals, (until_ms, DOLLAR_CC))
        return any(price <= price_cc for _, price in removals[first:last])


def plain(path: Path) -> dict[str, Market]:
    found: dict[str, Market] = defaultdict(Market)
    for line in lines(path):
        body, market = line["payload_json"], found[line["market_ticker"]]
        match line["event_type"]:
            case "watch_market":
                market.close_us = int(datetime.fromisoformat(body["close_time"]).timestamp()) * 1_000_000
            case "ticker":
                market.tickers.append((body["ts_ms"], int(Decimal(body["volume_fp"]) * 100)))
            case "orderbook_delta" if body["delta_fp"].startswith("-"):
                price_cc = int(Decimal(body["price_dollars"]) * DOLLAR_CC)
                market.removals[body["side"]].append((body["ts_ms"], price_cc))
    for market in found.values():
        for removals in market.removals.values():
            removals.sort()
    return found


def lines(path: Path) -> Iterator[dict[str, Any]]:
    unpacked = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(path.open("rb"))
    yield from map(json.loads, io.TextIOWrapper(unpacked, "utf-8"))


# --- the result's side ------------------------------------------------------------------------------------------------


def check(result: BacktestResult, brokers: list[Watched], file: dict[str, Market]) -> None:
    """Hold a result against the file that it came of."""
    assert not result.has_prints
    assert [market.ticker for market in result.markets] == [ticker for ticker in file if file[ticker].tickers]
    assert result.printed.fills == 0, "no print shows any of these fills"
    assert any(broker.growing for broker in brokers)
    for market, broker in zip(result.markets, brokers, strict=True):
        check_fills(market, file[market.ticker])
        check_orders(market, file[market.ticker])
        check_rate(market, broker.growing)


def check_fills(market: MarketResult, file: Market) -> None:
    position_cx = cash_ud = 0
    by_ticker: Counter[tuple[int, int]] = Counter()
    orders = {order.client_order_id: order for order in market.orders}
    for fill in market.fills:
        position_cx += fill.count_cx if fill.side == Side.YES else -fill.count_cx
        assert fill.position_cx == position_cx
        check_cause(fill, orders[fill.client_order_id], file)
        by_ticker[fill.cause.time_us // 1_000, fill.cause.volume_cx or 0] += fill.count_cx
        cash_ud -= fill.count_cx * fill.price_cc
    for (time_ms, volume_cx), filled_cx in by_ticker.items():
        assert filled_cx <= file.growth_cx(time_ms, volume_cx), "no more fills than traded"
    assert market.result.position_cx == position_cx
    pairs_cx = (sum(fill.count_cx for fill in market.fills) - abs(position_cx)) // 2
    assert market.result.cash_ud == cash_ud + pairs_cx * DOLLAR_CC, "a YES and a NO contract are a dollar"


def check_cause(fill: TapeFill, order: TapeOrder, file: Market) -> None:
    cause = fill.cause
    assert (fill.inferred, fill.is_taker, cause.kind) == (True, False, CauseKind.TICKER)
    assert (cause.time_us // 1_000, cause.volume_cx) in file.tickers
    assert fill.trade_id.startswith(f"ticker-{cause.time_us}-")
    assert cause.time_us <= fill.told_us < file.close_us
    since_ms = order.sent_us // 1_000 - LATE_MS
    assert file.is_removed(Side(fill.side), fill.price_cc, since_ms, cause.time_us // 1_000), "nothing left the book"


def check_orders(market: MarketResult, file: Market) -> None:
    filled = Counter({order.client_order_id: 0 for order in market.orders})
    for fill in market.fills:
        filled[fill.client_order_id] += fill.count_cx
    for order in market.orders:
        price_cc = yes_price_cc(Side(order.side), order.price_cc)
        assert price_cc % 100 == 0 or (price_cc % 10 == 0 and not 1_000 < price_cc < 9_000), "off the grid"
        assert order.filled_cx == filled[order.client_order_id] <= order.placed_cx
        assert order.status in ("filled", "canceled", "refused"), "nothing rests in the end"
        assert order.status != "refused", "the exchange would take each of these orders"
        assert order.changed_us <= file.close_us + MINUTE_US // 60


def check_rate(market: MarketResult, growing: set[str]) -> None:
    """No order that may grow risk is one too many of its minute, whatever the others are for."""
    orders, most = market.orders, LIMITS.orders_a_minute
    assert all(one.sent_us <= other.sent_us for one, other in pairwise(orders))
    for before, order in zip(orders, orders[most:], strict=False):
        assert order.sent_us - before.sent_us >= MINUTE_US or order.client_order_id not in growing


def recording(folder: Path, run: str) -> Path:
    (path,) = (folder / "ws_l2_kxbtc15m").glob(f"*_{run}.ndjson.zst")
    return path


@pytest.mark.recorded
@pytest.mark.parametrize(
    "run", [pytest.param(run, marks=() if run in IN_MAKE_TEST else pytest.mark.long) for run in RUNS]
)
def test_every_fill_on_a_recording_of_production_has_a_cause_in_it_and_no_limit_is_passed(
    run: str, recorded: Path
) -> None:
    path = recording(recorded, run)
    result, brokers = watched(path, JOIN, Watched)
    check(result, brokers, plain(path))
    assert result.counts["gaps"] == 0
    assert result.result.fills > 0


@pytest.mark.recorded
def test_all_recordings_of_production_are_among_them(recorded: Path) -> None:
    assert sorted(recording(recorded, run) for run in RUNS) == sorted((recorded / "ws_l2_kxbtc15m").glob("*.zst"))
    assert len(RUNS) == FILES


@pytest.mark.recorded
def test_a_buffer_and_a_passive_exit_keep_their_word_on_a_recording_of_production(recorded: Path) -> None:
    path = recording(recorded, "20260513T1640Z")
    result, brokers = watched(path, LEAVE, Leaving)
    check(result, brokers, plain(path))
    reasons = sum((Counter(market.reasons) for market in result.markets), Counter())
    assert min(reasons[code] for code in ("joins", "buffered", "passive_exit", "exit_rests", "no_growth")) > 0
    assert result.result.fills > 0


@pytest.mark.recorded
@pytest.mark.long
def test_a_recording_of_production_twice_gives_equal_bytes(recorded: Path) -> None:
    path = recording(recorded, "20260513T1640Z")
    assert encode_result(backtest(path, LEAVE)) == encode_result(backtest(path, LEAVE))
