"""Stops a storm of refused requests (C14, F13): a value that each answer makes a new one of.

    closed ──the same request refused 3 times the same way──────────► open 60 s ──► half open ──accepted──► closed
           ──10 in a row refused the same way, whatever they were──►    ▲              │
                                                                        └──refused, twice as long: 120 s … 1 h

Only what the venue declined counts: an unknown outcome, a budget that holds back and a pause of the exchange are no
refusals of the request. While it is open no new order is sent in the market; cancels always are.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from traders.core.intents import Place, Take, Wish

SECOND_US = 1_000_000
SAME_MOST = 3  # the same request, the same way
ROW_MOST = 10  # any requests, the same way, with none accepted between
FIRST_OPEN_US = 60 * SECOND_US
MOST_OPEN_US = 3_600 * SECOND_US
KINDS_KEPT = 64  # a storm has few kinds; the newest are kept


def request(wish: Wish) -> str:
    """Return what makes two requests the same: side, price and size; not their times."""
    if isinstance(wish, Place):
        return f"place {wish.side.book_side} {wish.count_cx} at {wish.price_cc}"
    if isinstance(wish, Take):
        return f"take {wish.side.book_side} {wish.count_cx} at {wish.limit_cc}"
    return type(wish).__name__.lower()


class Breaker(msgspec.Struct, frozen=True):
    """One market's.

    Attributes:
        until_us: It is open until then; 0 before the first storm.
        code: What opened it last.
        opened: How often it opened without anything accepted in between.
        refusals: By (request, code) how often since the last acceptance, the newest last.
        row: Code of the newest refusal, and how many in a row had it.
    """

    until_us: int = 0
    code: str = ""
    opened: int = 0
    refusals: tuple[tuple[str, str, int], ...] = ()
    row: tuple[str, int] = ("", 0)

    def is_open(self, now_us: int) -> bool:
        return now_us < self.until_us

    def refused(self, asked: str, code: str, now_us: int) -> Breaker:
        """Return it after the venue declined a request."""
        times = 1 + next((count for one, why, count in self.refusals if (one, why) == (asked, code)), 0)
        others = [one for one in self.refusals if one[:2] != (asked, code)]
        in_row = self.row[1] + 1 if self.row[0] == code else 1
        noted = replace(self, refusals=(*others[1 - KINDS_KEPT :], (asked, code, times)), row=(code, in_row))
        if self.is_open(now_us):
            return noted  # sent before it opened
        is_probe = self.opened > 0
        if is_probe or times >= SAME_MOST or in_row >= ROW_MOST:
            return noted._open(code, now_us)
        return noted

    def accepted(self, now_us: int) -> Breaker:
        """Return it after the venue took a request: what was refused before is forgotten, an open one stays open."""
        return Breaker(self.until_us, self.code, self.opened) if self.is_open(now_us) else Breaker()

    def _open(self, code: str, now_us: int) -> Breaker:
        open_us = min(FIRST_OPEN_US << min(self.opened, 10), MOST_OPEN_US)
        return Breaker(until_us=now_us + open_us, code=code, opened=self.opened + 1)
