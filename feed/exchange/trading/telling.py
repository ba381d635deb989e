"""Tell the outside what the order desk has done: deltas, and messages to the owners."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from feed.exchange.happenings import BookChanged, Private
from feed.exchange.trading.accounts import Account, Fill, Order
from feed.exchange.trading.positions import Position
from feed.exchange.wire import private as private_wire
from markets.core.matching import LevelChange

if TYPE_CHECKING:
    from feed.exchange.market import Market
    from feed.exchange.world import World


class Teller:
    """The desk's voice."""

    def __init__(self, world: World) -> None:
        self._world = world

    def changes(self, market: Market, changes: Iterable[LevelChange], *, cause: Order | None) -> None:
        """Tell of changed levels; `cause` is the account order whose request changed them."""
        owner, client_id = (cause.account, cause.client_order_id) if cause is not None else ("", "")
        world, market_id = self._world, market.terms.market_id
        for change in changes:
            world.emit(
                BookChanged(
                    market.ticker,
                    market_id,
                    change.side,
                    change.price_cc,
                    change.delta_cx,
                    world.now_us,
                    owner,
                    client_id,
                )
            )
        world.touch(market)

    def order(self, account: Account, order: Order) -> None:
        self._tell(account, "user_orders", order.ticker, private_wire.order_message(order, account.user_id))

    def fill(self, account: Account, fill: Fill) -> None:
        self._tell(account, "fill", fill.ticker, private_wire.fill_message(fill))

    def position(self, account: Account, position: Position) -> None:
        body = private_wire.position_message(position, account.user_id)
        self._tell(account, "market_positions", position.ticker, body)

    def _tell(self, account: Account, channel: str, ticker: str, body: dict[str, Any]) -> None:
        self._world.emit(Private(channel, account.name, ticker, body))
