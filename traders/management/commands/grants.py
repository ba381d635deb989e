"""`manage.py grants VERB`"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, OutputWrapper
from django.utils import timezone

from kalshimm.runtime.actor import command_line_actor
from markets.formatting import contracts, dollars, price
from traders.grants import LASTS, LASTS_MOST, Offer, create_grant, offer, revoke, state_of
from traders.management.commands.traders import find
from traders.models import Grant, Trader
from traders.services import RefusedChange

HOUR = timedelta(hours=1)
HOURS, HOURS_MOST = LASTS // HOUR, LASTS_MOST // HOUR
LINE = "{id:>5}  {trader:<36} {state:<8} {environment:<6} {account:<10} {worst_loss:>12}  {expires_at:<20}".format
HEADS = ("id", "trader", "state", "environment", "account", "worst_loss", "expires_at")


class Command(BaseCommand):
    help = "Give and end permissions to trade live; each is a person's, for one trader, its limits and some hours."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        self._verb(verbs, "list", "every grant, newest first, with its state")
        create = self._verb(verbs, "create", "permit a live trader to trade, once its name is typed")
        create.add_argument("trader", help="number or name")
        create.add_argument(
            "--hours", type=_hours, default=HOURS, metavar="N", help=f"how long: 1 to {HOURS_MOST}, {HOURS} by default"
        )
        create.add_argument("--confirm", metavar="NAME", help="the trader's name, for scripts that cannot be asked")
        end = self._verb(verbs, "revoke", "end a grant, or every grant of a trader")
        end.add_argument("grant", help="number of a grant, or name of a trader")

    def _verb(self, verbs: Any, name: str, text: str) -> ArgumentParser:
        verb: ArgumentParser = verbs.add_parser(name, help=text)
        verb.add_argument("--json", action="store_true", dest="as_json", help="one JSON document on one line")
        return verb

    def handle(self, *_args: Any, **options: Any) -> None:
        getattr(self, f"_{options['verb']}")(options)

    def _list(self, options: dict[str, Any]) -> None:
        self._tell(list(Grant.objects.select_related("trader")), options)

    def _create(self, options: dict[str, Any]) -> None:
        trader = find(options["trader"])
        offered = offer(trader)
        out = self.stderr if options["as_json"] else self.stdout
        lasts = options["hours"] * HOUR
        _restate(trader, offered, lasts, out)
        grant = create_grant(
            trader,
            actor=command_line_actor(),
            confirm_name=_confirmed(options["confirm"], out),
            expires_in=lasts,
            shown_digest=offered.digest,
        )
        if options["as_json"]:
            self._json({"grant": row(grant)})
        else:
            words = f"Granted until {grant.expires_at:%Y-%m-%d %H:%M} UTC. Then: `traders start --live {trader.name}`"
            self.stdout.write(words)

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
            shown = {"worst_loss": dollars(one["worst_loss_ud"]), "expires_at": one["expires_at"][:19]}
            self.stdout.write(LINE(**one | shown).rstrip())

    def _json(self, document: dict[str, Any]) -> None:
        self.stdout.write(msgspec.json.encode(document).decode())


def row(grant: Grant) -> dict[str, Any]:
    """Return what the outside sees of a grant; the names are a contract."""
    return {
        "id": grant.pk,
        "trader": grant.trader.name,
        "market": grant.trader.market_ticker,
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
    for name, value in lines.items():
        out.write(f"{name:<24} {value}")


def _figure(name: str, value: int) -> str:
    """Return a limit as its name says its unit."""
    if "_cx" in name:
        return f"{contracts(value)} contracts"
    if "_ud" in name:
        return dollars(value)
    return price(value) if "_cc" in name else str(value)


def _confirmed(given: str | None, out: OutputWrapper) -> str:
    """Return the name that stands for the person's yes, asked for where there is somebody to ask."""
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise RefusedChange("Nobody can be asked here; give the trader's name: --confirm NAME.")
    out.write("Real orders will be sent under these limits. Type the trader's name to permit it: ", ending="")
    out.flush()
    return sys.stdin.readline().strip()


def _grants(word: str) -> list[Grant]:
    grants = Grant.objects.select_related("trader")
    by_number = list(grants.filter(pk=int(word))) if word.isdecimal() else []
    found = by_number or list(grants.filter(trader__name=word))
    if not found:
        raise RefusedChange(f"There is no grant {word}, and no trader of that name has one; see `grants list`.")
    return found


def _hours(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= HOURS_MOST:
        raise ArgumentTypeError(f"{text!r} is no number of hours from 1 to {HOURS_MOST}")
    return int(text)
