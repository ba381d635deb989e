"""The control port reads what it is told or refuses it by the name of the field; nothing it takes breaks a read."""

from __future__ import annotations

from typing import Any

import pytest
from exchangeclient import Venue

A = "/markets/KXTEST-26NOV22-A"
AT = "2026-11-22T09:00:00Z"
SERIES = {"series_ticker": "KXTEST", "fee_type": "quadratic", "fee_multiplier": 1, "scheduled_ts": AT}
PROGRAM = {
    "market_ticker": "KXTEST-26NOV22-A",
    "start_date": AT,
    "end_date": "2026-11-22T10:00:00Z",
    "period_reward": 1,
}
FAR_S = 99_999_999_999_999


@pytest.mark.parametrize(
    ("method", "path", "body", "named"),
    [
        ("POST", "/accounts/keys", "no object", "object"),
        ("POST", "/accounts/keys", {"public_key": 5}, "public_key"),
        ("POST", "/accounts/keys", {"public_key": "PEM", "scope": "read"}, "scope"),
        ("PUT", "/accounts/owner/standing", {"tier": ["basic"]}, "tier"),
        ("PUT", "/accounts/owner/standing", {"tier": "golden"}, "tier"),
        ("PUT", "/accounts/owner/standing", {"region_expires_s": FAR_S}, "region_expires_s"),
        ("POST", "/clients/close", {"code": 1005}, "code"),
        ("POST", "/clients/silence", {"code": 1001}, "code"),
        ("POST", "/maintenance", {"start_ts": FAR_S, "end_ts": FAR_S + 1}, "start_ts"),
        ("POST", f"{A}/move_close", {"close_ts": FAR_S}, "close_ts"),
        ("POST", f"{A}/move_close", {"close_ts": -1}, "close_ts"),
        ("POST", f"{A}/metadata", {"strike": {"ticker": "X"}}, "ticker"),
        ("POST", f"{A}/metadata", {"strike": {"floor_strike": {"a": 1}}}, "floor_strike"),
        ("POST", "/programs", PROGRAM | {"end_date": "9999-12-31T00:00:00Z"}, "end_date"),
        ("POST", "/programs", PROGRAM | {"paid_after_s": FAR_S}, "paid_after_s"),
        ("POST", "/fees/series", SERIES | {"fee_multiplier": "Infinity"}, "fee_multiplier"),
        ("POST", "/fees/series", SERIES | {"fee_multiplier": "NaN"}, "fee_multiplier"),
        ("POST", "/fees/series", SERIES | {"fee_multiplier": -1}, "fee_multiplier"),
        ("POST", "/fees/series", SERIES | {"fee_multiplier": 1e30}, "fee_multiplier"),
        ("GET", "/ledger/lines?after=²", None, "after"),
        ("GET", "/ledger/lines?kind=tea", None, "kind"),
        ("GET", "/faults/applied?after=-1", None, "after"),
    ],
)
async def test_what_cannot_be_done_is_refused_by_name(
    venue: Venue, method: str, path: str, body: Any, named: str
) -> None:
    reply = await venue.control(method, path, json=body)
    assert reply.status == 400
    assert named in reply.body["problem"]
    assert (await venue.control("GET", "/faults/applied")).body["applied"] == []
    assert (await venue.control("GET", "/state")).status == 200
    assert len((await venue.get("/markets"))["markets"]) == 2


async def test_what_is_no_json_is_refused(venue: Venue) -> None:
    for method, path in (("POST", "/accounts/keys"), ("PUT", "/accounts/owner/standing"), ("POST", "/pauses")):
        reply = await venue.control(method, path, data=b"\xff{")
        assert (reply.status, "malformed" in reply.body["problem"]) == (400, True)


async def test_a_standing_changes_by_what_is_named_alone(venue: Venue) -> None:
    path = "/accounts/owner/standing"
    first = await venue.control("PUT", path, json={"tier": "basic", "region_expires_s": 1_800_000_000})
    assert first.body == {"tier": "basic", "region_expires_s": 1_800_000_000}
    assert (await venue.control("PUT", path, json={"tier": "expert"})).body["region_expires_s"] == 1_800_000_000
    assert (await venue.control("PUT", path, json={"region_expires_s": None})).body == {
        "tier": "expert", "region_expires_s": None,
    }  # fmt: skip


async def test_a_strike_is_replaced_field_by_field(venue: Venue) -> None:
    for strike in ({"floor_strike": 41}, {"cap_strike": 42.5}):
        assert (await venue.control("POST", f"{A}/metadata", json={"strike": strike})).status == 200
    market = (await venue.get(A))["market"]
    assert (market["floor_strike"], market["cap_strike"]) == (41, 42.5)
