"""A rolling short-lived series: one market open at a time, its successor listed before it closes.

Tickers follow the scheme of the 15-minute crypto series with seconds added, because the period here is shorter.
The strike is the price at the open, so it is announced then (`metadata_updated`), as the venue does.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from feed.exchange.catalog import SHARD_CRYPTO, Event, Series, Terms
from feed.exchange.flow.agents.hands import Pace
from feed.exchange.flow.crowd import Crowd
from feed.exchange.happenings import Announced
from feed.exchange.incentives import programs
from feed.exchange.wire import public as wire
from feed.exchange.world import SECOND_US, stable_uuid

if TYPE_CHECKING:
    from feed.exchange.flow.beliefs import Spot
    from feed.exchange.market import Market
    from feed.exchange.world import World

SETTLED_KEPT = 60  # older ones belong to the venue's history


class RollingPlan(msgspec.Struct, frozen=True):
    """Times in seconds: the life of a market, how early its successor is listed, and how it ends."""

    period_s: int
    listed_before_s: int
    determined_after_s: int
    settled_after_s: int
    pace: Pace


class Rolling:
    """One series that never stops."""

    def __init__(self, world: World, series: Series, spot: Spot, plan: RollingPlan) -> None:
        self._world = world
        self._series = series
        self._spot = spot
        self._plan = plan
        self._listed: deque[str] = deque()
        world.on_open.append(self._opened)

    def start(self) -> None:
        """List the market whose time it is."""
        period = self._plan.period_s * SECOND_US
        self._list(self._world.now_us // period * period)

    def _list(self, open_us: int) -> None:
        close_us = open_us + self._plan.period_s * SECOND_US
        event = self._event(open_us, close_us)
        self._world.list_event(event)
        terms = self._terms(event, open_us, close_us)
        self._world.list_market(
            terms,
            judge=lambda: self._result(terms.ticker),
            determine_after_us=self._plan.determined_after_s * SECOND_US,
        )
        programs.offer(
            self._world,
            terms.ticker,
            open_us,
            close_us,
            reward_cc=10_000,
            target=300,
            discount_bps=5_000,
            paid_after_us=self._plan.period_s * SECOND_US,
            description="series_lip",
        )
        self._remember(event.ticker)
        self._world.schedule(close_us - self._plan.listed_before_s * SECOND_US, lambda: self._list(close_us))

    def _result(self, ticker: str) -> str:
        # One that was closed before it opened has no strike, and so no price is at least that.
        strike = self._world.markets[ticker].terms.strike.get("floor_strike", math.inf)
        return "yes" if self._spot.price(self._world.now_us) >= strike else "no"

    def _remember(self, event_ticker: str) -> None:
        self._listed.append(event_ticker)
        if len(self._listed) > SETTLED_KEPT:
            old = self._listed.popleft()
            self._world.retire(old)

    def _event(self, open_us: int, close_us: int) -> Event:
        stamp = wire.stamp(close_us, "%y%b%d%H%M%S")
        return Event(
            ticker=f"{self._series.ticker}-{stamp}",
            series_ticker=self._series.ticker,
            title="BTC price up in the next period?",
            sub_title=f"{wire.stamp(open_us, '%b %d, %H:%M:%S')} to {wire.stamp(close_us, '%H:%M:%S')} UTC",
            collateral_return_type="",
            strike_us=close_us,
            created_us=self._world.now_us,
            exchange_index=SHARD_CRYPTO,
        )

    def _terms(self, event: Event, open_us: int, close_us: int) -> Terms:
        ticker = f"{event.ticker}-{wire.stamp(close_us, '%S')}"
        return Terms(
            ticker=ticker,
            market_id=stable_uuid(f"market:{ticker}"),
            event_ticker=event.ticker,
            title=event.title,
            yes_sub_title="Target price: TBD",
            no_sub_title="Target price: TBD",
            rules_primary=(
                "If the Bitcoin price when this market closes is at least its price when it opened, then the market "
                "resolves to Yes."
            ),
            rules_secondary="The price is simulated by the local exchange.",
            created_us=self._world.now_us,
            open_us=open_us,
            close_us=close_us,
            expected_expiration_us=close_us + self._plan.determined_after_s * SECOND_US,
            latest_expiration_us=close_us + 7 * 86_400 * SECOND_US,
            settlement_timer_s=self._plan.settled_after_s,
            structure="tapered_deci_cent",
            strike={"strike_type": "greater_or_equal"},
            exchange_index=SHARD_CRYPTO,
        )

    def _opened(self, market: Market) -> None:
        if self._world.series_of(market) is not self._series:
            return
        strike = round(self._spot.price(self._world.now_us), 2)
        sub_title = f"Target price: ${strike:,.2f}"
        fields = {"strike_type": "greater_or_equal", "floor_strike": strike}
        market.terms = msgspec.structs.replace(
            market.terms, yes_sub_title=sub_title, no_sub_title=sub_title, strike=fields
        )
        body = {"market_ticker": market.ticker, "event_type": "metadata_updated", **fields, "yes_sub_title": sub_title}
        self._world.emit(Announced("market_lifecycle_v2", body))
        close_us = market.terms.close_us
        Crowd(self._world, market, lambda now_us: self._spot.above(strike, close_us, now_us), self._plan.pace).start()
