"""From what a call of the venue ended with to the record of it: the outcomes of `traders.core.intents`.

Placed, Amended, Decreased, Cancelled   accepted, with the numbers of the answer
AlreadyExists                           exists: of a create alone
NotFound                                not found: of a cancel or a change; of a create it is a refusal
RequestRefused                          closed: a cancel in a market that is over; else declined
RateLimited, HeldBack, NeverSent,
NotGranted                              not sent: certainly not done
OutcomeUnknown, and all that nobody
foresaw                                 unknown
"""

from __future__ import annotations

from msgspec.structs import replace

from feed.kalshi.errors import AlreadyExists, HeldBack, NeverSent, NotFound, RateLimited, RequestRefused
from feed.kalshi.wire.orders import Amended, Cancelled, Decreased, Placed
from kalshimm.errors import OutcomeUnknown
from traders.brokers.venue import NotGranted
from traders.core.intents import Answered, Cancel, Intent, Outcome, Place, Take

Accepted = Placed | Amended | Decreased | Cancelled
Result = Accepted | BaseException

# FIX knows these names (facts.md section 8.1); how REST spells them is not documented.
CLOSED_CODES = frozenset({"market_inactive", "market_closed", "market_already_closed"})
NO_GRANT, NOT_REACHABLE, RATE_LIMITED = "NO_GRANT", "NOT_REACHABLE", "RATE_LIMITED"


def answer_of(intent: Intent, result: Result, at_us: int) -> Answered:
    """Return the record of a call's end."""
    if isinstance(result, BaseException):
        outcome, code = _failed(intent, result)
        return Answered(intent.number, at_us, outcome, code)
    return _accepted(intent.number, result, at_us)


def _accepted(number: int, result: Accepted, at_us: int) -> Answered:
    answer = Answered(number, at_us, Outcome.ACCEPTED, order_id=result.order_id, engine_us=result.engine_us)
    match result:
        case Placed(fill_count_cx=filled_cx, remaining_count_cx=remaining_cx):
            return replace(answer, filled_cx=filled_cx, remaining_cx=remaining_cx)
        case Amended(remaining_count_cx=left_cx):
            return replace(answer, remaining_cx=left_cx)
        case Decreased(remaining_count_cx=smaller_cx):
            return replace(answer, remaining_cx=smaller_cx)
        case Cancelled(reduced_by_cx=reduced_cx):
            return replace(answer, reduced_cx=reduced_cx)


def _failed(intent: Intent, exc: BaseException) -> tuple[Outcome, str]:
    match exc:
        case RateLimited():
            return Outcome.NOT_SENT, RATE_LIMITED
        case RequestRefused():
            return _refused(intent, exc)
        case HeldBack(reason=reason):
            return Outcome.NOT_SENT, reason
        case NeverSent():
            return Outcome.NOT_SENT, NOT_REACHABLE
        case NotGranted():
            return Outcome.NOT_SENT, NO_GRANT
        case OutcomeUnknown(problem=problem):
            return Outcome.UNKNOWN, problem
    return Outcome.UNKNOWN, type(exc).__name__


def _refused(intent: Intent, exc: RequestRefused) -> tuple[Outcome, str]:
    is_create, is_cancel = isinstance(intent.wish, Place | Take), isinstance(intent.wish, Cancel)
    if isinstance(exc, AlreadyExists) and is_create:
        return Outcome.EXISTS, exc.code
    if isinstance(exc, NotFound) and not is_create:
        return Outcome.NOT_FOUND, exc.code
    if is_cancel and exc.code.lower() in CLOSED_CODES:
        return Outcome.CLOSED, exc.code
    return Outcome.DECLINED, reason_of(exc)


def reason_of(exc: RequestRefused) -> str:
    """Return the venue's code with what its text adds: `invalid_order: post only cross`."""
    code, text = code_of(exc), exc.message.strip()
    for words in (exc.code, exc.code.replace("_", " ")):  # many texts begin with what the code says
        if words and text.lower().startswith(words.lower()):
            text = text[len(words) :].lstrip(": ")
    return f"{code}: {text}" if text else code


def code_of(exc: RequestRefused) -> str:
    """Return the venue's code, or its status where the body had none."""
    return exc.code or (f"HTTP {exc.status}" if exc.status else "refused")
