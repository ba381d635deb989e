"""The judge itself: what the venue's document would not give must not pass."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from venuespec import Specification, error_form, specification

JSON = {"Content-Type": "application/json"}
BALANCE = {
    "balance": 1, "balance_dollars": "0.010000", "portfolio_value": 0, "updated_ts": 1_795_337_400,
    "balance_breakdown": [{"exchange_index": 0, "balance": "0.010000"}],
}  # fmt: skip


@pytest.fixture
def document() -> Specification:
    found = specification()
    if found is None:
        pytest.skip("the OpenAPI document is not there")
    return found


def check(document: Specification, body: Any, *, path: str = "/portfolio/balance", status: int = 200) -> None:
    document.check("GET", path, status, JSON, msgspec.json.encode(body))


def test_an_answer_by_the_document_passes(document: Specification) -> None:
    check(document, BALANCE)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"balance": None}, "not of type"),
        ({"balance": "1"}, "not of type"),
        ({"balanced": 1}, "unexpected"),
        ({"balance_breakdown": [{"exchange_index": 0}]}, "required"),
    ],
)
def test_a_wrong_type_a_missing_and_a_made_up_field_fail(
    document: Specification, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(pytest.fail.Exception, match=complaint):
        check(document, BALANCE | changes)


def test_a_status_and_a_path_the_document_does_not_have_fail(document: Specification) -> None:
    with pytest.raises(AssertionError, match="documented are"):
        check(document, BALANCE, status=202)
    with pytest.raises(AssertionError, match="does not know"):
        check(document, BALANCE, path="/portfolio/treasure")
    with pytest.raises(AssertionError, match="answered 500"):
        check(document, {"error": "oops"}, status=500)


@pytest.mark.parametrize(
    ("body", "form"),
    [
        (b'{"error":{"code":"not_found","message":"not found"}}', "nested"),
        (b'{"error":{"code":"x","message":"y","details":"z"}}', "nested"),
        (b'{"code":"bad_request","message":"bad request","details":"d"}', "flat"),
        (b'{"msg":"Parameter validation failed"}', "bare"),
        (b'{"error":"too many requests"}', "text"),
        (b'{"error":{"code":"not_found"}}', ""),
        (b'{"error":{"code":"x","message":"y","service":"exchange"}}', ""),
        (b"404: Not Found", ""),
        (b"", ""),
    ],
)
def test_errors_are_told_by_their_four_forms(body: bytes, form: str) -> None:
    assert error_form(body) == form
