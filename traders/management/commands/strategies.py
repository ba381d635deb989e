from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

import msgspec
from django.core.management.base import BaseCommand

from traders.core.guards import Guards
from traders.core.limits import Limits
from traders.core.pipeline import Tolerances
from traders.core.registry import BROKEN, STRATEGIES, Parameter, parameters

OTHERS = (
    ("guards", "When any strategy does not quote.", Guards),
    ("tolerances", "What may differ from what is wanted, for the sake of a place in the queue.", Tolerances),
    ("limits", "What a trader may do at most.", Limits),
)


class Listed(msgspec.Struct, frozen=True):
    kind: str
    name: str
    idea: str
    params: tuple[Parameter, ...]


class Command(BaseCommand):
    help = "List every strategy, ours and those of plug-ins, with its parameters, their defaults and bounds."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", dest="as_json", help="one JSON document on one line")

    def handle(self, *_args: Any, **options: Any) -> None:
        told = listed()
        if options["as_json"]:
            self.stdout.write(msgspec.json.encode({"strategies": told, "broken": BROKEN}).decode())
            return
        for one in told:
            self.stdout.write(f"{' '.join(filter(None, (one.kind, one.name)))}: {one.idea}")
            for param in one.params:
                bounds = "" if param.least is None and param.most is None else f"  ({param.least} to {param.most})"
                self.stdout.write(f"    {param.name} {param.default}{bounds}")


def listed() -> list[Listed]:
    """Return every strategy by kind and name, and then what all of them share."""
    known = [one for kind in STRATEGIES.values() for one in sorted(kind.values(), key=lambda one: one.name)]
    strategies = [Listed(one.kind, one.name, one.idea, parameters(one.params)) for one in known]
    return strategies + [Listed(kind, "", idea, parameters(params)) for kind, idea, params in OTHERS]
