"""`/portfolio/events/orders`: the order writes that work. Each has the three answers of `feed.kalshi.calls`.

Every write names its shard: an order id alone does not find one, and an auto-routed write is billed on all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from feed.kalshi.calls import Calls, Parameters, Write, part, segment
from feed.kalshi.errors import RequestRefused
from feed.kalshi.limiter import Work
from feed.kalshi.refusals import is_failure, refusal_of
from feed.kalshi.wire.bodies import Body, read, write
from feed.kalshi.wire.kinds import shown
from feed.kalshi.wire.orders import (
    Amended,
    AmendOrder,
    BatchEntry,
    Cancelled,
    CancelOrder,
    Decreased,
    DecreaseOrder,
    Placed,
    PlaceOrder,
)
from kalshimm.errors import OutcomeUnknown

ORDERS = "/portfolio/events/orders"
BATCHED = f"{ORDERS}/batched"

B = TypeVar("B", Placed, Cancelled)


class Orders:
    """Place, cancel, amend, decrease: one by one, in batches, and everything at once."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def place(self, order: PlaceOrder) -> Placed:
        """Place one order. Accepted does not mean resting: the answer's numbers tell.

        Raises:
            AlreadyExists: An order with this client order id was placed before: proof that it arrived.
        """

        def accepted(data: Any) -> Placed:
            return _same("client_order_id", order.client_order_id, read(Placed, data))

        asked = f"place order {order.client_order_id} in {order.ticker}"
        call = Write(
            Work.CREATE, "POST", ORDERS, asked, accepted,
            body=write(order), exchange_index=order.exchange_index, client_order_id=order.client_order_id,
        )  # fmt: skip
        placed: Placed = await self._calls.write(call)
        return placed

    async def cancel(self, order: CancelOrder) -> Cancelled:
        """Cancel one order.

        Raises:
            NotFound: Nothing to cancel: it has ended, or never was. Look it up.
        """

        def accepted(data: Any) -> Cancelled:
            return _same("order_id", order.order_id, read(Cancelled, data))

        asked = f"cancel order {order.order_id} in {order.market_ticker}"
        query = Parameters(
            subaccount=order.subaccount, exchange_index=order.exchange_index, market_ticker=order.market_ticker
        )  # fmt: skip
        path = f"{ORDERS}/{segment(order.order_id)}"
        call = Write(
            Work.CANCEL, "DELETE", path, asked, accepted, query=query, exchange_index=order.exchange_index
        )  # fmt: skip
        cancelled: Cancelled = await self._calls.write(call)
        return cancelled

    async def amend(
        self, order_id: str, order: AmendOrder, *, subaccount: int | None = None, is_renewal: bool = False
    ) -> Amended:
        """Change price, total count or expiry of an order; only a smaller count or another expiry keeps its place.

        Args:
            is_renewal: Nothing but the expiry changes, so it is paid from the renewals' share of the budget.
        """

        def accepted(data: Any) -> Amended:
            return read(Amended, data)

        call = Write(
            Work.RENEW if is_renewal else Work.CREATE, "POST", f"{ORDERS}/{segment(order_id)}/amend",
            f"amend order {order_id} in {order.ticker}", accepted,
            query=Parameters(subaccount=subaccount), body=write(order), exchange_index=order.exchange_index,
            client_order_id=order.updated_client_order_id or order.client_order_id or "",
        )  # fmt: skip
        amended: Amended = await self._calls.write(call)
        return amended

    async def decrease(self, order_id: str, order: DecreaseOrder, *, subaccount: int | None = None) -> Decreased:
        """Make an order smaller; it keeps its place in the queue."""
        if (order.reduce_by_cx is None) == (order.reduce_to_cx is None):
            raise ValueError("either reduce_by_cx or reduce_to_cx, not both and not neither")

        def accepted(data: Any) -> Decreased:
            return _same("order_id", order_id, read(Decreased, data))

        call = Write(
            Work.CANCEL, "POST", f"{ORDERS}/{segment(order_id)}/decrease",
            f"decrease order {order_id} in {order.market_ticker}", accepted,
            query=Parameters(subaccount=subaccount), body=write(order), exchange_index=order.exchange_index,
        )  # fmt: skip
        decreased: Decreased = await self._calls.write(call)
        return decreased

    async def place_all(self, orders: Sequence[PlaceOrder]) -> list[Placed | RequestRefused | OutcomeUnknown]:
        """Place many orders in one request; each has its own answer, in the order they were given.

        Raises:
            HeldBack: The batch does not fit the budget whole; `fits` says how many would.
        """
        wanted = [_Item(order.client_order_id, f"place order {order.client_order_id}", order) for order in orders]
        entries = await self._calls.write(_batch(Work.CREATE, "POST", wanted))
        return _settle(Placed, "client_order_id", wanted, entries)

    async def cancel_many(self, orders: Sequence[CancelOrder]) -> list[Cancelled | RequestRefused | OutcomeUnknown]:
        """Cancel many orders in one request; each has its own answer, in the order they were given."""
        wanted = [_Item(order.order_id, f"cancel order {order.order_id}", order) for order in orders]
        entries = await self._calls.write(_batch(Work.CANCEL, "DELETE", wanted))
        return _settle(Cancelled, "order_id", wanted, entries)

    async def cancel_all(self, *, subaccount: int | None = None) -> None:
        """Cancel every order on every shard; without a subaccount, of all of them.

        Orders placed up to a minute later may be cancelled too (facts.md section 7.4).
        """
        whose = "of every subaccount" if subaccount is None else f"of subaccount {subaccount}"
        query = Parameters(subaccount=subaccount)
        await self._calls.write(
            Write(Work.CANCEL, "DELETE", ORDERS, f"cancel all orders {whose}", nothing, query=query)
        )  # fmt: skip


class _Item(NamedTuple):
    """One order of a batch, by the id that its answer will name."""

    id: str
    asked: str
    order: Body


def nothing(data: Any) -> None:
    """Accept an answer that has nothing to say."""
    if data is not None and not isinstance(data, dict):
        raise ValueError(f"expected nothing, found {shown(data)}")


def _entries(data: Any) -> list[Any]:
    entries = part(data, "orders")
    if not isinstance(entries, list):
        raise ValueError(f"orders: expected a list, found {shown(entries)}")
    return entries


def aligned(entries: Sequence[Any], id_name: str, ids: Sequence[str]) -> list[Any]:
    """Return for each id the entry of a batch's answer that speaks of it, or None.

    An entry that names an id is taken at its word; one that names none stands in its own place, if the answer has as
    many entries as were asked for.
    """
    found: dict[str, Any] = {}
    for place, entry in enumerate(entries):
        named = entry.get(id_name) if isinstance(entry, dict) else None
        if isinstance(named, str) and named:
            found[named] = entry
        elif len(entries) == len(ids):
            found.setdefault(ids[place], entry)
    return [found.get(wanted) for wanted in ids]


def _batch(work: Work, method: str, wanted: Sequence[_Item]) -> Write:
    if not wanted:
        raise ValueError("an empty batch")
    if len({item.id for item in wanted}) < len(wanted):
        raise ValueError("the same order twice in a batch")
    asked = wanted[0].asked if len(wanted) == 1 else f"{wanted[0].asked} and {len(wanted) - 1} more"
    body = {"orders": [write(item.order) for item in wanted]}
    return Write(work, method, BATCHED, asked, _entries, body=body, items=len(wanted), is_batch=True)


def _settle(
    kind: type[B], id_name: str, wanted: Sequence[_Item], entries: Sequence[Any]
) -> list[B | RequestRefused | OutcomeUnknown]:
    found = aligned(entries, id_name, [item.id for item in wanted])
    return [_settled(kind, id_name, item, entry) for item, entry in zip(wanted, found, strict=True)]


def _settled(kind: type[B], id_name: str, item: _Item, entry: Any) -> B | RequestRefused | OutcomeUnknown:
    """Return what one entry of a batch's answer means."""
    client_order_id = item.id if id_name == "client_order_id" else ""
    try:
        head = read(BatchEntry, entry)
        error = head.unknown.get("error", head.error)  # one of another shape is still no acceptance
        if error is None:
            return _same(id_name, item.id, read(kind, entry))
    except ValueError as exc:
        problem = f"the batch's answer does not say ({exc})"
        return OutcomeUnknown(item.asked, problem, client_order_id=client_order_id)
    refused = refusal_of(None, error)
    is_shaped = bool(refused.code) or (isinstance(error, dict) and "msg" in error)  # by code, or by the validator
    if not is_shaped or is_failure(refused.code):
        problem = f"the batch's answer was {refused.code or refused.message or 'an error without a code'}"
        return OutcomeUnknown(item.asked, problem, client_order_id=client_order_id)
    return refused


A = TypeVar("A", bound=Body)


def _same(name: str, wanted: str, answer: A) -> A:
    """Return the answer if it speaks of what was asked, or of nothing in particular."""
    found = getattr(answer, name)
    if found is not None and found != wanted:
        raise ValueError(f"{name}: expected {wanted}, found {shown(found)}")
    return answer
