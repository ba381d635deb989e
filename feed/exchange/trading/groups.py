"""Order groups: a guard that cancels its orders when too much of them trades too fast.

    armed ──contracts filled in the last 15 s pass the limit, or by hand──► triggered ──reset──► armed
            its resting orders are cancelled                                new orders are refused

The window is half-open: a fill is out of it exactly 15 s later. An incoming order is matched as one step: a group may
fill beyond its limit by the rest of that step, and triggers after it. A group belongs to a shard and a subaccount.
Source: facts.md 7.5; whether reaching the limit triggers or only passing it is the switch `group_limit`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from feed.exchange.trading import orders
from feed.exchange.trading.accounts import Account, Order
from feed.exchange.trading.orders import Refusal
from feed.exchange.trading.telling import Teller

if TYPE_CHECKING:
    from feed.exchange.world import World

WINDOW_US = 15_000_000
GROUPS_MAX = 100_000  # of one account


class OrderGroup:
    """One group, and what its orders have traded lately."""

    def __init__(self, group_id: str, *, account: str, subaccount: int, exchange_index: int, limit_cx: int) -> None:
        self.group_id = group_id
        self.account = account
        self.subaccount = subaccount
        self.exchange_index = exchange_index
        self.limit_cx = limit_cx
        self.is_triggered = False
        self._fills: deque[tuple[int, int]] = deque()  # (at_us, count_cx), oldest first
        self._sum_cx = 0

    def record(self, count_cx: int, now_us: int) -> None:
        self._fills.append((now_us, count_cx))
        self._sum_cx += count_cx

    def rolling_cx(self, now_us: int) -> int:
        """Return the contracts filled in the 15 s up to now."""
        while self._fills and self._fills[0][0] <= now_us - WINDOW_US:
            self._sum_cx -= self._fills.popleft()[1]
        return self._sum_cx

    def forget_fills(self) -> None:
        self._fills.clear()
        self._sum_cx = 0


class OrderGroups:
    """All groups of a world.

    Args:
        cancel: Takes a resting order off its book, where its market lets it.
    """

    def __init__(self, world: World, tell: Teller, cancel: Callable[[Order], None]) -> None:
        self._world = world
        self._tell = tell
        self._cancel = cancel
        self._groups: dict[str, OrderGroup] = {}
        self._by_account: dict[str, dict[str, OrderGroup]] = {}
        self._touched: dict[str, OrderGroup] = {}  # filled since `trigger_due` last looked

    # --- what there is --------------------------------------------------------------------------------------------

    def of(self, account: Account, *, subaccount: int | None = None) -> list[OrderGroup]:
        """Return an account's groups, oldest first."""
        mine = self._by_account.get(account.name, {}).values()
        return [group for group in mine if subaccount in (None, group.subaccount)]

    def find(
        self, account: Account, group_id: str, *, subaccount: int | None = None, exchange_index: int | None = None
    ) -> OrderGroup | None:
        group = self._by_account.get(account.name, {}).get(group_id)
        if group is None or subaccount not in (None, group.subaccount):
            return None
        return group if exchange_index in (None, group.exchange_index) else None

    def resting(self, group: OrderGroup) -> list[Order]:
        """Return the resting orders of a group, oldest first."""
        account = self._world.accounts[group.account]
        return [order for order in account.open.values() if order.order_group_id == group.group_id]

    def refusal(self, account: Account, group_id: str, *, subaccount: int, exchange_index: int) -> Refusal | None:
        """Return why an order of that place may not join the group."""
        group = self.find(account, group_id, subaccount=subaccount, exchange_index=exchange_index)
        if group is None:
            return orders.GROUP_NOT_FOUND
        return orders.GROUP_TRIGGERED if group.is_triggered else None

    # --- what is done to it ---------------------------------------------------------------------------------------

    def create(self, account: Account, *, limit_cx: int, subaccount: int, exchange_index: int) -> OrderGroup | Refusal:
        mine = self._by_account.setdefault(account.name, {})
        if len(mine) >= GROUPS_MAX:
            return orders.TOO_MANY_GROUPS
        group = OrderGroup(
            self._world.new_id(),
            account=account.name,
            subaccount=subaccount,
            exchange_index=exchange_index,
            limit_cx=limit_cx,
        )
        self._groups[group.group_id] = mine[group.group_id] = group
        self._tell.group(account, group, "created", limit_cx=limit_cx)
        return group

    def set_limit(self, group: OrderGroup, limit_cx: int) -> None:
        """Change the limit; a lower one than what has just traded triggers."""
        group.limit_cx = limit_cx
        self._tell.group(self._account(group), group, "limit_updated", limit_cx=limit_cx)
        if self._is_over(group):
            self.trigger(group)

    def reset(self, group: OrderGroup) -> None:
        """Arm a group again, with nothing counted."""
        group.is_triggered = False
        group.forget_fills()
        self._tell.group(self._account(group), group, "reset")

    def trigger(self, group: OrderGroup) -> None:
        """Cancel the orders of a group and let in no more; done already, it stays so."""
        if group.is_triggered:
            return
        group.is_triggered = True
        self._tell.group(self._account(group), group, "triggered")
        self._cancel_orders(group)

    def delete(self, group: OrderGroup) -> None:
        """Cancel the orders of a group and forget it."""
        self._cancel_orders(group)
        del self._groups[group.group_id], self._by_account[group.account][group.group_id]
        self._touched.pop(group.group_id, None)
        self._tell.group(self._account(group), group, "deleted")

    def record(self, order: Order, count_cx: int) -> None:
        """Count a fill of an order, if it is of a group."""
        group = self._groups.get(order.order_group_id)
        if group is not None:
            group.record(count_cx, self._world.now_us)
            self._touched[group.group_id] = group

    def trigger_due(self) -> None:
        """Trigger the groups that have traded too much; to be called when a matching step is carried out."""
        while self._touched:
            _, group = self._touched.popitem()
            if self._is_over(group):
                self.trigger(group)

    def _is_over(self, group: OrderGroup) -> bool:
        rolling_cx = group.rolling_cx(self._world.now_us)
        if self._world.switches.group_limit == "reaches":
            return rolling_cx >= group.limit_cx
        return rolling_cx > group.limit_cx

    def _cancel_orders(self, group: OrderGroup) -> None:
        for order in self.resting(group):
            self._cancel(order)

    def _account(self, group: OrderGroup) -> Account:
        return self._world.accounts[group.account]
