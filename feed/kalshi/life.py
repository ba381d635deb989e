"""What a message of a market's life says of its terms, in our units. None is what the message does not say.

Source: facts.md sections 5.5 and 12.7; asyncapi.yaml 3.34.
"""

from __future__ import annotations

import msgspec

from markets.core.grid import PriceRange
from markets.core.units import parse_price

SECOND_US = 1_000_000


class Terms(msgspec.Struct, frozen=True):
    """`value_cc` is what a YES contract is worth, once that is determined."""

    close_us: int | None = None
    price_ranges: tuple[PriceRange, ...] | None = None
    value_cc: int | None = None


class _Band(msgspec.Struct, frozen=True):
    start: str
    end: str
    step: str


class _Body(msgspec.Struct, frozen=True):
    close_ts: int | None = None
    price_ranges: list[_Band] | None = None
    settlement_value: str | None = None


_decode = msgspec.json.Decoder(_Body).decode


def told_terms(body: bytes) -> Terms:
    """Return the terms that a body tells.

    Raises:
        ValueError: It is of another shape.
    """
    told = _decode(body)
    return Terms(
        close_us=None if told.close_ts is None else told.close_ts * SECOND_US,
        price_ranges=None if told.price_ranges is None else tuple(map(_range, told.price_ranges)),
        value_cc=None if told.settlement_value is None else parse_price(told.settlement_value),
    )


def _range(band: _Band) -> PriceRange:
    return PriceRange(parse_price(band.start), parse_price(band.end), parse_price(band.step))
