"""What somebody asks of the order desk, and what it answers. Prices in requests are YES prices."""

from __future__ import annotations

from typing import Any

import msgspec

from feed.exchange.trading.accounts import PRIMARY, Fill, Order
from markets.core.units import Side

GTC, IOC, FOK = "good_till_canceled", "immediate_or_cancel", "fill_or_kill"
STP_TAKER, STP_MAKER = "taker_at_cross", "maker"
AUTO_ROUTE = -1  # exchange_index: find the shard by the ticker

# `last_update_reason` words of facts.md section 8. A cancel by its owner, by hand or by an order group, has none.
TRADE, AMEND, DECREASE = "Trade", "Amend", "Decrease"
SELF_TRADE_CANCEL, EXPIRY_CANCEL, CLOSE_CANCEL, HALT_CANCEL = (
    "SelfTradeCancel", "ExpiryCancel", "CloseCancel", "HaltCancel",
)  # fmt: skip
MARGIN_CANCEL = "MarginCancel"
POST_ONLY_CROSS_CANCEL, REDUCE_ONLY_CANCEL = "PostOnlyCrossCancel", "ReduceOnlyCancel"


class NewOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A well-formed create request."""

    ticker: str
    side: Side
    count_cx: int
    yes_price_cc: int
    time_in_force: str
    self_trade_prevention: str
    client_order_id: str = ""
    expires_us: int | None = None
    post_only: bool = False
    reduce_only: bool = False
    cancel_on_pause: bool = False
    order_group_id: str = ""
    exchange_index: int = AUTO_ROUTE
    subaccount: int = PRIMARY


class Placed(msgspec.Struct, frozen=True):
    """What a create did at once."""

    order: Order
    fills: tuple[Fill, ...]


class Refusal(msgspec.Struct, frozen=True):
    """The venue's nested error form."""

    status: int
    code: str
    details: str = ""

    def error(self) -> dict[str, Any]:
        """Return code, message and details, as a batch gives them for each item."""
        error = {"code": self.code, "message": self.code.replace("_", " ")}
        return {**error, "details": self.details} if self.details else error

    def body(self) -> dict[str, Any]:
        return {"error": self.error()}


NOT_FOUND = Refusal(404, "not_found")
INVALID_PRICE = Refusal(400, "invalid_price")
INVALID_SIZE = Refusal(400, "invalid_order_size")
INSUFFICIENT_BALANCE = Refusal(400, "insufficient_balance")
ALREADY_EXISTS = Refusal(409, "order_already_exists")
POST_ONLY_CROSS = Refusal(400, "invalid_order", "post only cross")
FOK_KILLED = Refusal(409, "fill_or_kill_insufficient_resting_volume")
# facts.md 8.1 knows the FIX name MARKET_INACTIVE; its REST spelling is unknown, so this is ours.
MARKET_INACTIVE = Refusal(400, "market_inactive")
