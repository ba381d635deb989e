"""The tables of `feed/kalshi/README.md` are complete and true."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import venuetable
from venuecalls import CALLS, NOT_CALLED
from venuetable import BASE, NOTHING, Row

from feed.exchange.server import LocalExchange
from feed.exchange.stream.channels import CHANNELS, SILENT
from feed.exchange.world import World
from feed.kalshi import channels, events

CONTRACT = Path(__file__).resolve().parents[1]
OURS = {*channels.MARKET_CHANNELS, channels.LIFECYCLE, channels.COMBO_LIFECYCLE, *channels.PRIVATE_CHANNELS}


class Spy:
    """Stands in for `Rest` and remembers which of its methods a call is made of."""

    def __init__(self) -> None:
        self._names: list[str] = []

    def __getattr__(self, name: str) -> Spy:
        self._names.append(name)
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Spy:
        return self

    @property
    def method(self) -> str:
        return ".".join(self._names[:2])


@cache
def existing_tests() -> frozenset[str]:
    found = (ast.walk(ast.parse(path.read_text())) for path in CONTRACT.glob("*/test_*.py"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for nodes in found for node in nodes if isinstance(node, functions))


@cache
def routed() -> frozenset[str]:
    routes = LocalExchange(World(seed=1, now_us=0)).application().router.routes()
    return frozenset(
        f"{route.method} {_nameless(route.resource.canonical.removeprefix(BASE))}" for route in routes if route.resource
    )


def _nameless(path: str) -> str:
    return re.sub(r"{\w+}", "{}", path)


def test_every_operation_has_its_row() -> None:
    names = list(venuetable.endpoints())
    assert len(names) == len([row for row in venuetable.rows() if " " in row.name]), "a row stands twice"
    left_out = [name for name in names if any(name.split(" ")[1].startswith(start) for start in NOT_CALLED)]
    assert set(names) == CALLS.keys() | set(left_out)  # and test_the_document holds both against the document


@pytest.mark.parametrize("row", venuetable.endpoints().values(), ids=lambda row: row.name)
def test_a_row_tells_what_is_called_and_what_is_routed(row: Row) -> None:
    spy = Spy()
    if row.name in CALLS:
        CALLS[row.name](spy)  # type: ignore[arg-type, unused-ignore]
    assert row.client == (spy.method or NOTHING)
    assert row.exchange == ("yes" if _nameless(row.name) in routed() else NOTHING)


@pytest.mark.parametrize("row", venuetable.rows(), ids=lambda row: row.name)
def test_the_tests_of_a_row_exist(row: Row) -> None:
    assert set(row.tests) <= existing_tests()
    assert row.rest, "neither a test nor a reason"
    if NOTHING not in (row.client, row.exchange):
        assert row.tests


def test_every_channel_has_its_row() -> None:
    rows = venuetable.channels()
    assert rows.keys() == CHANNELS
    assert {name for name, row in rows.items() if row.client != NOTHING} == OURS
    assert {name for name, row in rows.items() if row.exchange == "silent"} == SILENT
    told = {name for row in rows.values() for name in re.findall(r"\w+", row.client)}
    assert all(hasattr(events, name) for name in told)
