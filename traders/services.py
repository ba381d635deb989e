"""What people and jobs do to the fleet; each change stands in the audit log in the same transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import timedelta

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count, Q
from django.utils import timezone
from redis.exceptions import RedisError

from feed.schema import encode
from kalshimm.errors import KalshimmError
from kalshimm.ops.services import audit
from kalshimm.runtime import streams
from kalshimm.runtime.clock import SystemClock
from markets.models import Event, Market, Series
from traders import controls, killnotes
from traders.accounts import account_of, chosen_account
from traders.core.types import FairValue
from traders.killswitch import KillSwitch
from traders.models import Desired, Mode, SeriesRule, StrategySet, Trader
from traders.series import free_name

DEMO_STRATEGY = "join-best"
DEMO_EVENTS = 3
DEMO_MARKETS_EACH = 2
DEMO_TIME_LEFT = timedelta(minutes=30)
ROLLING_FREQUENCY = "fifteen_min"
OPEN = "active"
LATCHED = "latched"


VERBS = {
    # what a person asks for → what is desired then, and of whom it is taken; of anybody else it changes nothing
    "start": (Desired.RUNNING, (Desired.PAUSED, Desired.FLAT, Desired.STOPPED)),
    "stop": (Desired.STOPPED, (Desired.RUNNING, Desired.PAUSED, Desired.FLAT)),
    "pause": (Desired.PAUSED, (Desired.RUNNING, Desired.FLAT)),
    "resume": (Desired.RUNNING, (Desired.PAUSED, Desired.FLAT)),
    "flatten": (Desired.FLAT, (Desired.RUNNING, Desired.PAUSED)),
}


MOVES = ("start", "resume", "flatten")  # after which a trader may place orders


class RefusedChange(KalshimmError):
    """A change of the fleet that cannot be made; the message says why and what would do."""


@transaction.atomic
def create_trader(
    *,
    name: str,
    market_ticker: str,
    strategy: StrategySet,
    actor: str,
    desired: str = Desired.RUNNING,
    mode: Mode = Mode.DRY_RUN,
    account: str = "",
    subaccount: int | None = None,
) -> Trader:
    """Make a trader. It keeps its mode for ever; a live one stands still until it is started live (traders.grants).

    Args:
        account, subaccount: Where a live one trades; the account may be left out where there is but one.

    Raises:
        RefusedChange: The name does not fit or is taken, the market is not in the catalogue, or a dry-run trader is to
            have an account.
        NoSuchAccount: Nobody knows the account, or several are there and none is named.
    """
    if not Market.objects.filter(pk=market_ticker).exists():
        raise RefusedChange(f"There is no market {market_ticker} in the catalogue; see `refresh_catalog`.")
    if mode == Mode.LIVE:
        desired, account = Desired.STOPPED, chosen_account(account)
    elif account or subaccount is not None:
        raise RefusedChange("A dry-run trader trades on no account; --account and --subaccount go with --live.")
    trader = Trader(
        name=name, market_ticker=market_ticker, strategy=strategy, mode=mode, desired=desired, account=account,
        subaccount=subaccount,
    )  # fmt: skip
    try:
        trader.full_clean()
    except ValidationError as exc:
        raise RefusedChange(_first_problem(exc)) from exc
    trader.save()
    audit(
        actor,
        "trader.created",
        name,
        market=market_ticker,
        strategy=strategy.name,
        mode=str(mode),
        desired=str(desired),
        **({"account": account, "subaccount": subaccount} if account else {}),
    )
    return trader


@transaction.atomic
def create_for_event(
    event_ticker: str,
    *,
    strategy: StrategySet,
    actor: str,
    desired: str = Desired.RUNNING,
    mode: Mode = Mode.DRY_RUN,
    account: str = "",
    subaccount: int | None = None,
) -> list[Trader]:
    """Make a trader for each open market of an event that has none of this mode and account; return those made now.

    Raises:
        RefusedChange: The event is not in the catalogue, no market of it is open, or as `create_trader` says.
        NoSuchAccount: As `create_trader` says.
    """
    if not Event.objects.filter(pk=event_ticker).exists():
        raise RefusedChange(f"There is no event {event_ticker} in the catalogue; see `refresh_catalog`.")
    markets = list(Market.objects.filter(event_id=event_ticker, status=OPEN, close_time__gt=timezone.now()))
    if not markets:
        raise RefusedChange(f"No market of event {event_ticker} is open.")
    tickers = [market.pk for market in markets]
    if mode == Mode.LIVE:
        account = chosen_account(account)
    others = Trader.objects.filter(mode=mode, market_ticker__in=tickers)
    traded = {one.market_ticker for one in others if mode == Mode.DRY_RUN or account_of(one) == account}
    taken = set(Trader.objects.values_list("name", flat=True))
    made = []
    for market in sorted(markets, key=lambda one: one.pk):
        if market.pk in traded:
            continue
        name = free_name(market.pk if mode == Mode.DRY_RUN else f"{market.pk}-live", taken)
        taken.add(name)
        made.append(
            create_trader(
                name=name,
                market_ticker=market.pk,
                strategy=strategy,
                actor=actor,
                desired=desired,
                mode=mode,
                account=account,
                subaccount=subaccount,
            )
        )
    return made


def _first_problem(error: ValidationError) -> str:
    field, messages = next(iter(error.message_dict.items()))
    return f"{field}: {messages[0]}"


@transaction.atomic
def steer(traders: Iterable[Trader], verb: str, *, actor: str, may_go_live: bool = False) -> list[Trader]:
    """Say what the traders shall do; return those for which that is a change.

    Nothing but a start makes a stopped trader run, and nothing else releases one that has failed.

    Args:
        may_go_live: Whether the caller has seen that every live trader among them may trade: `traders.grants` does.

    Raises:
        RefusedChange: One is live and would be started otherwise, or is killed.
    """
    changed: list[Trader] = []
    switch = KillSwitch(settings.KALSHIMM_HOME)
    if verb in MOVES and switch.released():
        # Else it would be undone: nobody has paused them yet.
        killnotes.settle(settings.KALSHIMM_HOME)
    for trader in traders:
        if verb in MOVES:
            _refuse_killed(switch, trader)
        if verb == "start" and trader.mode == Mode.LIVE and not may_go_live:
            raise RefusedChange(f"Trader {trader.name} is live; start it with `traders start --live {trader.name}`.")
        before, is_released = trader.desired, verb == "start" and _try_again(trader)
        if not _desire(trader, verb) and not is_released:
            continue
        trader.refresh_from_db(fields=["desired", "state", "state_reason"])
        released = {"released": True} if is_released else {}
        audit(actor, "trader.desired", trader.name, before=str(before), now=str(trader.desired), **released)
        changed.append(trader)
    return changed


def _refuse_killed(switch: KillSwitch, trader: Trader) -> None:
    """Refuse what would have a killed trader place orders."""
    if not switch.kills():
        return
    event = Market.objects.filter(pk=trader.market_ticker).values_list("event_id", flat=True).first()
    kill = switch.covering(killnotes.target_of(trader, event or ""))
    if kill:
        raise RefusedChange(f"Trader {trader.name} stands still: {kill.why}. First `{kill.release_command}`.")


def _desire(trader: Trader, verb: str) -> bool:
    desired, takes = VERBS[verb]
    return Trader.objects.filter(pk=trader.pk, desired__in=takes).update(desired=desired, desired_reason="") > 0


@transaction.atomic
def release(traders: Iterable[Trader], *, actor: str) -> list[Trader]:
    """Let risk grow again in traders whose limits latched, which only a person may; return those that were latched."""
    latched = [trader for trader in traders if trader.state == LATCHED]
    for trader in latched:
        Trader.objects.filter(pk=trader.pk).update(released_at=timezone.now())
        audit(actor, "trader.released", trader.name, reason=trader.state_reason)
    return latched


def tell_fair_value(traders: Sequence[Trader], yes_price_cc: int, *, source: str, actor: str) -> None:
    """Tell running traders a YES price from outside; those whose placement goes by one quote around it.

    Raises:
        RefusedChange: Redis does not take it.
    """
    now_us = SystemClock().wall_us()
    body = encode(FairValue(yes_price_cc, now_us, source))

    async def send() -> None:
        client = streams.connect(settings.REDIS_URL)
        try:
            for trader in traders:
                await controls.send(client, trader.pk, "fair", issuer=actor, now_us=now_us, body=body)
        finally:
            await client.aclose()

    try:
        asyncio.run(send())
    except (RedisError, OSError, TimeoutError) as exc:
        raise RefusedChange(f"Redis does not take the value ({exc}); look at `manage.py health`.") from exc


def _try_again(trader: Trader) -> bool:
    """Let the supervisor try a failed trader again."""
    return Trader.objects.filter(pk=trader.pk, state="failed").update(state="stopped", state_reason="") > 0


def without_closed(traders: Iterable[Trader]) -> tuple[list[Trader], list[Trader]]:
    """Return the traders whose market may still trade, and those whose market has closed for good."""
    traders = list(traders)
    closed = set(
        Market.objects.filter(
            pk__in=[trader.market_ticker for trader in traders], close_time__lte=timezone.now()
        ).values_list("ticker", flat=True)
    )
    return (
        [trader for trader in traders if trader.market_ticker not in closed],
        [trader for trader in traders if trader.market_ticker in closed],
    )


def strategy_named(name: str) -> StrategySet:
    """Return a strategy set; `join-best` with its defaults is made on first use.

    Raises:
        RefusedChange: There is none of this name.
    """
    if name == DEMO_STRATEGY:
        return StrategySet.objects.get_or_create(name=name, defaults={"placement": "join_best"})[0]
    found = StrategySet.objects.filter(name=name).first()
    if found is None:
        known = ", ".join(StrategySet.objects.values_list("name", flat=True)) or "none"
        raise RefusedChange(f"There is no strategy set {name!r}; known: {known}.")
    return found


@transaction.atomic
def ensure_demo_fleet(*, actor: str = "up") -> list[str]:
    """Where nothing is traded yet, start a dry-run fleet; return the names of its traders and series rules.

    Two markets in each of the three events with most open markets, and a rule for each rolling 15-minute series.
    Called again before the catalogue is there, it does nothing: call it until it returns something.
    """
    if Trader.objects.exists() or SeriesRule.objects.exists():
        return []
    strategy = strategy_named(DEMO_STRATEGY)
    made: list[str] = []
    for market in _demo_markets():
        name = free_name(market.ticker, made)
        create_trader(name=name, market_ticker=market.ticker, strategy=strategy, actor=actor)
        made.append(name)
    for series in _rolling_series():
        SeriesRule.objects.create(series_ticker=series.ticker, strategy=strategy)
        audit(actor, "series_rule.created", series.ticker, strategy=strategy.name)
        made.append(series.ticker)
    return made


def _demo_markets() -> Sequence[Market]:
    still_open = Q(status=OPEN, close_time__gt=timezone.now() + DEMO_TIME_LEFT)
    lasting = Q(**{f"markets__{name}": value for name, value in still_open.children})  # type: ignore[misc]
    events = (
        Event.objects.exclude(series__frequency=ROLLING_FREQUENCY)
        .annotate(open_markets=Count("markets", filter=lasting))
        .filter(open_markets__gte=DEMO_MARKETS_EACH)
        .order_by("-open_markets", "ticker")[:DEMO_EVENTS]
    )
    return [market for event in events for market in event.markets.filter(still_open)[:DEMO_MARKETS_EACH]]


def _rolling_series() -> Sequence[Series]:
    has_open = Q(events__markets__status=OPEN, events__markets__close_time__gt=timezone.now())
    return list(Series.objects.filter(has_open, frequency=ROLLING_FREQUENCY).distinct())
