"""Permission to trade live: given by a person, started by a person, ended by a person or by its time.

    keys add, keys test → traders create --live → grants create → traders start --live → supervisor with KALSHIMM_LIVE=1

A trader that a series rule made may trade by the rule's grant (traders.rulegrants) as well as by its own.

Each step is one of the four things of `traders.core.golive`; whoever starts a live process asks `permission` first, and
again whenever it starts one anew. Nothing here starts a process: a trader is told to run, and the supervisor decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import msgspec
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from feed.keys import Vault, VaultError
from kalshimm.ops.services import audit
from markets.models import Market
from markets.models.catalog import microseconds
from traders.accounts import account_of, account_of_rule, why_elsewhere
from traders.core.decision import parse_limits
from traders.core.golive import START, Credential, LiveFacts, Missing, Permission, holding, limits_digest, missing
from traders.core.limits import Limits
from traders.core.registry import ParamsError
from traders.core.risk import reserve_ud
from traders.models import Grant, Mode, SeriesRule, Trader
from traders.ruleterms import TRADES, granted, grants_over, refuse_beyond, rule_over, terms_of
from traders.services import RefusedChange, steer

LASTS = timedelta(hours=24)
LASTS_MOST = timedelta(days=7)


class Offer(msgspec.Struct, frozen=True):
    """What a grant would permit, as it must be shown to the person who gives it.

    Attributes:
        digest: Of the limits; hand it back to `create_grant`, and only what was shown is granted.
        worst_loss_ud: The most that it may have at stake at once. What it lost on other days, or earlier on the same
            one, comes on top: as much as its daily loss and drawdown allow.
    """

    environment: str
    account: str
    market: str
    title: str
    limits: Limits
    digest: str
    worst_loss_ud: int
    subaccount: int | None = None


def offer(trader: Trader) -> Offer:
    """Return what a grant for a trader would permit.

    Raises:
        RefusedChange: It is a dry-run trader, its market is not known, its account is of another environment, or its
            limits cannot be read.
        DamagedVault: Whose its account is cannot be read.
    """
    if trader.mode != Mode.LIVE:
        raise RefusedChange(
            f"Trader {trader.name} was made for dry-run and stays so; make another one with `traders create --live`."
        )
    market = Market.objects.select_related("event").filter(pk=trader.market_ticker).first()
    if market is None:
        raise RefusedChange(f"The catalogue has no market {trader.market_ticker}; see `refresh_catalog`.")
    try:
        limits = parse_limits(trader.limits)
    except ParamsError as exc:
        raise RefusedChange(f"The limits of trader {trader.name} cannot be read ({exc}); set them anew.") from exc
    account, elsewhere = account_of(trader), why_elsewhere(account_of(trader))
    if elsewhere:
        raise RefusedChange(f"Trader {trader.name} trades nothing here: {elsewhere}.")
    title = " · ".join(part for part in (market.event.title, market.yes_sub_title) if part)
    return Offer(
        settings.KALSHI_ENV, account, market.pk, title, limits, limits_digest(limits), reserve_ud(limits),
        trader.subaccount,
    )  # fmt: skip


@transaction.atomic
def create_grant(
    trader: Trader,
    *,
    actor: str,
    confirm_name: str,
    expires_in: timedelta = LASTS,
    shown_digest: str | None = None,
) -> Grant:
    """Permit a trader to trade live, on this installation's account and under its limits as they are.

    Args:
        confirm_name: The trader's name as the person typed it.
        expires_in: At most a week.
        shown_digest: Of the limits that the person was shown; None where nobody was shown any.

    Raises:
        RefusedChange: The name is another, the time does not fit, the limits changed meanwhile, or as `offer` says.
    """
    trader = Trader.objects.select_for_update().get(pk=trader.pk)
    offered = offer(trader)
    if confirm_name != trader.name:
        raise RefusedChange(f"The name that was typed is {confirm_name!r}, not {trader.name!r}; nothing is granted.")
    if not timedelta(0) < expires_in <= LASTS_MOST:
        raise RefusedChange(f"A grant lasts at most {LASTS_MOST.days} days, and longer than nothing.")
    if shown_digest not in (None, offered.digest):
        raise RefusedChange(f"The limits of trader {trader.name} were changed meanwhile; look at them again.")
    grant = Grant.objects.create(
        trader=trader,
        environment=offered.environment,
        account=offered.account,
        subaccount=offered.subaccount,
        limits=msgspec.to_builtins(offered.limits),
        limits_digest=offered.digest,
        worst_loss_ud=offered.worst_loss_ud,
        granted_by=actor,
        expires_at=timezone.now() + expires_in,
    )
    audit(
        actor,
        "grant.created",
        trader.name,
        grant=grant.pk,
        environment=grant.environment,
        account=grant.account,
        subaccount=grant.subaccount,
        market=trader.market_ticker,
        limits=grant.limits,
        worst_loss_ud=grant.worst_loss_ud,
        expires_at=grant.expires_at.isoformat(),
    )
    return grant


@transaction.atomic
def revoke(grant: Grant, *, actor: str) -> bool:
    """End a grant; return whether that is a change. What runs under it, the supervisor stops."""
    now = timezone.now()
    if not Grant.objects.filter(pk=grant.pk, revoked_at=None).update(revoked_at=now, revoked_by=actor):
        return False
    grant.refresh_from_db()
    audit(actor, "grant.revoked", grant.whom, grant=grant.pk)
    return True


def permission(trader_id: int) -> tuple[Grant | None, tuple[Missing, ...]]:
    """Return the grant under which a trader may trade live, and what is missing before it may.

    It may only when nothing is missing; then the grant is there, started, and its `expires_at` is the end. The key is
    that of `feed.keys.trading_key` for the grant's environment and account.
    """
    trader = Trader.objects.filter(pk=trader_id).first()
    if trader is None:
        return None, (Missing("trader", "there is no such trader"),)
    return _permission(trader)


def rule_permission(rule: SeriesRule) -> tuple[Grant | None, tuple[Missing, ...]]:
    """Return the grant under which a rule may make live traders, and what is missing before it may."""
    facts, grants = rule_facts(rule)
    held = holding(facts)
    return (None if held is None else grants[held.id]), missing(facts)


@transaction.atomic
def start_live(traders: Iterable[Trader], *, actor: str) -> list[Trader]:
    """Give live traders the start flag and let them run: all of them, or none; return them.

    Raises:
        RefusedChange: Of any of them something is missing, or its market is traded by another live trader; each thing
            is named, and nothing has changed.
    """
    chosen = _locked(traders)
    refuse_beyond(chosen)
    _refuse_rivals(chosen)
    _refuse([(trader, but_start(_permission(trader)[1])) for trader in chosen])
    for trader in chosen:
        _set_start_flag(trader, actor)
    steer(chosen, "start", actor=actor, may_go_live=True)
    return chosen


@transaction.atomic
def start(traders: Iterable[Trader], *, actor: str) -> list[Trader]:
    """Let traders run, live ones only if a person has started them under the grant they have; return them.

    Raises:
        RefusedChange: Of a live one something is missing, or another trades its market; nothing has changed.
    """
    chosen = _locked(traders)
    refuse_beyond(chosen)
    _refuse_rivals(chosen)
    _refuse([(trader, _permission(trader)[1]) for trader in chosen if trader.mode == Mode.LIVE])
    steer(chosen, "start", actor=actor, may_go_live=True)
    return chosen


@transaction.atomic
def start_flag(trader: Trader, *, actor: str) -> Grant:
    """Set the start flag of the grant that a trader has, if it is not set; return the grant.

    Raises:
        RefusedChange: Something else is missing; each thing is named.
    """
    _refuse([(trader, but_start(_permission(trader)[1]))])
    return _set_start_flag(trader, actor)


def without_unpermitted(traders: Iterable[Trader]) -> tuple[list[Trader], list[tuple[Trader, tuple[Missing, ...]]]]:
    """Return the traders that a plain start may start, and the live ones that it may not, with what is missing."""
    fine: list[Trader] = []
    barred: list[tuple[Trader, tuple[Missing, ...]]] = []
    for trader in traders:
        lacks = _permission(trader)[1] if trader.mode == Mode.LIVE else ()
        if lacks:
            barred.append((trader, lacks))
        else:
            fine.append(trader)
    return fine, barred


def state_of(grant: Grant) -> str:
    """Return `revoked`, `expired`, `started` or `waiting`, which is for its start; `void` when it holds no more."""
    if grant.revoked_at is not None:
        return "revoked"
    if grant.expires_at <= timezone.now():
        return "expired"
    if grant.rule is not None:
        facts, _ = rule_facts(grant.rule, only=grant)
    else:
        assert grant.trader is not None, "a grant names a trader or a rule"
        facts, _ = _facts(grant.trader, only=grant)
    if holding(facts) is None:
        return "void"
    return "started" if grant.started_at is not None else "waiting"


def told(lacks: Iterable[Missing]) -> str:
    """Return in words what is missing, each with its code."""
    return "; ".join(f"[{one.code}] {one.text}" for one in lacks)


def _permission(trader: Trader) -> tuple[Grant | None, tuple[Missing, ...]]:
    facts, grants = _facts(trader)
    held = holding(facts)
    return (None if held is None else grants[held.id]), missing(facts)


def _facts(trader: Trader, *, only: Grant | None = None) -> tuple[LiveFacts, dict[int, Grant]]:
    """Return what decides about a trader, read now, and its grants by number."""
    limits = _limits(trader.limits)
    rule = rule_over(trader)
    grants = [only] if only else list(grants_over(trader).order_by("-created_at", "-id"))
    facts = msgspec.structs.replace(
        _here(grants),
        trader=trader.pk,
        name=trader.name,
        mode=trader.mode,
        account=account_of(trader),
        subaccount=trader.subaccount,
        limits_digest=None if limits is None else limits_digest(limits),
        limits=limits,
        rule=terms_of(rule) if rule else None,
        latched=_latched(trader.series_rule),
    )
    return facts, {grant.pk: grant for grant in grants}


def rule_facts(rule: SeriesRule, *, only: Grant | None = None) -> tuple[LiveFacts, dict[int, Grant]]:
    """Return what decides whether a rule may make live traders, read now, and its grants by number."""
    terms = terms_of(rule)
    grants = [only] if only else list(Grant.objects.filter(rule=rule).order_by("-created_at", "-id"))
    facts = msgspec.structs.replace(
        _here(grants),
        name=rule.series_ticker,
        mode=rule.mode,
        account=account_of_rule(rule),
        limits_digest=terms.limits_digest,
        limits=terms.limits,
        rule=terms,
        latched=_latched(rule),
    )
    return facts, {grant.pk: grant for grant in grants}


def _here(grants: Iterable[Grant]) -> LiveFacts:
    """Return what decides about everybody here, with these grants, and nobody named yet."""
    credentials, vault_problem = _credentials()
    return LiveFacts(
        trader=None,
        name="",
        mode="",
        environment=settings.KALSHI_ENV,
        account="",
        limits_digest=None,
        is_allowed_here=settings.KALSHIMM_LIVE,
        credentials=credentials,
        vault_problem=vault_problem,
        permissions=tuple(map(_as_permission, grants)),
        now_us=microseconds(timezone.now()),
    )


def _latched(rule: SeriesRule | None) -> str:
    return rule.latch_reason if rule is not None and rule.latched_at is not None else ""


def _set_start_flag(trader: Trader, actor: str) -> Grant:
    """Set it on the trader's own grant; one that trades by its rule's, which was started for all, needs none."""
    facts, grants = _facts(trader)
    own = msgspec.structs.replace(facts, permissions=tuple(one for one in facts.permissions if one.rule is None))
    if holding(own) is None and (held := holding(facts)) is not None:
        if held.is_started:
            return grants[held.id]
        raise RefusedChange(
            f"Only the grant of its series rule permits trader {trader.name}, and nobody has started that: "
            f"`traders start --live {facts.words}`."
        )
    return set_start_flag(own, grants, actor=actor)


def set_start_flag(facts: LiveFacts, grants: dict[int, Grant], *, actor: str) -> Grant:
    """Set it on the grant that lasts longest: whoever starts once more under a newer grant means that one.

    Raises:
        RefusedChange: None holds any more.
    """
    held = holding(msgspec.structs.replace(facts, permissions=tuple(map(_unstarted, facts.permissions))))
    ended = RefusedChange(f"The grant of {facts.name} was ended meanwhile; see `grants list`.")
    if held is None:
        raise ended
    grant = grants[held.id]
    if grant.started_at is not None:
        return grant
    if not Grant.objects.filter(pk=grant.pk, started_at=None, revoked_at=None).update(started_at=timezone.now()):
        raise ended
    grant.refresh_from_db()
    audit(actor, "grant.started", facts.name, grant=grant.pk, expires_at=grant.expires_at.isoformat())
    return grant


def _limits(raw: object) -> Limits | None:
    try:
        return parse_limits(raw)
    except ParamsError:
        return None


def _credentials() -> tuple[tuple[Credential, ...], str]:
    """Return the keys that lie in the vault, and why they cannot be known if so.

    None is opened here: that is for whoever trades with it.
    """
    vault = Vault(settings.KALSHIMM_HOME)
    try:
        there = [entry for entry in vault.entries() if vault.is_there(entry)]
    except VaultError as exc:
        return (), str(exc)
    return tuple(Credential(entry.name, entry.environment, entry.account, entry.may_trade) for entry in there), ""


def _as_permission(grant: Grant) -> Permission:
    return Permission(
        id=grant.pk,
        trader=grant.trader_id,
        rule=granted(grant),
        environment=grant.environment,
        account=grant.account,
        subaccount=grant.subaccount,
        limits_digest=grant.limits_digest,
        expires_us=microseconds(grant.expires_at),
        is_started=grant.started_at is not None,
        is_revoked=grant.revoked_at is not None,
        limits=_limits(grant.limits) if set(grant.limits) == set(Limits.__struct_fields__) else None,
    )


def _unstarted(one: Permission) -> Permission:
    return msgspec.structs.replace(one, is_started=False)


def but_start(lacks: tuple[Missing, ...]) -> tuple[Missing, ...]:
    """Return what is missing besides the start flag."""
    return tuple(one for one in lacks if one.code != START)


def _locked(traders: Iterable[Trader]) -> list[Trader]:
    """Return the traders as they are now, kept so until the transaction ends, in a fixed order."""
    numbers = [trader.pk for trader in traders]
    rows = Trader.objects.select_for_update(of=("self",)).select_related("strategy")
    return list(rows.filter(pk__in=numbers).order_by("pk"))


def _refuse_rivals(traders: Iterable[Trader]) -> None:
    """Refuse a second live trader in a market of an account: each would take the other's orders for a stranger's.

    Another subaccount is no other account here. It has its own position, but whether the exchange keeps the orders of
    two of them from trading with each other is not known (facts.md section 8), and such a trade is a wash trade.

    Two starts at once wait for each other at the market's row.

    Raises:
        RefusedChange: It names both.
    """
    live = [trader for trader in traders if trader.mode == Mode.LIVE]
    tickers = {trader.market_ticker for trader in live}
    list(Market.objects.select_for_update(of=("self",)).filter(pk__in=tickers).order_by("pk"))
    trading = list(Trader.objects.filter(TRADES, mode=Mode.LIVE, market_ticker__in=tickers).order_by("pk"))
    for place, trader in enumerate(live):
        rivals = (*trading, *live[:place])
        mine = trader.market_ticker, account_of(trader)
        others = (one for one in rivals if (one.market_ticker, account_of(one)) == mine and one != trader)
        if (other := next(others, None)) is not None:
            raise RefusedChange(
                f"Trader {trader.name} does not go live: {other.name} trades {trader.market_ticker} on the same "
                f"account. Stop it first (`traders stop {other.name}`), and wait until nothing of it rests."
            )


def _refuse(checked: Iterable[tuple[Trader, tuple[Missing, ...]]]) -> None:
    """Refuse a start if anything is missing of any trader.

    Raises:
        RefusedChange: It names each trader and each missing thing.
    """
    lacking = [f"Trader {trader.name} does not go live. Missing: {told(lacks)}." for trader, lacks in checked if lacks]
    if lacking:
        raise RefusedChange(" ".join(lacking))
