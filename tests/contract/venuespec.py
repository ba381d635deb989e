"""Hold every answer of the exchange against the venue's OpenAPI document.

The document is reconstructed, not the vendor's own file (`shared/kalshi/SOURCES.md`): operations, names, types, enums
and required fields are trusted, lists of error statuses and error bodies are not. Errors are held against the venue's
recorded forms instead. Where the document contradicts a recording or a newer page, `EXCEPTIONS` says so.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
import schemathesis
import yaml
from schemathesis.core.failures import Failure, FailureGroup

DOCUMENT = Path(__file__).resolve().parents[3] / "shared" / "kalshi" / "openapi.yaml"

# (method, path of the document, status) → why the document is not followed.
EXCEPTIONS: Mapping[tuple[str, str, int], str] = {}


class Specification:
    """The document, ready to judge answers."""

    def __init__(self, path: Path) -> None:
        document = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)  # five times as fast as safe_load
        close(document["components"]["schemas"])
        self._schema = schemathesis.openapi.from_dict(document)

    def check(self, method: str, path: str, status: int, headers: Mapping[str, str], raw: bytes) -> None:
        """Fail unless an answer is one the document (or, for errors, the recordings) would give.

        Args:
            path: Below /trade-api/v2, without the query.
        """
        assert status < 500, f"{method} {path} answered {status}: {raw!r}"
        if status >= 400:
            assert error_form(raw), f"{method} {path} answered {status} in no form of the venue's: {raw!r}"
            return
        operation = self._schema.find_operation_by_path(method, path)
        assert operation is not None, f"{method} {path} answered {status}, and the document does not know it"
        if (method, operation.path, status) in EXCEPTIONS:
            return
        documented = {key for key, _ in operation.responses.items()}
        assert str(status) in documented, f"{method} {operation.path} answered {status}, documented are {documented}"
        response = schemathesis.Response(
            status_code=status,
            headers={name.lower(): [value] for name, value in headers.items()},
            content=raw,
            request=requests.Request(method, f"http://exchange{path}").prepare(),
            elapsed=0.0,
            verify=False,
        )
        try:
            operation.validate_response(response)
        except (Failure, FailureGroup) as failure:
            reasons = failure.exceptions if isinstance(failure, FailureGroup) else [failure]
            told = "\n".join(str(reason).partition("Validated against")[0] for reason in reasons)
            pytest.fail(f"{method} {path} contradicts the document: {told}", pytrace=False)


def close(node: Any) -> None:
    """Forbid what the document does not name: a misspelt or made-up field must not pass as one field more."""
    if isinstance(node, dict):
        if "properties" in node:
            node.setdefault("additionalProperties", False)
        for child in node.values():
            close(child)
    elif isinstance(node, list):
        for child in node:
            close(child)


def error_form(raw: bytes) -> str:
    """Return which of the venue's error forms a body has: nested, flat, bare, text; "" when none (facts.md 8.1)."""
    try:
        body: Any = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return ""
    match body:
        case {"error": {"code": str(), "message": str(), **rest}} if rest.keys() <= {"details"} and len(body) == 1:
            return "nested"
        case {"code": str(), "message": str(), **rest} if rest.keys() <= {"details"}:
            return "flat"
        case {"msg": str(), **rest} if not rest:
            return "bare"
        case {"error": str(), **rest} if not rest:
            return "text"
    return ""


@functools.cache
def specification() -> Specification | None:
    """Return the document, or None beside a checkout that has none; CI must have it."""
    if DOCUMENT.is_file():
        return Specification(DOCUMENT)
    assert not os.environ.get("CI"), f"the OpenAPI document is missing: {DOCUMENT} is not there"
    return None
