"""The overview page as values: what Redis and the database said goes in, every cell of the page comes out.

    Live (beats, feed)  ─┐
                         ├─ assemble(…, now_us) ─► OverviewPage ─► templates/traders/*.html
    Stored (rows)       ─┘

Pure: no clock, no store. A figure is None when it is unknown, and the reason stands beside it; live and paper
figures are never added together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from feed import schema
from kalshimm.runtime.heartbeat import Beat
from markets.core.queue import buffer_pct
from markets.core.units import Side, yes_price_cc

LIVE, DRY_RUN = "live", "dry-run"
TRADER_ROLE = "trader"
BEAT_STALE_MS = 3_000  # beats come each second; three missed ones are silence
NO_RATE = "Unknown: reward rates come with the rewards scorer"
FEED_WORDS = {"connected": "ok", "connecting": "warn"}  # any other word: the connection is down

QUOTING = ("quoting", "one-sided")
GLYPHS = {
    # state word of a trader that beats and does not quote → glyph (shape), see `.g` in app.css
    "paused": "hold",
    "flattening": "work",
    "flat": "hold",
    "latched": "bad",
    "fenced": "bad",
    "starting": "work",
    "draining": "work",
    "stopped": "off",
}
STOPPED = "stopped"
FROZEN = "silent"  # the supervisor's word for a process that lives and does not beat
RECONCILING = "reconciling"


class StoredTrader(msgspec.Struct, frozen=True):
    """A trader's row: what is wanted of it, and what the supervisor last knew."""

    id: int
    name: str
    ticker: str
    mode: str
    desired: str
    state: str
    state_reason: str


class StoredMarket(msgspec.Struct, frozen=True):
    ticker: str
    name: str
    event_ticker: str
    close_time: datetime


class StoredEvent(msgspec.Struct, frozen=True):
    ticker: str
    title: str
    mutually_exclusive: bool


class ActivityLine(msgspec.Struct, frozen=True):
    """One thing that happened: a verb, the trader's name, what (`before STRONG after`), the position's change.

    Figures go before the name, for the end of a line may be cut; words go behind it (`is_said`).
    """

    time: datetime
    mode: str
    verb: str
    name: str
    before: str
    strong_cx: int | None = None
    after: str = ""
    change_cx: int | None = None
    is_said: bool = False


class Stored(msgspec.Struct, frozen=True):
    """What the database says: markets and events by ticker, today's fills by mode; `problem` as in `Live`."""

    traders: tuple[StoredTrader, ...] = ()
    markets: Mapping[str, StoredMarket] = {}
    events: Mapping[str, StoredEvent] = {}
    fills_today: Mapping[str, int] = {}
    activity: tuple[ActivityLine, ...] = ()
    problem: str = ""


class Live(msgspec.Struct, frozen=True):
    """What Redis says; `problem` is set when it did not answer and these are the last known values."""

    beats: tuple[Beat, ...] = ()
    feed: schema.FeedState | None = None
    problem: str = ""


class Vital(msgspec.Struct, frozen=True):
    """A cell of the survival strip; `state` is ok, warn, bad, unknown or off."""

    label: str
    state: str
    text: str
    hint: str
    age_ms: int | None = None


class QuoteCell(msgspec.Struct, frozen=True):
    """One side's resting order in Yes view; `others` counts further orders of ours on that side."""

    yes_price_cc: int
    remaining_cx: int
    placed_cx: int
    ahead_cx: int | None
    ahead_is_estimate: bool
    buffer_hundredths: int | None
    others: int


class TraderRow(msgspec.Struct, frozen=True):
    """A line of the fleet table.

    `is_heard`: its figures are of now, not the last known. `void` says why there are none at all, else it is empty.
    """

    id: int
    name: str
    market: str
    mode: str
    glyph: str
    word: str
    beat_age_ms: int | None
    why: str
    is_heard: bool
    is_stale: bool
    void: str
    bid: QuoteCell | None
    ask: QuoteCell | None
    orders: int
    collateral_ud: int
    position_cx: int | None
    rate_ud_h: int | None
    rate_void: str
    trading_ud: int | None
    trading_void: str

    @property
    def is_live(self) -> bool:
        return self.mode == LIVE


class Totals(msgspec.Struct, frozen=True):
    """Sums over traders of one mode; None when a part is unknown, with the reason beside it."""

    mode: str
    traders: int
    quoting: int | None
    orders: int
    orders_void: str
    collateral_ud: int
    fills_today: int
    rate_ud_h: int | None
    rate_void: str
    trading_ud: int | None
    trading_void: str

    @property
    def is_live(self) -> bool:
        return self.mode == LIVE


class EventGroup(msgspec.Struct, frozen=True):
    """The traders of one event. `totals` is of its live traders if it has any, else of its paper ones."""

    ticker: str
    title: str
    mutually_exclusive: bool
    closes_in_s: int | None
    rows: tuple[TraderRow, ...]
    live: int
    dry: int
    totals: Totals


class ServiceRow(msgspec.Struct, frozen=True):
    """A worker as its beat shows it; `pid` None when an expected worker is not heard of."""

    role: str
    name: str
    glyph: str
    state: str
    last_event: str
    pid: int | None = None
    age_ms: int | None = None
    lag_ms: int | None = None


class OverviewPage(msgspec.Struct, frozen=True):
    """Everything the page shows at one moment."""

    totals: tuple[Totals, ...]
    vitals: tuple[Vital, ...]
    groups: tuple[EventGroup, ...]
    services: tuple[ServiceRow, ...]
    activity: tuple[ActivityLine, ...]
    problems: tuple[str, ...]

    @property
    def is_live(self) -> bool:
        return any(total.is_live for total in self.totals)

    @property
    def traders(self) -> int:
        return sum(total.traders for total in self.totals)

    @property
    def services_silent(self) -> int:
        return sum(row.glyph == "bad" for row in self.services)


def assemble(
    stored: Stored, live: Live, *, now_us: int, environment: str, expected_roles: Sequence[str]
) -> OverviewPage:
    """Return the page for this moment.

    Args:
        now_us: Microseconds since 1970.
        environment: KALSHI_ENV, shown as it is.
        expected_roles: Workers whose silence is an alarm, in the order to show them.
    """
    beats = {beat.name: beat for beat in live.beats if beat.role == TRADER_ROLE}
    shown = tuple(trader for trader in stored.traders if not _is_over(trader, beats.get(str(trader.id)), now_us))
    stored = msgspec.structs.replace(stored, traders=shown)
    rows = {
        trader.id: _trader_row(trader, stored.markets, beats.get(str(trader.id)), live.problem, now_us)
        for trader in stored.traders
    }
    services = _services(live, expected_roles, now_us)
    return OverviewPage(
        totals=_totals_by_mode(rows.values(), stored.fills_today),
        vitals=(
            _exchange(live, environment),
            _feed_age(live, now_us),
            _books(list(rows.values()), live.problem),
            _workers(services, live.problem),
            *_stores_away(live, stored),
        ),
        groups=_groups(stored, rows, now_us),
        services=services,
        activity=stored.activity,
        problems=tuple(problem for problem in (live.problem, stored.problem) if problem),
    )


def remember(known: Iterable[Beat], heard: Iterable[Beat], *, now_us: int, keep_us: int) -> tuple[Beat, ...]:
    """Return what is heard now, and what was known before and fell silent less than `keep_us` ago."""
    beats = {(beat.role, beat.name): beat for beat in known if now_us - beat.written_us < keep_us}
    beats.update({(beat.role, beat.name): beat for beat in heard})
    return tuple(beats[key] for key in sorted(beats))


def _age_ms(beat: Beat, now_us: int) -> int:
    return max(0, (now_us - beat.written_us) // 1_000)


def _is_over(trader: StoredTrader, beat: Beat | None, now_us: int) -> bool:
    """Return whether a trader has stopped as it should, and only what it said before is still remembered."""
    has_stopped = trader.desired == STOPPED and trader.state == STOPPED
    return has_stopped and (beat is None or _age_ms(beat, now_us) > BEAT_STALE_MS)


# ---- traders ------------------------------------------------------------------------------------------------


def _trader_row(
    trader: StoredTrader, markets: Mapping[str, StoredMarket], beat: Beat | None, problem: str, now_us: int
) -> TraderRow:
    market = markets.get(trader.ticker)
    name = market.name if market and market.name else trader.ticker
    view = schema.decode_trader_view(beat.detail) if beat and beat.detail else None
    if beat is None or view is None:
        return _row_without_view(trader, name, beat, problem, now_us)
    age_ms = _age_ms(beat, now_us)
    is_silent = age_ms > BEAT_STALE_MS
    glyph, word = _condition_silent(trader, problem) if is_silent else _condition(view)
    return TraderRow(
        id=trader.id,
        name=trader.name,
        market=name,
        mode=trader.mode,
        glyph=glyph,
        word=word,
        beat_age_ms=age_ms,
        why=_why_silent(trader, view, problem) if is_silent else _why(trader, view),
        is_heard=not is_silent,
        is_stale=is_silent or not view.book_is_valid,
        void="",
        bid=_quote_cell(view, Side.YES),
        ask=_quote_cell(view, Side.NO),
        orders=len(view.quotes),
        collateral_ud=sum(quote.price_cc * quote.remaining_cx for quote in view.quotes),
        position_cx=view.position_cx,
        rate_ud_h=view.rate_ud_h,
        rate_void=NO_RATE,
        trading_ud=view.trading_ud,
        trading_void=_no_mark(trader.name, view),
    )


def _no_mark(name: str, view: schema.TraderView) -> str:
    if not view.book_is_valid:
        return f"Unknown: the book of {name} is stale"
    return f"Unknown: {name} holds a position and its book has no price to mark it at"


def _row_without_view(trader: StoredTrader, market: str, beat: Beat | None, problem: str, now_us: int) -> TraderRow:
    glyph, word, void = _condition_unheard(trader, beat, problem)
    return TraderRow(
        id=trader.id,
        name=trader.name,
        market=market,
        mode=trader.mode,
        glyph=glyph,
        word=word,
        beat_age_ms=_age_ms(beat, now_us) if beat else None,
        why=trader.state_reason or void,
        is_heard=False,
        is_stale=glyph in ("bad", "unknown"),
        void=f"Unknown: {void}",
        bid=None,
        ask=None,
        orders=0,
        collateral_ud=0,
        position_cx=None,
        rate_ud_h=None,
        rate_void=NO_RATE,
        trading_ud=None,
        trading_void=f"Unknown: {trader.name}: {void}",
    )


def _condition(view: schema.TraderView) -> tuple[str, str]:
    """Return glyph and word of a trader that beats."""
    if view.state != "quoting":
        return GLYPHS.get(view.state, "unknown"), view.state
    if not view.book_is_valid:
        return "warn", "book stale"
    sides = {quote.side for quote in view.quotes}
    if len(sides) == 2:
        return "ok", "quoting"
    return ("hold", "one-sided") if sides else ("hold", "no quotes")


def _condition_silent(trader: StoredTrader, problem: str) -> tuple[str, str]:
    """Return glyph and word of a trader that no longer beats."""
    if problem:
        return "unknown", "unknown"
    if trader.state == "failed":
        return "bad", "failed"
    return ("unknown" if trader.state == FROZEN else "bad"), "silent"


def _why(trader: StoredTrader, view: schema.TraderView) -> str:
    """Return why a trader does what it does; of one that was paused by no person why that is."""
    is_told = view.state == trader.state == "paused" and trader.state_reason
    return trader.state_reason if is_told else view.why


def _why_silent(trader: StoredTrader, view: schema.TraderView, problem: str) -> str:
    if problem:
        return f"last known: {view.why}"
    if trader.state in ("failed", FROZEN) and trader.state_reason:
        return trader.state_reason
    return f"no beat any more; last: {view.why}"


def _condition_unheard(trader: StoredTrader, beat: Beat | None, problem: str) -> tuple[str, str, str]:
    """Return glyph, word and reason of a trader of which nothing but its row is known."""
    if problem:
        return "unknown", "unknown", problem
    if trader.state == "failed":
        return "bad", "failed", "it failed, and stays so until somebody starts it again"
    if trader.state == FROZEN:
        return "unknown", "silent", "its process lives and does not beat"
    if beat is not None:
        return "work", "starting", "it beats, and has said nothing of its orders yet"
    if trader.state == RECONCILING:
        return "work", RECONCILING, "what rests of its last lease is pulled"
    if trader.state == "stopped" and trader.state_reason:
        return "bad", "held", trader.state_reason
    if trader.state in ("stopped", "starting"):
        return "work", "starting", "no beat yet; the supervisor starts it"
    return "bad", "silent", "no beat; the supervisor decides what becomes of it"


def _quote_cell(view: schema.TraderView, side: Side) -> QuoteCell | None:
    """Return the best-priced order of ours on a side, or None when nothing rests there."""
    quotes = [quote for quote in view.quotes if quote.side == side]
    if not quotes:
        return None
    best = max(quotes, key=lambda quote: quote.price_cc)
    return QuoteCell(
        yes_price_cc=yes_price_cc(side, best.price_cc),
        remaining_cx=best.remaining_cx,
        placed_cx=best.placed_cx,
        ahead_cx=best.ahead_cx,
        ahead_is_estimate=best.ahead_is_estimate,
        buffer_hundredths=None if best.buffer_cx is None else buffer_pct(best.buffer_cx, best.remaining_cx),
        others=len(quotes) - 1,
    )


def _groups(stored: Stored, rows: Mapping[int, TraderRow], now_us: int) -> tuple[EventGroup, ...]:
    """Return the events with traders, live ones first, then by what closes next."""
    members: dict[str, list[StoredTrader]] = {}
    for trader in stored.traders:
        market = stored.markets.get(trader.ticker)
        members.setdefault(market.event_ticker if market else "", []).append(trader)
    groups = [_group(ticker, traders, stored, rows, now_us) for ticker, traders in members.items()]
    never_s = 1 << 40
    return tuple(
        sorted(groups, key=lambda g: (not g.live, never_s if g.closes_in_s is None else g.closes_in_s, g.ticker))
    )


def _group(
    ticker: str, traders: list[StoredTrader], stored: Stored, rows: Mapping[int, TraderRow], now_us: int
) -> EventGroup:
    event = stored.events.get(ticker)
    closing = [stored.markets[t.ticker].close_time for t in traders if t.ticker in stored.markets]
    ordered = sorted(traders, key=lambda t: (t.mode != LIVE, t.ticker, t.name))
    members = tuple(rows[trader.id] for trader in ordered)
    live = tuple(row for row in members if row.is_live)
    return EventGroup(
        ticker=ticker,
        title=event.title if event and event.title else ticker or "Markets the catalogue does not know",
        mutually_exclusive=bool(event and event.mutually_exclusive),
        closes_in_s=(int(min(closing).timestamp() * 1_000_000) - now_us) // 1_000_000 if closing else None,
        rows=members,
        live=len(live),
        dry=len(members) - len(live),
        totals=_totals(live or members, fills_today=0),
    )


def _totals_by_mode(rows: Iterable[TraderRow], fills_today: Mapping[str, int]) -> tuple[Totals, ...]:
    """Return one sum a mode, live first; a mode without traders has none."""
    rows = list(rows)
    by_mode = ([row for row in rows if row.mode == mode] for mode in (LIVE, DRY_RUN))
    return tuple(_totals(some, fills_today=fills_today.get(some[0].mode, 0)) for some in by_mode if some)


def _unheard_void(row: TraderRow) -> str:
    return "Unknown: Redis does not answer" if row.word == "unknown" else f"Unknown: {row.name} is silent"


def _totals(rows: Sequence[TraderRow], *, fills_today: int) -> Totals:
    """Return the sum over rows of one mode (at least one)."""
    unheard = next((row for row in rows if not row.is_heard), None)
    unmarked = next((row for row in rows if row.trading_ud is None), None)
    rates = [row.rate_ud_h for row in rows if row.rate_ud_h is not None]
    trading = [row.trading_ud for row in rows if row.trading_ud is not None]
    orders_void = (unheard.void or _unheard_void(unheard)) if unheard else ""
    trading_void = unmarked.trading_void if unmarked else orders_void
    return Totals(
        mode=rows[0].mode,
        traders=len(rows),
        quoting=None if unheard and unheard.word == "unknown" else sum(row.word in QUOTING for row in rows),
        orders=sum(row.orders for row in rows),
        orders_void=orders_void,
        collateral_ud=sum(row.collateral_ud for row in rows),
        fills_today=fills_today,
        rate_ud_h=sum(rates) if len(rates) == len(rows) else None,
        rate_void=NO_RATE,
        trading_ud=None if trading_void else sum(trading),
        trading_void=trading_void,
    )


# ---- survival strip and services ----------------------------------------------------------------------------


def _stores_away(live: Live, stored: Stored) -> tuple[Vital, ...]:
    """Return a cell for each store that does not answer: they take room only then."""
    last = "Figures from it are the last known ones"
    away = (("Redis", live.problem), ("PostgreSQL", stored.problem))
    return tuple(Vital(store, "bad", "away", f"{problem} {last}") for store, problem in away if problem)


def _exchange(live: Live, environment: str) -> Vital:
    hint = f"KALSHI_ENV is {environment}; state of the gateway's one connection to it"
    if live.problem:
        return Vital("Exchange", "unknown", f"{environment}, ?", live.problem)
    if live.feed is None:
        return Vital("Exchange", "bad", f"{environment}, no gateway", f"{hint}: no feed entry in Redis")
    state = FEED_WORDS.get(live.feed.state, "bad")
    reason = f": {live.feed.reason}" if live.feed.reason else ""
    return Vital("Exchange", state, f"{environment}, {live.feed.state}", hint + reason)


def _feed_age(live: Live, now_us: int) -> Vital:
    hint = "Age of the newest frame on the one public connection"
    if live.feed is None:
        return Vital("Feed age", "unknown", "?", f"{hint}. Unknown: the gateway has written nothing")
    entry_ms = max(0, (now_us - live.feed.written_us) // 1_000)
    age_ms = live.feed.frame_age_ms + entry_ms
    is_late = entry_ms > schema.FEED_ENTRY_MAX_S * 1_000 or age_ms > schema.CONNECTION_SILENT_MAX_S * 1_000
    if live.feed.lag_ms is not None:
        hint += f"; messages arrive {live.feed.lag_ms} ms after the exchange's time stamp"
    state = "unknown" if live.problem else "bad" if is_late else "ok"
    return Vital("Feed age", state, "", hint, age_ms=age_ms)


def _books(rows: Sequence[TraderRow], problem: str) -> Vital:
    hint = "Books of the traders whose sequence is unbroken. A stale book is never quoted from"
    if problem:
        return Vital("Books", "unknown", "?", problem)
    known = [row for row in rows if not row.void]
    if not known:
        return Vital("Books", "off", "none watched", hint)
    stale = sum(row.is_stale for row in known)
    text = f"{len(known) - stale} good" + (f", {stale} stale" if stale else "")
    return Vital("Books", "warn" if stale else "ok", text, hint)


def _workers(services: Sequence[ServiceRow], problem: str) -> Vital:
    hint = "Workers by their beats; silence is the alarm"
    if problem:
        return Vital("Services", "unknown", "?", problem)
    silent = [row.role for row in services if row.glyph == "bad"]
    if silent:
        return Vital("Services", "bad", f"{len(silent)} silent", f"{hint}. Silent: {', '.join(silent)}")
    return Vital("Services", "ok", f"{len(services)} fine", hint)


def _services(live: Live, expected_roles: Sequence[str], now_us: int) -> tuple[ServiceRow, ...]:
    """Return every worker but the traders: the expected ones in their order, then others by name."""
    beats = [beat for beat in live.beats if beat.role != TRADER_ROLE]
    order = {role: place for place, role in enumerate(expected_roles)}
    missing = [role for role in expected_roles if all(beat.role != role for beat in beats)]
    rows = [_service(beat, live.problem, now_us) for beat in beats]
    rows += [_missing_service(role, live.problem) for role in missing]
    return tuple(sorted(rows, key=lambda row: (order.get(row.role, len(order)), row.role, row.name)))


def _service(beat: Beat, problem: str, now_us: int) -> ServiceRow:
    age_ms = _age_ms(beat, now_us)
    is_silent = age_ms > BEAT_STALE_MS
    glyph = "unknown" if problem else "bad" if is_silent else "work" if beat.state == "starting" else "ok"
    return ServiceRow(
        role=beat.role,
        name=beat.name,
        glyph=glyph,
        state="silent" if is_silent and not problem else beat.state,
        last_event=beat.last_event,
        pid=beat.pid,
        age_ms=age_ms,
        lag_ms=beat.lag_ms,
    )


def _missing_service(role: str, problem: str) -> ServiceRow:
    if problem:
        return ServiceRow(role, "", "unknown", "unknown", problem)
    return ServiceRow(role, "", "bad", "silent", f"no beat; its last lines: log/{role}.log in KALSHIMM_HOME")
