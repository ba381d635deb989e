"""The exchange's own ledger of one account, as values: orders, fills and requests, each at the exchange's time.

It comes from the control port (`/ledger/lines` for what happened, `/ledger` for what is), and is read here once more,
without the product's own reading, so that a mistake of that would show.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from tests.faults.truth import SIDES, count_cx, price_cc

BASE = "/trade-api/v2"
CREATE = "/portfolio/events/orders"
BATCHED = f"{CREATE}/batched"
DOLLAR_CC, DOLLAR_UD = 10_000, 1_000_000
RESTING, CANCELED, EXECUTED = "resting", "canceled", "executed"


class OrderAt(msgspec.Struct, frozen=True, kw_only=True):
    """An order right after a change of it; `price_cc` is on its own side's ladder (0 Yes, 1 No)."""

    number: int
    at_us: int
    order_id: str
    client_order_id: str
    ticker: str
    side: int
    price_cc: int
    initial_cx: int
    filled_cx: int
    remaining_cx: int
    status: str
    reason: str = ""
    group_id: str = ""

    @property
    def is_over(self) -> bool:
        return self.status != RESTING


class FillAt(msgspec.Struct, frozen=True, kw_only=True):
    """One fill; `price_cc` is on its own side's ladder."""

    number: int
    at_us: int
    trade_id: str
    order_id: str
    client_order_id: str
    ticker: str
    side: int
    price_cc: int
    count_cx: int
    fee_ud: int
    is_taker: bool = False


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request that reached the exchange at `at_us`; `status` 0 is one whose connection was cut."""

    number: int
    at_us: int
    account: str
    method: str
    path: str
    status: int
    body: Any = None

    @property
    def is_write(self) -> bool:
        return self.method not in ("GET", "HEAD")

    @property
    def creates(self) -> list[str]:
        """The client order ids of the orders that it asks for."""
        if self.method != "POST" or self.path not in (CREATE, BATCHED):
            return []
        return [str(order.get("client_order_id", "")) for order in self._asked()]

    @property
    def changes(self) -> list[tuple[str, str]]:
        """What it does to which orders: (`cancel`, `amend` or `decrease`, order id)."""
        if self.path == BATCHED:
            return (
                [("cancel", str(order.get("order_id"))) for order in self._asked()] if self.method == "DELETE" else []
            )
        if not self.path.startswith(f"{CREATE}/"):
            return []
        order_id, _, word = self.path.removeprefix(f"{CREATE}/").partition("/")
        if self.method == "DELETE" and not word:
            return [("cancel", order_id)]
        return [(word, order_id)] if self.method == "POST" and word else []

    def _asked(self) -> list[dict[str, Any]]:
        if not isinstance(self.body, dict):
            return []
        asked: list[dict[str, Any]] = self.body.get("orders", []) if self.path == BATCHED else [self.body]
        return asked


class GroupAt(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened to an order group: created, triggered, reset, limit_updated or deleted."""

    number: int
    at_us: int
    group_id: str
    event: str


Moment = OrderAt | FillAt


class Ledger:
    """Everything that happened to one account, oldest first."""

    def __init__(self, account: str) -> None:
        self.account = account
        self.last_number = 0
        self.moments: list[Moment] = []
        self.orders: dict[str, list[OrderAt]] = {}
        self.fills: list[FillAt] = []
        self.requests: list[Request] = []
        self.groups: list[GroupAt] = []
        self.settled: set[str] = set()

    def add(self, lines: list[dict[str, Any]]) -> None:
        """Take in lines of the control port, of every account: those of others are passed over."""
        for line in lines:
            self.last_number = line["number"]
            if line["line"] == "request":
                self.requests.append(_request(line))
            elif line["channel"] == "market_lifecycle_v2" and line["body"].get("event_type") == "settled":
                self.settled.add(line["body"]["market_ticker"])
            elif line["account"] == self.account:
                self._add_event(line)

    def _add_event(self, line: dict[str, Any]) -> None:
        match line["channel"]:
            case "user_orders":
                order = _order(line)
                self.orders.setdefault(order.order_id, []).append(order)
                self.moments.append(order)
            case "fill":
                fill = _fill(line)
                self.fills.append(fill)
                self.moments.append(fill)
            case "order_group_updates":
                body = line["body"]
                self.groups.append(
                    GroupAt(
                        number=line["number"], at_us=line["at_us"], group_id=body["order_group_id"],
                        event=body["event_type"],
                    )
                )  # fmt: skip

    def newest(self) -> list[OrderAt]:
        """Return every order as it is now, in the order in which they came."""
        return [history[-1] for history in self.orders.values()]

    def resting(self) -> list[OrderAt]:
        return [order for order in self.newest() if not order.is_over]

    def of_client_id(self, client_order_id: str) -> list[OrderAt]:
        """Return the orders of a client order id as they are now: there should be one at most."""
        return [order for order in self.newest() if order.client_order_id == client_order_id]

    def filled_position_cx(self, ticker: str) -> int:
        """Return what all fills of a market come to, Yes positive."""
        return sum(signed_cx(fill) for fill in self.fills if fill.ticker == ticker)

    def requests_of(self, method: str, path: str, *, since: int = 0) -> list[Request]:
        """Return the account's requests of a method whose path begins so, after line `since`."""
        return [
            request
            for request in self.requests
            if request.number > since
            and request.account == self.account
            and request.method == method
            and request.path.startswith(path)
        ]


def signed_cx(fill: FillAt) -> int:
    return fill.count_cx if fill.side == SIDES["yes"] else -fill.count_cx


def money_ud(text: str) -> int:
    return int(Decimal(text) * DOLLAR_UD)


def _own_price_cc(body: dict[str, Any], side: int) -> int:
    yes_cc = price_cc(body["yes_price_dollars"])
    return yes_cc if side == SIDES["yes"] else DOLLAR_CC - yes_cc


def _order(line: dict[str, Any]) -> OrderAt:
    body = line["body"]
    side = SIDES[body["outcome_side"]]
    return OrderAt(
        number=line["number"],
        at_us=line["at_us"],
        order_id=body["order_id"],
        client_order_id=body["client_order_id"],
        ticker=body["ticker"],
        side=side,
        price_cc=_own_price_cc(body, side),
        initial_cx=count_cx(body["initial_count_fp"]),
        filled_cx=count_cx(body["fill_count_fp"]),
        remaining_cx=count_cx(body["remaining_count_fp"]),
        status=body["status"],
        reason=body.get("last_update_reason", ""),
        group_id=body.get("order_group_id", ""),
    )


def _fill(line: dict[str, Any]) -> FillAt:
    body = line["body"]
    side = SIDES[body["outcome_side"]]
    return FillAt(
        number=line["number"],
        at_us=line["at_us"],
        trade_id=body["trade_id"],
        order_id=body["order_id"],
        client_order_id=body.get("client_order_id", ""),
        ticker=body["market_ticker"],
        side=side,
        price_cc=_own_price_cc(body, side),
        count_cx=count_cx(body["count_fp"]),
        fee_ud=money_ud(body["fee_cost"]),
        is_taker=body["is_taker"],
    )


def _request(line: dict[str, Any]) -> Request:
    return Request(
        number=line["number"],
        at_us=line["at_us"],
        account=line["account"],
        method=line["method"],
        path=line["path"].partition("?")[0].removeprefix(BASE),
        status=line["status"],
        body=line["body"],
    )
