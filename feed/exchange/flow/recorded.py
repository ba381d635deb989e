"""What every player of recordings needs: the fields of recorded messages, and how their markets are listed.

Markets are named by the recording; their event is the ticker without its last part and their series its first part,
which is this exchange naming what it lists, not reading meaning out of a ticker.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from feed.exchange.catalog import SHARD_CRYPTO, Event, Series, Terms
from feed.exchange.flow.displayed import REPLAY_OWNER
from feed.exchange.happenings import BookChanged
from feed.exchange.world import SECOND_US, World, stable_uuid
from markets.core.units import Side

if TYPE_CHECKING:
    from feed.exchange.market import Market

SIDES = {"yes": Side.YES, "no": Side.NO}


class Body(msgspec.Struct):
    """The fields used of a recorded message, whatever its type."""

    market_ticker: str = ""
    market_id: str = ""
    side: str = ""
    price_dollars: str = ""
    delta_fp: str = ""
    yes_dollars_fp: list[tuple[str, str]] = []
    no_dollars_fp: list[tuple[str, str]] = []
    yes_price_dollars: str = ""
    count_fp: str = ""
    trade_id: str = ""
    taker_outcome_side: str = ""
    taker_side: str = ""
    volume_fp: str = ""
    open_interest_fp: str = ""
    last_trade_size_fp: str = ""
    ts: str | int | None = None
    ts_ms: int | None = None

    @property
    def at_us(self) -> int | None:
        """Return the exchange time, to the microsecond where it is given."""
        if isinstance(self.ts, str):
            return parse_time(self.ts)
        return None if self.ts_ms is None else self.ts_ms * 1_000


class Frame(msgspec.Struct):
    type: str
    msg: Body = msgspec.field(default_factory=Body)


decode_frame = msgspec.json.Decoder(Frame).decode


def parse_time(text: str) -> int:
    moment = datetime.fromisoformat(text).astimezone(UTC)
    return int(moment.timestamp()) * SECOND_US + moment.microsecond


def show_change(world: World, market: Market, side: Side, price_cc: int, change_cx: int, *, at_us: int) -> None:
    """Publish a change of a shown level; what has just appeared meets our resting orders first."""
    if change_cx > 0 and len(market.book) and market.book.would_cross(side, price_cc) and market.is_tradable:
        assert market.displayed is not None, "only replayed markets are played"
        traded = world.entry.meet_recorded(market, REPLAY_OWNER, side, price_cc, change_cx)
        market.displayed.take(side, price_cc, traded)
        change_cx -= traded
    market.book_version += 1
    if change_cx:
        terms = market.terms
        world.emit(BookChanged(terms.ticker, terms.market_id, side, price_cc, change_cx, at_us))


def list_event_of(world: World, ticker: str, life_us: tuple[int, int]) -> str:
    """List the series and event of a recorded market where they are not yet; return the event's ticker."""
    open_us, close_us = life_us
    series_ticker, event_ticker = ticker.partition("-")[0], ticker.rpartition("-")[0] or ticker
    if series_ticker not in world.series:
        source = ("CF Benchmarks", "https://www.cfbenchmarks.com/")
        world.series[series_ticker] = Series(
            series_ticker, f"{series_ticker}, replayed", "Crypto", ("Replay",), "fifteen_min", source,
            exchange_index=SHARD_CRYPTO,
        )  # fmt: skip
    if event_ticker not in world.events:
        title = f"{event_ticker}, replayed"
        world.list_event(
            Event(event_ticker, series_ticker, title, "Recorded market", "", close_us, open_us, SHARD_CRYPTO)
        )
    return event_ticker


def recorded_terms(
    ticker: str,
    market_id: str,
    event_ticker: str,
    *,
    life_us: tuple[int, int],
    settlement_timer_s: int,
    strike: float | None,
) -> Terms:
    """Return the terms of a recorded market; an id is made where the recording has none."""
    open_us, close_us = life_us
    target = "as recorded" if strike is None else f"${strike:,.2f}"
    return Terms(
        ticker=ticker,
        market_id=market_id or stable_uuid(f"market:{ticker}"),
        event_ticker=event_ticker,
        title=f"{event_ticker}: price up?",
        yes_sub_title=f"Target price: {target}",
        no_sub_title=f"Target price: {target}",
        rules_primary="A recorded market, played again with its times moved to now.",
        rules_secondary="",
        created_us=open_us,
        open_us=open_us,
        close_us=close_us,
        expected_expiration_us=close_us,
        latest_expiration_us=close_us + 7 * 86_400 * SECOND_US,
        settlement_timer_s=settlement_timer_s,
        structure="tapered_deci_cent",
        strike={} if strike is None else {"strike_type": "greater_or_equal", "floor_strike": strike},
        exchange_index=SHARD_CRYPTO,
    )
