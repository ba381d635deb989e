from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings
from django.core.management.base import BaseCommand
from django.db.models import Q

from kalshimm.errors import EXIT_USAGE, KalshimmError
from kalshimm.runtime.actor import command_line_actor
from kalshimm.runtime.clock import SystemClock
from markets.core.units import DOLLAR_CC, format_count, format_price, parse_price, yes_price_cc
from markets.formatting import dollars
from markets.models import Market
from traders import grants, rulegrants, ruleresults, unclaimed
from traders.accounts import account_of
from traders.core.unclaimed import WORDS, Resting, Unclaimed, whose
from traders.models import SUBACCOUNT_MOST, Desired, Mode, Order, SeriesRule, Trader
from traders.queries import why_of
from traders.services import (
    DEMO_STRATEGY,
    VERBS,
    RefusedChange,
    create_for_event,
    create_trader,
    release,
    steer,
    strategy_named,
    tell_fair_value,
    without_closed,
)

HELP = {"flatten": "get traders out of their positions, and keep them out until they resume"}
LOG_LINES = 50
LOG_TAIL_BYTES = 200_000
EXTERNAL_LINE = "{account:<8} {market:<36} {order_id} {side} {count} at {yes_price} since {since}: {why}".format
UNCLAIMED_LINE = (
    "{account:<8} {market:<36} {order_id} {side} {count} at {yes_price} since {since}, of trader {trader} under lease "
    "{epoch} ({client_order_id}): {why}"
).format


class BadUsage(KalshimmError):
    """The command line names nothing to work on, or too much."""

    exit_code = EXIT_USAGE


class Command(BaseCommand):
    help = "List and steer the traders of this installation."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        listed = self._verb(verbs, "list", "every trader with its state")
        listed.add_argument("--archived", action="store_true", help="also those of series rules that are over")
        listed.add_argument("--rules", action="store_true", help="the series rules instead, and what each came to")
        show = self._verb(verbs, "show", "one trader in full")
        show.add_argument("trader", help="number or name")
        show_logs = self._verb(verbs, "logs", "the last lines a trader wrote")
        show_logs.add_argument("trader", help="number or name")
        show_logs.add_argument("-n", "--lines", type=_line_count, default=LOG_LINES)
        why = self._verb(verbs, "why", "the decision that an order was sent on")
        why.add_argument("order", help="its client order id, or the exchange's")
        self._verb(verbs, "unclaimed", "orders at rest that nobody watches, and those that are not ours")
        create = self._verb(verbs, "create", "make a trader, for dry-run unless --live is given")
        create.add_argument("name", nargs="?", help="of the trader; with --event they are named by their markets")
        create.add_argument("--market", help="ticker of its market")
        create.add_argument("--event", help="make one for each open market of this event that has none")
        create.add_argument("--strategy", default=DEMO_STRATEGY, help="name of a strategy set")
        create.add_argument("--stopped", action="store_true", help="do not start it yet")
        create.add_argument(
            "--live", action="store_true", help="make it for real orders; it stands still until `grants create` and "
            "`start --live`"
        )  # fmt: skip
        create.add_argument("--account", default="", help="which one --live is for; the only one may be left out")
        create.add_argument("--subaccount", type=_subaccount, help="number of a subaccount of it (0 to 63)")
        for verb in VERBS:
            change = self._verb(verbs, verb, HELP.get(verb, f"{verb} traders"))
            self._choice(change)
            if verb == "start":
                change.add_argument("--live", action="store_true", help="let live traders, named one by one, trade")
                change.add_argument("--rule", metavar="SERIES", help="with --live: let a series rule make live traders")
        released = self._verb(verbs, "release", "let traders quote again whose limits latched")
        self._choice(released)
        released.add_argument("--rule", metavar="SERIES", help="a series rule that lost too much in a day, instead")

        fair = self._verb(verbs, "fair", "tell traders a Yes price from outside, for a placement that goes by one")
        self._choice(fair)
        fair.add_argument("--price", required=True, type=_yes_price, help="dollars, such as 0.5500")
        fair.add_argument("--source", default="", help="where it comes from, for the reasons that name it")

    def _choice(self, change: ArgumentParser) -> None:
        change.add_argument("traders", nargs="*", metavar="ID", help="numbers or names")
        change.add_argument("--event", help="all traders of one event")
        change.add_argument("--all", action="store_true", dest="everyone", help="the whole fleet")

    def _verb(self, verbs: Any, name: str, text: str) -> ArgumentParser:
        verb: ArgumentParser = verbs.add_parser(name, help=text)
        verb.add_argument("--json", action="store_true", dest="as_json", help="one JSON document on one line")
        return verb

    def handle(self, *_args: Any, **options: Any) -> None:
        verb = options["verb"]
        if verb in VERBS:
            self._change(verb, options)
        else:
            getattr(self, f"_{verb}")(options)

    def _list(self, options: dict[str, Any]) -> None:
        if options["rules"]:
            self._tell_rules(ruleresults.rows(), options)
            return
        traders = Trader.objects.select_related("strategy")
        self._tell(rows(list(traders if options["archived"] else traders.filter(archived_at=None))), options)
        if not options["as_json"]:
            for rule in SeriesRule.objects.exclude(state_reason=""):
                self.stderr.write(f"series rule {rule} makes no live trader: {rule.state_reason}")

    def _show(self, options: dict[str, Any]) -> None:
        trader = find(options["trader"])
        row = rows([trader])[0] | {"created_at": trader.created_at.isoformat(), "folder": str(log_file(trader).parent)}
        if options["as_json"]:
            self._json({"trader": row})
            return
        for name, value in row.items():
            self.stdout.write(f"{name:<14} {'' if value is None else value}")

    def _logs(self, options: dict[str, Any]) -> None:
        lines = tail(log_file(find(options["trader"])), options["lines"])
        if options["as_json"]:
            self._json({"lines": lines})
            return
        for line in lines:
            self.stdout.write(line)

    def _why(self, options: dict[str, Any]) -> None:
        order = Order.objects.filter(Q(client_order_id=options["order"]) | Q(order_id=options["order"])).first()
        if order is None:
            raise RefusedChange(f"There is no order {options['order']}.")
        decision = why_of(order)
        if decision is None:
            raise RefusedChange(f"No decision of ours is on record for order {options['order']}.")
        told = {"at": decision.time.isoformat(), "trader": decision.trader, "reason": decision.reason}
        if options["as_json"]:
            self._json({"why": told | {"figures": decision.figures}})
            return
        for name, value in told.items():
            self.stdout.write(f"{name:<14} {value}")
        for line in decision.figures.get("why", ()):
            figures = ", ".join(f"{name} {value}" for name, value in line.items() if name != "code")
            self.stdout.write(f"{line['code']:<24} {figures}")

    def _unclaimed(self, options: dict[str, Any]) -> None:
        ours, others = unclaimed.listed(Path(settings.KALSHIMM_HOME))
        if options["as_json"]:
            self._json({"unclaimed": list(map(unclaimed_row, ours)), "external": list(map(external_row, others))})
            return
        if not ours:
            self.stdout.write("No order of this installation rests that nobody watches.")
        for order in ours:
            self.stdout.write(UNCLAIMED_LINE(**unclaimed_row(order)))
        if others:
            self.stdout.write("Not placed by this installation, and never touched:")
        for other in others:
            self.stdout.write(EXTERNAL_LINE(**external_row(other)))

    def _create(self, options: dict[str, Any]) -> None:
        name, market, event = options["name"], options["market"], options["event"]
        given: dict[str, Any] = {
            "strategy": strategy_named(options["strategy"]),
            "actor": command_line_actor(),
            "desired": Desired.STOPPED if options["stopped"] else Desired.RUNNING,
            "mode": Mode.LIVE if options["live"] else Mode.DRY_RUN,
            "account": options["account"],
            "subaccount": options["subaccount"],
        }
        if event and not (name or market):
            made = create_for_event(event, **given)
        elif name and market and not event:
            made = [create_trader(name=name, market_ticker=market, **given)]
        else:
            raise BadUsage("A trader has a name and a --market; or say --event alone, for one in each of its markets.")
        self._tell(rows(made), options)

    def _change(self, verb: str, options: dict[str, Any]) -> None:
        if options.get("rule"):
            self._start_rule(options)
            return
        if verb == "start":
            chosen = self._start(options)
        else:
            chosen = choose(options)
            steer(chosen, verb, actor=command_line_actor())
        self._tell(rows(chosen), options)

    def _start_rule(self, options: dict[str, Any]) -> None:
        if not options["live"]:
            raise BadUsage("A rule for dry-run needs no start; --rule goes with --live.")
        rule = rulegrants.start_rule(_only_rule(options), actor=command_line_actor())
        self._tell_rules(_rows_of(rule), options)

    def _start(self, options: dict[str, Any]) -> list[Trader]:
        if options["live"]:
            if not options["traders"]:
                raise BadUsage("Who trades live is named one by one; --event and --all do not go with --live.")
            return grants.start_live(choose(options), actor=command_line_actor())
        chosen = choose(options)
        if not options["traders"]:
            chosen = self._without_barred(chosen)
        return grants.start(chosen, actor=command_line_actor())

    def _without_barred(self, traders: list[Trader]) -> list[Trader]:
        """Leave out whom a start of many does not mean, and say so."""
        chosen, closed = without_closed(traders)
        for trader in closed:
            self.stderr.write(f"skipped {trader.name}: its market {trader.market_ticker} has closed")
        chosen, barred = grants.without_unpermitted(chosen)
        for trader, lacks in barred:
            self.stderr.write(f"skipped {trader.name}: it is live. Missing: {grants.told(lacks)}")
        return chosen

    def _release(self, options: dict[str, Any]) -> None:
        if options["rule"]:
            now_us = SystemClock().wall_us()
            rule = rulegrants.release_rule(_only_rule(options), actor=command_line_actor(), now_us=now_us)
            self._tell_rules(_rows_of(rule), options)
            return
        chosen = choose(options)
        released = release(chosen, actor=command_line_actor())
        if not released:
            raise RefusedChange("None of these traders is latched; see the states in `traders list`.")
        self._tell(rows(released), options)

    def _fair(self, options: dict[str, Any]) -> None:
        chosen = choose(options)
        tell_fair_value(chosen, options["price"], source=options["source"], actor=command_line_actor())
        self._tell(rows(chosen), options)

    def _tell(self, table: list[dict[str, Any]], options: dict[str, Any]) -> None:
        if options["as_json"]:
            self._json({"traders": table})
            return
        line = "{id:>5}  {name:<36} {market:<36} {mode:<8} {desired:<8} {state:<9} {state_reason}".format
        if table:
            heads = dict.fromkeys(table[0], "") | {n: n for n in ("id", "name", "market", "mode", "desired", "state")}
            self.stdout.write(line(**heads).rstrip())
        for row in table:
            self.stdout.write(line(**row).rstrip())

    def _tell_rules(self, table: list[dict[str, Any]], options: dict[str, Any]) -> None:
        if options["as_json"]:
            self._json({"rules": table})
            return
        line = (
            "{rule:<24} {mode:<8} {state:<9} {traders:>7} {running:>7} {archived:>8} {unpaid:>6} {fills:>7} "
            "{realised:>12} {fees:>12}  {state_reason}"
        ).format
        if table:
            names = "rule mode state traders running archived unpaid fills realised fees state_reason"
            heads = {name: name for name in names.split()} | {"state_reason": ""}
            self.stdout.write(line(**heads).rstrip())
        for row in table:
            fees = "unknown" if row["fees_ud"] is None else dollars(row["fees_ud"])
            self.stdout.write(line(**row, realised=dollars(row["realised_ud"], plus=True), fees=fees).rstrip())

    def _json(self, document: dict[str, Any]) -> None:
        self.stdout.write(msgspec.json.encode(document).decode())


def _only_rule(options: dict[str, Any]) -> SeriesRule:
    if options["traders"] or options["event"] or options["everyone"]:
        raise BadUsage("--rule names what is meant; give neither traders nor --event nor --all with it.")
    return rulegrants.rule_of(options["rule"])


def _rows_of(rule: SeriesRule) -> list[dict[str, Any]]:
    return [row for row in ruleresults.rows() if row["rule"] == rule.series_ticker]


def find(word: str) -> Trader:
    """Return the trader with this number or name."""
    traders = Trader.objects.select_related("strategy")
    by_number = traders.filter(pk=int(word)).first() if word.isdecimal() else None
    trader = by_number or traders.filter(name=word).first()
    if trader is None:
        raise RefusedChange(f"There is no trader {word}; see `traders list`.")
    return trader


def choose(options: dict[str, Any]) -> list[Trader]:
    """Return the traders that a command line means, by one of the three ways to say it."""
    words, event, everyone = options["traders"], options["event"], options["everyone"]
    if sum((bool(words), bool(event), everyone)) != 1:
        raise BadUsage("Name traders by ID, or give --event EVENT, or --all: one of the three.")
    if words:
        return [find(word) for word in words]
    traders = Trader.objects.select_related("strategy").filter(archived_at=None)
    if event:
        traders = traders.filter(market_ticker__in=Market.objects.filter(event_id=event).values("ticker"))
    return list(traders)


def rows(traders: list[Trader]) -> list[dict[str, Any]]:
    """Return what the outside sees of each trader; the names are a contract."""
    tickers = [trader.market_ticker for trader in traders]
    events = dict(Market.objects.filter(pk__in=tickers).values_list("ticker", "event_id"))
    return [
        {
            "id": trader.pk,
            "name": trader.name,
            "market": trader.market_ticker,
            "event": events.get(trader.market_ticker),
            "mode": trader.mode,
            "account": account_of(trader),
            "subaccount": trader.subaccount,
            "desired": trader.desired,
            "state": trader.state,
            "state_reason": trader.state_reason,
            "pid": trader.pid,
            "restarts": trader.restarts,
            "strategy": trader.strategy.name,
        }
        for trader in traders
    ]


def unclaimed_row(found: Unclaimed) -> dict[str, Any]:
    """Return what the outside sees of an order that nobody watches; the names are a contract."""
    row = external_row(found.order)
    return row | {"trader": found.named.trader, "epoch": found.named.epoch, "why": WORDS[found.why]}


def external_row(order: Resting) -> dict[str, Any]:
    """Return what the outside sees of an order at rest that this installation has not placed."""
    return {
        "account": order.account,
        "market": order.ticker,
        "order_id": order.order_id,
        "client_order_id": order.client_order_id,
        "side": order.side.book_side,
        "yes_price": format_price(yes_price_cc(order.side, order.price_cc)),
        "count": format_count(order.remaining_cx),
        "since": datetime.fromtimestamp(order.since_us / 1_000_000, UTC).isoformat(),
        "why": whose(order.client_order_id),
    }


def _yes_price(text: str) -> int:
    try:
        price_cc = parse_price(text)
    except ValueError as exc:
        raise ArgumentTypeError(str(exc)) from exc
    if not 0 < price_cc < DOLLAR_CC:
        raise ArgumentTypeError(f"{text!r} is no price that anybody trades at; give one between 0 and 1 dollar")
    return price_cc


def _subaccount(text: str) -> int:
    if not text.isdecimal() or int(text) > SUBACCOUNT_MOST:
        raise ArgumentTypeError(f"{text!r} is no number of a subaccount, 0 to {SUBACCOUNT_MOST}")
    return int(text)


def _line_count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise ArgumentTypeError(f"{text!r} is not a number of lines; give 1 or more")
    return int(text)


def log_file(trader: Trader) -> Path:
    return Path(settings.KALSHIMM_HOME) / "traders" / str(trader.pk) / "log"


def tail(path: Path, lines: int) -> list[str]:
    """Return the last lines (at least one) of a file; none when it is not there."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LOG_TAIL_BYTES))
        return file.read().decode(errors="replace").splitlines()[-lines:]
