from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.kalshi.wire import account, catalogue, exchange, markets, orders, portfolio
from feed.kalshi.wire.bodies import Body, decode, encode, read, write
from feed.kalshi.wire.kinds import (
    BookSide,
    CentsUd,
    CountCx,
    DollarsUd,
    Hidden,
    MillisUs,
    Number,
    OutcomeSide,
    PriceCc,
    SecondsUs,
    Secret,
    TimeUs,
)
from feed.kalshi.wire.portfolio import Fill, MarketPosition, Order
from markets.core.units import Side


class Sample(Body, frozen=True, kw_only=True):
    price_cc: PriceCc = msgspec.field(name="price")
    count_cx: CountCx | None = msgspec.field(default=None, name="count")
    items: tuple[orders.CancelOrder, ...] = ()
    whole: int | None = None


FILL = {
    "trade_id": "t-1", "order_id": "o-1", "ticker": "KXA-1", "outcome_side": "no", "book_side": "ask",
    "count_fp": "12.00", "yes_price_dollars": "0.4500", "is_taker": False, "fee_cost": "0.017500",
    "created_time": "2026-06-11T06:29:30.164956Z", "ts": 1781159370,
}  # fmt: skip
ORDER = {
    "order_id": "o-1", "ticker": "KXA-1", "status": "resting", "outcome_side": "yes", "yes_price_dollars": "0.4500",
    "initial_count_fp": "25.00", "fill_count_fp": "12.00", "remaining_count_fp": "13.00",
}  # fmt: skip


def test_a_body_is_read_into_our_words_and_units() -> None:
    fill = read(Fill, FILL)
    assert (fill.count_cx, fill.yes_price_cc, fill.fee_ud) == (1_200, 4_500, 17_500)
    assert (fill.outcome_side, fill.book_side) == (Side.NO, Side.NO)
    assert (fill.created_us, fill.second_us) == (1_781_159_370_164_956, 1_781_159_370_000_000)
    assert fill.exchange_index is None, "unknown is not zero"


def test_C19_a_field_that_nobody_named_is_kept() -> None:
    fill = read(Fill, {**FILL, "mood": {"is": ["bright", 0.1]}})
    assert fill.unknown == {"mood": {"is": ["bright", 0.1]}}
    assert write(fill)["mood"] == {"is": ["bright", 0.1]}


def test_C19_a_word_that_nobody_heard_of_is_kept() -> None:
    order = read(Order, {**ORDER, "status": "hibernating", "self_trade_prevention_type": "both"})
    assert (order.status, order.self_trade_prevention_type) == ("hibernating", "both")


def test_C19_an_optional_value_that_does_not_fit_is_kept_and_not_rounded() -> None:
    finer = {"fees_paid_dollars": "0.0000001", "last_updated_ts": 7}
    position = read(MarketPosition, {"ticker": "KXA-1", "position_fp": "-3.00", **finer})
    assert position.position_cx == -300
    assert position.fees_paid_ud is None
    assert position.unknown == finer


@pytest.mark.parametrize("price", ["0.45001", "1.0001", "-0.1", "", "0,45", "nan", None, True, [], Decimal("0.12345")])
def test_C19_a_required_value_that_does_not_fit_makes_the_body_unreadable_by_name(price: object) -> None:
    with pytest.raises(ValueError, match="yes_price_dollars"):
        read(Fill, {**FILL, "yes_price_dollars": price})


def test_a_required_field_that_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match="order_id is missing"):
        read(Order, {k: v for k, v in ORDER.items() if k != "order_id"})
    with pytest.raises(ValueError, match="object"):
        read(Order, [])


def test_a_null_is_as_good_as_a_missing_field() -> None:
    assert read(Order, {**ORDER, "order_group_id": None}).order_group_id is None
    assert read(Order, {**ORDER, "order_group_id": None}).unknown == {}


def test_items_of_an_optional_list_that_do_not_fit_are_kept_beside_those_that_do() -> None:
    good = {"order_id": "o-1", "market_ticker": "KXA-1", "exchange_index": 0}
    sample = read(Sample, {"price": "0.5", "items": [good, {"order_id": "o-2"}]})
    assert [item.order_id for item in sample.items] == ["o-1"]
    assert sample.unknown == {"items": [{"order_id": "o-2"}]}
    assert write(sample)["items"] == [good, {"order_id": "o-2"}]


def test_a_required_list_is_whole_or_unreadable() -> None:
    """Half a price grid, or half a book, is a wrong one."""
    with pytest.raises(ValueError, match="yes_dollars"):
        read(markets.OrderBook, {"yes_dollars": [["0.4", "1.00"], ["0.5", "1.001"]], "no_dollars": []})
    market = {"ticker": "K", "event_ticker": "E", "status": "active", "open_time": "2026-01-01T00:00:00Z"}
    bands = [{"start": "0", "end": "0.1", "step": "0.001"}, {"start": "0.1", "end": "1", "step": "a penny"}]
    with pytest.raises(ValueError, match="price_ranges"):
        read(markets.Market, {**market, "close_time": "2026-01-02T00:00:00Z", "price_ranges": bands})


def test_numbers_where_strings_are_promised_are_taken_exactly() -> None:
    data = decode(b'{"price": 0.07, "count": 3, "whole": 1.0, "far": 1e400}')
    sample = read(Sample, data)
    assert (sample.price_cc, sample.count_cx) == (700, 300)
    assert sample.unknown == {"whole": Decimal("1.0"), "far": Decimal("1e400")}
    assert encode({"whole": Decimal("1.0")}) == b'{"whole":1.0}'


def test_a_number_of_absurd_size_is_refused_before_it_is_written_out() -> None:
    with pytest.raises(ValueError, match="price"):
        read(Sample, decode(b'{"price": 1e999999999}'))


def test_a_secret_is_shown_by_nobody() -> None:
    key = read(account.KeyGenerated, {"api_key_id": "k", "private_key": "s3cret"})
    assert "s3cret" not in f"{key!r} {key.private_key} {key}"
    assert key.private_key == Secret("s3cret")
    assert write(key)["private_key"] == "s3cret"
    with pytest.raises(ValueError, match="private_key") as told:
        read(account.KeyGenerated, {"api_key_id": "k", "private_key": ["s3cret"]})
    assert "s3cret" not in str(told.value)


@pytest.mark.parametrize(
    ("kind", "wire", "ours"),
    [
        (PriceCc, "0.4200", 4_200),
        (PriceCc, "0.480", 4_800),
        (PriceCc, "1.0000", 10_000),
        (CountCx, "-12.50", -1_250),
        (DollarsUd, "-0.017500", -17_500),
        (DollarsUd, "68148.06", 68_148_060_000),
        (CentsUd, 9_801, 98_010_000),
        (TimeUs, "1970-01-01T00:00:01Z", 1_000_000),
        (TimeUs, "2026-06-11T05:39:31.28563Z", 1_781_156_371_285_630),
        (TimeUs, "2026-06-11T07:39:31+02:00", 1_781_156_371_000_000),
        (TimeUs, "0001-01-01T00:00:00Z", -62_135_596_800_000_000),
        (SecondsUs, 1_781_159_370, 1_781_159_370_000_000),
        (MillisUs, 1_781_159_360_866, 1_781_159_360_866_000),
        (OutcomeSide, "no", Side.NO),
        (BookSide, "bid", Side.YES),
        (Number, Decimal("0.50"), Decimal("0.50")),
    ],
)
def test_each_kind_reads_exactly_and_writes_what_it_read(kind: Any, wire: object, ours: object) -> None:
    codec = kind.__metadata__[0]
    assert codec.read(wire) == ours
    assert codec.read(codec.write(ours)) == ours


@pytest.mark.parametrize(
    ("kind", "wire"),
    [
        (TimeUs, "2026-06-11T05:39:31"),
        (TimeUs, "2026-06-11T05:39:31.1234567Z"),
        (TimeUs, "soon"),
        (TimeUs, 1),
        (SecondsUs, "1"),
        (SecondsUs, True),
        (CentsUd, Decimal("1.5")),
        (OutcomeSide, "maybe"),
        (BookSide, 1),
        (Hidden, 1),
        (Number, "1"),
    ],
)
def test_what_does_not_fit_exactly_is_refused(kind: Any, wire: object) -> None:
    with pytest.raises(ValueError, match=r"expected|time|decimal|Invalid"):
        kind.__metadata__[0].read(wire)


def every_body() -> list[type[Body]]:
    topics = (account, catalogue, exchange, markets, orders, portfolio)
    found = {each for topic in topics for each in vars(topic).values() if isinstance(each, type)}
    return sorted(
        (each for each in found if issubclass(each, Body) and each is not Body), key=lambda each: each.__name__
    )


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False) | st.text(max_size=8)
    | st.sampled_from(["0.4200", "1.00", "yes", "bid", "2026-06-11T05:39:31Z", "-0.000001", "resting"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(st.data())
def test_B8_whatever_comes_a_body_is_read_back_to_itself_or_refused(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(every_body()))
    keys = st.sampled_from([key for key in kind.__struct_encode_fields__ if key != "unknown"])
    body = data.draw(st.dictionaries(keys | st.text(max_size=4), VALUES, max_size=12))
    try:
        found = read(kind, body)
    except ValueError:
        return
    assert read(kind, write(found)) == found
