"""Every call of the client asks as the venue's OpenAPI document says, and understands all that it may answer.

The answers are made from the document, with every field it names, so a field that we spell otherwise, or hold for
something else, shows as unknown.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import pytest
import yaml
from bodywalk import bodies_in, unknown_in
from scriptedvenue import BRIEF, ScriptedVenue, answer
from venuecalls import CALLS, NOT_CALLED, TEXT

from feed.kalshi.calls import Pages
from feed.kalshi.rest import Rest
from feed.kalshi.signing import Signer
from kalshimm.runtime.clock import SystemClock

DOCUMENT = Path(__file__).resolve().parents[4] / "shared" / "kalshi" / "openapi.yaml"
BASE = "/trade-api/v2"
# Words that are still sent beside their successors, and what only clearing members have.
OLD_WORDS = {"taker_side", "fcm_subtrader_id"}
NOT_MADE = {"error", "cursor", "next_cursor"}  # another answer, or another page
BY_NAME = {"start": "0.0000", "end": "1.0000", "step": "0.0100", "settlement_floor_dollars": "0.1000"}
BY_SCHEMA = {"FixedPointDollars": "0.5600", "FixedPointCount": "12.00", "PriceLevelDollarsCountFp": ["0.5600", "12.00"]}


class Document:
    """The venue's document, as far as requests and samples need it."""

    def __init__(self, path: Path) -> None:
        self.root = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
        self.operations = {
            f"{method.upper()} {path}": (operation, item.get("parameters", []) + operation.get("parameters", []))
            for path, item in self.root["paths"].items()
            for method, operation in item.items()
            if method != "parameters"
        }

    def resolved(self, node: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Return the name and content of what a node refers to, or itself."""
        if "$ref" not in node:
            return "", node
        _, _, kind, name = node["$ref"].split("/")
        return name, self.root["components"][kind][name]

    def queries(self, name: str) -> dict[str, Mapping[str, Any]]:
        parameters = (self.resolved(each)[1] for each in self.operations[name][1])
        return {each["name"]: each for each in parameters if each["in"] == "query"}

    def body(self, name: str) -> Mapping[str, Any] | None:
        content = self.operations[name][0].get("requestBody", {}).get("content")
        return None if content is None else content["application/json"]["schema"]

    def sample(self, node: Mapping[str, Any], name: str = "") -> Any:
        """Return a value with every field that the document names."""
        schema, node = self.resolved(node)
        if "allOf" in node:
            return self.sample(node["allOf"][0], name)
        if schema in BY_SCHEMA or name in BY_NAME:
            return BY_SCHEMA.get(schema, BY_NAME.get(name))
        if "enum" in node:
            return node["enum"][0]
        match node.get("type", "object"):
            case "object":
                return {k: self.sample(v, k) for k, v in node.get("properties", {}).items() if k not in NOT_MADE}
            case "array":
                return [self.sample(node["items"])]
            case "string":
                return "2026-06-11T06:29:30.164956Z" if node.get("format") == "date-time" else TEXT
            case kind:
                return {"integer": 7, "number": 0.5, "boolean": True}[kind]

    def success(self, name: str) -> tuple[int, Any]:
        status, response = next((int(s), r) for s, r in self.operations[name][0]["responses"].items() if s[0] == "2")
        content = response.get("content")
        return status, None if content is None else self.sample(content["application/json"]["schema"])

    def complaints(self, value: Any, node: Mapping[str, Any], at: str = "") -> Iterator[str]:
        """Yield what is wrong with a body that is sent."""
        _, node = self.resolved(node)
        if "allOf" in node:
            yield from self.complaints(value, node["allOf"][0], at)
            return
        kinds = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool, "number": float}
        if type(value) is not kinds[node.get("type", "object")]:
            yield f"{at}: {value!r} is no {node.get('type')}"
        elif "enum" in node and value not in node["enum"]:
            yield f"{at}: {value!r} is none of {node['enum']}"
        elif isinstance(value, list):
            for each in value:
                yield from self.complaints(each, node["items"], f"{at}[]")
        elif isinstance(value, dict):
            properties = node.get("properties", {})
            yield from (f"{at}.{name} is not documented" for name in value.keys() - properties.keys())
            yield from (f"{at}.{name} is missing" for name in set(node.get("required", [])) - value.keys())
            for name in value.keys() & properties.keys():
                yield from self.complaints(value[name], properties[name], f"{at}.{name}")


@pytest.fixture(scope="module")
def document() -> Document:
    if DOCUMENT.is_file():
        return Document(DOCUMENT)
    assert not os.environ.get("CI"), f"the OpenAPI document is missing: {DOCUMENT} is not there"
    pytest.skip("the OpenAPI document is not there")


def client(environment: Any, signer: Signer) -> Rest:
    return Rest(environment, signer, SystemClock(), connection=BRIEF)


def test_every_operation_is_called_or_left_out_for_a_reason(document: Document) -> None:
    left_out = {
        name for name in document.operations if any(name.split(" ")[1].startswith(start) for start in NOT_CALLED)
    }  # fmt: skip
    assert document.operations.keys() == CALLS.keys() | left_out
    assert not CALLS.keys() & left_out


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_asks_as_the_document_says(document: Document, signer: Signer, name: str) -> None:
    venue = ScriptedVenue(answer("404 Not Found"))
    async with venue.running() as environment, client(environment, signer) as rest:
        with pytest.raises(Exception, match="404"):
            await CALLS[name](rest)
    (seen,) = venue.seen
    method, path = name.split(" ")
    parts = urlsplit(seen.target)
    assert seen.method == method
    assert re.fullmatch(re.sub(r"{\w+}", "[^/]+", path), unquote(parts.path).removeprefix(BASE)), seen.target
    documented, sent = document.queries(name), parse_qs(parts.query, strict_parsing=bool(parts.query))
    assert sent.keys() <= documented.keys()
    assert {each for each, parameter in documented.items() if parameter.get("required")} <= sent.keys()
    for each, values in sent.items():
        schema = document.resolved(documented[each]["schema"])[1]
        assert len(values) == 1 or schema["type"] == "array"
        if schema.get("type") == "integer":
            assert int(values[0]) <= schema.get("maximum", 2**63)
        if "enum" in schema:
            assert values[0] in map(str, schema["enum"])
    schema = document.body(name)
    if schema is None:
        assert seen.body == b""
    else:
        assert list(document.complaints(seen.json(), schema)) == []


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_understands_every_field_of_its_answer(document: Document, signer: Signer, name: str) -> None:
    status, sample = document.success(name)
    venue = ScriptedVenue(answer(f"{status} Fine", sample))
    async with venue.running() as environment, client(environment, signer) as rest:
        found = await CALLS[name](rest)
    assert not isinstance(found, Pages)
    assert unknown_in(found) <= OLD_WORDS
    assert not getattr(found, "unreadable", ())
    if isinstance(sample, dict) and sample and found is not None:
        assert list(bodies_in(found)) or isinstance(found, int | str | dict)


def test_a_misspelt_field_would_show(document: Document) -> None:
    _, sample = document.success("GET /portfolio/fills")
    fill = sample["fills"][0]
    assert {"count_fp": "12.00", "yes_price_dollars": "0.5600", "outcome_side": "yes"}.items() <= fill.items()
    schema = document.body("POST /portfolio/events/orders")
    assert schema is not None
    order = msgspec.json.decode(b'{"tickr":"K","count":1}')
    assert set(document.complaints(order, schema)) >= {".tickr is not documented", ".ticker is missing"}
