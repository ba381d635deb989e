"""`manage.py accounts VERB`"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

import msgspec
from django.core.management.base import BaseCommand

from markets.formatting import contracts, dollars, price
from traders.accountlist import Row, account_row, account_rows
from traders.accounts import chosen_account

LINE = "{name:<16} {environment:<6} {state:<9} {orders:<22} {used:<24} {keys}".format
HEADS = ("name", "environment", "state", "orders", "used", "keys")


class Command(BaseCommand):
    help = "Show the accounts of this environment: keys, state, cash, orders and positions, ours and others'."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        self._verb(verbs, "list", "every account with its state and its use")
        show = self._verb(verbs, "show", "one account with its cash, positions and open orders")
        show.add_argument("account", nargs="?", default="", help="its name; the only one may be left out")

    def _verb(self, verbs: Any, name: str, text: str) -> ArgumentParser:
        verb: ArgumentParser = verbs.add_parser(name, help=text)
        verb.add_argument("--json", action="store_true", dest="as_json", help="one JSON document on one line")
        return verb

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["verb"] == "list":
            self._list(options)
        else:
            self._show(account_row(chosen_account(options["account"])), options)

    def _list(self, options: dict[str, Any]) -> None:
        rows = account_rows()
        if options["as_json"]:
            self._json({"accounts": rows})
            return
        for line in (LINE(**{name: name for name in HEADS}), *map(_line, rows)):
            self.stdout.write(line.rstrip())

    def _show(self, row: Row, options: dict[str, Any]) -> None:
        if options["as_json"]:
            self._json({"account": row})
            return
        for line in (LINE(**{name: name for name in HEADS}), _line(row), "traders " + ", ".join(row["traders"])):
            self.stdout.write(line.rstrip())
        for one in row["balances"]:
            where = f"subaccount {one['subaccount']} shard {one['exchange_index']}"
            self.stdout.write(f"cash      {where:<28} {dollars(one['balance_ud'])}")
        for one in row["positions"]:
            of_it = f"ours {contracts(one['ours_cx'])}, external {contracts(one['external_cx'])}"
            external = f" cost {_known(one['external_cost_ud'])}" if one["external_cx"] else ""
            doubt = "" if one["is_agreed"] else "  (disputed: a poll is on its way)"
            where = f"{one['market']} subaccount {one['subaccount']}"
            total = f"{contracts(one['position_cx'])} cost {_known(one['cost_ud'])}"
            self.stdout.write(f"position  {where:<28} {total}; {of_it}{external}{doubt}")
        for one in row["orders"]:
            whose = "external" if one["is_external"] else f"ours, trader {one['trader'] or '?'}"
            where = f"{one['market']} subaccount {one['subaccount']}"
            what = f"{one['side']} {contracts(one['remaining_cx'])} at {price(one['price_cc'])}"
            self.stdout.write(f"order     {where:<28} {what}; {whose}")

    def _json(self, document: dict[str, Any]) -> None:
        self.stdout.write(msgspec.json.encode(document).decode())


def _line(row: Row) -> str:
    most = "no allotment" if row["allotted_ud"] is None else f"of {dollars(row['allotted_ud'])}"
    keys = [f"{one['name']} ({', '.join(one['scopes']) or 'scopes not known'})" for one in row["keys"]]
    return LINE(
        name=row["name"],
        environment=row["environment"],
        state=row["state"] or "unknown",
        orders=f"{row['orders_ours']} ours, {row['orders_external']} external",
        used=f"{dollars(row['reserved_ud'])} {most}",
        keys="; ".join(keys) or "none",
    )


def _known(cost_ud: int | None) -> str:
    return "unknown" if cost_ud is None else dollars(cost_ud)
