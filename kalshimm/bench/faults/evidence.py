"""PURE: what an exchange's own ledger shows of us: orders and their lives, requests, and what must never be there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from markets.core import orderids
from markets.core.units import parse_count

CREATE = "/trade-api/v2/portfolio/events/orders"
OWNER = "owner"  # the account that the exchange makes for whoever starts it
RESTING = "resting"
ORPHAN_US = 10_000_000
TOO_MANY = 429
READS = ("GET", "HEAD")


class RequestLine(msgspec.Struct, frozen=True, tag="request", tag_field="line"):
    """A request that reached the exchange at `at_us`; `status` 0 is one whose connection was cut."""

    number: int
    at_us: int
    account: str
    method: str
    path: str
    status: int
    body: Any = None

    def creates(self) -> list[str]:
        """Return the client order ids of the orders that it asks for."""
        path = self.path.partition("?")[0]
        if self.method != "POST" or path not in (CREATE, f"{CREATE}/batched") or not isinstance(self.body, dict):
            return []
        asked = self.body.get("orders", []) if path != CREATE else [self.body]
        return [str(order.get("client_order_id", "")) for order in asked]


class EventLine(msgspec.Struct, frozen=True, tag="event", tag_field="line"):
    """What an account or everybody was told."""

    number: int
    at_us: int
    account: str
    channel: str
    body: dict[str, Any]


class Lines(msgspec.Struct, frozen=True):
    """An answer of the control port."""

    lines: list[RequestLine | EventLine]


class Seen(msgspec.Struct):
    """One order of ours over its life; `ended_us` is None while it rests."""

    trader: int
    epoch: int
    client_order_id: str
    is_yes: bool
    initial_cx: int
    created_us: int
    filled_cx: int = 0
    remaining_cx: int = 0
    ended_us: int | None = None


class Most(msgspec.Struct, frozen=True):
    """What a trader is held to: contracts of an order, and of either side when all orders of that side fill."""

    order_cx: int
    position_cx: int


class Evidence:
    """Everything that an exchange has told of one installation, oldest first.

    Args:
        most: Limits of its traders, by number; who is not there is not judged.
    """

    def __init__(self, installation: int, most: Mapping[int, Most]) -> None:
        self._installation, self._most = installation, most
        self.last_number = 0
        self.orders: dict[str, Seen] = {}
        self.creates: list[tuple[int, int]] = []  # when, and by which trader
        self.breaches = 0
        self.limited = 0
        self.writes = 0
        self._created_of: Counter[int] = Counter()
        self._deaths: list[tuple[int, int]] = []

    def add(self, lines: Iterable[RequestLine | EventLine]) -> None:
        for line in lines:
            self.last_number = line.number
            if line.account != OWNER:
                continue
            if isinstance(line, RequestLine):
                self._request(line)
            elif line.channel == "user_orders":
                self._order(line)

    def _request(self, line: RequestLine) -> None:
        self.limited += line.status == TOO_MANY
        self.writes += line.method not in READS
        for name in line.creates():
            if (found := self._of_ours(name)) is not None:
                self.creates.append((line.at_us, found.trader))
                self._created_of[found.trader] += 1

    def _order(self, line: EventLine) -> None:
        body = line.body
        found = self._of_ours(body["client_order_id"])
        if found is None:
            return
        seen = self.orders.get(body["order_id"])
        if seen is None:
            seen = self.orders[body["order_id"]] = Seen(
                trader=found.trader,
                epoch=found.epoch,
                client_order_id=body["client_order_id"],
                is_yes=body["outcome_side"] == "yes",
                initial_cx=parse_count(body["initial_count_fp"]),
                created_us=line.at_us,
            )
        seen.filled_cx = parse_count(body["fill_count_fp"])
        seen.remaining_cx = parse_count(body["remaining_count_fp"])
        seen.initial_cx = parse_count(body["initial_count_fp"])
        seen.ended_us = None if body["status"] == RESTING else line.at_us
        self._judge(seen)

    def _of_ours(self, client_order_id: str) -> orderids.OrderId | None:
        found = orderids.decode(client_order_id)
        return found if found is not None and found.installation == self._installation else None

    def _judge(self, changed: Seen) -> None:
        """Count a line at which an order, or the position with all orders of a side filled, is more than it may be."""
        most = self._most.get(changed.trader)
        if most is None:
            return
        orders = self.of(changed.trader)
        net_cx = sum(one.filled_cx if one.is_yes else -one.filled_cx for one in orders)
        yes_cx, no_cx = (
            sum(o.remaining_cx for o in orders if o.ended_us is None and o.is_yes is y) for y in (True, False)
        )
        worst_cx = max(net_cx + yes_cx, no_cx - net_cx)
        self.breaches += changed.initial_cx > most.order_cx or worst_cx > most.position_cx

    # ---- what there is -----------------------------------------------------------------------------------------------

    def of(self, trader: int) -> list[Seen]:
        return [order for order in self.orders.values() if order.trader == trader]

    def resting(self, trader: int) -> list[Seen]:
        return [order for order in self.of(trader) if order.ended_us is None]

    def epoch(self, trader: int) -> int:
        """Return the latest lease under which it has placed an order, 0 before the first."""
        return max((order.epoch for order in self.of(trader)), default=0)

    def first_create_us(self, trader: int, *, after_epoch: int) -> int | None:
        """Return when its first order under a later lease came to rest."""
        return min((one.created_us for one in self.of(trader) if one.epoch > after_epoch), default=None)

    def last_end_us(self, trader: int) -> int:
        """Return when the last of its orders that has ended did, 0 before the first."""
        return max((order.ended_us for order in self.of(trader) if order.ended_us is not None), default=0)

    # ---- what must never be there ------------------------------------------------------------------------------------

    def died(self, trader: int, at_us: int) -> None:
        """Note that a trader's process was ended, or can do nothing any more."""
        self._deaths.append((trader, at_us))

    def duplicates(self) -> int:
        """Return how many orders there are beyond one for each wish."""
        return len(self.orders) - len({order.client_order_id for order in self.orders.values()})

    def orphans(self, now_us: int) -> int:
        """Return how many orders rested for longer than 10 s after whoever had placed them could not tend them."""
        found = {
            order.client_order_id
            for trader, at_us in self._deaths
            for order in self.of(trader)
            if order.created_us <= at_us < (order.ended_us or now_us) and (order.ended_us or now_us) - at_us > ORPHAN_US
        }
        return len(found)

    def writes_of(self, traders: Iterable[int]) -> int:
        """Return how many orders these traders have asked the exchange for."""
        return sum(self._created_of[trader] for trader in traders)
