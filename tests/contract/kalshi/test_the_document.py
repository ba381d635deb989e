"""Every call of the client asks as the venue's OpenAPI document says, and understands all that it may answer.

The answers are made from the document, with every field it names, so a field that we spell otherwise, or hold for
something else, shows as unknown.
"""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import pytest
import yaml
from bodywalk import bodies_in, unknown_in
from scriptedvenue import BRIEF, ScriptedVenue, answer

from feed.kalshi.calls import Pages
from feed.kalshi.rest import Rest
from feed.kalshi.signing import Signer
from feed.kalshi.wire.orders import AmendOrder, CancelOrder, DecreaseOrder, PlaceOrder
from kalshimm.runtime.clock import SystemClock
from markets.core.units import Side

DOCUMENT = Path(__file__).resolve().parents[4] / "shared" / "kalshi" / "openapi.yaml"
BASE = "/trade-api/v2"
TEXT = "text"  # the value of every string that the document leaves free
T = 1_795_337_400_000_000

PLACE = PlaceOrder(
    ticker="KXA-1", client_order_id=TEXT, side=Side.YES, count_cx=100, yes_price_cc=4_300, exchange_index=1,
    expiration_s=1_795_337_400, post_only=True, reduce_only=False, cancel_order_on_pause=True, order_group_id="g",
    subaccount=3,
)  # fmt: skip
CANCEL = CancelOrder(order_id=TEXT, market_ticker="KXA-1", exchange_index=1, subaccount=3)
AMEND = AmendOrder(
    ticker="KXA-1", side=Side.NO, yes_price_cc=4_400, count_cx=100, exchange_index=1, client_order_id=TEXT,
    updated_client_order_id="new", expiration_s=0,
)  # fmt: skip
DECREASE = DecreaseOrder(reduce_to_cx=0, market_ticker="KXA-1", exchange_index=1)

Call = Callable[[Rest], Awaitable[Any]]
SPAN = {"min_us": T, "max_us": T}
CANDLES = {"start_us": T, "end_us": T, "minutes": 60}
CALLS: dict[str, Call] = {
    "GET /exchange/status": lambda rest: rest.exchange.status(),
    "GET /exchange/schedule": lambda rest: rest.exchange.schedule(),
    "GET /exchange/user_data_timestamp": lambda rest: rest.exchange.user_data_timestamp(),
    "GET /series": lambda rest: rest.catalogue.all_series(category="c", tags="t", min_updated_us=T),
    "GET /series/{series_ticker}": lambda rest: rest.catalogue.series("KXA", with_volume=True),
    "GET /series/fee_changes": lambda rest: rest.catalogue.series_fee_changes(series_ticker="K", show_historical=True),
    "GET /events": lambda rest: rest.catalogue.events(
        status="open", series_ticker="KXA", tickers=["A", "B"], with_nested_markets=True, min_close_us=T,
        min_updated_us=T,
    ).all(),
    "GET /events/{event_ticker}": lambda rest: rest.catalogue.event("KXA-1"),
    "GET /events/{event_ticker}/metadata": lambda rest: rest.catalogue.event_metadata("KXA-1"),
    "GET /events/fee_changes": lambda rest: rest.catalogue.event_fee_changes(event_ticker="KXA-1").all(),
    "GET /events/multivariate": lambda rest: rest.catalogue.multivariate_events(
        series_ticker="KXA", collection_ticker="C", with_nested_markets=True
    ).all(),
    "GET /milestones": lambda rest: rest.catalogue.milestones(
        category="c", kind="t", related_event_ticker="e", min_start_us=T
    ).all(),
    "GET /milestones/{milestone_id}": lambda rest: rest.catalogue.milestone("m"),
    "GET /structured_targets": lambda rest: rest.catalogue.structured_targets(kind="t").all(),
    "GET /structured_targets/{structured_target_id}": lambda rest: rest.catalogue.structured_target("s"),
    "GET /incentive_programs": lambda rest: rest.catalogue.incentive_programs(
        status="active", kind="liquidity"
    ).all(),
    "GET /markets": lambda rest: rest.markets.markets(
        status="open", event_ticker="E", series_ticker="S", mve_filter="exclude", created_us=(T, T), close_us=(T, T),
        settled_us=(T, T), updated_us=(T, T),
    ).all(),
    "GET /markets/{ticker}": lambda rest: rest.markets.market("KXA-1.5"),
    "GET /markets/{ticker}/orderbook": lambda rest: rest.markets.book("KXA-1", depth=10),
    "GET /markets/orderbooks": lambda rest: rest.markets.books(["KXA-1", "KXA-2"]),
    "GET /markets/trades": lambda rest: rest.markets.trades(ticker="KXA-1", is_block_trade=False, **SPAN).all(),
    "GET /series/{series_ticker}/markets/{ticker}/candlesticks": lambda rest: rest.markets.candles(
        "KXA", "KXA-1", with_latest_before=True, **CANDLES
    ),
    "GET /markets/candlesticks": lambda rest: rest.markets.candles_of(["A", "B"], with_latest_before=True, **CANDLES),
    "GET /historical/cutoff": lambda rest: rest.history.cutoff(),
    "GET /historical/markets": lambda rest: rest.history.markets(
        tickers=["A"], event_ticker="E", series_ticker="S", mve_filter="exclude"
    ).all(),
    "GET /historical/markets/{ticker}": lambda rest: rest.history.market("KXA-1"),
    "GET /historical/markets/{ticker}/candlesticks": lambda rest: rest.history.candles("KXA-1", **CANDLES),
    "GET /historical/trades": lambda rest: rest.history.trades(ticker="KXA-1", is_block_trade=True, **SPAN).all(),
    "GET /historical/fills": lambda rest: rest.history.fills(ticker="KXA-1", subaccount=0, **SPAN).all(),
    "GET /historical/orders": lambda rest: rest.history.orders(ticker="KXA-1", subaccount=0, **SPAN).all(),
    "GET /historical/positions": lambda rest: rest.history.positions(
        ticker="KXA-1", event_ticker="E", subaccount=0
    ).all(),
    "GET /portfolio/balance": lambda rest: rest.portfolio.balance(subaccount=0, exchange_index=0),
    "GET /portfolio/summary/total_resting_order_value": lambda rest: rest.portfolio.resting_value(),
    "GET /portfolio/positions": lambda rest: rest.portfolio.positions(
        ticker="KXA-1", event_ticker="E", count_filter="position", settlement_status="all", subaccount=0,
        exchange_index=0,
    ).all(),
    "GET /portfolio/orders": lambda rest: rest.portfolio.orders(
        status="resting", ticker="KXA-1", event_ticker=["E", "F"], subaccount=0, exchange_index=0, **SPAN
    ).all(),
    "GET /portfolio/orders/{order_id}": lambda rest: rest.portfolio.order("o"),
    "GET /portfolio/orders/{order_id}/queue_position": lambda rest: rest.portfolio.queue_position_cx("o"),
    "GET /portfolio/orders/queue_positions": lambda rest: rest.portfolio.queue_positions(
        market_tickers=["A", "B"], event_ticker="E", subaccount=0
    ),
    "GET /portfolio/fills": lambda rest: rest.portfolio.fills(
        ticker=["A", "B"], order_id="o", subaccount=0, exchange_index=0, **SPAN
    ).all(),
    "GET /portfolio/settlements": lambda rest: rest.portfolio.settlements(
        ticker="KXA-1", event_ticker="E", subaccount=0, **SPAN
    ).all(),
    "POST /portfolio/events/orders": lambda rest: rest.orders.place(PLACE),
    "DELETE /portfolio/events/orders/{order_id}": lambda rest: rest.orders.cancel(CANCEL),
    "POST /portfolio/events/orders/{order_id}/amend": lambda rest: rest.orders.amend(TEXT, AMEND, subaccount=3),
    "POST /portfolio/events/orders/{order_id}/decrease": lambda rest: rest.orders.decrease(
        TEXT, DECREASE, subaccount=3
    ),
    "POST /portfolio/events/orders/batched": lambda rest: rest.orders.place_all([PLACE]),
    "DELETE /portfolio/events/orders/batched": lambda rest: rest.orders.cancel_many([CANCEL]),
    "DELETE /portfolio/events/orders": lambda rest: rest.orders.cancel_all(subaccount=3),
    "GET /portfolio/order_groups": lambda rest: rest.groups.groups(subaccount=3),
    "POST /portfolio/order_groups/create": lambda rest: rest.groups.create(100, exchange_index=1, subaccount=3),
    "GET /portfolio/order_groups/{order_group_id}": lambda rest: rest.groups.group("g", subaccount=3),
    "PUT /portfolio/order_groups/{order_group_id}/limit": lambda rest: rest.groups.set_limit(
        "g", 200, exchange_index=1, subaccount=3
    ),
    "PUT /portfolio/order_groups/{order_group_id}/reset": lambda rest: rest.groups.reset("g", exchange_index=1),
    "PUT /portfolio/order_groups/{order_group_id}/trigger": lambda rest: rest.groups.trigger("g", exchange_index=1),
    "DELETE /portfolio/order_groups/{order_group_id}": lambda rest: rest.groups.delete("g", exchange_index=1),
    "POST /portfolio/subaccounts": lambda rest: rest.funds.create_subaccount(exchange_index=1),
    "GET /portfolio/subaccounts/balances": lambda rest: rest.funds.subaccount_balances(),
    "POST /portfolio/subaccounts/transfer": lambda rest: rest.funds.transfer_between_subaccounts(
        10_000, from_subaccount=0, to_subaccount=1, client_transfer_id="u", exchange_index=1
    ),
    "GET /portfolio/subaccounts/transfers": lambda rest: rest.funds.subaccount_transfers().all(),
    "GET /portfolio/subaccounts/netting": lambda rest: rest.funds.netting(),
    "PUT /portfolio/subaccounts/netting": lambda rest: rest.funds.set_netting(1, enabled=True),
    "POST /portfolio/intra_exchange_instance_transfer": lambda rest: rest.funds.transfer_between_shards(
        100, from_shard=0, to_shard=1, subaccount=1, to_subaccount=2, client_transfer_id="u"
    ),
    "GET /portfolio/intra_exchange_instance_transfers": lambda rest: rest.funds.transfers().all(),
    "GET /portfolio/intra_exchange_instance_transfers/{transfer_id}": lambda rest: rest.funds.transfer("t"),
    "GET /portfolio/target_balance_allocation": lambda rest: rest.funds.allocation(),
    "POST /portfolio/target_balance_allocation": lambda rest: rest.funds.set_allocation(
        {0: 60, 1: 40}, resting_margin_reservation="max"
    ),
    "GET /account/limits": lambda rest: rest.account.limits(),
    "GET /account/endpoint_costs": lambda rest: rest.account.endpoint_costs(),
    "GET /api_keys": lambda rest: rest.account.keys(),
    "POST /api_keys": lambda rest: rest.account.register_key("n", "PEM", scopes=["read"], subaccount=1),
    "POST /api_keys/generate": lambda rest: rest.account.generate_key("n", scopes=["read"], subaccount=1),
    "DELETE /api_keys/{api_key}": lambda rest: rest.account.delete_key("k"),
}  # fmt: skip

# Operations that a market maker does not need, by the start of their path.
NOT_CALLED = {
    "/communications/": "requests for quotes and block trades: not quoted",
    "/fcm/": "for clearing members",
    "/live_data/": "scores and weather",
    "/search/": "menus of the web site",
    "/multivariate_event_collections": "combos: not quoted",
    "/portfolio/deposits": "money in from outside",
    "/portfolio/withdrawals": "money out",
    "/account/api_usage_level/": "a person asks for another tier",
    "/series/{series_ticker}/events/": "charts of whole events",
}
# Words that are still sent beside their successors, and what only clearing members have.
OLD_WORDS = {"taker_side", "fcm_subtrader_id"}
NOT_MADE = {"error", "cursor", "next_cursor"}  # another answer, or another page
BY_NAME = {"start": "0.0000", "end": "1.0000", "step": "0.0100", "settlement_floor_dollars": "0.1000"}
BY_SCHEMA = {"FixedPointDollars": "0.5600", "FixedPointCount": "12.00", "PriceLevelDollarsCountFp": ["0.5600", "12.00"]}


class Document:
    """The venue's document, as far as requests and samples need it."""

    def __init__(self, path: Path) -> None:
        self.root = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
        self.operations = {
            f"{method.upper()} {path}": (operation, item.get("parameters", []) + operation.get("parameters", []))
            for path, item in self.root["paths"].items()
            for method, operation in item.items()
            if method != "parameters"
        }

    def resolved(self, node: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Return the name and content of what a node refers to, or itself."""
        if "$ref" not in node:
            return "", node
        _, _, kind, name = node["$ref"].split("/")
        return name, self.root["components"][kind][name]

    def queries(self, name: str) -> dict[str, Mapping[str, Any]]:
        parameters = (self.resolved(each)[1] for each in self.operations[name][1])
        return {each["name"]: each for each in parameters if each["in"] == "query"}

    def body(self, name: str) -> Mapping[str, Any] | None:
        content = self.operations[name][0].get("requestBody", {}).get("content")
        return None if content is None else content["application/json"]["schema"]

    def sample(self, node: Mapping[str, Any], name: str = "") -> Any:
        """Return a value with every field that the document names."""
        schema, node = self.resolved(node)
        if "allOf" in node:
            return self.sample(node["allOf"][0], name)
        if schema in BY_SCHEMA or name in BY_NAME:
            return BY_SCHEMA.get(schema, BY_NAME.get(name))
        if "enum" in node:
            return node["enum"][0]
        match node.get("type", "object"):
            case "object":
                return {k: self.sample(v, k) for k, v in node.get("properties", {}).items() if k not in NOT_MADE}
            case "array":
                return [self.sample(node["items"])]
            case "string":
                return "2026-06-11T06:29:30.164956Z" if node.get("format") == "date-time" else TEXT
            case kind:
                return {"integer": 7, "number": 0.5, "boolean": True}[kind]

    def success(self, name: str) -> tuple[int, Any]:
        status, response = next((int(s), r) for s, r in self.operations[name][0]["responses"].items() if s[0] == "2")
        content = response.get("content")
        return status, None if content is None else self.sample(content["application/json"]["schema"])

    def complaints(self, value: Any, node: Mapping[str, Any], at: str = "") -> Iterator[str]:
        """Yield what is wrong with a body that is sent."""
        _, node = self.resolved(node)
        if "allOf" in node:
            yield from self.complaints(value, node["allOf"][0], at)
            return
        kinds = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool, "number": float}
        if type(value) is not kinds[node.get("type", "object")]:
            yield f"{at}: {value!r} is no {node.get('type')}"
        elif "enum" in node and value not in node["enum"]:
            yield f"{at}: {value!r} is none of {node['enum']}"
        elif isinstance(value, list):
            for each in value:
                yield from self.complaints(each, node["items"], f"{at}[]")
        elif isinstance(value, dict):
            properties = node.get("properties", {})
            yield from (f"{at}.{name} is not documented" for name in value.keys() - properties.keys())
            yield from (f"{at}.{name} is missing" for name in set(node.get("required", [])) - value.keys())
            for name in value.keys() & properties.keys():
                yield from self.complaints(value[name], properties[name], f"{at}.{name}")


@pytest.fixture(scope="module")
def document() -> Document:
    if DOCUMENT.is_file():
        return Document(DOCUMENT)
    assert not os.environ.get("CI"), f"the OpenAPI document is missing: {DOCUMENT} is not there"
    pytest.skip("the OpenAPI document is not there")


def client(environment: Any, signer: Signer) -> Rest:
    return Rest(environment, signer, SystemClock(), connection=BRIEF)


def test_every_operation_is_called_or_left_out_for_a_reason(document: Document) -> None:
    left_out = {
        name for name in document.operations if any(name.split(" ")[1].startswith(start) for start in NOT_CALLED)
    }  # fmt: skip
    assert document.operations.keys() == CALLS.keys() | left_out
    assert not CALLS.keys() & left_out


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_asks_as_the_document_says(document: Document, signer: Signer, name: str) -> None:
    venue = ScriptedVenue(answer("404 Not Found"))
    async with venue.running() as environment, client(environment, signer) as rest:
        with pytest.raises(Exception, match="404"):
            await CALLS[name](rest)
    (seen,) = venue.seen
    method, path = name.split(" ")
    parts = urlsplit(seen.target)
    assert seen.method == method
    assert re.fullmatch(re.sub(r"{\w+}", "[^/]+", path), unquote(parts.path).removeprefix(BASE)), seen.target
    documented, sent = document.queries(name), parse_qs(parts.query, strict_parsing=bool(parts.query))
    assert sent.keys() <= documented.keys()
    assert {each for each, parameter in documented.items() if parameter.get("required")} <= sent.keys()
    for each, values in sent.items():
        schema = document.resolved(documented[each]["schema"])[1]
        assert len(values) == 1 or schema["type"] == "array"
        if schema.get("type") == "integer":
            assert int(values[0]) <= schema.get("maximum", 2**63)
        if "enum" in schema:
            assert values[0] in map(str, schema["enum"])
    schema = document.body(name)
    if schema is None:
        assert seen.body == b""
    else:
        assert list(document.complaints(seen.json(), schema)) == []


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_understands_every_field_of_its_answer(document: Document, signer: Signer, name: str) -> None:
    status, sample = document.success(name)
    venue = ScriptedVenue(answer(f"{status} Fine", sample))
    async with venue.running() as environment, client(environment, signer) as rest:
        found = await CALLS[name](rest)
    assert not isinstance(found, Pages)
    assert unknown_in(found) <= OLD_WORDS
    assert not getattr(found, "unreadable", ())
    if isinstance(sample, dict) and sample and found is not None:
        assert list(bodies_in(found)) or isinstance(found, int | str | dict)


def test_a_misspelt_field_would_show(document: Document) -> None:
    _, sample = document.success("GET /portfolio/fills")
    fill = sample["fills"][0]
    assert {"count_fp": "12.00", "yes_price_dollars": "0.5600", "outcome_side": "yes"}.items() <= fill.items()
    schema = document.body("POST /portfolio/events/orders")
    assert schema is not None
    order = msgspec.json.decode(b'{"tickr":"K","count":1}')
    assert set(document.complaints(order, schema)) >= {".tickr is not documented", ".ticker is missing"}
