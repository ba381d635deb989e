"""A record that is written down comes back as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from feed.schema import FillState, JournalEntry, OrderState, StateChange, decode_journal, encode
from markets.core.units import Side
from traders.core.intents import (
    Answered,
    Booked,
    Cancel,
    Decrease,
    Intent,
    Outcome,
    Place,
    Renew,
    Sent,
    Take,
    Told,
)
from traders.core.orders import OrderStatus
from traders.livenotes import body_of, record_of

SIDES, PRICES, COUNTS = st.sampled_from(Side), st.integers(1, 9_999), st.integers(1, 10**9)
TIMES, TEXTS = st.integers(0, 1 << 52), st.text(max_size=40)
WISHES = st.one_of(
    st.builds(Place, SIDES, PRICES, COUNTS, st.none() | TIMES),
    st.builds(Take, SIDES, PRICES, COUNTS),
    st.builds(Decrease, TEXTS, SIDES, PRICES, COUNTS, COUNTS),
    st.builds(Renew, TEXTS, SIDES, PRICES, COUNTS, TIMES),
    st.builds(Cancel, TEXTS, TEXTS),
)
MAYBE = st.none() | COUNTS
RECORDS = st.one_of(
    st.builds(Intent, COUNTS, TEXTS, WISHES, TIMES),
    st.builds(Sent, COUNTS, TIMES),
    st.builds(Answered, COUNTS, TIMES, st.sampled_from(Outcome), TEXTS, TEXTS, MAYBE, MAYBE, MAYBE, st.none() | TIMES),
)


@given(RECORDS)
def test_every_record_comes_back_from_the_journal(record: Intent | Sent | Answered) -> None:
    line = JournalEntry(1, 3, 9, 5, "local", "live", "T", body_of(record))

    back = record_of(decode_journal(encode(line)).body)

    assert back == record
    assert type(back) is type(record)


def test_fills_and_orders_of_the_engine_serve_as_records() -> None:
    fill = FillState("c", "o", "t", 0, 4_200, 300, False, 12, 300, False)
    order = OrderState("c", "o", 0, 4_200, 500, 300, 0, "canceled", "asked to stop")

    assert record_of(fill) == Booked("c", "o", "t", 300)
    assert record_of(order) == Told("c", "o", 300, OrderStatus.CANCELED, "asked to stop")
    assert record_of(StateChange("paused", "")) is None


@pytest.mark.parametrize("broken", [{"verb": "wish"}, {"side": None}, {"price_cc": None}, {"count_cx": None}])
def test_a_line_that_tells_no_wish_is_refused(broken: dict[str, object]) -> None:
    line = body_of(Intent(7, "c", Place(Side.YES, 4_200, 300), 1))

    with pytest.raises(ValueError, match="intent 7"):
        record_of(replace(line, **broken))  # type: ignore[type-var]
