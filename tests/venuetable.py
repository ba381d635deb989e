"""The tables of `feed/kalshi/README.md`, and a fixture that holds the tests they name to what they ask of the exchange.

A test named in a row must ask the local exchange for that row's endpoint, or subscribe to its channel; otherwise it
fails, whatever else it shows. The fixture works where the exchange runs in the test's own process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from feed.exchange.ledger import Ledger
from feed.exchange.stream.commands import Commander

README = Path(__file__).resolve().parent.parent / "feed" / "kalshi" / "README.md"
BASE = "/trade-api/v2"
NOTHING = "–"


class Row(NamedTuple):
    """One endpoint (`GET /markets`) or channel (`trade`).

    Args:
        client: The method of `Rest`, or what the session makes of a channel; `–` when it has none.
        exchange: `yes`, or what is there instead.
        rest: Names of the tests that ask for it; of what has no client, the reason.
    """

    name: str
    client: str
    exchange: str
    rest: str

    @property
    def tests(self) -> list[str]:
        return re.findall(r"`(test_\w+)`", self.rest)


@cache
def rows() -> Sequence[Row]:
    """Return every row of every table."""
    lines = README.read_text().partition("## Endpoints")[2].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    return [Row(name.strip("`"), client.strip("`"), exchange, rest) for name, client, exchange, rest in cells]


def endpoints() -> dict[str, Row]:
    return {row.name: row for row in rows() if " " in row.name}


def channels() -> dict[str, Row]:
    return {row.name: row for row in rows() if " " not in row.name}


def endpoint_of(method: str, target: str) -> str | None:
    """Return the row of a request: of several that fit, the one with the fewest free segments."""
    path = target.partition("?")[0].removeprefix(BASE)
    fitting = [name for name in endpoints() if re.fullmatch(re.sub(r"{\w+}", "[^/]+", name), f"{method} {path}")]
    return min(fitting, key=lambda name: name.count("{"), default=None)


@pytest.fixture(autouse=True)
def asks_what_the_table_says(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test that a row names and that never asks for what the row is about."""
    name = request.node.originalname
    claimed = {row.name for row in rows() if name in row.tests}
    if not claimed:
        yield
        return
    asked: set[str | None] = set()
    note, subscribe = Ledger.request, Commander._subscribe_channel

    def noted(self: Ledger, **line: Any) -> None:
        asked.add(endpoint_of(line["method"], line["path"]))
        note(self, **line)

    def subscribed(self: Commander, session: Any, channel: Any, *rest: Any) -> Any:
        asked.add(channel)
        return subscribe(self, session, channel, *rest)

    monkeypatch.setattr(Ledger, "request", noted)
    monkeypatch.setattr(Commander, "_subscribe_channel", subscribed)
    yield
    assert claimed <= asked, f"{README.name} says that {name} covers {sorted(claimed - asked)}"
