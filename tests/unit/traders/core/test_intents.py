"""Every record comes back from the journal as it went in."""

from __future__ import annotations

import msgspec
import pytest

from markets.core.units import Side
from traders.core.intents import (
    Answered,
    Booked,
    Cancel,
    Decrease,
    Intent,
    Outcome,
    Place,
    Record,
    Renew,
    Sent,
    Take,
    Told,
)
from traders.core.orders import OrderStatus

RECORDS: tuple[Record, ...] = (
    Intent(1, "a", Place(Side.YES, 4_000, 10), 1),
    Intent(2, "a", Place(Side.NO, 4_000, 10, 5), 2),
    Intent(3, "b", Take(Side.NO, 4_000, 10), 2),
    Intent(4, "a", Decrease("V1", Side.YES, 4_000, 7, 3), 3),
    Intent(5, "a", Renew("V1", Side.YES, 4_000, 7, 9), 4),
    Intent(6, "a", Cancel("V1", "repriced"), 5),
    Sent(6, 6),
    Answered(6, 7, Outcome.UNKNOWN, "timed out"),
    Answered(1, 7, Outcome.ACCEPTED, order_id="V1", filled_cx=0, remaining_cx=10, reduced_cx=1, engine_us=8),
    Booked("a", "V1", "t1", 3),
    Told("a", "V1", 3, OrderStatus.CANCELED, "repriced"),
)


@pytest.mark.parametrize("record", RECORDS)
def test_a_record_comes_back_as_it_was_written(record: Record) -> None:
    found = msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=Record)
    assert found == record
    assert type(found) is type(record)


@pytest.mark.parametrize("record", RECORDS)
def test_a_record_is_an_array_that_begins_with_its_tag(record: Record) -> None:
    content = msgspec.msgpack.decode(msgspec.msgpack.encode(record))
    assert content[0] == {Intent: 20, Sent: 21, Answered: 22, Booked: 23, Told: 24}[type(record)]


def test_a_side_comes_back_as_a_side() -> None:
    found = msgspec.msgpack.decode(msgspec.msgpack.encode(RECORDS[1]), type=Record)
    assert isinstance(found, Intent)
    assert isinstance(found.wish, Place)
    assert found.wish.side is Side.NO


def test_words_in_records_stay_what_they_were() -> None:
    """Written down in journals."""
    assert [str(word) for word in Outcome] == [
        "accepted", "declined", "exists", "not found", "closed", "not sent", "unknown",
    ]  # fmt: skip
    assert [str(word) for word in OrderStatus] == ["resting", "filled", "canceled", "refused"]
