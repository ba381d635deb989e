"""What a recording says of its markets and of itself, looked up before it is played.

    close and grid      what is known of a market before it trades: from the recorder's own lines and `created` messages
    grid, else          the coarsest structure of the venue's that has every price of the recording
    prints              whether trades are told: their channel is subscribed, or one comes, or the tape is our own
    clock               by how much the exchange's is ahead of the recorder's, by the message that was delayed least

What changes while the recording plays is not in here: nobody knew it beforehand.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from feed import schema
from feed.books import Books
from feed.kalshi import channels
from feed.kalshi.life import Terms, told_terms
from feed.kalshi.session import Session
from feed.kalshi.wire.kinds import read_time
from feed.recording import RecordedFrame, identity, read_frames
from feed.turns import turns
from kalshimm.errors import BadRecording
from markets.core.grid import PriceGrid, PriceRange
from markets.core.units import DOLLAR_CC, Side

# Step at the edges, step between them, width of an edge; the coarsest first. Source: facts.md 5.5.
STRUCTURES = (
    (100, 100, 1_000), (50, 100, 1_000), (20, 100, 1_000), (10, 100, 1_000), (50, 50, 1_000), (20, 50, 1_000),
    (10, 50, 1_000), (20, 20, 1_000), (10, 20, 1_000), (10, 10, 1_000), (1, 10, 100), (1, 1, 1_000),
)  # fmt: skip


class SurveyedMarket(msgspec.Struct, frozen=True):
    """One market of a recording.

    Attributes:
        close_us: As it was known at the start; None where the recording does not say.
        price_ranges: Said by the recording, or deduced from its prices.
    """

    ticker: str
    close_us: int | None
    price_ranges: tuple[PriceRange, ...]
    are_ranges_deduced: bool


class Survey(msgspec.Struct, frozen=True):
    """One recording.

    Attributes:
        recording: Its identity, whatever its name.
        markets: In the order in which books, tickers and trades name them first.
        ahead_us: By how much the exchange's clock is ahead of the recorder's.
        first_us: When its first frame was received, and `last_us` its last, on the recorder's clock.
    """

    recording: int
    markets: tuple[SurveyedMarket, ...]
    has_prints: bool
    ahead_us: int
    first_us: int
    last_us: int


def survey(path: Path, *, use_yes_price: bool = False) -> Survey:
    """Read a recording once, and return what it says.

    Args:
        use_yes_price: NO levels of raw frames are at YES prices.

    Raises:
        BadRecording: It is broken, or holds no market.
    """
    surveyor = _Surveyor(use_yes_price=use_yes_price)
    for turn in turns(surveyor.looked_at(path)):
        surveyor.take(turn.connection, turn.received_us, turn.frames)
    if not surveyor.prices:
        raise BadRecording(path, None, "holds no book, ticker or trade of any market.")
    return Survey(
        recording=identity(path),
        markets=tuple(map(surveyor.market, surveyor.prices)),
        has_prints=surveyor.has_prints,
        ahead_us=surveyor.ahead_us or 0,
        first_us=surveyor.first_us or 0,
        last_us=surveyor.last_us,
    )


class _Surveyor:
    """Gathers; `prices` of a market are of both ladders, for every structure is the same from both ends."""

    def __init__(self, *, use_yes_price: bool) -> None:
        self.prices: dict[str, set[int]] = {}
        self.has_prints = False
        self.ahead_us: int | None = None
        self.first_us: int | None = None
        self.last_us = 0
        self._terms: dict[str, Terms] = {}
        self._closes: dict[str, int] = {}
        self._use_yes_price = use_yes_price
        self._connection = -1
        self._books: Books | None = None

    def looked_at(self, path: Path) -> Iterator[RecordedFrame]:
        """Yield the lines of a recording, each looked at for what its recorder noted."""
        for one in read_frames(path):
            if one.event is not None and one.event["event_type"] == "watch_market":
                self._note_close(path, one.line, one.event)
            self.has_prints = self.has_prints or one.row is not None  # a tape of ours has every channel
            yield one

    def _note_close(self, path: Path, line: int, event: dict[str, Any]) -> None:
        if event.get("close_time"):
            try:
                self._closes.setdefault(str(event["market_ticker"]), read_time(event["close_time"]))
            except (KeyError, ValueError) as exc:
                raise BadRecording(path, line, f"watches a market without its ticker or time ({exc}).") from exc

    def take(self, connection: int, received_us: int, frames: list[bytes]) -> None:
        if connection != self._connection or self._books is None:
            self._connection = connection
            self._books = Books(0, Session(use_yes_price=self._use_yes_price, adopt=True))
        self.first_us = received_us if self.first_us is None else self.first_us
        self.last_us = received_us
        self._books.receive_turn(frames, received_us)
        for row in self._books.take().rows:
            self._look_at(row, received_us)
        self.has_prints = self.has_prints or self._books.session.of_channel(channels.TRADE) is not None

    def _look_at(self, row: schema.Row, received_us: int) -> None:
        if isinstance(row, tuple):
            _, time_us, source, ticker, _, _, price_cc, _ = row
            self._prices_of(ticker).add(price_cc)
        else:
            time_us, source, ticker = row.time_us, row.source, row.ticker
            self._look_at_rare(row)
        if source == schema.TimeSource.EXCHANGE:
            ahead_us = time_us - received_us
            self.ahead_us = ahead_us if self.ahead_us is None else max(self.ahead_us, ahead_us)

    def _look_at_rare(self, row: schema.TapeRow) -> None:
        match row:
            case schema.SnapshotRow():
                self._prices_of(row.ticker).update(price_cc for price_cc, _ in (*row.yes, *row.no))
            case schema.TradeRow():
                self._prices_of(row.ticker).add(row.yes_price_cc)
                self.has_prints = True
            case schema.TickerRow():
                self._prices_of(row.ticker)
            case schema.LifecycleRow(event_type="created"):
                self._note_terms(row)

    def _prices_of(self, ticker: str) -> set[int]:
        return self.prices.setdefault(ticker, set())

    def _note_terms(self, row: schema.LifecycleRow) -> None:
        try:
            self._terms.setdefault(row.ticker, told_terms(row.body))
        except ValueError:
            return  # what cannot be read is not known

    def market(self, ticker: str) -> SurveyedMarket:
        terms = self._terms.get(ticker, Terms())
        close_us = self._closes.get(ticker, terms.close_us)
        ranges = terms.price_ranges
        return SurveyedMarket(ticker, close_us, ranges or deduced_ranges(self.prices[ticker]), not ranges)


def deduced_ranges(prices_cc: set[int]) -> tuple[PriceRange, ...]:
    """Return the coarsest price structure of the venue's that has all these prices, of either ladder."""
    for edge_cc, step_cc, width_cc in STRUCTURES:
        ranges = _ranges(edge_cc, step_cc, width_cc)
        if prices_cc <= set(PriceGrid(ranges).prices_cc(Side.YES)):
            return ranges
    raise AssertionError("the last structure has every price")


def _ranges(edge_cc: int, step_cc: int, width_cc: int) -> tuple[PriceRange, ...]:
    if edge_cc == step_cc:
        return (PriceRange(0, DOLLAR_CC, step_cc),)
    return (
        PriceRange(0, width_cc, edge_cc),
        PriceRange(width_cc, DOLLAR_CC - width_cc, step_cc),
        PriceRange(DOLLAR_CC - width_cc, DOLLAR_CC, edge_cc),
    )
