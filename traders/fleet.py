"""What the supervisor reads from the database and writes into it. Sync: call it outside the event loop."""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.db import transaction
from django.db.models import Q

from feed.schema import OrderState
from kalshimm.ops.services import audit
from markets.core.grid import PriceRange
from markets.core.rewards import ProgramTerms
from markets.core.units import Side
from markets.models import IncentiveProgram, Market
from markets.models.catalog import microseconds
from traders.core.facts import MarketFacts
from traders.core.inventory import Inventory
from traders.core.limits import Latch
from traders.core.orders import OrderStatus
from traders.core.pipeline import StrategyChoices
from traders.core.riskbook import RiskMemory
from traders.journal import Checkpoint
from traders.models import DecisionRow, Desired, Fill, JournalMark, Mode, Order, SeriesRule, Trader
from traders.series import RollingMarket, markets_to_trade, trader_name

logger = logging.getLogger(__name__)

ACTOR = "supervisor"
NOT_OPEN = "initialized"  # it opens by its time alone, without a word, and until then its book is empty


class Wanted(msgspec.Struct, frozen=True):
    """One trader as configured. `facts` is None while its market is not catalogued."""

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

    def is_closed(self, now_us: int) -> bool:
        return self.facts is not None and now_us >= self.facts.close_time_us


def read_wanted(living: Collection[int]) -> list[Wanted]:
    """Return every trader that should run, or that runs or may run all the same, with its market.

    Args:
        living: Ids of the traders that have a process, whatever their rows say.
    """
    is_over = Q(desired=Desired.STOPPED, state="stopped")
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
    )


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
    for fill in Fill.objects.filter(trader=trader).order_by("time", "id"):
        inventory = inventory.after(
            Side(fill.side), fill.price_cc, fill.count_cx, fee_ud=fill.fee_ud, inferred=fill.inferred
        )
    resting = Order.objects.filter(trader=trader, status=OrderStatus.RESTING.value).order_by("journal_number")
    return Checkpoint(
        mark.number if mark else 0, inventory, tuple(map(_order_state, resting)), risk=RiskMemory(latch=_latch(trader))
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
            Trader.objects.filter(pk=trader.id).exclude(desired=Desired.STOPPED).update(desired=Desired.STOPPED)
        )
        if was_wanted:
            audit(ACTOR, "trader.desired", trader.name, now=Desired.STOPPED.value, reason=reason)


def apply_series_rules(now_us: int) -> list[str]:
    """Give each market that a rule wants traded its trader; return the names of those made now."""
    made: list[str] = []
    for rule in SeriesRule.objects.filter(is_active=True).select_related("strategy"):
        made += _apply_rule(rule, now_us)
    return made


def _apply_rule(rule: SeriesRule, now_us: int) -> list[str]:
    rows = Market.objects.filter(event__series_id=rule.series_ticker, close_time__gt=_moment(now_us))
    markets = [RollingMarket(m.ticker, m.status, microseconds(m.open_time), microseconds(m.close_time)) for m in rows]
    due = markets_to_trade(markets, now_us=now_us, most=rule.max_traders)
    # Whoever made it: a market that has had its trader gets no second one, also when a person stopped it.
    traded = set(
        Trader.objects.filter(market_ticker__in=[m.ticker for m in due]).values_list("market_ticker", flat=True)
    )
    return [_create(rule, market) for market in due if market.ticker not in traded]


def _create(rule: SeriesRule, market: RollingMarket) -> str:
    taken = set(Trader.objects.values_list("name", flat=True))
    name = trader_name(rule.series_ticker, market.close_time_us, taken)
    with transaction.atomic():
        Trader.objects.create(
            name=name,
            market_ticker=market.ticker,
            strategy=rule.strategy,
            mode=Mode.DRY_RUN,
            desired=Desired.RUNNING,
            series_rule=rule,
        )
        audit(
            ACTOR,
            "trader.created",
            name,
            market=market.ticker,
            strategy=rule.strategy.name,
            series=rule.series_ticker,
            mode=Mode.DRY_RUN.value,
        )
    return name


def _moment(time_us: int) -> datetime:
    return datetime.fromtimestamp(time_us / 1_000_000, UTC)
