"""Every error that was recorded on the venue's demo in June 2026 comes out of the local exchange the same.

Two differences are known: `service` left the bodies on 2026-08-06, and the V1 order writes, which still worked then,
answer 410 since (changelog).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from exchangeclient import API, ORDERS, Reply, Venue

FOLDER = Path(__file__).resolve().parents[4] / "shared/data/recorded/rest/fortuna_demo_2026-06"


class Case(msgspec.Struct, frozen=True):
    """One recorded exchange of request and answer."""

    name: str
    method: str
    path: str
    request: dict[str, Any] | None
    status: int
    body: Any


def read_case(meta: Path) -> Case:
    told = msgspec.json.decode(meta.read_bytes())
    body = meta.with_name(meta.name.replace(".meta.json", ".json"))
    return Case(
        name=meta.name.removesuffix(".meta.json"),
        method=told["method"],
        path=told["path"].removeprefix(API),
        request=told.get("request_body"),
        status=told.get("status", 0),
        body=msgspec.json.decode(body.read_bytes()) if body.exists() else None,
    )


CASES = [read_case(meta) for meta in sorted(FOLDER.glob("*.meta.json"))]
ERRORS = [case for case in CASES if case.status >= 400]
RETIRED = [case for case in CASES if "legacy" in case.name]


async def as_recorded(venue: Venue, case: Case) -> Reply:
    return await venue.call(case.method, case.path, json=case.request)


def skewed(offset_ms: int) -> Callable[[Venue, Case], Awaitable[Reply]]:
    async def play(venue: Venue, case: Case) -> Reply:
        headers = venue.headers(case.method, API + case.path, offset_ms=offset_ms)
        return await venue.call(case.method, case.path, headers=headers)

    return play


async def signed_for_another_path(venue: Venue, case: Case) -> Reply:
    return await venue.call(case.method, case.path, headers=venue.headers(case.method, API + "/portfolio/fills"))


async def with_a_key_of_zeros(venue: Venue, case: Case) -> Reply:
    headers = venue.headers(case.method, API + case.path)
    headers["KALSHI-ACCESS-KEY"] = "00000000-0000-0000-0000-000000000000"
    return await venue.call(case.method, case.path, headers=headers)


async def created(venue: Venue, case: Case, **changes: Any) -> str:
    """Create the order of the duplicate case and return its id."""
    body = next(c.request for c in CASES if c.name == "orders__duplicate_client_order_id") or {}
    reply = await venue.call("POST", ORDERS, json=body | changes)
    assert reply.status == 201, reply
    return str(reply.body["order_id"])


async def twice(venue: Venue, case: Case) -> Reply:
    await created(venue, case)
    return await as_recorded(venue, case)


async def again_after_a_cancel(venue: Venue, case: Case) -> Reply:
    order_id = await created(venue, case)
    assert (await venue.call("DELETE", f"{ORDERS}/{order_id}")).status == 200
    return await as_recorded(venue, case)


async def cancelled_twice(venue: Venue, case: Case) -> Reply:
    order_id = await created(venue, case)
    assert (await venue.call("DELETE", f"{ORDERS}/{order_id}")).status == 200
    return await venue.call("DELETE", f"{ORDERS}/{order_id}")


async def cancelled_after_its_fill(venue: Venue, case: Case) -> Reply:
    order_id = await created(venue, case, price="0.9900", time_in_force="immediate_or_cancel")
    return await venue.call("DELETE", f"{ORDERS}/{order_id}")


# What has to be done before, or otherwise, than to send the recorded request.
PLAYED: dict[str, Callable[[Venue, Case], Awaitable[Reply]]] = {
    "auth__bad_signature": signed_for_another_path,
    "auth__unknown_key_id": with_a_key_of_zeros,
    "auth__skew_minus30s": skewed(-30_000),
    "auth__skew_minus5min": skewed(-300_000),
    "auth__skew_plus5min": skewed(300_000),
    "orders__duplicate_client_order_id": twice,
    "orders__reuse_canceled_client_id": again_after_a_cancel,
    "orders__cancel_already_canceled": cancelled_twice,
    "orders__cancel_executed": cancelled_after_its_fill,
    "cleanup__leftover_0": cancelled_after_its_fill,
}


def without_service(body: Any) -> Any:
    error = body.get("error")
    if not isinstance(error, dict):
        return body
    return body | {"error": {k: v for k, v in error.items() if k != "service"}}


def test_every_recorded_error_is_here(recorded: Path) -> None:
    assert recorded / "rest/fortuna_demo_2026-06" == FOLDER
    assert len(ERRORS) == 18
    assert {case.name for case in ERRORS} >= PLAYED.keys()
    assert len(RETIRED) == 2


@pytest.mark.parametrize("case", ERRORS, ids=lambda case: case.name)
async def test_a_recorded_error_is_answered_the_same(recorded_venue: Venue, case: Case) -> None:
    reply = await PLAYED.get(case.name, as_recorded)(recorded_venue, case)
    assert (reply.status, reply.body) == (case.status, without_service(case.body))


async def test_a_request_without_signature_is_answered_as_recorded(recorded_venue: Venue, recorded: Path) -> None:
    body = (recorded / "rest/fortuna_demo_2026-06/auth__missing_signature_header.json").read_bytes()
    reply = await recorded_venue.call("GET", "/portfolio/balance", headers={})
    assert (reply.status, reply.body) == (401, msgspec.json.decode(body))


@pytest.mark.parametrize("case", RETIRED, ids=lambda case: case.name)
async def test_a_recorded_v1_write_is_gone_today(recorded_venue: Venue, case: Case) -> None:
    reply = await as_recorded(recorded_venue, case)
    assert (reply.status, reply.body["error"]["code"]) == (410, "deprecated_v1_order_endpoint")


async def test_a_garbage_cursor_is_answered_with_a_page_as_recorded(recorded_venue: Venue, recorded: Path) -> None:
    case = next(case for case in CASES if case.name == "markets__garbage_cursor")
    assert (await as_recorded(recorded_venue, case)).status == case.status == 200
