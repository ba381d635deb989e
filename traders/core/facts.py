"""What the catalogue knows of a market, as a trader is told it: at its start, and again when it changes."""

from __future__ import annotations

import zlib

import msgspec

from markets.core.fees import FeeTerms
from markets.core.grid import PriceGrid, PriceRange
from markets.core.rewards import ProgramTerms


class Moment(msgspec.Struct, frozen=True):
    """A moment at which news may move the market: a release, a verdict, a kick-off."""

    time_us: int
    name: str


class MarketFacts(msgspec.Struct, frozen=True):
    """One market.

    Attributes:
        status: The venue's word for it.
        programs: Those that run or are still to come, whatever their kind.
        fees: None while they are unknown.
        moments: Those still to come, and those just past.
    """

    price_ranges: tuple[PriceRange, ...]
    close_time_us: int
    status: str = ""
    programs: tuple[ProgramTerms, ...] = ()
    fees: FeeTerms | None = None
    moments: tuple[Moment, ...] = ()

    @property
    def digest(self) -> int:
        """A number by which two are compared across processes."""
        return zlib.crc32(encode_facts(self))

    def grid(self) -> PriceGrid:
        """Return the prices that orders may carry."""
        return PriceGrid(self.price_ranges)


encode_facts = msgspec.msgpack.Encoder().encode
_decode_facts = msgspec.msgpack.Decoder(MarketFacts).decode


def read_facts(body: bytes) -> MarketFacts:
    """Return facts that another process tells.

    Raises:
        msgspec.MsgspecError: They are not of our shape.
        ValueError: Their prices make no grid.
    """
    facts = _decode_facts(body)
    facts.grid()
    return facts
