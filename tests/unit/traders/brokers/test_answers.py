"""What a call ended with, as outcomes (faults.md C1, C3, C6, C10, C14, F5)."""

from __future__ import annotations

import asyncio

import pytest

from feed.kalshi.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    HeldBack,
    InvalidRequest,
    NeverSent,
    NotFound,
    OrderRejected,
    Paused,
    RateLimited,
    RequestRefused,
    Retired,
    Unauthorized,
)
from feed.kalshi.wire.orders import Amended, Cancelled, Decreased, Placed
from kalshimm.errors import OutcomeUnknown
from markets.core.units import Side
from traders.brokers.answers import answer_of
from traders.brokers.venue import NotGranted
from traders.core.intents import Answered, Cancel, Decrease, Intent, Outcome, Place, Renew, Take

NOW_US = 1_790_000_000_000_000
PLACE = Place(Side.YES, 4_000, 1_000)
TAKE = Take(Side.NO, 4_000, 1_000)
DECREASE = Decrease("V1", Side.YES, 4_000, 600, 400)
RENEW = Renew("V1", Side.YES, 4_000, 1_000, NOW_US)
CANCEL = Cancel("V1", "repriced")
WISHES = (PLACE, TAKE, DECREASE, RENEW, CANCEL)


def ends(wish: object, result: object) -> tuple[Outcome, str]:
    answer = answer_of(Intent(7, "c-1", wish, NOW_US), result, NOW_US)
    assert (answer.number, answer.at_us) == (7, NOW_US)
    return answer.outcome, answer.code


@pytest.mark.parametrize("wish", WISHES)
@pytest.mark.parametrize(
    ("result", "outcome", "code"),
    [
        (RateLimited(429, "", "too many requests"), Outcome.NOT_SENT, "RATE_LIMITED"),
        (HeldBack("ask", "BUDGET_SPENT", 0.1, 0), Outcome.NOT_SENT, "BUDGET_SPENT"),
        (NeverSent("nobody listens"), Outcome.NOT_SENT, "NOT_REACHABLE"),
        (NotGranted("expired"), Outcome.NOT_SENT, "NO_GRANT"),
        (OutcomeUnknown("ask", "the answer was HTTP 502"), Outcome.UNKNOWN, "the answer was HTTP 502"),
        (asyncio.CancelledError(), Outcome.UNKNOWN, "CancelledError"),
        (KeyError("x"), Outcome.UNKNOWN, "KeyError"),
        (InvalidRequest(400, "bad_request", "bad request"), Outcome.DECLINED, "bad_request"),
        (OrderRejected(400, "invalid_order", "invalid order: post only cross"), Outcome.DECLINED,
         "invalid_order: post only cross"),
        (OrderRejected(400, "insufficient_balance", "insufficient balance"), Outcome.DECLINED, "insufficient_balance"),
        (Unauthorized(401, "authentication_error", "authentication_error: NOT_FOUND"), Outcome.DECLINED,
         "authentication_error: NOT_FOUND"),
        (Forbidden(403, "", "no"), Outcome.DECLINED, "HTTP 403: no"),
        (Conflict(409, "exceeded_order_group_risk_limit", ""), Outcome.DECLINED, "exceeded_order_group_risk_limit"),
        (Paused(409, "trading_is_paused", ""), Outcome.DECLINED, "trading_is_paused"),
        (Retired(410, "deprecated", ""), Outcome.DECLINED, "deprecated"),
        (RequestRefused(None, "", ""), Outcome.DECLINED, "refused"),
    ],
)  # fmt: skip
def test_what_a_failed_call_means_whatever_was_wished(
    wish: object, result: object, outcome: Outcome, code: str
) -> None:
    assert ends(wish, result) == (outcome, code)


@pytest.mark.parametrize("wish", WISHES)
def test_C3_a_conflict_of_ids_proves_an_order_only_to_whoever_placed_one(wish: object) -> None:
    is_create = wish in (PLACE, TAKE)
    expected = Outcome.EXISTS if is_create else Outcome.DECLINED
    assert ends(wish, AlreadyExists(409, "order_already_exists", ""))[0] is expected


@pytest.mark.parametrize("wish", WISHES)
def test_C10_a_404_is_a_refusal_of_a_new_order_and_no_order_to_change_or_cancel(wish: object) -> None:
    is_create = wish in (PLACE, TAKE)
    expected = Outcome.DECLINED if is_create else Outcome.NOT_FOUND
    assert ends(wish, NotFound(404, "not_found", ""))[0] is expected


@pytest.mark.parametrize("code", ["market_inactive", "MARKET_ALREADY_CLOSED", "market_closed"])
@pytest.mark.parametrize("wish", WISHES)
def test_F5_a_cancel_that_is_refused_because_the_market_is_over_reads_as_closed(wish: object, code: str) -> None:
    expected = Outcome.CLOSED if wish is CANCEL else Outcome.DECLINED
    assert ends(wish, InvalidRequest(400, code, ""))[0] is expected


def test_C16_the_numbers_of_an_answer_are_kept_as_they_came() -> None:
    def kept(wish: object, result: object) -> Answered:
        return answer_of(Intent(7, "c-1", wish, NOW_US), result, NOW_US)

    placed = Placed(order_id="V1", fill_count_cx=300, remaining_count_cx=0, engine_us=5)
    assert kept(PLACE, placed) == Answered(
        7, NOW_US, Outcome.ACCEPTED, order_id="V1", filled_cx=300, remaining_cx=0, engine_us=5
    )
    amended = Amended(order_id="V1", remaining_count_cx=None, engine_us=5)
    assert kept(RENEW, amended) == Answered(7, NOW_US, Outcome.ACCEPTED, order_id="V1", engine_us=5)
    decreased = Decreased(order_id="V1", remaining_count_cx=600)
    assert kept(DECREASE, decreased) == Answered(7, NOW_US, Outcome.ACCEPTED, order_id="V1", remaining_cx=600)
    cancelled = Cancelled(order_id="V1", reduced_by_cx=700, engine_us=5)
    assert kept(CANCEL, cancelled) == Answered(7, NOW_US, Outcome.ACCEPTED, order_id="V1", reduced_cx=700, engine_us=5)
