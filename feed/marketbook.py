"""The book of one market of a connection, with what must be known to believe it."""

from __future__ import annotations

from feed import schema
from markets.core.book import OrderBook

NEVER_TOLD = -1


class _Touched(OrderBook):
    """What every delta looks at: slots of one class lie together, in two lines of the processor's cache."""

    __slots__ = ("events", "look_us", "seq", "ticker", "time_us")


class MarketBook(_Touched):
    """Times in microseconds.

    `events` gathers for the book stream; None while nobody leases the market.
    `told_seq` is the `seq` at which the latest state was told last, NEVER_TOLD when something beside the book changed.
    `own_due_us` is when the tape needs a snapshot of ours, 0 while no delta came after the last snapshot on it.
    `look_us` is the time from which a delta concerns more than levels: `own_due_us`, or 0 of a leased market.
    """

    __slots__ = (
        "ask_again_us",
        "asked",
        "crossed_resynced",
        "crossed_since_us",
        "generation",
        "is_valid",
        "last_yes_price_cc",
        "own_due_us",
        "sid",
        "status",
        "streamed",
        "streamed_us",
        "told_seq",
        "valid_since_us",
        "volume_cx",
    )

    def __init__(self, ticker: str) -> None:
        super().__init__()
        self.ticker = ticker
        self.is_valid = False
        self.valid_since_us = 0
        self.events: list[schema.BookEvent] | None = None
        self.streamed = 0  # events taken since the last snapshot on the book stream
        self.streamed_us = 0  # when that was
        self.asked = 0
        self.ask_again_us = 0
        self.sid = 0
        self.generation = 0
        self.seq = 0
        self.time_us = 0
        self.own_due_us = self.look_us = 0
        self.crossed_since_us: int | None = None
        self.crossed_resynced = False
        self.told_seq = NEVER_TOLD
        self.last_yes_price_cc: int | None = None
        self.volume_cx: int | None = None
        self.status = ""

    @property
    def is_leased(self) -> bool:
        return self.events is not None

    def lease(self, *, is_leased: bool) -> None:
        """Begin to gather events for the book stream, or stop."""
        self.events = [] if is_leased else None
        self.owe_snapshot(self.own_due_us)

    def owe_snapshot(self, own_due_us: int) -> None:
        """Note when the tape needs a snapshot of ours."""
        self.own_due_us = own_due_us
        self.look_us = 0 if self.is_leased else own_due_us

    def state(self) -> schema.MarketState:
        """Return the latest of this market, for lists."""
        yes, no = self.best_cc
        return schema.MarketState(
            version=schema.VERSION,
            time_us=self.time_us,
            is_valid=self.is_valid,
            yes_bid_cc=self.yes_bid_cc,
            yes_ask_cc=self.yes_ask_cc,
            yes_bid_cx=self.size_cx(0, yes),
            yes_ask_cx=self.size_cx(1, no),
            last_yes_price_cc=self.last_yes_price_cc,
            volume_cx=self.volume_cx,
            status=self.status,
        )

    def stream_snapshot(self, conn: int) -> schema.BookSnapshot:
        """Return the whole book as its stream tells it."""
        yes, no = self.levels
        return schema.BookSnapshot(
            conn, self.sid, self.generation, self.seq, self.time_us, list(yes.items()), list(no.items())
        )

    def tape_snapshot(self, now_us: int | None = None) -> schema.SnapshotRow:
        """Return the whole book as the tape keeps it, a snapshot of ours: at its last event, or at `now_us`."""
        yes, no = self.levels
        time_us, source = self.time_us, schema.TimeSource.PREVIOUS
        if now_us is not None:
            time_us, source = now_us, schema.TimeSource.RECEIVED
        return schema.SnapshotRow(time_us, source, self.ticker, self.seq, list(yes.items()), list(no.items()), True)
