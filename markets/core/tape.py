"""What happened to one market, as history keeps it: book changes, prints, tickers, and the holes between them.

Times are microseconds since 1970 UTC, of the exchange where it said one; prices are centi-cents on their own side's
ladder unless the name says `yes_`; counts are hundredths of a contract. `conn` is the 63-bit identity of the
connection that told us; `seq` its number there, which alone orders a connection's book (times repeat and step back).
"""

from __future__ import annotations

import msgspec

Levels = tuple[tuple[int, int], ...]

# Words of gap rows by which history is judged: who writes them and who reads them take them from here.
CONNECTION_BEGAN = "connection began"
REFUSED = "refused by the venue"
SEQUENCE_GAP_OF = "sequence gap of "  # …a channel that is not the book's
NO_MORE_OF = "no more of "  # …such a channel: its subscription is over
CROSSED = "crossed past its time stamp"
CROSSED_FOR_US = 250_000  # a book still crossed after this is broken, whatever the time stamps say
# Gaps without a market that spoil no book: what the venue refuses is another market's matter (one with a book on the
# connection keeps it), `sequence gap of trade` is a hole among the prints, and the other streams hold no books.
OTHERS = (REFUSED, SEQUENCE_GAP_OF, NO_MORE_OF, "kmm:log", "kmm:journal", "kmm:account:")


class Snapshot(msgspec.Struct, frozen=True):
    """A whole book: (price_cc, count_cx) pairs of each side, in no order. `is_ours`: the gateway wrote its own book."""

    time_us: int
    conn: int
    seq: int
    yes: Levels
    no: Levels
    is_ours: bool = False


class Delta(msgspec.Struct, frozen=True):
    """A signed change of one level."""

    time_us: int
    conn: int
    seq: int
    side: int
    price_cc: int
    delta_cx: int


class Trade(msgspec.Struct, frozen=True):
    """A print; the taker's side is the ladder it bought on. Whatever connection told it, it is kept once."""

    time_us: int
    trade_id: str
    yes_price_cc: int
    count_cx: int
    taker_side: int
    is_block: bool


class Ticker(msgspec.Struct, frozen=True):
    """A ticker message; None is a field the venue did not send."""

    time_us: int
    conn: int
    last_yes_price_cc: int | None
    yes_bid_cc: int | None
    yes_ask_cc: int | None
    yes_bid_cx: int | None
    yes_ask_cx: int | None
    last_count_cx: int | None
    volume_cx: int | None
    open_interest_cx: int | None


class Gap(msgspec.Struct, frozen=True):
    """Data is missing from here. `conn` None is a whole stream, `ticker` empty a whole connection or subscription.

    `received` is the number that showed the gap where a number did, else 0; `sid` the subscription, 0 for all of them.
    """

    time_us: int
    conn: int | None
    ticker: str
    reason: str
    expected: int = 0
    received: int = 0
    sid: int = 0

    @property
    def is_end_of_numbers(self) -> bool:
        """Whether a subscription was lost here: the one after it counts anew."""
        return bool(self.sid) and not self.received and not self.reason.startswith(OTHERS)


Event = Snapshot | Delta | Trade | Ticker | Gap
