"""The bodies and queries of order requests, understood. Sources: facts.md sections 4, 7.4, 7.5 and 8; openapi.yaml."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from feed.exchange.trading.accounts import PRIMARY, SUBACCOUNTS_MAX
from feed.exchange.trading.orders import (
    AUTO_ROUTE,
    FOK,
    GTC,
    IOC,
    STP_MAKER,
    STP_TAKER,
    Amendment,
    Decrease,
    NewOrder,
    Route,
)
from feed.exchange.wire.answers import BadParameter, Query
from feed.exchange.wire.decoding import TIME_MAX_S, Body, Kind, decode
from markets.core.units import CONTRACT_CX, Side

CLIENT_ID_MAX = 64
SHARD_MAX = 2**31 - 1
GROUP_LIMIT_MAX = 1_000_000  # contracts
SECOND_US = 1_000_000

CREATE = Kind(
    "CreateOrderV2",
    "CreateOrderV2Request",
    texts=frozenset({
        "ticker", "side", "count", "price", "time_in_force", "self_trade_prevention_type", "client_order_id",
        "order_group_id",
    }),
    flags=frozenset({"post_only", "reduce_only", "cancel_order_on_pause"}),
    wholes=frozenset({"expiration_time", "subaccount", "exchange_index"}),
)  # fmt: skip
CREATE_BATCH = Kind("BatchCreateOrdersV2", "BatchCreateOrdersV2Request", lists=frozenset({"orders"}))
AMEND = Kind(
    "AmendOrderV2",
    "AmendOrderV2Request",
    texts=frozenset({"ticker", "side", "price", "count", "client_order_id", "updated_client_order_id"}),
    wholes=frozenset({"expiration_time", "exchange_index"}),
)
DECREASE = Kind(
    "DecreaseOrderV2",
    "DecreaseOrderV2Request",
    texts=frozenset({"reduce_by", "reduce_to", "market_ticker"}),
    wholes=frozenset({"exchange_index"}),
)
CANCEL_BATCH = Kind("BatchCancelOrdersV2", "BatchCancelOrdersV2Request", lists=frozenset({"orders"}))
CANCEL_ITEM = Kind(
    "BatchCancelOrdersV2",
    "BatchCancelOrdersV2Request",
    texts=frozenset({"order_id", "market_ticker"}),
    wholes=frozenset({"subaccount", "exchange_index"}),
)
CREATE_GROUP = Kind(
    "CreateOrderGroup",
    "CreateOrderGroupRequest",
    texts=frozenset({"contracts_limit_fp"}),
    wholes=frozenset({"contracts_limit", "subaccount", "exchange_index"}),
)
GROUP_LIMIT = Kind(
    "UpdateOrderGroupLimit",
    "UpdateOrderGroupLimitRequest",
    texts=frozenset({"contracts_limit_fp"}),
    wholes=frozenset({"contracts_limit"}),
)


# Says whose orders a request is about that names a subaccount, or none: a key may be bound to one.
Subaccounts = Callable[[int | None], int]


class NewGroup(msgspec.Struct, frozen=True, kw_only=True):
    """A well-formed group request."""

    limit_cx: int
    subaccount: int
    exchange_index: int


def primary(named: int | None) -> int:
    """Return the subaccount a write names, by default the primary one."""
    return PRIMARY if named is None else named


# --- create -------------------------------------------------------------------------------------------------------


def read_create(raw: bytes, content_type: str, subaccounts: Subaccounts = primary) -> NewOrder:
    """Return the create request in a body.

    Raises:
        BadBody: Not JSON, or a field of the wrong JSON type or not a decimal.
        BadParameter: A field is missing or holds a word the venue does not know.
    """
    return _new_order(decode(raw, content_type, CREATE), subaccounts)


def read_create_batch(raw: bytes, content_type: str, subaccounts: Subaccounts = primary) -> list[NewOrder]:
    """Return the creates of a batch; one malformed order spoils all. Raises as `read_create`."""
    batch = decode(raw, content_type, CREATE_BATCH)
    batch.require("orders")
    return [_new_order(item, subaccounts) for item in list(batch.items("orders", CREATE))]


def _new_order(body: Body, subaccounts: Subaccounts) -> NewOrder:
    body.require("ticker", "side", "count", "price", "time_in_force", "self_trade_prevention_type")
    side = _side(body)
    time_in_force = body.one_of("time_in_force", GTC, IOC, FOK)
    self_trade_prevention = body.one_of("self_trade_prevention_type", STP_TAKER, STP_MAKER)
    expires_s = body.within("expiration_time", low=-TIME_MAX_S, high=TIME_MAX_S)
    subaccount = body.within("subaccount", low=0, high=SUBACCOUNTS_MAX)
    exchange_index = body.within("exchange_index", low=AUTO_ROUTE, high=SHARD_MAX)
    return NewOrder(
        ticker=body.text("ticker"),
        side=side,
        count_cx=body.count_cx("count"),
        yes_price_cc=body.price_cc("price"),
        time_in_force=time_in_force,
        self_trade_prevention=self_trade_prevention,
        client_order_id=_client_id(body, "client_order_id"),
        expires_us=None if expires_s is None else expires_s * SECOND_US,
        post_only=body.flag("post_only"),
        reduce_only=body.flag("reduce_only"),
        cancel_on_pause=body.flag("cancel_order_on_pause"),
        order_group_id=body.text("order_group_id"),
        exchange_index=AUTO_ROUTE if exchange_index is None else exchange_index,
        subaccount=subaccounts(subaccount),
    )


def _side(body: Body) -> Side:
    return Side.YES if body.one_of("side", "bid", "ask") == "bid" else Side.NO


def _client_id(body: Body, name: str) -> str:
    value = body.text(name)
    if len(value) > CLIENT_ID_MAX:
        raise body.failed(name, "max")
    return value


# --- change and cancel --------------------------------------------------------------------------------------------


def read_amend(raw: bytes, content_type: str) -> tuple[Amendment, int | None]:
    """Return an amend and the shard it names. Raises as `read_create`."""
    body = decode(raw, content_type, AMEND)
    body.require("ticker", "side", "price", "count")
    side = _side(body)
    expires_s = body.within("expiration_time", low=0, high=TIME_MAX_S)
    amendment = Amendment(
        ticker=body.text("ticker"),
        side=side,
        yes_price_cc=body.price_cc("price"),
        total_cx=body.count_cx("count"),
        client_order_id=_client_id(body, "client_order_id"),
        updated_client_order_id=_client_id(body, "updated_client_order_id"),
        expires_us=msgspec.UNSET if expires_s is None else (expires_s * SECOND_US or None),
    )
    return amendment, body.within("exchange_index", low=AUTO_ROUTE, high=SHARD_MAX)


def read_decrease(raw: bytes, content_type: str) -> tuple[Decrease, int | None, str]:
    """Return a decrease, the shard and the market it names. Raises as `read_create`."""
    body = decode(raw, content_type, DECREASE)
    if body.has("reduce_by") == body.has("reduce_to"):
        tag = "excluded_with" if body.has("reduce_to") else "required_without"
        raise body.failed("reduce_by", tag)
    decrease = (
        Decrease(by_cx=body.count_cx("reduce_by"))
        if body.has("reduce_by")
        else Decrease(to_cx=body.count_cx("reduce_to"))
    )
    exchange_index, ticker = _place(body)
    return decrease, exchange_index, ticker


def read_cancel_batch(raw: bytes, content_type: str, subaccounts: Subaccounts = primary) -> list[tuple[str, Route]]:
    """Return the ids of a batch cancel and where each goes. Raises as `read_create`."""
    batch = decode(raw, content_type, CANCEL_BATCH)
    batch.require("orders")
    return [_cancel_item(item, subaccounts) for item in list(batch.items("orders", CANCEL_ITEM))]


def _cancel_item(body: Body, subaccounts: Subaccounts) -> tuple[str, Route]:
    body.require("order_id")
    exchange_index, ticker = _place(body)
    subaccount = body.within("subaccount", low=0, high=SUBACCOUNTS_MAX)
    route = Route(subaccount=subaccounts(subaccount), exchange_index=exchange_index, ticker=ticker)
    return body.text("order_id"), route


def _place(body: Body) -> tuple[int | None, str]:
    exchange_index, ticker = body.within("exchange_index", low=AUTO_ROUTE, high=SHARD_MAX), body.text("market_ticker")
    if exchange_index == AUTO_ROUTE and not ticker:
        raise body.failed("market_ticker", "required")
    return exchange_index, ticker


def read_route(query: Query, subaccount: int) -> Route:
    """Return where a cancel goes: its query names a shard, or a market to find it by.

    Raises:
        BadParameter: Automatic routing is asked for without a market.
    """
    exchange_index, ticker = query.integer("exchange_index"), query.text("market_ticker")
    if exchange_index == AUTO_ROUTE and not ticker:
        raise query.failed("MarketTicker", "required")
    return Route(subaccount=subaccount, exchange_index=exchange_index, ticker=ticker)


# --- groups -------------------------------------------------------------------------------------------------------


def read_group(raw: bytes, content_type: str, subaccounts: Subaccounts = primary) -> NewGroup:
    """Return the group a body asks for; it lies on shard 0 unless it says otherwise. Raises as `read_create`."""
    body = decode(raw, content_type, CREATE_GROUP)
    return NewGroup(
        limit_cx=_group_limit_cx(body),
        subaccount=subaccounts(body.within("subaccount", low=0, high=SUBACCOUNTS_MAX)),
        exchange_index=body.within("exchange_index", low=0, high=SHARD_MAX) or 0,
    )


def read_group_limit(raw: bytes, content_type: str) -> int:
    """Return the limit in a body, in hundredths of a contract. Raises as `read_create`."""
    return _group_limit_cx(decode(raw, content_type, GROUP_LIMIT))


def _group_limit_cx(body: Body) -> int:
    whole = body.within("contracts_limit", low=1, high=GROUP_LIMIT_MAX)
    exact_cx = body.count_cx("contracts_limit_fp") if body.has("contracts_limit_fp") else None
    if whole is None and exact_cx is None:
        raise body.failed("contracts_limit", "required_without")
    if whole is not None and exact_cx is not None and exact_cx != whole * CONTRACT_CX:
        raise _problem(body, "contracts_limit and contracts_limit_fp do not match")
    limit_cx = exact_cx if exact_cx is not None else (whole or 0) * CONTRACT_CX
    if not CONTRACT_CX <= limit_cx <= GROUP_LIMIT_MAX * CONTRACT_CX:
        raise _problem(body, "contracts_limit_fp must lie in 1 .. 1000000")
    return limit_cx


def _problem(body: Body, problem: str) -> BadParameter:
    return BadParameter(body.kind.operation, problem)
