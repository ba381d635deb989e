"""What a match brings about: print, fill, fee, position, cash, on both sides."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from feed.exchange.happenings import Traded
from feed.exchange.trading.accounts import EXECUTED, Account, Fill, Order
from feed.exchange.trading.ledger import Kind
from feed.exchange.trading.orders import TRADE
from feed.exchange.trading.positions import Position
from feed.exchange.trading.telling import Teller
from markets.core.matching import Match, Outcome, Withdrawn
from markets.core.units import Side, yes_price_cc

if TYPE_CHECKING:
    from feed.exchange.market import Market
    from feed.exchange.world import World

Withdraw = Callable[[str], None]


class Fills:
    """Carries the outcomes of matching into the accounts of a world."""

    def __init__(self, world: World, tell: Teller) -> None:
        self._world = world
        self._tell = tell

    def settle(
        self, market: Market, taker: str, side: Side, outcome: Outcome, *, cause: Order | None, withdraw: Withdraw
    ) -> None:
        """Carry out an incoming order's outcome, step by step.

        Args:
            taker: Who is told as the other side of each trade.
            cause: The account order that came in; None for the crowd's.
            withdraw: Ends the account order of that id, which the matching has taken off the book.
        """
        for step in outcome.steps:
            if isinstance(step, Match):
                self._tell.changes(market, (step.change,), cause=cause)
                self._print(market, taker, side, step, cause)
            else:
                self._tell.changes(market, (step,), cause=cause)
            if isinstance(step, Withdrawn):
                withdraw(step.order_id)
        self._world.clearing.enforce()

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
        fee = self._fee(account, order, market, match, cash, is_taker=is_taker)
        shard = market.terms.exchange_index
        where = (shard, order.subaccount)
        account.post(Kind.FILL, cash, where, at_us=trade.at_us, reference=trade.trade_id)
        account.post(Kind.FEE, -fee, where, at_us=trade.at_us, reference=trade.trade_id)
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
