"""Answers to order writes. Sources: facts.md 7.4; openapi.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from feed.exchange.trading.accounts import Fill
from feed.exchange.trading.orders import Amended, NewOrder, Placed, Reduced, Refusal
from feed.exchange.wire.public import money, ms
from markets.core.units import format_count


def created(placed: Placed, now_us: int) -> dict[str, Any]:
    """Return the answer to a create; what an immediate order did not fill is gone, so nothing remains."""
    order = placed.order
    return {
        "order_id": order.order_id,
        **_client_id(order.client_order_id),
        "fill_count": format_count(_filled_cx(placed.fills)),
        "remaining_count": format_count(order.remaining_cx),
        **_averages(placed.fills),
        "ts_ms": ms(now_us),
    }


def not_created(new: NewOrder, refusal: Refusal) -> dict[str, Any]:
    """Return the entry of a batch for an order that was refused."""
    return {**_client_id(new.client_order_id), "error": refusal.error()}


def amended(result: Amended, now_us: int) -> dict[str, Any]:
    """Return the answer to an amend; counts only where it filled something or changed the resting size."""
    order = result.order
    counts = {}
    if result.fills or result.is_resized:
        counts = {
            "remaining_count": format_count(order.remaining_cx),
            "fill_count": format_count(_filled_cx(result.fills)),
        }
    return {
        "order_id": order.order_id,
        **_client_id(order.client_order_id),
        **counts,
        **_averages(result.fills),
        "ts_ms": ms(now_us),
    }


def decreased(result: Reduced, now_us: int) -> dict[str, Any]:
    order = result.order
    return {
        "order_id": order.order_id,
        **_client_id(order.client_order_id),
        "remaining_count": format_count(order.remaining_cx),
        "ts_ms": ms(now_us),
    }


def cancelled(result: Reduced, now_us: int) -> dict[str, Any]:
    """Return the answer to a cancel: without the client id, as recorded."""
    return {"order_id": result.order.order_id, "reduced_by": format_count(result.by_cx), "ts_ms": ms(now_us)}


def not_cancelled(order_id: str, refusal: Refusal) -> dict[str, Any]:
    """Return the entry of a batch cancel for an order that was not there to cancel."""
    return {"order_id": order_id, "reduced_by": format_count(0), "error": refusal.error()}


def _client_id(client_order_id: str) -> dict[str, str]:
    return {"client_order_id": client_order_id} if client_order_id else {}


def _filled_cx(fills: Sequence[Fill]) -> int:
    return sum(fill.count_cx for fill in fills)


def _averages(fills: Sequence[Fill]) -> dict[str, str]:
    """Return the average price and fee of a contract; nothing where nothing was filled."""
    filled_cx = _filled_cx(fills)
    if not filled_cx:
        return {}
    paid_ud = sum(fill.yes_price_cc * fill.count_cx for fill in fills)
    return {
        "average_fill_price": _average(paid_ud, filled_cx),
        "average_fee_paid": _average(sum(fill.fee_ud for fill in fills), filled_cx),
    }


def _average(total_ud: int, count_cx: int) -> str:
    """Return dollars per contract: four decimals, up to six where they are needed."""
    text = money(total_ud * 100 // count_cx)
    return text[:-2] if text.endswith("00") else text
