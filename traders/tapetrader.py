"""One trader of a backtest: an engine on one market of a tape, with its journal gathered instead of written.

It lives as a trader's process lets it live: it hears, looks, and ends when its market closes. What the recording tells
of the market's life changes what it knows of the market, as the catalogue would.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from feed.kalshi.life import told_terms
from feed.schema import (
    BookEvent,
    Decision,
    FeedState,
    FillState,
    JournalBody,
    LatchChange,
    LifecycleRow,
    OrderState,
    StateChange,
    TickerRow,
)
from markets.core.units import Side
from traders.backtested import MarketResult, Outcome, TapeDecision, TapeFill, TapeOrder, TapeState
from traders.brokers.replay import ReplayBroker
from traders.core.facts import MarketFacts
from traders.core.inventory import Inventory
from traders.engine import CLOSED, STATUSES, Engine, Now, Setup


class TapeTrader:
    """One market's trader, and what becomes of it.

    Args:
        broker: Its own; it hears tickers where trades are not told.
        now: When it begins.
    """

    def __init__(self, setup: Setup, broker: ReplayBroker, now: Now) -> None:
        self._setup, self._facts, self._broker = setup, setup.facts, broker
        self._engine = Engine(setup, broker, inventory=Inventory())
        self._printed = Inventory()
        self._began_us, self._ended_us, self._why_ended = now.wall_us, 0, ""
        self._value_cc: int | None = None
        self._orders: dict[str, TapeOrder] = {}
        self._fills: list[TapeFill] = []
        self._decisions: list[TapeDecision] = []
        self._states: list[TapeState] = []
        self._counts: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()

    @property
    def is_over(self) -> bool:
        return bool(self._why_ended)

    # What it hears

    def on_feed(self, feed: FeedState, now: Now) -> None:
        self._engine.on_feed(feed, now)

    def hear(self, happened: BookEvent | TickerRow | LifecycleRow, now: Now) -> None:
        """Take notice of one thing; how the market settles counts also when the trader is over."""
        if isinstance(happened, LifecycleRow):
            self._live(happened, now)
        elif self.is_over:
            return
        elif isinstance(happened, TickerRow):
            self._counts["tickers"] += 1
            self._broker.on_ticker(happened, book=self._engine.view.book)
        else:
            self._counts["events"] += 1
            self._note(self._engine.on_events((happened,)), now)

    def look(self, now: Now) -> None:
        """Let the engine decide; the close of the market is the end."""
        if self.is_over:
            return
        self._counts["looks"] += 1
        self._note(self._engine.decide(now), now)
        if self._engine.is_closed(now):
            self.end(CLOSED, now)

    def end(self, reason: str, now: Now) -> None:
        """Stop for good, unless that has happened."""
        if self.is_over:
            return
        self._note([*self._engine.drain(reason), *self._engine.finish(reason)], now)
        self._ended_us, self._why_ended = now.wall_us, reason

    def _live(self, row: LifecycleRow, now: Now) -> None:
        try:
            terms = told_terms(row.body)
        except ValueError:
            return  # the catalogue would not know more
        if terms.value_cc is not None:
            self._value_cc = terms.value_cc
        facts = self._facts
        self._facts = MarketFacts(
            price_ranges=terms.price_ranges or facts.price_ranges,
            close_time_us=terms.close_us or facts.close_time_us,
            status=STATUSES.get(row.event_type, facts.status),
            fees=facts.fees,
        )
        if self._facts != facts and not self.is_over:
            self._note(self._engine.on_facts(self._facts, now), now)

    # What it says

    def _note(self, bodies: Sequence[JournalBody], now: Now) -> None:
        at_us = now.wall_us
        for body in bodies:
            match body:
                case FillState():
                    self._note_fill(body, at_us)
                case OrderState():
                    self._note_order(body, at_us)
                case Decision():
                    self._decisions.append(TapeDecision(at_us, body.reason, body.figures, body.repeats))
                    self._reasons.update(why["code"] for why in body.figures["why"])
                case StateChange():
                    self._states.append(TapeState(at_us, body.state, body.reason))
                case LatchChange():
                    self._states.append(TapeState(at_us, f"latched: {body.code}", body.reason))

    def _note_fill(self, fill: FillState, at_us: int) -> None:
        if not fill.inferred:
            self._printed = self._printed.after(Side(fill.side), fill.price_cc, fill.count_cx, fee_ud=fill.fee_ud)
        self._fills.append(
            TapeFill(
                told_us=at_us,
                client_order_id=fill.client_order_id,
                trade_id=fill.trade_id,
                side=fill.side,
                price_cc=fill.price_cc,
                count_cx=fill.count_cx,
                fee_ud=fill.fee_ud,
                is_taker=fill.is_taker,
                inferred=fill.inferred,
                position_cx=fill.position_cx,
                cause=self._broker.causes[fill.trade_id],
            )
        )

    def _note_order(self, order: OrderState, at_us: int) -> None:
        before = self._orders.get(order.client_order_id)
        self._orders[order.client_order_id] = TapeOrder(
            sent_us=at_us if before is None else before.sent_us,
            changed_us=at_us,
            client_order_id=order.client_order_id,
            side=order.side,
            price_cc=order.price_cc,
            placed_cx=order.placed_cx,
            filled_cx=order.filled_cx,
            status=order.status,
            reason=order.reason,
        )

    def result(self, close_us: int | None, *, is_deduced: bool) -> MarketResult:
        """Return what became of it.

        Args:
            close_us: As far as it was known at the start.
            is_deduced: Whether the grid is deduced from prices.
        """
        book, value_cc = self._engine.view.book, self._value_cc
        orders = tuple(self._orders.values())
        self._counts.update(f"orders_{order.status}" for order in orders)
        return MarketResult(
            ticker=self._setup.ticker,
            close_us=close_us,
            price_ranges=self._setup.facts.price_ranges,
            are_ranges_deduced=is_deduced,
            began_us=self._began_us,
            ended_us=self._ended_us,
            why_ended=self._why_ended,
            result=Outcome.of(self._engine.inventory, book=book, value_cc=value_cc),
            printed=Outcome.of(self._printed, book=book, value_cc=value_cc),
            fills=tuple(self._fills),
            orders=orders,
            decisions=tuple(self._decisions),
            states=tuple(self._states),
            counts=dict(sorted(self._counts.items())),
            reasons=dict(sorted(self._reasons.items())),
        )
