"""No request brings the exchange down: schemathesis makes them up from the venue's document, valid and not.

Every answer is held against the document or, for errors, against the venue's recorded forms; none may be a 5xx.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import hypothesis
import pytest
import requests
import schemathesis
from exchangeclient import API, ORDERS, Signer, read_signer
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st
from schemathesis import GenerationMode
from venuespec import DOCUMENT, Specification, specification

from feed.exchange.access import rule_of
from feed.exchange.flow.scenarios import SCENARIOS, populate
from feed.exchange.server import LocalExchange, Ready, serve
from feed.exchange.world import World
from kalshimm.runtime.clock import SystemClock

START_WITHIN_S = 30.0
CALL_WITHIN_S = 30.0
URL_MAX = 8_000

# Bounded and the same each time in the suite; many and different in the long run.
FEW = hypothesis.settings(
    max_examples=4, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck), deadline=None,
)  # fmt: skip
MANY = hypothesis.settings(FEW, max_examples=40, derandomize=False)


@functools.cache
def openapi() -> Any:
    return schemathesis.openapi.from_path(DOCUMENT)


def served() -> list[tuple[str, str]]:
    """Return method and document path of every operation that the exchange serves and the document knows."""
    if not DOCUMENT.is_file():
        return []
    operations = [result.ok() for result in openapi().get_all_operations()]
    known = {(op.method.upper(), rule_of(op.method.upper(), op.path).path): op.path for op in operations}
    routes = LocalExchange(World(seed=1, now_us=0)).application().router.routes()
    ours = {
        (r.method, rule_of(r.method, r.resource.canonical.removeprefix(API)).path)
        for r in routes
        if r.resource is not None
    }
    return sorted((method, known[method, path]) for method, path in ours if (method, path) in known)


def has_more_than_a_path(method: str, path: str) -> bool:
    """Return whether an operation can be asked wrongly at all: any text is a path."""
    operation = openapi()[path][method]
    return bool(list(operation.query) or operation.body)


OPERATIONS = served()
BREAKABLE = [operation for operation in OPERATIONS if has_more_than_a_path(*operation)]
WRITES = [(method, path) for method, path in OPERATIONS if method in ("POST", "PUT", "DELETE")]


class Running:
    """An exchange in a thread of its own, and a signing client that blocks."""

    def __init__(self, key_dir: Path) -> None:
        clock = SystemClock()
        world = World(seed=3, now_us=clock.wall_us())
        populate(world, SCENARIOS["brisk"])
        self.world = world
        self._exchange = LocalExchange(world, clock=clock, tier="prestige")
        self._key_dir = key_dir
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(START_WITHIN_S)
        self.session = requests.Session()
        self.session.auth = self._sign
        self._signer: Signer = read_signer(self.address.key_id, Path(self.address.private_key_path).read_bytes())

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await serve(self._exchange, self._stop, port=0, key_dir=self._key_dir, announce=self._announced)

    def _announced(self, ready: Ready) -> None:
        self.address = ready
        self._ready.set()

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        stamp_ms = SystemClock().wall_us() // 1_000
        request.headers.update(self._signer.headers(str(request.method), request.path_url.partition("?")[0], stamp_ms))
        return request

    def rest_order(self) -> str:
        """Put an order of ours into the first open market and return its id."""
        ticker = self.tickers[0]
        body = {
            "ticker": ticker, "side": "bid", "price": "0.0100", "count": "1.00",
            "time_in_force": "good_till_canceled", "self_trade_prevention_type": "taker_at_cross",
        }  # fmt: skip
        reply = self.session.post(self.address.rest + ORDERS, json=body, timeout=CALL_WITHIN_S)
        assert reply.status_code == 201, reply.text
        return str(reply.json()["order_id"])

    @property
    def tickers(self) -> list[str]:
        body = self.session.get(f"{self.address.rest}/markets?status=open&limit=20", timeout=CALL_WITHIN_S).json()
        return [market["ticker"] for market in body["markets"]]

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(START_WITHIN_S)
        self.session.close()


@pytest.fixture(scope="module")
def running(key_dir: Path) -> Iterator[Running]:
    exchange = Running(key_dir)
    yield exchange
    exchange.close()


@pytest.fixture(scope="module")
def names(running: Running) -> dict[str, list[str]]:
    """Real names for the document's path and query parameters, beside those that are made up."""
    tickers = running.tickers
    events = [running.world.markets[ticker].terms.event_ticker for ticker in tickers]
    series = [running.world.events[event].series_ticker for event in events]
    return {
        "ticker": tickers,
        "tickers": tickers,
        "market_ticker": tickers,
        "market_tickers": tickers,
        "event_ticker": events,
        "series_ticker": series,
        "order_id": [running.rest_order()],
    }


def fuzz(
    running: Running, names: dict[str, list[str]], operation: tuple[str, str], mode: GenerationMode, many: bool
) -> None:
    """Call one operation again and again, and judge every answer."""
    document = specification()
    assert document is not None
    found = openapi()[operation[1]][operation[0]]

    @(MANY if many else FEW)
    @given(case=found.as_strategy(generation_mode=mode), data=st.data())
    def call(case: schemathesis.Case, data: st.DataObject) -> None:
        for values in (case.path_parameters, case.query):
            for name in names.keys() & (values or {}).keys():
                if data.draw(st.booleans(), label=f"a real {name}"):
                    values[name] = data.draw(st.sampled_from(names[name]), label=name)
        # aiohttp reads no longer request line; what it says of one is not the exchange's answer.
        hypothesis.assume(
            len(case.as_transport_kwargs()["url"]) + len(urlencode(case.query or {}, doseq=True)) < URL_MAX
        )
        reply = case.call(base_url=running.address.rest, session=running.session, timeout=CALL_WITHIN_S)
        judge(document, case.method, reply)

    call()


def judge(document: Specification, method: str, reply: Any) -> None:
    path = reply.request.path_url.partition("?")[0].removeprefix(API)
    headers = {name: value[0] if isinstance(value, list) else value for name, value in reply.headers.items()}
    document.check(method.upper(), path, reply.status_code, headers, reply.content)


CASES = [pytest.param(op, GenerationMode.POSITIVE, id=f"{' '.join(op)} valid") for op in OPERATIONS] + [
    pytest.param(op, GenerationMode.NEGATIVE, id=f"{' '.join(op)} invalid") for op in BREAKABLE
]


@pytest.mark.parametrize(("operation", "mode"), CASES)
def test_no_request_of_the_document_brings_the_exchange_down(
    running: Running, names: dict[str, list[str]], operation: tuple[str, str], mode: GenerationMode
) -> None:
    fuzz(running, names, operation, mode, many=False)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("operation", "mode"), CASES)
def test_no_request_of_the_document_brings_the_exchange_down_in_many_tries(
    running: Running, names: dict[str, list[str]], operation: tuple[str, str], mode: GenerationMode
) -> None:
    fuzz(running, names, operation, mode, many=True)


BODIES = [
    b"", b"{", b"null", b"[]", b"7", b'"x"', b"{}", b"\xff\xfe", b'{"orders":7}', b'{"orders":[7,null,[]]}',
    b'{"count":1e400}', b"[" * 100_000, b'{"a":' + b"9" * 10_000 + b"}", b"x" * 2_000_000,
]  # fmt: skip
KINDS = ["application/json", "text/plain", "application/json; charset=utf-16", "multipart/form-data", "%%%"]


@pytest.mark.parametrize("operation", WRITES, ids=" ".join)
def test_no_body_brings_the_exchange_down(
    running: Running, names: dict[str, list[str]], operation: tuple[str, str]
) -> None:
    document = specification()
    assert document is not None
    method, path = operation
    for name, values in names.items():
        path = path.replace(f"{{{name}}}", values[0])
    path = path.replace("{", "").replace("}", "")
    for body in BODIES:
        for kind in KINDS if body == b"{}" else KINDS[:1]:
            reply = running.session.request(
                method, running.address.rest + path, data=body, headers={"Content-Type": kind}, timeout=CALL_WITHIN_S
            )
            judge(document, method, reply)


HOSTILE = [
    "9" * 30,
    "-" + "9" * 30,
    "9" * 5_000,
    "1e9",
    "NaN",
    "é",
    "٣",
    "\x00",
    " ",
    "%",
    "true",
    "-1",
    "0",
    "a" * 5_000,
]


@pytest.mark.parametrize("operation", [op for op in OPERATIONS if op[0] == "GET"], ids=" ".join)
def test_no_query_brings_the_exchange_down(
    running: Running, names: dict[str, list[str]], operation: tuple[str, str]
) -> None:
    document = specification()
    assert document is not None
    method, path = operation
    known = {p.name for p in openapi()[path][method].query}
    for name, values in names.items():
        path = path.replace(f"{{{name}}}", values[0])
    path = path.replace("{", "").replace("}", "")
    for name in known | {"limit", "cursor"}:
        for value in HOSTILE:
            address = f"{running.address.rest}{path}?{name}={quote(value)}"
            judge(document, method, running.session.get(address, timeout=CALL_WITHIN_S))
