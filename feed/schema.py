"""What crosses a process boundary: the streams, keys and messages of kalshimm, in one place.

Every message is a frozen struct, encoded as msgpack arrays under the field `d` of a Redis stream entry (or as the
value of a key). A change of shape raises VERSION: readers refuse what they do not know.

    kmm:tape:{shard}     TapeEntry      gateway → writer
    kmm:book:{ticker}    BookEntry      gateway → traders, web hub
    kmm:feed             FeedState      gateway → every book reader
    kmm:control:{id}     Control        web, CLI, supervisor → one trader
    kmm:account:{id}     AccountEntry   desk → traders, writer, web hub
    kmm:journal          JournalEntry   traders, supervisor → writer, web hub
    kmm:log              LogEntry       every process → writer          (kalshimm.runtime.logs)
    kmm:markets          MarketState    gateway → web, scanner        (hash by ticker)
    kmm:interest         ticker|holder  readers → gateway             (sorted set by expiry, seconds)
    kmm:ack              number         writer → traders              (hash by trader id)
    kmm:budget:{id}      token buckets of an account, by bucket (hash)          (feed.budget)
    kmm:gen              store generation, set once in an empty Redis
    kmm:beat:{role}:{name}  Beat        every worker                    (kalshimm.runtime.heartbeat)

Prices are centi-cents on their own side's ladder unless the name says `yes_`, counts hundredths of a contract,
times microseconds since 1970 UTC of the clock that the name says.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgspec

VERSION = 1  # fields added at the end, with defaults, leave it: lines of before are read yet

TAPE = "kmm:tape:0"  # one shard on one machine
FEED = "kmm:feed"
JOURNAL = "kmm:journal"
MARKETS = "kmm:markets"
INTEREST = "kmm:interest"
ACK = "kmm:ack"
GENERATION = "kmm:gen"
FIELD = b"d"

FEED_EVERY_S = 0.25
FEED_ENTRY_MAX_S = 1.5  # an older newest entry means the gateway is gone: no quotes
LAG_MAX_MS = 5_000  # later messages are no ground for a quote
CONNECTION_SILENT_MAX_S = 15.0  # the venue pings every 10 s
INTEREST_LEASE_S = 30  # a holder renews well before
INTEREST_LINGER_S = 60
BOOK_SNAPSHOT_DELTAS = 1_000
BOOK_SNAPSHOT_S = 5.0
TAPE_HOLDER = "tape:"  # a holder with this prefix wants the tape only, no book stream


def book_stream(ticker: str) -> str:
    return f"kmm:book:{ticker}"


def account_stream(account: str) -> str:
    return f"kmm:account:{account}"


def control_stream(trader: str) -> str:
    return f"kmm:control:{trader}"


def interest_member(ticker: str, holder: str) -> str:
    return f"{ticker}|{holder}"


class TimeSource(IntEnum):
    """Where a row's time comes from, best first."""

    EXCHANGE = 0
    SENDING = 1
    RECEIVED = 2
    PREVIOUS = 3


Levels = list[tuple[int, int]]


class _Row(msgspec.Struct, frozen=True, array_like=True):
    """Common head of every tape row: exchange time, its source, market."""

    time_us: int
    source: int
    ticker: str


class DeltaRow(_Row, frozen=True, array_like=True, tag=0, gc=False):
    seq: int
    side: int
    price_cc: int
    delta_cx: int


class SnapshotRow(_Row, frozen=True, array_like=True, tag=1):
    """Whole book, at the last event that it contains.

    `is_ours` is one that the gateway wrote from its own book, so that no moment is rebuilt from more than a minute of
    deltas: the venue sent no such message.
    """

    seq: int
    yes: Levels
    no: Levels
    is_ours: bool = False


class TickerRow(_Row, frozen=True, array_like=True, tag=2):
    """None is a field the venue did not send; `digest` is 63 bits over the message, part of the key."""

    digest: int
    last_yes_price_cc: int | None
    yes_bid_cc: int | None
    yes_ask_cc: int | None
    yes_bid_cx: int | None
    yes_ask_cx: int | None
    last_count_cx: int | None
    volume_cx: int | None
    open_interest_cx: int | None


class TradeRow(_Row, frozen=True, array_like=True, tag=3):
    """One print; the taker's side is the ladder it bought on."""

    trade_id: str
    yes_price_cc: int
    count_cx: int
    taker_side: int
    is_block: bool


class LifecycleRow(_Row, frozen=True, array_like=True, tag=4):
    """A market_lifecycle_v2 message: the venue's event word and its body as JSON."""

    event_type: str
    body: bytes


class GapRow(_Row, frozen=True, array_like=True, tag=5):
    """Data is missing from here; `ticker` is empty when a whole subscription or stream is meant."""

    reason: str
    sid: int
    expected: int
    received: int


class MalformedRow(_Row, frozen=True, array_like=True, tag=6):
    """A frame that could not be used, kept as it came."""

    reason: str
    frame: bytes


# What a DeltaRow is on the tape. The hot path writes these: a struct of each costs a tenth of all it does.
DELTA = 0
DeltaTuple = tuple[int, int, int, str, int, int, int, int]

TapeRow = DeltaRow | SnapshotRow | TickerRow | TradeRow | LifecycleRow | GapRow | MalformedRow


Row = TapeRow | DeltaTuple


def time_of(row: Row) -> int:
    """Return a row's time in microseconds."""
    return row[1] if isinstance(row, tuple) else row.time_us


class TapeEntry(msgspec.Struct, frozen=True, array_like=True):
    """Up to 50 rows of one connection; `conn` is its 63-bit identity."""

    version: int
    conn: int
    rows: list[TapeRow]


class BookSnapshot(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """The whole book, valid while the feed shows `conn` and `generation` for `sid`."""

    conn: int
    sid: int
    generation: int
    seq: int
    time_us: int
    yes: Levels
    no: Levels


class BookDelta(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """One level's signed change; `client_order_id` only when an order of this connection's account caused it."""

    seq: int
    time_us: int
    side: int
    price_cc: int
    delta_cx: int
    client_order_id: str | None = None


class BookTrade(msgspec.Struct, frozen=True, array_like=True, tag=2):
    trade_id: str
    time_us: int
    yes_price_cc: int
    count_cx: int
    taker_side: int


class BookStatus(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The book stopped being valid (`reason`), or the market's status changed."""

    time_us: int
    is_valid: bool
    reason: str


BookEvent = BookSnapshot | BookDelta | BookTrade | BookStatus


class BookEntry(msgspec.Struct, frozen=True, array_like=True):
    """Events of one market, in order; a newcomer walks back to an entry that holds a snapshot."""

    version: int
    events: list[BookEvent]


class FeedState(msgspec.Struct, frozen=True, array_like=True):
    """Health of the one public connection.

    `generations` maps sid to the generation its books must carry; `frame_age_ms` is the silence of the connection
    (frames and pings) when written; `lag_ms` the newest message's age by exchange time, None before the first.
    """

    version: int
    conn: int
    state: str
    generations: dict[int, int]
    frame_age_ms: int
    lag_ms: int | None
    written_us: int
    subscribed: int
    reason: str = ""


class MarketState(msgspec.Struct, frozen=True, array_like=True):
    """Latest of one market, for lists. None is an empty side or an unknown figure."""

    version: int
    time_us: int
    is_valid: bool
    yes_bid_cc: int | None
    yes_ask_cc: int | None
    yes_bid_cx: int
    yes_ask_cx: int
    last_yes_price_cc: int | None
    volume_cx: int | None
    status: str


class OrderState(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """An order of a trader after a change. `status`: resting, filled, canceled, refused."""

    client_order_id: str
    order_id: str
    side: int
    price_cc: int
    placed_cx: int
    filled_cx: int
    remaining_cx: int
    status: str
    reason: str


class FillState(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """One fill, booked once by (account, order id, trade id). `fee_ud` None is unknown, not zero.

    `time_us` is when the venue says that it traded: it may be told late. None where fills come in their order.
    """

    client_order_id: str
    order_id: str
    trade_id: str
    side: int
    price_cc: int
    count_cx: int
    is_taker: bool
    fee_ud: int | None
    position_cx: int
    inferred: bool
    time_us: int | None = None


class Decision(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Why the trader wants what it wants; written when it changes, else once a minute with a count."""

    reason: str
    figures: dict[str, Any]
    repeats: int


class StateChange(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """A trader's state word changed: starting, quoting, paused, draining, stopped."""

    state: str
    reason: str


class CommandAnswer(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """A control command was done, or refused with why."""

    command_id: str
    is_done: bool
    reason: str


class RateSample(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """What a trader was worth in the minute that ends now; None is unknown, not zero.

    Sides are ladders: `yes` our YES bids, `no` our NO bids. Shares of the sides' qualifying scores are billionths,
    floored; `present` are those of the `observed_s` seconds in which we rested and qualified; `ahead` and `buffer` are
    of our best order; `fills` and `trading_ud` (after the fees that are known) are so far.
    """

    state: str
    observed_s: int
    rate_ud_h: int | None = None
    share_yes_ppb: int | None = None
    share_no_ppb: int | None = None
    present_yes_s: int | None = None
    present_no_s: int | None = None
    resting_yes_cx: int | None = None
    resting_no_cx: int | None = None
    ahead_yes_cx: int | None = None
    ahead_no_cx: int | None = None
    buffer_yes_cx: int | None = None
    buffer_no_cx: int | None = None
    position_cx: int | None = None
    yes_bid_cc: int | None = None
    yes_ask_cc: int | None = None
    fills: int | None = None
    trading_ud: int | None = None


class LatchChange(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Growth was latched by a limit, or released by `by`; `figures` are what was compared."""

    is_on: bool
    code: str
    reason: str
    figures: dict[str, Any]
    at_us: int
    by: str = ""


class OrderIntent(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """A wish of a live trader, on record before anything of it is sent (traders.core.intents).

    `verb`: place, take, decrease, renew, cancel. `count_cx` is what a create asks for, or the total that an amend
    leaves; `less_cx` what a decrease takes off. `number` rises by one for ever; a wish is sent once or never.
    """

    number: int
    client_order_id: str
    verb: str
    written_us: int
    order_id: str = ""
    side: int | None = None
    price_cc: int | None = None
    count_cx: int | None = None
    less_cx: int | None = None
    expires_us: int | None = None
    reason: str = ""


class OrderSent(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """The request of an intent leaves."""

    number: int
    at_us: int


class OrderAnswer(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """What came of an intent: accepted, declined, exists, not found, closed, not sent or unknown, with its numbers."""

    number: int
    at_us: int
    outcome: str
    code: str = ""
    order_id: str = ""
    filled_cx: int | None = None
    remaining_cx: int | None = None
    reduced_cx: int | None = None
    engine_us: int | None = None


class SettledState(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """A trader's market paid out, and nothing is held of it any more: the last line of a dry-run trader's journal.

    `result`: yes, no or scalar, which a void at a fair price is, too. `value_cc` is the worth of one YES contract,
    floored where the venue's is finer; `paid_ud` is exact, and `fee_ud` taken off it. `position_cx` and `cost_ud` are
    what was held before, `cash_ud` what the trader came to in all, after `fees_ud`, all fees that are known.
    `settled_us` is the venue's time of it.
    """

    result: str
    value_cc: int
    paid_ud: int
    fee_ud: int
    position_cx: int
    cost_ud: int
    cash_ud: int
    fees_ud: int
    settled_us: int
    reason: str = ""


class ParamsChange(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """A running trader goes by other strategies or limits from here on (traders.core.params), all of them told."""

    reason: str
    digest: int
    strategies: dict[str, Any]
    limits: Any


JournalBody = (
    OrderState
    | FillState
    | Decision
    | StateChange
    | CommandAnswer
    | RateSample
    | LatchChange
    | OrderIntent
    | OrderSent
    | OrderAnswer
    | SettledState
    | ParamsChange
)


class JournalEntry(msgspec.Struct, frozen=True, array_like=True):
    """One numbered line of a trader's journal. `number` rises by one for ever, also over restarts."""

    version: int
    trader: int
    number: int
    time_us: int
    account: str
    mode: str
    ticker: str
    body: JournalBody


class AccountOrder(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """An order at the venue after a change, as far as channel and polls have told.

    `status` is the venue's word (resting, canceled, executed …), or `gone` for one that it no longer knows;
    `is_complete` says that it rests no more and that all of its fills are known; `is_external` that its client order
    id is none of ours. `time_us` is the venue's time of its newest change, 0 while unknown.
    """

    order_id: str
    client_order_id: str
    ticker: str
    side: int
    yes_price_cc: int
    initial_cx: int
    filled_cx: int
    remaining_cx: int
    status: str
    reason: str
    group_id: str
    exchange_index: int | None
    subaccount: int
    expires_us: int | None
    time_us: int
    is_external: bool
    is_complete: bool


class AccountFill(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """One fill of the account. `fee_ud` None is unknown, not zero.

    Readers know it by (order id, trade id), for it is told again once its order names it, after a restart of the desk
    and when a store's answer to its entry was lost.
    `client_order_id` is empty, and `is_external` None, where only a poll has told and the order is not known.
    """

    order_id: str
    trade_id: str
    client_order_id: str
    ticker: str
    side: int
    yes_price_cc: int
    count_cx: int
    is_taker: bool
    fee_ud: int | None
    exchange_index: int | None
    subaccount: int
    time_us: int
    is_external: bool | None


class AccountPosition(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A net position, + YES, − NO: the venue's newest row and the fills since.

    `is_agreed` is False while the private channel says something else: a poll is on its way. The cost is the venue's
    figure at that row and what the fills since have made of it; realized result and fees are its figures at that row.
    None is unknown.
    """

    ticker: str
    subaccount: int
    position_cx: int
    cost_ud: int | None
    realized_ud: int | None
    fees_ud: int | None
    is_agreed: bool


class AccountQueue(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """All queue positions: (order id, contracts ahead in hundredths), 0 is first in line."""

    ahead: list[tuple[str, int]]
    as_of_us: int


class AccountBalance(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Cash of the primary subaccount: in all, and as (shard, micro-dollars); of the numbered ones with their number.

    Of a key that is pinned to a subaccount the first two are that one's.
    """

    total_ud: int
    by_shard: list[tuple[int, int]]
    numbered: list[tuple[int, int, int]] = []

    def of(self, subaccount: int) -> list[tuple[int, int]]:
        """Return a subaccount's cash as (shard, micro-dollars); nothing while it is not known."""
        if not subaccount:
            return self.by_shard
        return [(shard, cash_ud) for number, shard, cash_ud in self.numbered if number == subaccount]


class AccountGroup(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """An order group; `event` is the venue's newest word on it, `listed` from a poll. None is unknown."""

    group_id: str
    event: str
    limit_cx: int | None
    is_triggered: bool | None
    exchange_index: int | None


class AccountSettlement(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """What a market paid a subaccount; told again as fills are. `value_cc` is the worth of one YES contract."""

    ticker: str
    result: str
    yes_cx: int
    yes_cost_ud: int
    no_cx: int
    no_cost_ud: int
    revenue_ud: int
    fee_ud: int
    value_cc: int | None
    settled_us: int
    subaccount: int = 0


class AccountDifference(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Polling found what the private channel should have told: `subject` is an order or fill id, or a market."""

    kind: str
    subject: str
    detail: str
    found_us: int


class AccountHealth(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """How far the account's truth can be trusted.

    `state`: live (channel and polls), polling (no channel), blind (reads fail). `user_data_us` is the venue's
    user-data time: reads show everything up to it. None while unknown.
    """

    state: str
    reason: str
    user_data_us: int | None
    attestation_us: int | None


AccountUpdate = (
    AccountOrder
    | AccountFill
    | AccountPosition
    | AccountQueue
    | AccountBalance
    | AccountGroup
    | AccountSettlement
    | AccountDifference
    | AccountHealth
)


class AccountEntry(msgspec.Struct, frozen=True, array_like=True):
    """What happened to one account. `time_us` is the desk's wall clock.

    A whole entry holds every order that is not complete, every position but flat ones, queue, balance, groups and
    health, and replaces what a reader knew of them: a newcomer walks back to one and reads on from there. The desk
    writes none before it has read each of these lists once.
    """

    version: int
    account: str
    time_us: int
    is_whole: bool
    updates: list[AccountUpdate]


class Control(msgspec.Struct, frozen=True, array_like=True):
    """A command to one trader. Stopping is a signal, so that it needs no store.

    `verb` and what `body` holds, in msgpack: pause, resume, flatten and release nothing, market its facts
    (traders.core.facts), fair a value from outside (traders.core.types.FairValue), params strategies and limits
    (traders.core.params).
    """

    version: int
    command_id: str
    verb: str
    issuer: str
    expires_us: int
    body: bytes = b""


class QuoteView(msgspec.Struct, frozen=True, array_like=True):
    """One resting order as the pages show it. None is unknown: nobody has told where in the queue it stands."""

    side: int
    price_cc: int
    placed_cx: int
    remaining_cx: int
    ahead_cx: int | None
    buffer_cx: int | None
    ahead_is_estimate: bool


class TraderView(msgspec.Struct, frozen=True, array_like=True):
    """What a trader says of itself in its beat's `detail`.

    `rate_ud_h` is expected reward in micro-dollars per hour, None while unknown;
    `trading_ud` is cash from fills plus the position marked at the bad side, after the fees that are known; None when
    that side is empty or the book is not valid. `facts_digest` tells which facts of its market it goes by,
    `latched_us` since when a limit has latched, 0 while none has, `params_digest` by which strategies and limits.
    """

    trader: int
    ticker: str
    mode: str
    state: str
    why: str
    position_cx: int
    fills: int
    quotes: list[QuoteView]
    book_is_valid: bool
    yes_bid_cc: int | None
    yes_ask_cc: int | None
    rate_ud_h: int | None
    trading_ud: int | None
    facts_digest: int = 0
    latched_us: int = 0
    params_digest: int = 0


encode = msgspec.msgpack.Encoder().encode
decode_tape = msgspec.msgpack.Decoder(TapeEntry).decode
decode_book = msgspec.msgpack.Decoder(BookEntry).decode
decode_feed = msgspec.msgpack.Decoder(FeedState).decode
decode_market = msgspec.msgpack.Decoder(MarketState).decode
decode_journal = msgspec.msgpack.Decoder(JournalEntry).decode
decode_account = msgspec.msgpack.Decoder(AccountEntry).decode
decode_control = msgspec.msgpack.Decoder(Control).decode
decode_trader_view = msgspec.msgpack.Decoder(TraderView).decode
