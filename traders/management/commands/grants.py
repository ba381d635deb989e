"""`manage.py grants VERB`"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, OutputWrapper
from django.db.models import Q
from django.utils import timezone

from kalshimm.runtime.actor import command_line_actor
from markets.core.units import DOLLAR_UD
from markets.formatting import CENT_UD, contracts, dollars, price
from traders.grants import LASTS, LASTS_MOST, Offer, create_grant, offer, revoke, state_of
from traders.management.commands.traders import BadUsage, find
from traders.models import Grant, SeriesRule, Trader
from traders.rulegrants import RuleOffer, create_rule_grant, rule_of, rule_offer
from traders.services import RefusedChange

HOUR = timedelta(hours=1)
HOURS, HOURS_MOST = LASTS // HOUR, LASTS_MOST // HOUR
LINE = "{id:>5}  {whom:<36} {state:<8} {environment:<6} {account:<10} {worst_loss:>12}  {expires_at:<20}".format
HEADS = ("id", "whom", "state", "environment", "account", "worst_loss", "expires_at")


class Command(BaseCommand):
    help = (
        "Give and end permissions to trade live: a person's, for one trader or series rule, its limits and some hours."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        self._verb(verbs, "list", "every grant, newest first, with its state")
        create = self._verb(
            verbs,
            "create",
            "permit a live trader to trade, or a series rule to make such traders, once its name is typed",
        )
        create.add_argument("trader", nargs="?", help="number or name")
        create.add_argument("--rule", metavar="SERIES", help="the series rule of this series instead")
        create.add_argument(
            "--daily-loss", type=_dollars, metavar="DOLLARS", help="what all traders of the rule may lose in a day"
        )
        create.add_argument(
            "--hours", type=_hours, default=HOURS, metavar="N", help=f"how long: 1 to {HOURS_MOST}, {HOURS} by default"
        )
        create.add_argument(
            "--confirm", metavar="NAME", help="the trader's name or the series, for scripts that cannot be asked"
        )
        end = self._verb(verbs, "revoke", "end a grant, or every grant of a trader or a series rule")
        end.add_argument("grant", help="number of a grant, name of a trader, or series of a rule")

    def _verb(self, verbs: Any, name: str, text: str) -> ArgumentParser:
        verb: ArgumentParser = verbs.add_parser(name, help=text)
        verb.add_argument("--json", action="store_true", dest="as_json", help="one JSON document on one line")
        return verb

    def handle(self, *_args: Any, **options: Any) -> None:
        getattr(self, f"_{options['verb']}")(options)

    def _list(self, options: dict[str, Any]) -> None:
        self._tell(list(Grant.objects.select_related("trader", "rule")), options)

    def _create(self, options: dict[str, Any]) -> None:
        if bool(options["trader"]) == bool(options["rule"]):
            raise BadUsage("Name a trader, or give --rule SERIES: one of the two.")
        out = self.stderr if options["as_json"] else self.stdout
        grant = self._permit_rule(options, out) if options["rule"] else self._permit(options, out)
        if options["as_json"]:
            self._json({"grant": row(grant)})
        else:
            whom = f"--rule {grant.whom}" if grant.rule else grant.whom
            words = f"Granted until {grant.expires_at:%Y-%m-%d %H:%M} UTC. Then: `traders start --live {whom}`"
            self.stdout.write(words)

    def _permit(self, options: dict[str, Any], out: OutputWrapper) -> Grant:
        if options["daily_loss"] is not None:
            raise BadUsage("--daily-loss is of a series rule; a trader's own is among its limits.")
        trader = find(options["trader"])
        offered = offer(trader)
        lasts = options["hours"] * HOUR
        _restate(trader, offered, lasts, out)
        return create_grant(
            trader,
            actor=command_line_actor(),
            confirm_name=_confirmed(options["confirm"], "trader's name", out),
            expires_in=lasts,
            shown_digest=offered.digest,
        )

    def _permit_rule(self, options: dict[str, Any], out: OutputWrapper) -> Grant:
        rule = rule_of(options["rule"])
        offered = rule_offer(rule, daily_loss_ud=options["daily_loss"])
        lasts = options["hours"] * HOUR
        _restate_rule(rule, offered, lasts, out)
        return create_rule_grant(
            rule,
            actor=command_line_actor(),
            confirm_series=_confirmed(options["confirm"], "series", out),
            expires_in=lasts,
            daily_loss_ud=options["daily_loss"],
            shown=offered,
        )

    def _revoke(self, options: dict[str, Any]) -> None:
        found = _grants(options["grant"])
        ended = [grant for grant in found if revoke(grant, actor=command_line_actor())]
        if not ended:
            raise RefusedChange("That was ended before; see `grants list`.")
        self._tell(ended, options)

    def _tell(self, grants: list[Grant], options: dict[str, Any]) -> None:
        table = list(map(row, grants))
        if options["as_json"]:
            self._json({"grants": table})
            return
        if table:
            self.stdout.write(LINE(**{name: name for name in HEADS}).rstrip())
        for one in table:
            whom = one["trader"] or f"rule {one['rule']}"
            shown = {"whom": whom, "worst_loss": dollars(one["worst_loss_ud"]), "expires_at": one["expires_at"][:19]}
            self.stdout.write(LINE(**one | shown).rstrip())

    def _json(self, document: dict[str, Any]) -> None:
        self.stdout.write(msgspec.json.encode(document).decode())


def row(grant: Grant) -> dict[str, Any]:
    """Return what the outside sees of a grant; the names are a contract."""
    return {
        "id": grant.pk,
        "trader": grant.trader.name if grant.trader else None,
        "market": grant.trader.market_ticker if grant.trader else None,
        "rule": grant.series_ticker or None,
        "max_traders": grant.max_traders,
        "daily_loss_ud": grant.daily_loss_ud,
        "state": state_of(grant),
        "environment": grant.environment,
        "account": grant.account,
        "subaccount": grant.subaccount,
        "limits": grant.limits,
        "limits_digest": grant.limits_digest,
        "worst_loss_ud": grant.worst_loss_ud,
        "granted_by": grant.granted_by,
        "created_at": grant.created_at.isoformat(),
        "expires_at": grant.expires_at.isoformat(),
        "started_at": grant.started_at.isoformat() if grant.started_at else None,
        "revoked_at": grant.revoked_at.isoformat() if grant.revoked_at else None,
        "revoked_by": grant.revoked_by,
    }


def _restate(trader: Trader, offered: Offer, lasts: timedelta, out: OutputWrapper) -> None:
    """Write out everything that is about to be permitted."""
    a_day_ud = min(offered.limits.daily_loss_ud, offered.limits.drawdown_ud)
    at_stake, a_day = dollars(offered.worst_loss_ud), dollars(a_day_ud)
    lines = {
        "trader": trader.name,
        "environment": offered.environment,
        "account": offered.account,
        "subaccount": "primary" if offered.subaccount is None else offered.subaccount,
        "market": f"{offered.market}  {offered.title}".rstrip(),
        "strategy": str(trader.strategy),
        **{name: _figure(name, value) for name, value in msgspec.structs.asdict(offered.limits).items()},
        "worst loss": f"{at_stake} at stake at once, besides up to {a_day} lost before on each day; fees come on top",
        "until": f"{timezone.now() + lasts:%Y-%m-%d %H:%M} UTC",
    }
    _write(lines, out)


def _restate_rule(rule: SeriesRule, offered: RuleOffer, lasts: timedelta, out: OutputWrapper) -> None:
    """Write out everything that a rule is about to be permitted."""
    at_stake, each = dollars(offered.worst_loss_ud), dollars(offered.each_ud)
    lost = f"once all of its traders have lost {dollars(offered.daily_loss_ud)} in a day they are stopped"
    lines = {
        "series rule": f"{offered.series}  {offered.title}".rstrip(),
        "environment": offered.environment,
        "account": offered.account,
        "strategy": str(rule.strategy),
        "most traders at once": offered.most,
        **{f"each: {name}": _figure(name, value) for name, value in msgspec.structs.asdict(offered.limits).items()},
        "worst loss": f"{at_stake} at stake at once, {each} of each trader; what markets that are over have yet to pay "
        "and what was lost before come on top, and fees",
        "daily loss": f"{lost}, until a person releases the rule; what they hold then is still at stake",
        "until": f"{timezone.now() + lasts:%Y-%m-%d %H:%M} UTC",
    }
    _write(lines, out)


def _write(lines: dict[str, Any], out: OutputWrapper) -> None:
    for name, value in lines.items():
        out.write(f"{name:<27} {value}")


def _figure(name: str, value: int) -> str:
    """Return a limit as its name says its unit."""
    if "_cx" in name:
        return f"{contracts(value)} contracts"
    if "_ud" in name:
        return dollars(value)
    return price(value) if "_cc" in name else str(value)


def _confirmed(given: str | None, what: str, out: OutputWrapper) -> str:
    """Return the name that stands for the person's yes, asked for where there is somebody to ask."""
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise RefusedChange(f"Nobody can be asked here; give the {what}: --confirm NAME.")
    out.write(f"Real orders will be sent under these limits. Type the {what} to permit it: ", ending="")
    out.flush()
    return sys.stdin.readline().strip()


def _grants(word: str) -> list[Grant]:
    grants = Grant.objects.select_related("trader", "rule")
    by_number = list(grants.filter(pk=int(word))) if word.isdecimal() else []
    found = by_number or list(grants.filter(Q(trader__name=word) | Q(rule__isnull=False, series_ticker=word)))
    if not found:
        raise RefusedChange(f"There is no grant {word}, and no trader or rule of that name has one; see `grants list`.")
    return found


def _hours(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= HOURS_MOST:
        raise ArgumentTypeError(f"{text!r} is no number of hours from 1 to {HOURS_MOST}")
    return int(text)


def _dollars(text: str) -> int:
    whole, _, cents = text.partition(".")
    if not (text.isascii() and whole.isdecimal() and (cents or "0").isdecimal() and len(cents) <= 2):
        raise ArgumentTypeError(f"{text!r} is no amount of dollars such as 25 or 12.50")
    return int(whole) * DOLLAR_UD + int(cents.ljust(2, "0")) * CENT_UD
