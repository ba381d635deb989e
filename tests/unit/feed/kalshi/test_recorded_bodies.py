"""Every recorded REST body of an endpoint we read becomes our structs and can be written back to the same values.

A file that is no body of today's is named with why; none is passed over.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import pytest

from feed.kalshi.errors import AlreadyExists, InvalidRequest, NotFound, OrderRejected, RequestRefused, Unauthorized
from feed.kalshi.refusals import refusal
from feed.kalshi.wire.account import AccountLimits, EndpointCosts
from feed.kalshi.wire.bodies import Body, decode, read, write
from feed.kalshi.wire.catalogue import (
    Event,
    EventMetadata,
    IncentiveProgram,
    Milestone,
    Series,
    SeriesFeeChange,
    StructuredTarget,
)
from feed.kalshi.wire.exchange import ExchangeStatus, Schedule, UserDataTimestamp
from feed.kalshi.wire.markets import Candle, Market, MarketCandles, MarketOrderBook, OrderBook, PriceRange, Trade
from feed.kalshi.wire.orders import Cancelled, Placed
from feed.kalshi.wire.portfolio import Fill, Settlement

pytestmark = pytest.mark.recorded

# By file: of which kind its bodies are, and where they stand: keys, and `*` for each item or value.
DEMO = "fortuna_demo_2026-06"
OLD = "obstacle_golden_2026-01"
BODIES: dict[str, list[tuple[type[Body], str]]] = {
    f"{DEMO}/account__endpoint_costs.json": [(EndpointCosts, "")],
    f"{DEMO}/account__limits.json": [(AccountLimits, "")],
    f"{DEMO}/cleanup__stp_resting.json": [(Cancelled, "")],
    f"{DEMO}/exchange__status.json": [(ExchangeStatus, "")],
    f"{DEMO}/fills__after_taker.json": [(Fill, "fills/*")],
    f"{DEMO}/markets__garbage_cursor.json": [(Market, "markets/*")],
    f"{DEMO}/markets__page1.json": [(Market, "markets/*")],
    f"{DEMO}/markets__single.json": [(Market, "market")],
    f"{DEMO}/markets__single_filter_lastpage.json": [(Market, "markets/*")],
    f"{DEMO}/markets__status_open.json.gz": [(Market, "markets/*")],
    f"{DEMO}/markets__status_settled.json": [(Market, "markets/*")],
    f"{DEMO}/markets__unauth_list.json": [(Market, "markets/*")],
    f"{DEMO}/markets__unauth_single.json": [(Market, "market")],
    f"{DEMO}/orderbook__base.json": [(OrderBook, "orderbook_fp")],
    f"{DEMO}/orders__cancel_v2.json": [(Cancelled, "")],
    f"{DEMO}/orders__create_v2_maker.json": [(Placed, "")],
    f"{DEMO}/orders__create_v2_taker_ioc.json": [(Placed, "")],
    f"{DEMO}/orders__settlement_seed.json": [(Placed, "")],
    f"{DEMO}/orders__stp_setup.json": [(Placed, "")],
    f"{DEMO}/series__fee_changes.json": [(SeriesFeeChange, "series_fee_change_arr/*")],
    f"{DEMO}/settlements__end_of_session.json": [(Settlement, "settlements/*")],
    f"{DEMO}/settlements__page.json": [(Settlement, "settlements/*")],
    f"{DEMO}/trades__public_recorded.json": [(Trade, "trades/*")],
    "cockpit_2026-08/candlesticks_mlb.json": [(Candle, "markets/*/candlesticks/*")],
    "cockpit_2026-08/combo_orderbooks.json": [(MarketOrderBook, "*")],
    "cockpit_2026-08/combo_priced_markets.json.gz": [(Market, "combos/*"), (Market, "legs/*")],
    "cockpit_2026-08/events_sports_nested.json.gz": [(Event, "*")],
    "cockpit_2026-08/market_single.json": [
        (Market, "nested"), (Market, "single/market"), (OrderBook, "orderbook/orderbook_fp")
    ],
    "cockpit_2026-08/markets_settled.json.gz": [(Market, "markets/*")],
    "cockpit_2026-08/portfolio_fills_redacted.json": [(Fill, "payload/fills/*")],
    "cockpit_2026-08/price_grids.json": [(PriceRange, "grids/*/price_ranges/*")],
    "cockpit_2026-08/series_fee_fields.json": [(Series, "payloads/*/series")],
    "brianlee_2026-03/kalshi_market.json": [(Market, "")],
    "brianlee_2026-03/kalshi_markets.json": [(Market, "*")],
    "brianlee_2026-03/kalshi_orderbook.json": [(OrderBook, "orderbook_fp")],
    "incentive_programs/incentive_programs_rows_quoted_2026-08_09.json": [(IncentiveProgram, "rows/0/row")],
    "incentive_programs/obstacle_incentive_programs_response_2026-01-15.json": [
        (IncentiveProgram, "response/incentive_programs/*")
    ],
    f"{OLD}/candlesticks_batch_response.json.gz": [(MarketCandles, "response/markets/*")],
    f"{OLD}/event_metadata_response.json": [(EventMetadata, "response")],
    f"{OLD}/event_single_response.json": [(Event, "response/event"), (Market, "response/markets/*")],
    f"{OLD}/events_list_response.json": [(Event, "response/events/*")],
    f"{OLD}/events_multivariate_list_response.json": [(Event, "response/events/*")],
    f"{OLD}/exchange_schedule_response.json": [(Schedule, "response/schedule")],
    f"{OLD}/exchange_status_response.json": [(ExchangeStatus, "response")],
    f"{OLD}/market_single_response.json": [(Market, "response/market")],
    f"{OLD}/milestone_single_response.json": [(Milestone, "response/milestone")],
    f"{OLD}/series_candlesticks_response.json.gz": [(Candle, "response/candlesticks/*")],
    f"{OLD}/series_list_response.json.gz": [(Series, "response/series/*")],
    f"{OLD}/series_single_response.json": [(Series, "response/series")],
    f"{OLD}/structured_target_single_response.json": [(StructuredTarget, "response/structured_target")],
    f"{OLD}/user_data_timestamp_response.json": [(UserDataTimestamp, "response")],
    "harrodyuan_2025/events_20250313.json.gz": [(Event, "events/*")],
}  # fmt: skip

# The name of an error's file, and the status, refusal and code that it means.
ERRORS: dict[str, tuple[int, type[RequestRefused], str]] = {
    "auth__bad_signature": (401, Unauthorized, "authentication_error"),
    "auth__missing_signature_header": (401, Unauthorized, "signature_is_missing_from_headers"),
    "auth__skew_minus30s": (401, Unauthorized, "header_timestamp_expired"),
    "auth__skew_minus5min": (401, Unauthorized, "header_timestamp_expired"),
    "auth__skew_plus5min": (401, Unauthorized, "header_timestamp_expired"),
    "auth__unknown_key_id": (401, Unauthorized, "authentication_error"),
    "cleanup__leftover_0": (404, NotFound, "not_found"),
    "cleanup__leftover_1": (404, NotFound, "not_found"),
    "cleanup__leftover_2": (404, NotFound, "not_found"),
    "markets__limit_over_max": (400, InvalidRequest, ""),
    "orders__cancel_already_canceled": (404, NotFound, "not_found"),
    "orders__cancel_executed": (404, NotFound, "not_found"),
    "orders__cancel_unknown_id": (404, NotFound, "not_found"),
    "orders__duplicate_client_order_id": (409, AlreadyExists, "order_already_exists"),
    "orders__insufficient_balance": (400, OrderRejected, "insufficient_balance"),
    "orders__invalid_price_structure": (400, OrderRejected, "invalid_price"),
    "orders__numeric_field_types": (400, InvalidRequest, "bad_request"),
    "orders__post_only_cross": (400, OrderRejected, "invalid_order"),
    "orders__reuse_canceled_client_id": (409, AlreadyExists, "order_already_exists"),
}

NOT_TODAY = {
    "cockpit_2026-08/combo_collections_summary.json": "counts made of many answers",
    "cockpit_2026-08/occurrence_datetime_probe.json": "single fields of markets, side by side",
    "cockpit_2026-08/sports_coverage.json": "counts made of many answers",
    "lognorman_2024-07/market_data.json.gz": "attributes of an old SDK's objects",
    "lognorman_2024-07/market_history.json.gz": "attributes of an old SDK's objects",
    f"{OLD}/exchange_announcements_response.json": "the endpoint went in July 2026",
    f"{OLD}/filters_by_sport_response.json": "for menus; the client does not read it",
    f"{OLD}/tags_by_categories_response.json": "for menus; the client does not read it",
    f"{OLD}/multivariate_event_collection_lookup_tickers_response.json": "combos are not quoted by this client",
    f"{OLD}/multivariate_event_collection_single_response.json": "combos are not quoted by this client",
    f"{OLD}/multivariate_event_collections_list_response.json": "combos are not quoted by this client",
    f"{OLD}/order_queue_position_response.json": "a whole number, before `queue_position_fp`",
    f"{OLD}/order_queue_positions_response.json": "whole numbers, before `queue_position_fp`",
    f"{OLD}/orderbook_response.json": "the envelope `orderbook`, before `orderbook_fp`",
    f"{OLD}/portfolio_fills_response.json": "cents and whole counts, before fixed point",
    f"{OLD}/portfolio_settlements_response.json": "cents and whole counts, before fixed point",
    f"{OLD}/trades_list_response.json": "whole counts, before `count_fp`",
}


def load(path: Path) -> Any:
    raw = path.read_bytes()
    return decode(gzip.decompress(raw) if path.suffix == ".gz" else raw)


def standing_at(data: Any, where: str) -> Iterator[Any]:
    """Yield what a path such as `markets/*/candlesticks` leads to."""
    step, _, rest = where.partition("/")
    if not step:
        yield data
    elif step == "*":
        for item in data.values() if isinstance(data, dict) else data:
            yield from standing_at(item, rest)
    else:
        yield from standing_at(data[int(step)] if isinstance(data, list) else data[step], rest)


def value_of(leaf: Any) -> Any:
    """Return what a leaf means, however it is spelt."""
    if isinstance(leaf, str):
        try:
            return Decimal(leaf)
        except InvalidOperation:
            pass
        try:
            return datetime.fromisoformat(leaf).timestamp()
        except ValueError:
            return leaf
    return Decimal(leaf) if isinstance(leaf, int) and not isinstance(leaf, bool) else leaf


def lost(original: Any, written: Any, at: str = "") -> Iterator[str]:
    """Yield every place where a body that was read and written back differs in value from what it was."""
    if isinstance(original, dict) and isinstance(written, dict):
        for key, value in original.items():
            yield from lost(value, written.get(key), f"{at}/{key}")
        yield from (f"{at}/{key} is new" for key in written.keys() - original.keys() if written[key])
    elif isinstance(original, list) and isinstance(written, list) and len(original) == len(written):
        for place, (before, after) in enumerate(zip(original, written, strict=True)):
            yield from lost(before, after, f"{at}/{place}")
    elif original is None:
        if written not in (None, [], ""):
            yield f"{at}: nothing became {written!r}"
    elif value_of(original) != value_of(written):
        yield f"{at}: {original!r} became {written!r}"


@pytest.mark.parametrize("name", BODIES)
def test_a_recorded_body_comes_back_to_the_value(recorded: Path, name: str) -> None:
    data = load(recorded / "rest" / name)
    for kind, where in BODIES[name]:
        for original in standing_at(data, where):
            assert list(lost(original, write(read(kind, original)))) == []


def test_what_is_compared_would_show_a_loss(recorded: Path) -> None:
    market = load(recorded / "rest" / DEMO / "markets__single.json")["market"]
    for key, value in market.items():
        if value not in (None, "", []):
            changed = {**market, key: "0.0001" if value != "0.0001" else "0.0002"}
            assert list(lost(market, changed)), key
            assert list(lost(market, {k: v for k, v in market.items() if k != key})), key


@pytest.mark.parametrize("name", [name for name in BODIES if not name.startswith((OLD, "harrodyuan", "brianlee"))])
def test_nothing_of_a_body_of_2026_is_unfit(recorded: Path, name: str) -> None:
    """What is kept as unknown is a field that nobody named, never a known one whose value did not fit."""
    data = load(recorded / "rest" / name)
    for kind, where in BODIES[name]:
        for original in standing_at(data, where):
            body = read(kind, original)
            assert not body.unknown.keys() & set(kind.__struct_encode_fields__), body


@pytest.mark.parametrize("name", ERRORS)
def test_a_recorded_error_is_the_right_refusal(recorded: Path, name: str) -> None:
    status, kind, code = ERRORS[name]
    folder = recorded / "rest" / DEMO
    if (folder / f"{name}.meta.json").exists():
        assert load(folder / f"{name}.meta.json")["status"] == status
    error = refusal(status, (folder / f"{name}.json").read_bytes())
    assert (type(error), error.status, error.code) == (kind, status, code)
    assert error.message


def test_every_recorded_file_is_accounted_for(recorded: Path) -> None:
    files = {str(path.relative_to(recorded / "rest")) for path in (recorded / "rest").rglob("*.json*")}
    bodies = {name for name in files if not name.endswith(".meta.json")}
    errors = {f"{DEMO}/{name}.json" for name in ERRORS}
    assert bodies == BODIES.keys() | errors | NOT_TODAY.keys()
    assert len(bodies) == len(BODIES) + len(errors) + len(NOT_TODAY), "each file stands in one table"


def test_a_body_of_an_old_form_is_refused_by_the_field_it_lacks(recorded: Path) -> None:
    old_fill = load(recorded / "rest" / OLD / "portfolio_fills_response.json")["response"]["fills"][0]
    with pytest.raises(ValueError, match="outcome_side is missing"):
        read(Fill, old_fill)
    quoted = load(recorded / "rest/incentive_programs/incentive_programs_rows_quoted_2026-08_09.json")["rows"][1]
    with pytest.raises(ValueError, match="id is missing"):
        read(IncentiveProgram, quoted["row"])


def test_recorded_money_is_exact(recorded: Path) -> None:
    fills = load(recorded / "rest" / DEMO / "fills__after_taker.json")["fills"]
    found = [read(Fill, fill) for fill in fills]
    assert [fill.fee_ud for fill in found] == [int(Decimal(fill["fee_cost"]) * 1_000_000) for fill in fills]
    assert [fill.yes_price_cc for fill in found] == [int(Decimal(fill["yes_price_dollars"]) * 10_000) for fill in fills]
