"""Order entry: what happens to an order from the moment its request is understood.

check → match → print → fill, fee, position, cash → tell. Refusals are values with the venue's status and body; the
checks stand in the order in which the venue is believed to make them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from feed.exchange.happenings import BookChanged, Private, Traded
from feed.exchange.trading import fees
from feed.exchange.trading.accounts import CANCELED, EXECUTED, PRIMARY, RESTING, Account, Fill, Order
from feed.exchange.trading.ledger import Kind
from feed.exchange.trading.positions import Position
from feed.exchange.wire import private as private_wire
from markets.core.matching import LevelChange, Match, Outcome, RestingOrder
from markets.core.units import DOLLAR_CC, Side, yes_price_cc

if TYPE_CHECKING:
    from feed.exchange.market import Market
    from feed.exchange.world import World

GTC, IOC, FOK = "good_till_canceled", "immediate_or_cancel", "fill_or_kill"
STP_TAKER, STP_MAKER = "taker_at_cross", "maker"


class Refusal(msgspec.Struct, frozen=True):
    """The venue's nested error form."""

    status: int
    code: str
    details: str = ""

    def body(self) -> dict[str, Any]:
        error = {"code": self.code, "message": self.code.replace("_", " ")}
        return {"error": {**error, "details": self.details} if self.details else error}


NOT_FOUND = Refusal(404, "not_found")
# facts.md 8.1 knows the FIX name MARKET_INACTIVE; its REST spelling is unknown, so this is ours.
MARKET_INACTIVE = Refusal(400, "market_inactive")


class NewOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A well-formed create request; the price is the YES price."""

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
    exchange_index: int = -1
    subaccount: int = PRIMARY


class Placed(msgspec.Struct, frozen=True):
    """What a create did at once."""

    order: Order
    fills: tuple[Fill, ...]


class OrderEntry:
    """The order desk of one world."""

    def __init__(self, world: World) -> None:
        self._world = world

    # --- accounts -------------------------------------------------------------------------------------------------

    def place(self, account: Account, request: NewOrder) -> Placed | Refusal:
        """Check and execute a create of an account."""
        market = self._world.markets.get(request.ticker)
        if market is None or request.exchange_index not in (-1, market.terms.exchange_index):
            return NOT_FOUND
        refusal = self._check_terms(account, market, request)
        if refusal:
            return refusal
        order = self._new_order(account, market, request)
        refusal = self._check_market(account, market, request, order)
        if refusal:
            return refusal
        return self._execute(account, market, order)

    def _check_terms(self, account: Account, market: Market, request: NewOrder) -> Refusal | None:
        own_price = yes_price_cc(request.side, request.yes_price_cc)
        if request.order_group_id:
            return NOT_FOUND
        if request.count_cx <= 0:
            return Refusal(400, "invalid_order_size")
        if not market.terms.grid.contains(request.side, own_price):
            return Refusal(400, "invalid_price")
        if request.expires_us is not None and request.time_in_force != GTC:
            return Refusal(400, "invalid_order", f"Cannot specify both {request.time_in_force} and expiration_time")
        if request.expires_us is not None and request.expires_us <= self._world.now_us:
            return Refusal(400, "invalid_order", "Expiration timestamp must be in the future")
        if request.reduce_only and request.time_in_force != IOC:
            return Refusal(400, "invalid_order", "reduce_only requires immediate_or_cancel")
        if request.client_order_id and request.client_order_id in account.client_order_ids:
            return Refusal(409, "order_already_exists")
        return None

    def _check_market(self, account: Account, market: Market, request: NewOrder, order: Order) -> Refusal | None:
        if not market.is_tradable:
            return MARKET_INACTIVE
        if request.post_only and market.would_cross(order.side, order.price_cc):
            return Refusal(400, "invalid_order", "post only cross")
        if request.time_in_force == FOK and market.reachable_cx(order.side, order.price_cc) < order.initial_cx:
            return Refusal(409, "fill_or_kill_insufficient_resting_volume")
        reservation = self._world.switches.resting_collateral
        before = account.available_ud(order.exchange_index, order.subaccount, reservation=reservation)
        after = account.available_ud(order.exchange_index, order.subaccount, reservation=reservation, with_order=order)
        if after < 0 and after < before:
            return Refusal(400, "insufficient_balance")
        return None

    def _new_order(self, account: Account, market: Market, request: NewOrder) -> Order:
        now = self._world.now_us
        return Order(
            order_id=self._world.new_id(),
            client_order_id=request.client_order_id,
            account=account.name,
            ticker=market.ticker,
            exchange_index=market.terms.exchange_index,
            side=request.side,
            price_cc=yes_price_cc(request.side, request.yes_price_cc),
            initial_cx=request.count_cx,
            remaining_cx=self._allowed_cx(account, market, request),
            time_in_force=request.time_in_force,
            self_trade_prevention=request.self_trade_prevention,
            created_us=now,
            updated_us=now,
            subaccount=request.subaccount,
            expires_us=request.expires_us,
            cancel_on_pause=request.cancel_on_pause,
        )

    def _allowed_cx(self, account: Account, market: Market, request: NewOrder) -> int:
        if not request.reduce_only:
            return request.count_cx
        held = account.held_cx(market.ticker, request.subaccount)
        return min(request.count_cx, max(0, -held if request.side is Side.YES else held))

    def _execute(self, account: Account, market: Market, order: Order) -> Placed:
        account.orders[order.order_id] = order
        if order.client_order_id:
            account.client_order_ids.add(order.client_order_id)
        if not order.remaining_cx:
            self._end(account, order, CANCELED, "ReduceOnlyCancel")
            return Placed(order, ())
        seen = len(account.fills)
        resting_cx, self_trade_cx = self._match_account_order(account, market, order)
        if order.status == RESTING and resting_cx:
            account.open[order.order_id] = order
            self._tell_order(account, order)
            if order.expires_us is not None:
                self._world.schedule(order.expires_us, lambda: self.expire(account, order.order_id))
        elif order.status == RESTING:
            self._end(account, order, CANCELED, "SelfTradeCancel" if self_trade_cx else "")
        return Placed(order, tuple(account.fills[seen:]))

    def _match_account_order(self, account: Account, market: Market, order: Order) -> tuple[int, int]:
        """Match, cancelling own makers in the way where the order asks for it; return (resting, given up) counts."""
        while True:
            incoming = RestingOrder(order.order_id, account.name, order.side, order.price_cc, order.remaining_cx)
            outcome = market.place(incoming, rest=order.time_in_force == GTC)
            self._settle(market, account.name, order.side, outcome, cause=order)
            if not outcome.self_trade_cx or order.self_trade_prevention != STP_MAKER:
                return outcome.resting_cx, outcome.self_trade_cx
            self._cancel_own_maker(account, market, order.side.other)

    def _cancel_own_maker(self, account: Account, market: Market, side: Side) -> None:
        best = market.book.best_cc(side)
        mine = next(o for o in account.resting(market.ticker) if o.side is side and o.price_cc == best)
        self.cancel(account, mine, reason="SelfTradeCancel")

    def cancel(self, account: Account, order: Order, *, reason: str = "") -> int:
        """Take a resting order off the book and return the count it still had."""
        market = self._world.markets[order.ticker]
        self._tell_changes(market, (market.book.cancel(order.order_id),), cause=order)
        reduced = order.remaining_cx
        self._end(account, order, CANCELED, reason)
        return reduced

    def expire(self, account: Account, order_id: str) -> None:
        order = account.open.get(order_id)
        if order is not None and self._world.markets[order.ticker].is_tradable:
            self.cancel(account, order, reason="ExpiryCancel")

    def drop_all(self, market: Market, *, reason: str) -> None:
        """End every account order of a market whose book is going away."""
        for account in self._world.accounts.values():
            for order in account.resting(market.ticker):
                self._end(account, order, CANCELED, reason)

    def _end(self, account: Account, order: Order, status: str, reason: str) -> None:
        account.open.pop(order.order_id, None)
        order.status, order.reason, order.remaining_cx = status, reason, 0
        order.updated_us = account.updated_us = self._world.now_us
        self._tell_order(account, order)

    # --- everybody ------------------------------------------------------------------------------------------------

    def place_flow(
        self, market: Market, owner: str, side: Side, price_cc: int, count_cx: int, *, rest: bool
    ) -> str | None:
        """Place an order of the scenario's crowd and return its id if it rests."""
        order = RestingOrder(self._world.flow_id(), owner, side, price_cc, count_cx)
        outcome = market.place(order, rest=rest)
        self._settle(market, owner, side, outcome, cause=None)
        return order.order_id if outcome.resting_cx else None

    def cancel_flow(self, market: Market, order_id: str) -> None:
        """Cancel an order of the crowd, if it still rests."""
        if order_id in market.book:
            self._tell_changes(market, (market.book.cancel(order_id),), cause=None)

    def meet_recorded(self, market: Market, owner: str, side: Side, price_cc: int, count_cx: int) -> int:
        """Let a recorded level that has just appeared trade with our resting orders; return what traded."""
        incoming = RestingOrder(self._world.flow_id(), owner, side, price_cc, count_cx)
        outcome = market.book.place(incoming, rest=False)
        self._settle(market, owner, side, outcome, cause=None)
        return outcome.filled_cx

    # --- consequences ---------------------------------------------------------------------------------------------

    def _settle(self, market: Market, taker: str, side: Side, outcome: Outcome, *, cause: Order | None) -> None:
        for number, match in enumerate(outcome.matches):
            self._tell_changes(market, outcome.changes[number : number + 1], cause=cause)
            self._print(market, taker, side, match, cause)
        self._tell_changes(market, outcome.changes[len(outcome.matches) :], cause=cause)

    def _print(self, market: Market, taker: str, side: Side, match: Match, cause: Order | None) -> None:
        world = self._world
        trade = Traded(world.new_id(), market.ticker, match.yes_price_cc, match.count_cx, side, world.now_us)
        buyer, seller = (taker, match.maker_owner) if side is Side.YES else (match.maker_owner, taker)
        market.tape.record(trade, buyer=buyer, seller=seller)
        world.emit(trade)
        world.touch(market)
        maker = world.accounts.get(match.maker_owner)
        if maker is not None:
            self._fill(maker, maker.orders[match.maker_order_id], market, match, trade, is_taker=False)
        if cause is not None:
            self._fill(world.accounts[cause.account], cause, market, match, trade, is_taker=True)

    def _fill(
        self, account: Account, order: Order, market: Market, match: Match, trade: Traded, *, is_taker: bool
    ) -> None:
        position = self._position(account, market, order.subaccount)
        own_price = yes_price_cc(order.side, match.yes_price_cc)
        cash = position.fill(order.side, own_price, match.count_cx)
        fee = self._fee(order, market, match, cash, is_taker=is_taker)
        shard = market.terms.exchange_index
        where = {"exchange_index": shard, "subaccount": order.subaccount, "at_us": trade.at_us}
        account.post(Kind.FILL, cash, reference=trade.trade_id, **where)
        account.post(Kind.FEE, -fee, reference=trade.trade_id, **where)
        order.updated_us = position.updated_us = trade.at_us
        position.fees_ud += fee
        self._book_on_order(order, own_price * match.count_cx, match.count_cx, fee, is_taker=is_taker)
        if order.status == EXECUTED:
            account.open.pop(order.order_id, None)
        fill = Fill(
            trade_id=trade.trade_id,
            order_id=order.order_id,
            client_order_id=order.client_order_id,
            ticker=market.ticker,
            exchange_index=shard,
            subaccount=order.subaccount,
            side=order.side,
            yes_price_cc=match.yes_price_cc,
            count_cx=match.count_cx,
            is_taker=is_taker,
            fee_ud=fee,
            post_position_cx=position.position_cx,
            at_us=trade.at_us,
        )
        account.fills.append(fill)
        self._tell(account, "fill", market.ticker, private_wire.fill_message(fill))
        self._tell_order(account, order)
        self._tell_position(account, position)

    def _book_on_order(self, order: Order, cost_ud: int, count_cx: int, fee_ud: int, *, is_taker: bool) -> None:
        order.fill_cx += count_cx
        order.remaining_cx -= count_cx
        order.reason = "Trade"
        if is_taker:
            order.taker_cost_ud += cost_ud
            order.taker_fees_ud += fee_ud
        else:
            order.maker_cost_ud += cost_ud
            order.maker_fees_ud += fee_ud
        if not order.remaining_cx:
            order.status = EXECUTED

    def _fee(self, order: Order, market: Market, match: Match, cash_ud: int, *, is_taker: bool) -> int:
        series = self._world.series_of(market)
        model = fees.model_fee_ud(
            fee_type=series.fee_type,
            multiplier_bps=series.fee_multiplier_bps,
            is_taker=is_taker,
            yes_price_cc=match.yes_price_cc,
            count_cx=match.count_cx,
        )
        result = fees.charge(revenue_ud=cash_ud, trade_fee_ud=model, gathered_ud=order.gathered_ud)
        order.gathered_ud = result.gathered_ud
        return result.fee_ud

    def _position(self, account: Account, market: Market, subaccount: int) -> Position:
        terms = market.terms
        return account.positions.setdefault(
            (subaccount, terms.ticker),
            Position(terms.ticker, terms.event_ticker, terms.exchange_index, subaccount),
        )

    def pay_out(self, market: Market) -> None:
        """Settle every account's position in a determined market."""
        value_cc = DOLLAR_CC if market.result == "yes" else 0
        for account in self._world.accounts.values():
            for (subaccount, ticker), position in account.positions.items():
                if ticker != market.ticker or not position.position_cx:
                    continue
                account.post(
                    Kind.SETTLEMENT,
                    position.settle(value_cc),
                    exchange_index=position.exchange_index,
                    subaccount=subaccount,
                    at_us=self._world.now_us,
                    reference=ticker,
                )
                position.updated_us = self._world.now_us
                self._tell_position(account, position)

    # --- telling --------------------------------------------------------------------------------------------------

    def _tell_changes(self, market: Market, changes: tuple[LevelChange, ...], *, cause: Order | None) -> None:
        owner, client_id = (cause.account, cause.client_order_id) if cause is not None else ("", "")
        for change in changes:
            self._world.emit(
                BookChanged(
                    market.ticker,
                    market.terms.market_id,
                    change.side,
                    change.price_cc,
                    change.delta_cx,
                    self._world.now_us,
                    owner,
                    client_id,
                )
            )
        if changes:
            self._world.touch(market)

    def _tell_order(self, account: Account, order: Order) -> None:
        self._tell(account, "user_orders", order.ticker, private_wire.order_message(order, account.user_id))

    def _tell_position(self, account: Account, position: Position) -> None:
        body = private_wire.position_message(position, account.user_id)
        self._tell(account, "market_positions", position.ticker, body)

    def _tell(self, account: Account, channel: str, ticker: str, body: dict[str, Any]) -> None:
        self._world.emit(Private(channel, account.name, ticker, body))
