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


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Where a request about an order that exists goes: an order id alone does not find its shard (facts.md 5.6)."""

    subaccount: int = PRIMARY
    exchange_index: int | None = None
    ticker: str = ""


class Amendment(msgspec.Struct, frozen=True, kw_only=True):
    """A well-formed amend; `total_cx` is what is filled already and what shall rest.

    expires_us: Unset keeps the expiry, None removes it.
    """

    ticker: str
    side: Side
    yes_price_cc: int
    total_cx: int
    client_order_id: str = ""
    updated_client_order_id: str = ""
    expires_us: int | msgspec.UnsetType | None = msgspec.UNSET


class Decrease(msgspec.Struct, frozen=True, kw_only=True):
    """A well-formed decrease: one of the two is set."""

    by_cx: int | None = None
    to_cx: int | None = None


class Placed(msgspec.Struct, frozen=True):
    """What a create did at once."""

    order: Order
    fills: tuple[Fill, ...]


class Amended(msgspec.Struct, frozen=True):
    """What an amend did at once; `is_resized` says whether the resting size is another."""

    order: Order
    fills: tuple[Fill, ...]
    is_resized: bool


class Reduced(msgspec.Struct, frozen=True):
    """What a decrease or a cancel took off an order."""

    order: Order
    by_cx: int


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
IOC_UNFILLED = Refusal(409, "immediate_or_cancel_insufficient_resting_volume")
SIDE_MISMATCH = Refusal(400, "order_side_mismatch")
TICKER_MISMATCH = Refusal(400, "order_ticker_mismatch")
CLIENT_ID_MISMATCH = Refusal(400, "order_id_and_client_order_id_mismatch")
CLIENT_ID_FORM = Refusal(400, "invalid_parameters", "client_order_id")
EXPIRES_IN_THE_PAST = Refusal(400, "invalid_order", "Expiration timestamp must be in the future")
# facts.md 8.1 knows the FIX names of these; their REST spellings and statuses are unknown, so they are ours: the name
# in small letters, 404 for what is not there, 409 for a state that may pass, 400 for the rest.
MARKET_INACTIVE = Refusal(400, "market_inactive")
SELF_CROSS = Refusal(400, "self_cross_attempt")
AMEND_BELOW_FILLED = Refusal(400, "invalid_amend_qty_for_order")
GROUP_NOT_FOUND = Refusal(404, "order_group_not_found")
GROUP_TRIGGERED = Refusal(409, "exceeded_order_group_risk_limit")
TOO_MANY_GROUPS = Refusal(400, "invalid_parameters", "too many order groups")
TOO_MANY_ORDERS = Refusal(400, "invalid_parameters", "too many open orders")
