"""The venue as one live trader uses it: one market, one subaccount, one order group.

    place, take, decrease, renew    only while a person's grant runs; every new order names the group
    cancel, trigger                 always
    reads                           of the trader's own market and subaccount alone

It sends what it is asked once, and answers as `feed.kalshi.calls` does; whether to ask is not decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from feed import schema
from feed.account import reading
from feed.kalshi.calls import Listing
from feed.kalshi.clock import Offset
from feed.kalshi.errors import RequestRefused
from feed.kalshi.rest import Rest
from feed.kalshi.wire import orders as wire
from feed.kalshi.wire.exchange import ExchangeStatus
from feed.kalshi.wire.portfolio import Order
from kalshimm.errors import KalshimmError, OutcomeUnknown
from markets.core.units import yes_price_cc
from traders.core.intents import Cancel, Decrease, Place, Renew, Take

if TYPE_CHECKING:  # brokers stand below the start file
    from traders.start import LiveStart

SECOND_US = 1_000_000
PRIMARY = 0
ACTIVE = "active"

BatchPlaced = wire.Placed | RequestRefused | OutcomeUnknown
BatchCancelled = wire.Cancelled | RequestRefused | OutcomeUnknown


class NotGranted(KalshimmError):
    """A new order, or a change of one, was about to leave without a grant that still runs."""


class Venue:
    """One market for one live trader.

    Args:
        rest: With the trader's write key and the account's token budget.
        start: What only a granted trader is told; a dry-run trader has none.
        now_us: The exchange's time as far as it is known.

    Raises:
        NotGranted: It names no group to fence orders in, or its grant has expired.
    """

    def __init__(self, rest: Rest, start: LiveStart, ticker: str, now_us: Callable[[], int]) -> None:
        self._rest, self._start, self._now_us = rest, start, now_us
        self.ticker = ticker
        self._subaccount = PRIMARY if start.subaccount is None else start.subaccount
        self._must_be_granted()

    @property
    def grant_expires_us(self) -> int:
        return self._start.grant_expires_us

    def _must_be_granted(self) -> None:
        """Refuse to let anything new leave: the last look, whatever was decided before."""
        if not self._start.group_id:
            raise NotGranted(f"The live start of {self.ticker} names no order group; start the trader again.")
        if self._now_us() >= self._start.grant_expires_us:
            raise NotGranted(f"Grant {self._start.grant} for {self.ticker} has expired; give a new one.")

    # ---- new orders --------------------------------------------------------------------------------------------------

    async def place(self, client_order_id: str, wish: Place) -> wire.Placed:
        """Let an order rest."""
        self._must_be_granted()
        return await self._rest.orders.place(self._resting(client_order_id, wish))

    async def place_many(self, wishes: Sequence[tuple[str, Place]]) -> Sequence[BatchPlaced]:
        """Let orders rest, in one request: (client order id, wish) pairs; one answer each, in their order."""
        self._must_be_granted()
        return await self._rest.orders.place_all([self._resting(name, wish) for name, wish in wishes])

    async def take(self, client_order_id: str, wish: Take, *, reduce_only: bool) -> wire.Placed:
        """Trade at once what can be had; nothing rests.

        Args:
            reduce_only: Let the venue cut it to the position it closes (allowed with immediate-or-cancel alone).
        """
        self._must_be_granted()
        order = wire.PlaceOrder(
            ticker=self.ticker,
            client_order_id=client_order_id,
            side=wish.side,
            count_cx=wish.count_cx,
            yes_price_cc=yes_price_cc(wish.side, wish.limit_cc),
            exchange_index=self._start.exchange_index,
            time_in_force=wire.IMMEDIATE_OR_CANCEL,
            self_trade_prevention_type=wire.TAKER_AT_CROSS,
            reduce_only=True if reduce_only else None,
            order_group_id=self._start.group_id,
            subaccount=self._start.subaccount,
        )
        return await self._rest.orders.place(order)

    def _resting(self, client_order_id: str, wish: Place) -> wire.PlaceOrder:
        return wire.PlaceOrder(
            ticker=self.ticker,
            client_order_id=client_order_id,
            side=wish.side,
            count_cx=wish.count_cx,
            yes_price_cc=yes_price_cc(wish.side, wish.price_cc),
            exchange_index=self._start.exchange_index,
            time_in_force=wire.GOOD_TILL_CANCELED,
            self_trade_prevention_type=wire.TAKER_AT_CROSS,
            expiration_s=None if wish.expires_us is None else wish.expires_us // SECOND_US,
            post_only=True,
            cancel_order_on_pause=True,
            order_group_id=self._start.group_id,
            subaccount=self._start.subaccount,
        )

    # ---- changes -----------------------------------------------------------------------------------------------------

    async def decrease(self, wish: Decrease) -> wire.Decreased:
        """Make an order smaller by a difference: it names no price, so it cannot move one, and is paid as a cancel."""
        self._must_be_granted()
        order = wire.DecreaseOrder(
            reduce_by_cx=wish.less_cx, market_ticker=self.ticker, exchange_index=self._start.exchange_index
        )
        return await self._rest.orders.decrease(wish.order_id, order, subaccount=self._start.subaccount)

    async def renew(self, wish: Renew) -> wire.Amended:
        """Give an order another expiry, with the price and the total that it has: it keeps its place."""
        self._must_be_granted()
        order = wire.AmendOrder(
            ticker=self.ticker,
            side=wish.side,
            yes_price_cc=yes_price_cc(wish.side, wish.price_cc),
            count_cx=wish.total_cx,
            exchange_index=self._start.exchange_index,
            expiration_s=wish.expires_us // SECOND_US,
        )
        subaccount = self._start.subaccount
        return await self._rest.orders.amend(wish.order_id, order, subaccount=subaccount, is_renewal=True)

    # ---- what takes risk away ----------------------------------------------------------------------------------------

    async def cancel(self, wish: Cancel) -> wire.Cancelled:
        return await self._rest.orders.cancel(self._leaving(wish))

    async def cancel_many(self, wishes: Sequence[Cancel]) -> Sequence[BatchCancelled]:
        """Cancel orders in one request; one answer each, in their order."""
        return await self._rest.orders.cancel_many([self._leaving(wish) for wish in wishes])

    def _leaving(self, wish: Cancel) -> wire.CancelOrder:
        return wire.CancelOrder(
            order_id=wish.order_id,
            market_ticker=self.ticker,
            exchange_index=self._start.exchange_index,
            subaccount=self._start.subaccount,
        )

    async def trigger(self) -> None:
        """Cancel every order of the trader's group, and let the venue refuse new ones."""
        await self._rest.groups.trigger(
            self._start.group_id,
            exchange_index=self._start.exchange_index,
            subaccount=self._start.subaccount,
        )

    # ---- reads -------------------------------------------------------------------------------------------------------

    async def user_data_us(self) -> int:
        """Return up to when the reads that follow show everything."""
        return (await self._rest.exchange.user_data_timestamp()).as_of_us

    async def order(self, order_id: str) -> schema.AccountOrder:
        """Return one order.

        Raises:
            NotFound: The venue knows no such order, or not yet.
        """
        return reading.read_order(await self._rest.portfolio.order(order_id))

    async def orders_since(self, from_us: int | None) -> Listing[schema.AccountOrder]:
        """Return the market's orders in every state that were placed since then; None is ever."""
        listed: Listing[Order] = await self._rest.portfolio.orders(
            ticker=self.ticker, min_us=from_us, subaccount=self._subaccount
        ).all()
        return Listing(tuple(map(reading.read_order, listed.items)), listed.unreadable)

    async def fills_of(self, order_id: str) -> list[schema.AccountFill]:
        listed = await self._rest.portfolio.fills(order_id=order_id, subaccount=self._subaccount).all()
        return [reading.read_fill(fill) for fill in listed.items]

    async def fills_since(self, from_us: int | None) -> list[schema.AccountFill]:
        """Return the market's fills since then; None is ever."""
        listed = await self._rest.portfolio.fills(ticker=self.ticker, min_us=from_us, subaccount=self._subaccount).all()
        return [reading.read_fill(fill) for fill in listed.items]

    async def why_halted(self) -> str:
        """Return what keeps the venue from taking orders in this market; empty when nothing does."""
        status = await self._rest.exchange.status()
        if not self._is_open(status):
            return "the exchange does not trade"
        market = await self._rest.markets.market(self.ticker)
        return "" if market.status == ACTIVE else f"the market is {market.status}"

    def _is_open(self, status: ExchangeStatus) -> bool:
        shard = next((one for one in status.shards if one.exchange_index == self._start.exchange_index), status)
        return shard.exchange_active and shard.trading_active

    async def check_key(self) -> None:
        """Ask for something that wants the key, and changes nothing.

        Raises:
            Unauthorized, Forbidden: The key, its signature or our clock is still not accepted.
        """
        await self._rest.groups.group(self._start.group_id, subaccount=self._start.subaccount)

    def clock_offset(self) -> Offset | None:
        """Return how far the venue's clock is ahead of ours; None before its first dated answer."""
        return self._rest.clock_offset()
