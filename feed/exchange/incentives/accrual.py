"""Second by second: who holds which part of a program's pool, and what that comes to at its end.

One snapshot of a market in each second, at a moment within it that follows from the world's seed; markets have theirs
apart, so that hundreds of programs do not hold up the exchange at once. Closed and thin seconds pay
nobody but count in the total, and so do seconds before this exchange was started. Source: incentives.md section 4,
readings R7 to R9 of section 7.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING

import msgspec

from feed.exchange.incentives.scoring import Bid, Yardstick, score_snapshot
from markets.core.units import DOLLAR_UD, Side

if TYPE_CHECKING:
    from feed.exchange.catalog import Program
    from feed.exchange.market import Market

SECOND_US = 1_000_000
CENT_UD = DOLLAR_UD // 100
LEAST_PAID_UD = DOLLAR_UD  # a period that comes to less pays nothing
RECORDED = "recorded"  # owner of the levels of a recording

# A long period adds up as many denominators as it has seconds. Past these bits a sum is held to 2 ** -2048, which
# cannot move a cent; `is_exact` says so.
EXACT_BITS = 4_096
HELD_TO = 1 << 2_048
HELD_TO_ERROR = Fraction(1, 1 << 2_000)  # more than all roundings of a month together


def snapshot_us(seed: int, ticker: str, second: int) -> int:
    """Return the moment of a market's snapshot in a second since 1970; microseconds since then."""
    digest = hashlib.blake2b(f"{seed}:snapshot:{ticker}:{second}".encode(), digest_size=8).digest()
    return second * SECOND_US + int.from_bytes(digest) % SECOND_US


def bids_of(market: Market, member_of: Callable[[str], str] = str) -> list[Bid]:
    """Return everything that rests in a market, order by order; recorded levels belong to one owner.

    Args:
        member_of: The member behind the owner of an order, which may be one of its subaccounts.
    """
    bids = [
        Bid(member_of(order.owner), order.side, order.price_cc, order.remaining_cx) for order in market.book.orders()
    ]
    if market.displayed is not None:
        bids += [
            Bid(RECORDED, side, price, size) for side in Side for price, size in market.displayed.levels(side).items()
        ]
    return bids


class Credit(msgspec.Struct, frozen=True):
    """What a period comes to for one owner: `raw` dollars before cap and floor, and what is paid."""

    owner: str
    raw: Fraction
    is_exact: bool
    amount_ud: int


class Tally:
    """One program's running account.

    The shares of the last snapshot are kept until the book changes, and their seconds added in one step.
    """

    def __init__(self, program: Program, member_of: Callable[[str], str] = str) -> None:
        self.program = program
        self._member_of = member_of
        self.included = 0
        self.is_exact = True
        self._sums: dict[str, Fraction] = {}  # owner → pool share summed over seconds
        self._shares: dict[str, Fraction] = {}
        self._seconds = 0  # with these shares, not in the sums yet
        self._scored: tuple[int, bool] | None = None  # book version and openness behind the shares

    def snapshot(self, market: Market | None) -> None:
        """Take one second's snapshot; None is a market that is listed no more."""
        if market is None:
            self._settle_shares()
            self._scored, self._shares = None, {}
            return
        state = (market.book_version, market.is_tradable)
        if state != self._scored:
            self._settle_shares()
            self._scored, self._shares = state, self._score(market)
        if self._shares:
            self.included += 1
            self._seconds += 1

    def _score(self, market: Market) -> dict[str, Fraction]:
        program = self.program
        if not market.is_tradable or program.target_size_cx is None or program.discount_bps is None:
            return {}
        yardstick = Yardstick(program.target_size_cx, program.discount_bps)
        return score_snapshot(
            market.terms.grid, bids_of(market, self._member_of), yardstick, is_open=True
        ).pool_shares()

    def _settle_shares(self) -> None:
        if not self._seconds:
            return
        for owner, share in self._shares.items():
            self._sums[owner] = self._held(self._sums.get(owner, Fraction(0)) + share * self._seconds)
        self._seconds = 0

    def _held(self, value: Fraction) -> Fraction:
        if value.denominator.bit_length() <= EXACT_BITS:
            return value
        self.is_exact = False
        return Fraction(round(value * HELD_TO), HELD_TO)

    def credits(self) -> list[Credit]:
        """Return what the seconds so far come to over the whole period, the dearest owner first."""
        self._settle_shares()
        found = [self._credit(owner, total) for owner, total in self._sums.items()]
        return sorted(found, key=lambda credit: (-credit.raw, credit.owner))

    def _credit(self, owner: str, total: Fraction) -> Credit:
        program = self.program
        raw = total * Fraction(program.period_reward_cc, 10_000) / program.seconds
        slack = 0 if self.is_exact else HELD_TO_ERROR
        return Credit(owner, raw, self.is_exact, payable_ud(raw + slack, program.max_reward_cc))


def payable_ud(raw: Fraction, max_reward_cc: int | None) -> int:
    """Return what is paid of a period's raw dollars: at most the cap, down to a cent, nothing below $1.00."""
    if max_reward_cc is not None:
        raw = min(raw, Fraction(max_reward_cc, 10_000))
    cents = raw.numerator * 100 // raw.denominator
    amount_ud = cents * CENT_UD
    return amount_ud if amount_ud >= LEAST_PAID_UD else 0
