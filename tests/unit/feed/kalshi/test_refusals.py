from __future__ import annotations

import pytest

from feed.kalshi.errors import InvalidRequest, NotFound, RateLimited, RequestRefused, Unauthorized
from feed.kalshi.refusals import refusal


@pytest.mark.parametrize(
    ("status", "body", "kind", "code", "text"),
    [
        (401, b'{"error":{"code":"authentication_error","message":"authentication_error","details":"NOT_FOUND"}}',
         Unauthorized, "authentication_error", "NOT_FOUND"),
        (400, b'{"code":"bad_request","message":"bad request","details":"x"}', InvalidRequest, "bad_request",
         "bad request"),
        (400, b'{"msg":"Parameter validation failed"}', InvalidRequest, "", "Parameter validation failed"),
        (429, b'{"error":"too many requests"}', RateLimited, "", "too many requests"),
        (404, b"<html>nothing here</html>", NotFound, "", "nothing here"),
        (400, b"[" * 100_000, InvalidRequest, "", "[[["),
    ],
)  # fmt: skip
def test_every_shape_of_error_body_is_understood(
    status: int, body: bytes, kind: type[RequestRefused], code: str, text: str
) -> None:
    error = refusal(status, body)
    assert type(error) is kind
    assert (error.status, error.code) == (status, code)
    assert text in str(error)
