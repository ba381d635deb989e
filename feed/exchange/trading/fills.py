"""What a match brings about: print, fill, fee, position, cash, on both sides."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from feed.exchange.happenings import Traded
from feed.exchange.trading.accounts import EXECUTED, Account, Fill, Order
from feed.exchange.trading.groups import OrderGroups
from feed.exchange.trading.ledger import Kind
from feed.exchange.trading.orders import SELF_TRADE_CANCEL, TRADE
from feed.exchange.trading.positions import Position
from feed.exchange.trading.register import Register
from feed.exchange.trading.telling import Teller
from markets.core.matching import Match, Outcome, Withdrawn
from markets.core.units import Side, yes_price_cc

if TYPE_CHECKING:
    from feed.exchange.market import Market
    from feed.exchange.world import World

End = Callable[[Account, Order, str], None]


class Fills:
    """Carries the outcomes of matching into the accounts of a world.

    Args:
        end: Ends an account order that is off its book already, for a reason.
    """

    def __init__(self, world: World, tell: Teller, register: Register, groups: OrderGroups, end: End) -> None:
        self._world = world
        self._tell = tell
        self._register = register
        self._groups = groups
        self._end = end

    def settle(self, market: Market, taker: str, side: Side, outcome: Outcome, *, cause: Order | None) -> None:
        """Carry out an incoming order's outcome, step by step.

        Args:
            taker: Who holds what the incoming order trades, where it is the crowd's.
            cause: The account order that came in; None for the crowd's.
        """
        for step in outcome.steps:
            if isinstance(step, Match):
                self._tell.changes(market, (step.change,), cause=cause)
                self._print(market, taker, side, step, cause)
            else:
                self._tell.changes(market, (step,), cause=cause)
            withdrawn = self._register.get(step.order_id) if isinstance(step, Withdrawn) else None
            if withdrawn is not None:
                self._end(self._register.account_of(withdrawn), withdrawn, SELF_TRADE_CANCEL)

    def _print(self, market: Market, taker: str, side: Side, match: Match, cause: Order | None) -> None:
        world = self._world
        trade = Traded(world.new_id(), market.ticker, match.yes_price_cc, match.count_cx, side, world.now_us)
        maker = self._register.get(match.maker_order_id)
        takes, makes = _holder(cause, taker), _holder(maker, match.maker_owner)
        buyer, seller = (takes, makes) if side is Side.YES else (makes, takes)
        market.tape.record(trade, buyer=buyer, seller=seller)
        world.emit(trade)
        world.touch(market)
        if maker is not None:
            self._fill(maker, market, match, trade, is_taker=False)
        if cause is not None:
            self._fill(cause, market, match, trade, is_taker=True)

    def _fill(self, order: Order, market: Market, match: Match, trade: Traded, *, is_taker: bool) -> None:
        account = self._register.account_of(order)
        position = self._position(account, market, order.subaccount)
        own_price = yes_price_cc(order.side, match.yes_price_cc)
        cash = position.fill(order.side, own_price, match.count_cx)
        fee = self._fee(account, order, market, match, cash, is_taker=is_taker)
        shard = market.terms.exchange_index
        where = (shard, order.subaccount)
        account.post(Kind.FILL, cash, where, at_us=trade.at_us, reference=trade.trade_id)
        account.post(Kind.FEE, -fee, where, at_us=trade.at_us, reference=trade.trade_id)
        order.updated_us = position.updated_us = trade.at_us
        position.fees_ud += fee
        self._book_on_order(order, own_price * match.count_cx, match.count_cx, fee, is_taker=is_taker)
        if order.status == EXECUTED:
            self._register.leave(account, order)
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
        self._groups.record(order, match.count_cx)
        self._tell.fill(account, fill)
        self._tell.order(account, order)
        self._tell.position(account, position)
        self._world.clearing.filled(account, position)

    def _book_on_order(self, order: Order, cost_ud: int, count_cx: int, fee_ud: int, *, is_taker: bool) -> None:
        order.fill_cx += count_cx
        order.remaining_cx -= count_cx
        order.reason = TRADE
        if is_taker:
            order.taker_cost_ud += cost_ud
            order.taker_fees_ud += fee_ud
        else:
            order.maker_cost_ud += cost_ud
            order.maker_fees_ud += fee_ud
        if not order.remaining_cx:
            order.status = EXECUTED

    def _fee(
        self, account: Account, order: Order, market: Market, match: Match, cash_ud: int, *, is_taker: bool
    ) -> int:
        result = self._world.tariff.charge(
            market,
            is_direct_member=account.is_direct_member,
            is_taker=is_taker,
            yes_price_cc=match.yes_price_cc,
            count_cx=match.count_cx,
            revenue_ud=cash_ud,
            gathered_ud=order.gathered_ud,
        )
        order.gathered_ud = result.gathered_ud
        return result.fee_ud

    def _position(self, account: Account, market: Market, subaccount: int) -> Position:
        terms = market.terms
        return account.positions.setdefault(
            (subaccount, terms.ticker),
            Position(terms.ticker, terms.event_ticker, terms.exchange_index, subaccount),
        )


def _holder(order: Order | None, owner: str) -> str:
    """Return who holds what an order trades: positions are a subaccount's; the crowd's go by its names."""
    return owner if order is None else f"{order.account}/{order.subaccount}"
