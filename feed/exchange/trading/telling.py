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
    from feed.exchange.trading.groups import OrderGroup
    from feed.exchange.world import World


class Teller:
    """The desk's voice."""

    def __init__(self, world: World) -> None:
        self._world = world

    def changes(self, market: Market, changes: Iterable[LevelChange], *, cause: Order | None) -> None:
        """Tell of changed levels; `cause` is the account order whose request changed them."""
        owner, client_id, subaccount = self._cause(cause) if cause is not None else ("", "", None)
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
                    subaccount,
                )
            )
        world.touch(market)

    def _cause(self, order: Order) -> tuple[str, str, int | None]:
        uses_subaccounts = len(self._world.accounts[order.account].subaccounts) > 1
        return order.account, order.client_order_id, order.subaccount if uses_subaccounts else None

    def order(self, account: Account, order: Order) -> None:
        body = private_wire.order_message(order, account.user_id)
        self._tell(account, order.subaccount, "user_orders", order.ticker, body)

    def fill(self, account: Account, fill: Fill) -> None:
        self._tell(account, fill.subaccount, "fill", fill.ticker, private_wire.fill_message(fill))

    def position(self, account: Account, position: Position) -> None:
        body = private_wire.position_message(position, account.user_id)
        self._tell(account, position.subaccount, "market_positions", position.ticker, body)

    def group(self, account: Account, group: OrderGroup, event_type: str, *, limit_cx: int | None = None) -> None:
        body = private_wire.group_message(group.group_id, event_type, self._world.now_us, limit_cx=limit_cx)
        self._tell(account, group.subaccount, "order_group_updates", "", body)

    def _tell(self, account: Account, subaccount: int, channel: str, ticker: str, body: dict[str, Any]) -> None:
        self._world.emit(Private(channel, account.name, ticker, body, subaccount))
