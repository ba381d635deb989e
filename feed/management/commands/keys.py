"""`manage.py keys VERB`"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils import timezone

from feed.kalshi.attestation import Urgency, urgency
from feed.kalshi.clock import WARN_US
from feed.kalshi.errors import BadKey
from feed.kalshi.wire.kinds import Secret, moment
from feed.keycheck import Standing
from feed.keyring import add_key, check_key, rotate_key
from feed.keys import ENVIRONMENTS, KeyEntry, Vault
from feed.models import ExchangeKey
from kalshimm.runtime.actor import command_line_actor
from markets.models.catalog import microseconds

WORDS = {True: "yes", False: "no", None: "?"}
LINE = "{name:<20} {account:<10} {environment:<6} {key_id:<36} {read:<5} {trade:<5} {tested_at:<20} {problem}".format
HEADS = ("name", "account", "environment", "key_id", "read", "trade", "tested_at", "problem")


class Command(BaseCommand):
    help = "Keep the exchange keys of this installation: encrypted, tested, replaced."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        self._verb(verbs, "list", "every key, what it may do, and what is wrong with it")
        add = self._verb(verbs, "add", "encrypt a key into the vault")
        add.add_argument("name", help="what it shall be called here")
        add.add_argument("--environment", required=True, choices=ENVIRONMENTS, help="whose key it is")
        add.add_argument("--account", help="default: named as the environment")
        test = self._verb(verbs, "test", "ask the venue what a key may do")
        rotate = self._verb(verbs, "rotate", "put another key in its place, once the venue has answered to it")
        for verb in (test, rotate):
            verb.add_argument("name")
        for verb in (add, rotate):
            verb.add_argument("--key-id", required=True, help="the venue's id of it")
            verb.add_argument("--pem", required=True, metavar="PATH|-", help="the private key; - reads standard input")

    def _verb(self, verbs: Any, name: str, text: str) -> ArgumentParser:
        verb: ArgumentParser = verbs.add_parser(name, help=text)
        verb.add_argument("--json", action="store_true", dest="as_json", help="one JSON document on one line")
        return verb

    def handle(self, *_args: Any, **options: Any) -> None:
        self._vault = Vault(settings.KALSHIMM_HOME)
        getattr(self, f"_{options['verb']}")(options)

    def _list(self, options: dict[str, Any]) -> None:
        table = rows(self._vault)
        if options["as_json"]:
            self._json({"keys": table})
            return
        if table:
            self.stdout.write(LINE(**{name: name for name in HEADS}).rstrip())
        for row in table:
            shown = row | {"read": WORDS[row["can_read"]], "trade": WORDS[row["can_trade"]]}
            shown["tested_at"] = (row["tested_at"] or "never")[:19]
            self.stdout.write(LINE(**shown).rstrip())

    def _add(self, options: dict[str, Any]) -> None:
        name = options["name"]
        add_key(
            settings.KALSHIMM_HOME,
            name=name,
            account=options["account"] or options["environment"],
            environment=options["environment"],
            key_id=options["key_id"],
            pem=read_pem(options["pem"]),
            actor=command_line_actor(),
        )
        self._say_where_things_lie(options["pem"])
        self._tell(name, f"Key {name} is in the vault. What it may do is not known before `keys test {name}`.", options)

    def _test(self, options: dict[str, Any]) -> None:
        _, standing = check_key(settings.KALSHIMM_HOME, options["name"], actor=command_line_actor())
        self._tell_standing(options["name"], standing, options)

    def _rotate(self, options: dict[str, Any]) -> None:
        name = options["name"]
        _, standing = rotate_key(
            settings.KALSHIMM_HOME,
            name,
            key_id=options["key_id"],
            pem=read_pem(options["pem"]),
            actor=command_line_actor(),
        )
        self._say_where_things_lie(options["pem"])
        self.stderr.write("What runs keeps the old key until it is started anew; delete it at the venue after that.")
        self._tell_standing(name, standing, options)

    def _say_where_things_lie(self, pem: str) -> None:
        beside = self._vault.master_lies_beside()
        if beside is not None:
            self.stderr.write(
                f"The master key {beside} lies beside the keys that it opens: whoever copies this folder has both. "
                "Move it elsewhere and set KALSHIMM_MASTER_KEY_FILE, or hand it over as a systemd credential."
            )
        if pem != "-":
            self.stderr.write(f"{pem} still holds the key in clear text; remove it when it is kept elsewhere.")

    def _tell_standing(self, name: str, standing: Standing, options: dict[str, Any]) -> None:
        ahead_us = standing.clock_ahead_us
        if ahead_us is not None and abs(ahead_us) >= WARN_US:
            self.stderr.write(f"The venue's clock is {ahead_us / 1_000_000:+.1f} s ahead of ours; set this machine's.")
        if urgency(standing.attested_until_us, microseconds(timezone.now())) is not Urgency.NONE:
            assert standing.attested_until_us is not None
            self.stderr.write(
                f"The account's region attestation ends {moment(standing.attested_until_us):%Y-%m-%d}: from then on "
                "no key of it trades sports, elections or entertainment."
            )
        entry = self._vault.find(name)
        can = " and ".join([word for word, may in (("read", entry.may_read), ("trade", entry.may_trade)) if may])
        listed = "the venue lists" if standing.is_listed else "tried out, for the venue does not list them"
        words = f"Key {name} may {can or 'neither read nor trade'}. Scopes, {listed}: {', '.join(standing.scopes)}."
        self._tell(name, words, options)

    def _tell(self, name: str, words: str, options: dict[str, Any]) -> None:
        if options["as_json"]:
            self._json({"key": next(row for row in rows(self._vault) if row["name"] == name)})
        else:
            self.stdout.write(words)

    def _json(self, document: dict[str, Any]) -> None:
        self.stdout.write(msgspec.json.encode(document).decode())


def read_pem(path: str) -> Secret:
    """Return the text of a private key, from a file or from standard input.

    Raises:
        BadKey: It cannot be read.
    """
    try:
        raw = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as exc:
        raise BadKey(f"The private key {path} cannot be read ({exc.strerror}).") from exc
    return Secret(raw.decode("latin-1"))  # whatever it holds: an error would quote it


def rows(vault: Vault) -> list[dict[str, Any]]:
    """Return what the outside sees of each key, by name; the names are a contract."""
    entries = {entry.name: entry for entry in vault.entries()}
    stored = {row.name: row for row in ExchangeKey.objects.all()}
    return [_row(vault, entries.get(name), stored.get(name)) for name in sorted({*entries, *stored})]


def _row(vault: Vault, entry: KeyEntry | None, stored: ExchangeKey | None) -> dict[str, Any]:
    known = entry or stored
    assert known is not None
    tested_at = stored.tested_at if stored else None
    return {
        "name": known.name,
        "account": known.account,
        "environment": known.environment,
        "key_id": known.key_id,
        "fingerprint": known.fingerprint,
        "scopes": list(known.scopes),
        "can_read": entry.may_read if entry else None,
        "can_trade": entry.may_trade if entry else None,
        "tested_at": tested_at.isoformat() if tested_at else None,
        "problem": _problem(vault, entry, stored),
    }


def _problem(vault: Vault, entry: KeyEntry | None, stored: ExchangeKey | None) -> str:
    """Return what is wrong with a key as far as it shows without opening it."""
    if entry is None:
        return "not in this vault: add it again"
    if not vault.is_there(entry):
        return "its file is missing: put it back, or rotate it"
    if stored is None or stored.fingerprint != entry.fingerprint:
        return "the database does not know it: test it"
    return ""
