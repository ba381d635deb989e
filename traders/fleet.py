"""What the supervisor reads from the database and writes into it. Sync: call it outside the event loop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar

import msgspec
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import close_old_connections, transaction
from django.db.models import Q

from feed.keys import VaultError
from feed.models import Settlement
from feed.schema import OrderState
from kalshimm.ops.services import audit
from markets.core.grid import PriceRange
from markets.core.rewards import ProgramTerms
from markets.core.units import Side
from markets.models import IncentiveProgram, Market
from markets.models.catalog import microseconds
from traders.accounts import account_of, account_of_rule
from traders.core.facts import MarketFacts, Moment
from traders.core.golive import CREDENTIAL, Missing
from traders.core.inventory import Inventory, Payout
from traders.core.kills import Target
from traders.core.limits import Latch
from traders.core.liveorders import Kept
from traders.core.orders import OrderStatus
from traders.core.pipeline import StrategyChoices
from traders.core.riskbook import RiskMemory
from traders.grants import permission
from traders.journal import Checkpoint
from traders.models import PAPER, DecisionRow, Desired, Fill, JournalMark, Mode, Order, SeriesRule, Trader
from traders.ruleterms import grants_over
from traders.series import RollingMarket, Terms, markets_to_trade, minute_of_day, trader_name
from traders.storedlive import stored_live

logger = logging.getLogger(__name__)

ACTOR = "supervisor"
NOT_OPEN = "initialized"  # it opens by its time alone, without a word, and until then its book is empty
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class LiveWanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a live trader may do, and its lease.

    Attributes:
        missing: What it lacks before it may run; nothing when it may, and then `grant` is there.
        environment, account, subaccount: Where its lease is: those of the newest grant that was started.
        exchange_index: Of its market.
        epoch, group_id: Of its newest lease; without a group nothing of it rests.
    """

    missing: tuple[Missing, ...]
    grant: int
    expires_us: int
    environment: str
    account: str
    exchange_index: int
    epoch: int
    group_id: str
    subaccount: int | None = None


class Wanted(msgspec.Struct, frozen=True):
    """One trader as configured. `facts` is None while its market is not catalogued, `live` for a paper trader."""

    id: int
    name: str
    ticker: str
    mode: str
    desired: str
    state: str
    restarts: int
    strategies: StrategyChoices
    limits: Any
    facts: MarketFacts | None
    released_us: int = 0
    live: LiveWanted | None = None
    event: str = ""
    desired_reason: str = ""

    @property
    def target(self) -> Target:
        """What a kill may name it by."""
        return Target(self.id, self.name, self.live.account if self.live else PAPER, self.event)

    def is_closed(self, now_us: int) -> bool:
        return self.facts is not None and now_us >= self.facts.close_time_us


def read_wanted(living: Collection[int]) -> list[Wanted]:
    """Return every trader that should run, or that runs or may run all the same, with its market.

    Args:
        living: Ids of the traders that have a process, whatever their rows say.
    """
    is_over = Q(desired=Desired.STOPPED, state="stopped", group_id="")
    traders = list(Trader.objects.select_related("strategy").filter(~is_over | Q(pk__in=living)))
    tickers = {trader.market_ticker for trader in traders}
    markets = Market.objects.select_related("event__series").in_bulk(tickers)
    programs = _programs(tickers, datetime.now(UTC))
    return [_wanted(t, markets.get(t.market_ticker), programs.get(t.market_ticker, [])) for t in traders]


def _wanted(trader: Trader, market: Market | None, programs: list[IncentiveProgram]) -> Wanted:
    return Wanted(
        id=trader.pk,
        name=trader.name,
        ticker=trader.market_ticker,
        mode=trader.mode,
        desired=trader.desired,
        state=trader.state,
        restarts=trader.restarts,
        strategies=trader.strategy.choices(),
        limits=trader.limits,
        facts=None if market is None else _read_facts(market, programs),
        released_us=microseconds(trader.released_at) if trader.released_at else 0,
        live=_live(trader, market) if trader.mode == Mode.LIVE else None,
        event=market.event_id if market else "",
        desired_reason=trader.desired_reason,
    )


def _live(trader: Trader, market: Market | None) -> LiveWanted:
    try:
        grant, missing = permission(trader.pk)
    except VaultError as exc:
        grant, missing = None, (Missing(CREDENTIAL, str(exc)),)
    leased = grants_over(trader).filter(started_at__isnull=False).order_by("-started_at").first()
    place = (leased.environment, leased.account, leased.subaccount) if leased else None
    environment, account, subaccount = place or (settings.KALSHI_ENV, account_of(trader), trader.subaccount)
    return LiveWanted(
        missing=missing,
        grant=grant.pk if grant else 0,
        expires_us=microseconds(grant.expires_at) if grant else 0,
        environment=environment,
        account=account,
        exchange_index=market.exchange_index if market else 0,
        epoch=trader.lease_epoch,
        group_id=trader.group_id,
        subaccount=subaccount,
    )


def _read_facts(market: Market, programs: list[IncentiveProgram]) -> MarketFacts | None:
    """Return a market's facts, None where its row cannot be used: that is its own traders' matter."""
    try:
        facts = _facts(market, programs)
        facts.grid()
    except (TypeError, ValueError) as exc:
        logger.warning("market %s cannot be used: %s", market.pk, exc, extra={"action": "market_unusable"})
        return None
    return facts


def _facts(market: Market, programs: list[IncentiveProgram]) -> MarketFacts:
    return MarketFacts(
        price_ranges=tuple(PriceRange(*band) for band in market.price_ranges),
        close_time_us=microseconds(market.close_time),
        status="" if market.status == NOT_OPEN else market.status,
        programs=tuple(terms for program in programs if (terms := _terms(program)) is not None),
        fees=market.fee_terms(),
        moments=_moments(market),
    )


def _moments(market: Market) -> tuple[Moment, ...]:
    """Return when news about a market is due while it trades, as the catalogue knows it.

    What happens at its close or later is for whoever quotes up to the close to heed: nothing rests any more then.
    """
    event = market.event
    known = [
        (event.strike_date, "strike date"),
        (market.occurrence_time, "occurrence"),
        (market.expected_expiration_time, "expected result"),
    ]
    times = [(microseconds(time), name) for time, name in known if time is not None]
    times += [(time_us, name) for time_us, name in event.milestones]
    close_us = microseconds(market.close_time)
    return tuple(Moment(time_us, name) for time_us, name in sorted(times) if time_us < close_us)


def _terms(program: IncentiveProgram) -> ProgramTerms | None:
    try:
        return program.terms()
    except ValueError as exc:
        logger.warning("program %s cannot be used: %s", program.pk, exc, extra={"action": "program_unusable"})
        return None


def _programs(tickers: Collection[str], now: datetime) -> dict[str, list[IncentiveProgram]]:
    """Return the programs of these markets that are not over."""
    found: dict[str, list[IncentiveProgram]] = {}
    for program in IncentiveProgram.objects.filter(market_ticker__in=tickers, end_date__gt=now):
        found.setdefault(program.market_ticker, []).append(program)
    return found


def read_stored(trader: int) -> Checkpoint:
    """Return what the stored lines of a trader's journal amount to."""
    mark = JournalMark.objects.filter(trader=trader).first()
    inventory = Inventory()
    is_live = Trader.objects.filter(pk=trader, mode=Mode.LIVE).exists()
    for fill in Fill.objects.filter(trader=trader).order_by("time", "id"):
        inventory = inventory.after(
            Side(fill.side), fill.price_cc, fill.count_cx, fee_ud=fill.fee_ud, inferred=fill.inferred,
            time_us=microseconds(fill.time) if is_live else None,
        )  # fmt: skip
    paid = Settlement.objects.filter(account=PAPER, subaccount=trader).first()
    if paid is not None:
        fee_ud = paid.fee_ud - inventory.position.fees_ud  # its row has those of the fills in it
        inventory = inventory.paid_out(Payout(paid.revenue_ud, fee_ud))
    resting = Order.objects.filter(trader=trader, status=OrderStatus.RESTING.value).order_by("journal_number")
    return Checkpoint(
        mark.number if mark else 0,
        inventory,
        tuple(map(_order_state, resting)),
        risk=RiskMemory(latch=_latch(trader)),
        live=stored_live(trader) if is_live else Kept(),
    )


def _latch(trader: int) -> Latch | None:
    """Return the latch that the stored lines end with."""
    newest = DecisionRow.objects.filter(trader=trader, kind__in=("latched", "released")).order_by("-number").first()
    if newest is None or newest.kind == "released":
        return None
    figures = dict(newest.figures)
    return Latch(figures.pop("code"), figures.pop("at_us"), figures)


def _order_state(order: Order) -> OrderState:
    return OrderState(
        client_order_id=order.client_order_id,
        order_id=order.order_id,
        side=order.side,
        price_cc=order.price_cc,
        placed_cx=order.placed_cx,
        filled_cx=order.filled_cx,
        remaining_cx=order.remaining_cx,
        status=order.status,
        reason=order.reason,
    )


def write_state(trader: int, *, state: str, reason: str, pid: int | None, restarts: int) -> None:
    Trader.objects.filter(pk=trader).update(state=state, state_reason=reason, pid=pid, restarts=restarts)


def retire(trader: Wanted, reason: str) -> None:
    """Let a trader whose market is over stay stopped."""
    with transaction.atomic():
        was_wanted = (
            Trader.objects.filter(pk=trader.id)
            .exclude(desired=Desired.STOPPED)
            .update(desired=Desired.STOPPED, desired_reason=reason)
        )
        if was_wanted:
            audit(ACTOR, "trader.desired", trader.name, now=Desired.STOPPED.value, reason=reason)


MakeLive = Callable[[SeriesRule, list[RollingMarket]], list[str]]
"""Makes live traders of a rule for markets that have none, as far as it may; returns their names."""


def apply_series_rule(rule: SeriesRule, now_us: int, make_live: MakeLive | None = None) -> list[str]:
    """Give each market that a rule wants traded its trader; return the names of those made now.

    Args:
        make_live: For a live rule; None makes none of its traders.
    """
    terms = rule.terms()
    if terms.close_buffer_us:  # also of a rule that is switched off: what it has made goes by it
        _stop_near_close(rule, terms, now_us)
    if rule.is_active and terms.may_begin(minute_of_day(now_us)):
        return _give_traders(rule, terms, now_us, make_live)
    return []


def _give_traders(rule: SeriesRule, terms: Terms, now_us: int, make_live: MakeLive | None) -> list[str]:
    rows = Market.objects.filter(event__series_id=rule.series_ticker, close_time__gt=_moment(now_us))
    rows = rows.select_related("event")
    paid = _programs([m.pk for m in rows], _moment(now_us)) if terms.needs_program else {}
    due = markets_to_trade([_rolling(m, has_program=m.pk in paid) for m in rows], terms, now_us=now_us)
    # Whoever made it: a market that has had its trader gets no second one, also when a person stopped it.
    traded = set(
        Trader.objects.filter(market_ticker__in=[m.ticker for m in due]).values_list("market_ticker", flat=True)
    )
    wanting = [market for market in due if market.ticker not in traded]
    if rule.mode == Mode.LIVE:
        return make_live(rule, wanting) if make_live and wanting else []
    return [make_trader(rule, market).name for market in wanting]


def _rolling(market: Market, *, has_program: bool) -> RollingMarket:
    return RollingMarket(
        ticker=market.ticker,
        status=market.status,
        open_time_us=microseconds(market.open_time),
        close_time_us=microseconds(market.close_time),
        title=f"{market.event.title} {market.yes_sub_title}",
        has_program=has_program,
    )


def _stop_near_close(rule: SeriesRule, terms: Terms, now_us: int) -> None:
    """Stop the rule's traders whose markets are in their last stretch."""
    running = Trader.objects.filter(series_rule=rule).exclude(desired=Desired.STOPPED)
    closes = dict(Market.objects.filter(pk__in=running.values("market_ticker")).values_list("pk", "close_time"))
    for trader in running:
        close = closes.get(trader.market_ticker)
        if close is not None and terms.is_over(microseconds(close), now_us):
            with transaction.atomic():
                reason = f"its market closes within {rule.close_buffer_s} s"
                Trader.objects.filter(pk=trader.pk).update(desired=Desired.STOPPED, desired_reason=reason)
                audit(ACTOR, "trader.desired", trader.name, now=Desired.STOPPED.value, reason=reason)


@transaction.atomic
def make_trader(rule: SeriesRule, market: RollingMarket) -> Trader:
    """Make a rule's trader for a market: a dry-run one runs at once, a live one stands still until it is started."""
    taken = set(Trader.objects.values_list("name", flat=True))
    mode = Mode(rule.mode)
    trader = Trader.objects.create(
        name=trader_name(rule.series_ticker, market.close_time_us, taken),
        market_ticker=market.ticker,
        strategy=rule.strategy,
        mode=mode,
        desired=Desired.STOPPED if mode == Mode.LIVE else Desired.RUNNING,
        limits=rule.limits,
        series_rule=rule,
        account=account_of_rule(rule) if mode == Mode.LIVE else "",
    )
    audit(
        ACTOR,
        "trader.created",
        trader.name,
        market=market.ticker,
        strategy=rule.strategy.name,
        series=rule.series_ticker,
        mode=mode.value,
    )
    return trader


def _moment(time_us: int) -> datetime:
    return datetime.fromtimestamp(time_us / 1_000_000, UTC)


async def in_thread(function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
    """Run a database function in Django's thread, on a connection that still works."""

    def call() -> Result:
        close_old_connections()
        return function(*args, **kwargs)

    return await sync_to_async(call, thread_sensitive=True)()
