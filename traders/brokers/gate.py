"""Why no new order, and no change of one, may leave just now; cancels need no leave.

    ENDING           the trader stops
    KILLED           a person has killed it, or more than it
    NO_GRANT         the person's permission has run out
    NO_CREDENTIALS   key, signature or clock was not accepted, or the key may not (C15)
    CLOCK            ours is too far from the exchange's, or nobody knows how far (E1)
    HALTED           exchange, shard or market takes no orders (F1, F2)
    BREAKER          the same request was refused again and again (C14); of orders and of changes each
    CANCEL_ALL       the minute after a cancel-all, in which new orders are swept too (F12)

It is told what became of requests, and what was asked since. Each reason begins with its code, and stays the same text
as long as it holds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from feed.kalshi.clock import Offset
from feed.kalshi.errors import (
    AlreadyExists,
    Forbidden,
    NotFound,
    Paused,
    RateLimited,
    RequestRefused,
    Unauthorized,
)
from feed.kalshi.wire.orders import Placed
from traders.brokers.answers import NO_GRANT, Result, code_of
from traders.core.breaker import Breaker, request
from traders.core.intents import Cancel, Intent, Place, Take, Wish
from traders.core.liveanswers import ON_ARRIVAL

logger = logging.getLogger(__name__)

SECOND_US = 1_000_000
ASK_US = 2 * SECOND_US
ASK_MOST_US = 60 * SECOND_US
PROBE_US = 30 * SECOND_US
PROBE_MOST_US = 3_600 * SECOND_US
UNFILLED = "insufficient_resting_volume"  # in a code: what a take ends with, not a request refused


class Denial(msgspec.Struct, frozen=True):
    """The key was not accepted.

    Attributes:
        is_forbidden: It is known, and may not: cancels that go through prove nothing of orders.
        is_doubtful: A careful read was let through since: orders may try again.
    """

    code: str
    is_forbidden: bool
    times: int
    probe_at_us: int
    is_doubtful: bool = False


class Gate:
    """One trader's.

    Args:
        offset: How far the venue's clock is ahead of ours, None while nobody knows.
        why_killed: Empty without a kill.
    """

    def __init__(
        self,
        ticker: str,
        grant_expires_us: int,
        offset: Callable[[], Offset | None],
        why_killed: Callable[[], str] = str,
    ) -> None:
        self._ticker, self._grant_expires_us, self._offset = ticker, grant_expires_us, offset
        self._why_killed = why_killed
        self.orders, self.changes = Breaker(), Breaker()
        self.hold_orders_until_us = 0
        self._ending = ""
        self._halt = ""
        self._halts = 0  # those without an order accepted in between
        self._ask_at_us = 0
        self._denial: Denial | None = None

    # ---- what may leave ----------------------------------------------------------------------------------------------

    def why_no_order(self, now_us: int) -> str:
        """Return why no new order may leave; empty when one may."""
        why = self._why_nothing(now_us)
        if why:
            return why
        if self.orders.is_open(now_us):
            return f"BREAKER: {self.orders.code}"
        if now_us < self.hold_orders_until_us:
            return "CANCEL_ALL: new orders may be swept, too"
        return ""

    def why_no_change(self, now_us: int) -> str:
        """Return why no order may be decreased or renewed; empty when one may."""
        why = self._why_nothing(now_us)
        return why or (f"BREAKER: {self.changes.code}" if self.changes.is_open(now_us) else "")

    def _why_nothing(self, now_us: int) -> str:
        if self._ending:
            return f"ENDING: {self._ending}"
        if killed := self._why_killed():
            return f"KILLED: {killed}"
        if now_us >= self._grant_expires_us:
            return f"{NO_GRANT}: it has expired"
        if self._denial is not None and not self._denial.is_doubtful:
            return f"NO_CREDENTIALS: {self._denial.code}"
        if self._halt:
            return f"HALTED: {self._halt}"
        return self._why_clock()

    def _why_clock(self) -> str:
        offset = self._offset()
        if offset is None:
            return "CLOCK: the exchange's is not known yet"
        return "CLOCK: it is off by 5 s or more" if offset.must_stop else ""

    def end(self, reason: str) -> None:
        """Let nothing new leave any more."""
        self._ending = self._ending or reason

    # ---- what became of requests -------------------------------------------------------------------------------------

    def learn(self, intent: Intent, result: Result, now_us: int) -> None:
        """Take in what a request ended with."""
        if isinstance(result, Unauthorized | Forbidden):
            self._deny(result, now_us)
            return
        self._trust(intent.wish, result)
        if isinstance(result, Paused):
            self._halted(result.code, now_us)
        elif isinstance(intent.wish, Place | Take):
            self.orders = self._judged(self.orders, intent.wish, result, now_us)
        elif not isinstance(intent.wish, Cancel):
            self.changes = self._judged(self.changes, intent.wish, result, now_us)

    def _judged(self, breaker: Breaker, wish: Wish, result: Result, now_us: int) -> Breaker:
        if _is_taken(result):
            self._halts = 0
            return breaker.accepted(now_us)
        code = _refusal(wish, result)
        if not code:
            return breaker
        after = breaker.refused(request(wish), code, now_us)
        if after.until_us != breaker.until_us:
            logger.error(
                "%s: %s was refused again and again (%s): nothing of the kind for %d s",
                self._ticker, request(wish), code, (after.until_us - now_us) // SECOND_US,
                extra={"action": "breaker_open", "alert": "BREAKER_OPEN", "ticker": self._ticker, "code": code},
            )  # fmt: skip
        return after

    # ---- halts -------------------------------------------------------------------------------------------------------

    def _halted(self, code: str, now_us: int) -> None:
        if not self._halt:
            logger.warning("%s: %s", self._ticker, code, extra={"action": "halted", "ticker": self._ticker})
            self._halts += 1
            self.asked(now_us)
        self._halt = code

    def must_ask(self, now_us: int) -> bool:
        """Whether to ask now if orders are taken: after a halt, or to learn of the venue's clock."""
        return now_us >= self._ask_at_us and (bool(self._halt) or self._offset() is None)

    def asked(self, now_us: int) -> None:
        """Put off the next question: for longer where the venue had said that it trades, and refused again."""
        self._ask_at_us = now_us + min(ASK_US << min(max(self._halts - 1, 0), 10), ASK_MOST_US)

    def resumed(self) -> bool:
        """Take in that orders are taken; return whether that ends a halt."""
        was_halted, self._halt = bool(self._halt), ""
        if was_halted:
            logger.warning("%s trades again", self._ticker, extra={"action": "resumed", "ticker": self._ticker})
        return was_halted

    # ---- credentials -------------------------------------------------------------------------------------------------

    def _trust(self, wish: Wish, result: Result) -> None:
        """Take an answer, also a refusal, for proof that the key is accepted."""
        is_answered = isinstance(result, RequestRefused) or not isinstance(result, BaseException)
        if self._denial is None or not is_answered or isinstance(result, RateLimited):
            return
        if not (self._denial.is_forbidden and isinstance(wish, Cancel)):
            self._denial = None

    def _deny(self, refused: Unauthorized | Forbidden, now_us: int) -> None:
        before, code = self._denial, code_of(refused)
        if before is not None and not before.is_doubtful:
            return  # it left before this was known, or is a cancel, which needs no leave
        times = before.times + 1 if before else 1
        self._denial = Denial(code, isinstance(refused, Forbidden), times, now_us + _probe_us(times))
        offset = self._offset()
        logger.error(
            "%s: the key is not accepted (%s): no new orders",
            self._ticker, code,
            extra={
                "action": "no_credentials", "alert": "NO_CREDENTIALS", "ticker": self._ticker, "code": code,
                "offset_us": offset and offset.estimate_us,
            },
        )  # fmt: skip

    def must_probe(self, now_us: int) -> bool:
        """Whether to ask now, carefully, if the key is accepted again."""
        denial = self._denial
        return denial is not None and not denial.is_doubtful and now_us >= denial.probe_at_us

    def probed(self, *, is_accepted: bool, now_us: int) -> None:
        """Take in what a careful read ended with."""
        denial = self._denial
        if denial is None:
            return
        times = denial.times if is_accepted else denial.times + 1
        probe_at_us = now_us + _probe_us(times)
        self._denial = replace(denial, times=times, probe_at_us=probe_at_us, is_doubtful=is_accepted)


def _probe_us(times: int) -> int:
    return min(PROBE_US << min(times - 1, 10), PROBE_MOST_US)


def _is_taken(result: Result) -> bool:
    """Return whether the venue took a request; an order that ended on arrival with nothing filled does not count."""
    if isinstance(result, BaseException):
        return False
    return not isinstance(result, Placed) or bool(result.fill_count_cx or result.remaining_count_cx)


def _refusal(wish: Wish, result: Result) -> str:
    """Return how the venue declined a request; empty where it did not, or where it was a race and no refusal."""
    if isinstance(result, Placed):
        return ON_ARRIVAL if isinstance(wish, Place) else ""  # a take that found nothing has done its work
    if not isinstance(result, RequestRefused) or isinstance(result, AlreadyExists | RateLimited):
        return ""
    if isinstance(result, NotFound) and not isinstance(wish, Place | Take):
        return ""
    return "" if UNFILLED in result.code else code_of(result)
