"""Whether a trader may trade live: four things, and without any one of them it may not.

    mode          it was made as a live trader; one made for dry-run never becomes one
    start flag    KALSHIMM_LIVE=1 where the supervisor runs, and `traders start --live`, which the grant keeps
    credential    a key that is known to be allowed to trade, in the vault, for its environment and account
    grant         a person's permission for this trader, or for the series rule that made it, on this account, under
                  these limits or lower ones, not ended

    facts = LiveFacts(…)
    missing(facts)     () or what is missing, each named
    holding(facts)     the grant that holds, if one does

A series rule may make live traders by the same four things, and what it makes may trade by them: its grant says besides
how many at once, and what all of them may lose in a day. While that latch stands none of them trades.

The local exchange is no exception. What is not known counts as missing.
"""

from __future__ import annotations

import hashlib

import msgspec

from markets.formatting import dollars, duration
from traders.core.limits import Limits, is_no_looser

LIVE = "live"
MODE, INSTALLATION, START, CREDENTIAL, GRANT = "mode", "installation_flag", "start_flag", "credential", "grant"
RULE_LOSS = "rule_loss"


class Missing(msgspec.Struct, frozen=True):
    """One thing that a live start lacks: a stable code, and what to do about it."""

    code: str
    text: str


class RuleTerms(msgspec.Struct, frozen=True, kw_only=True):
    """A series rule, as a grant permitted it or as it is now.

    Attributes:
        mode: As it is set; of a grant always live.
        limits_digest: Of the limits that it gives its traders; None where they cannot be read.
        limits: Those themselves; of a grant, see `Permission.limits`.
        max_traders: So many at once.
        daily_loss_ud: What all of its traders may lose in a day, micro-dollars.
    """

    rule: int
    series: str
    mode: str
    limits_digest: str | None
    max_traders: int
    daily_loss_ud: int
    limits: Limits | None = None


class Permission(msgspec.Struct, frozen=True, kw_only=True):
    """A grant as it was given.

    Attributes:
        trader: Whom it names; None where it names a series rule.
        rule: What was confirmed of that rule.
        limits_digest: Of the limits that were confirmed.
        limits: Those themselves; None where not each that there is now was confirmed.
        expires_us: From then on it is over.
        is_started: Whether it has the start flag.
    """

    id: int
    trader: int | None
    rule: RuleTerms | None = None
    environment: str
    account: str
    limits_digest: str
    expires_us: int
    is_started: bool = False
    is_revoked: bool = False
    limits: Limits | None = None
    subaccount: int | None = None


class Credential(msgspec.Struct, frozen=True):
    """A key of the vault; `may_trade` is None before it was tested."""

    name: str
    environment: str
    account: str
    may_trade: bool | None


class LiveFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides whether one trader may trade live, or one series rule make such traders.

    Attributes:
        trader: None of a rule itself.
        name: For the texts.
        mode: As the trader was made.
        environment: Of this installation.
        account, subaccount: As whom the trader trades; None is the primary subaccount.
        limits_digest: Of the trader's limits as they are now; None where they cannot be read.
        limits: Those themselves; None holds the trader to what was confirmed, to the letter.
        is_allowed_here: Whether KALSHIMM_LIVE is set.
        vault_problem: Why the keys cannot be known; "" when they are.
        permissions: Grants, newest first.
        rule: The rule that made the trader, as it is now; None where there is none for its market.
        latched: Why nobody of that rule trades until a person releases it; "" while it has not latched.
    """

    trader: int | None
    name: str
    mode: str
    environment: str
    account: str
    limits_digest: str | None
    is_allowed_here: bool
    credentials: tuple[Credential, ...]
    permissions: tuple[Permission, ...]
    now_us: int
    vault_problem: str = ""
    subaccount: int | None = None
    limits: Limits | None = None
    rule: RuleTerms | None = None
    latched: str = ""

    @property
    def words(self) -> str:
        """Return how commands name it: a rule's trader by its rule."""
        return f"--rule {self.rule.series}" if self.rule else self.name


def limits_digest(limits: Limits) -> str:
    """Return what tells limits apart: all of them count, so that another default voids a grant as well."""
    return hashlib.sha256(msgspec.json.encode(limits, order="sorted")).hexdigest()


def missing(facts: LiveFacts) -> tuple[Missing, ...]:
    """Return what is missing before the trader may trade live; nothing when it may."""
    held = holding(facts)
    four = (_mode(facts), _installation(facts), _start(facts, held), _credential(facts), _grant(facts, held))
    found = (*four, _latch(facts))
    return tuple([one for one in found if one is not None])


def holding(facts: LiveFacts) -> Permission | None:
    """Return the grant that holds: one with the start flag before others, then the one that lasts longest."""
    held = [one for one in facts.permissions if _why_not(one, facts) is None]
    return max(held, key=lambda one: (one.is_started, one.expires_us), default=None)


def _mode(facts: LiveFacts) -> Missing | None:
    if facts.mode == LIVE:
        return None
    if facts.trader is None:
        return Missing(MODE, f"it is set to {facts.mode}: set the mode of the rule to live (admin, Series rules)")
    return Missing(
        MODE, f"it was made for {facts.mode} and stays so; make another trader: `traders create NAME --live --market …`"
    )


def _installation(facts: LiveFacts) -> Missing | None:
    if facts.is_allowed_here:
        return None
    return Missing(INSTALLATION, "KALSHIMM_LIVE=1 is not set, neither in the environment nor in .env")


def _start(facts: LiveFacts, held: Permission | None) -> Missing | None:
    if held is not None and held.is_started:
        return None
    return Missing(START, f"nobody has started it under a grant that holds: `traders start --live {facts.words}`")


def _credential(facts: LiveFacts) -> Missing | None:
    if facts.vault_problem:
        return Missing(CREDENTIAL, facts.vault_problem.rstrip("."))
    ours = [one for one in facts.credentials if (one.environment, one.account) == (facts.environment, facts.account)]
    if any(one.may_trade for one in ours):
        return None
    whose = f"of account {facts.account} in {facts.environment}"
    untested = next((one for one in ours if one.may_trade is None), None)
    if untested is not None:
        return Missing(CREDENTIAL, f"whether key {untested.name} may trade is not known: `keys test {untested.name}`")
    if ours:
        names = ", ".join(one.name for one in ours)
        return Missing(CREDENTIAL, f"no key {whose} may trade ({names} may not): add one that may with `keys add`")
    return Missing(CREDENTIAL, f"the vault has no key {whose}: `keys add`, then `keys test`")


def _grant(facts: LiveFacts, held: Permission | None) -> Missing | None:
    if held is not None:
        return None
    why = _why_not(facts.permissions[0], facts) if facts.permissions else "there is none"
    return Missing(GRANT, f"{why}: `grants create {facts.words}`")


def _latch(facts: LiveFacts) -> Missing | None:
    return Missing(RULE_LOSS, facts.latched) if facts.latched else None


def _why_not(one: Permission, facts: LiveFacts) -> str | None:
    """Return why a grant does not hold, or None."""
    if one.rule is None and one.trader != facts.trader:
        return "the grant is another trader's"
    if one.is_revoked:
        return "the grant was revoked"
    if one.expires_us <= facts.now_us:
        return f"the grant expired {duration((facts.now_us - one.expires_us) // 1_000_000)} ago"
    there, here = _place(one), _place(facts)
    if there != here:
        return f"the grant is for account {there}, here it would be {here}"
    if one.rule is not None and (why := _why_no_rule(one, one.rule, facts.rule)):
        return why
    if facts.limits_digest is None:
        return "the trader's limits cannot be read, and a grant is for limits"
    if one.limits_digest != facts.limits_digest and not _are_lowered(one.limits, facts.limits):
        return "the limits are not those that were confirmed"
    return None


def _are_lowered(confirmed: Limits | None, now: Limits | None) -> bool:
    """Return whether limits allow less than was confirmed, and nothing else."""
    return confirmed is not None and now is not None and is_no_looser(now, confirmed)


def _why_no_rule(one: Permission, granted: RuleTerms, rule: RuleTerms | None) -> str | None:
    """Return why a grant for a series rule does not hold for what the rule is now, or None."""
    if rule is None or (granted.rule, granted.series) != (rule.rule, rule.series):
        return f"the grant is for the series rule {granted.series}"
    if rule.mode != LIVE:
        return f"the series rule {rule.series} is set to {rule.mode}"
    if rule.limits_digest != granted.limits_digest and not _are_lowered(one.limits, rule.limits):
        return f"the limits of the series rule {rule.series} are not those that were confirmed"
    if rule.max_traders > granted.max_traders:
        return f"the rule may have {rule.max_traders} traders at once, and {granted.max_traders} were confirmed"
    if rule.daily_loss_ud > granted.daily_loss_ud:
        lost, confirmed = dollars(rule.daily_loss_ud), dollars(granted.daily_loss_ud)
        return f"the rule may lose {lost} a day, and {confirmed} were confirmed"
    return None


def _place(one: Permission | LiveFacts) -> str:
    """Return where and as whom it would trade."""
    part = "" if one.subaccount is None else f" subaccount {one.subaccount}"
    return f"{one.account}{part} in {one.environment}"
