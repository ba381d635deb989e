"""The clearing house: what fills, transfers and results do to the money of the accounts.

    before a match   makers that could not pay for their part are cancelled (MarginCancel)
    fill             collateral of the event is returned or taken back
    after a match    orders the rest of the balance cannot carry are cancelled (MarginCancel)
    result           positions are paid out, and with them what the event had guaranteed ends

Everything is exact: a balance changes only by entries of its ledger (ledger.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from feed.exchange.trading import orders
from feed.exchange.trading.accounts import Account, Order
from feed.exchange.trading.collateral import Collateral
from feed.exchange.trading.ledger import Balance, Kind
from feed.exchange.trading.positions import Position, signed_cx
from feed.exchange.trading.telling import Teller
from markets.core.units import DOLLAR_CC, Side

if TYPE_CHECKING:
    from feed.exchange.market import Market
    from feed.exchange.world import World

PRECISION_UD = 100  # $0.0001: a scalar payout below it goes to the exchange as a rounding fee (facts.md section 9)


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """One position paid out; `value_cc` is what a YES contract was worth."""

    ticker: str
    event_ticker: str
    exchange_index: int
    subaccount: int
    result: str
    value_cc: int
    position_cx: int
    cost_ud: int
    revenue_ud: int
    fees_ud: int
    at_us: int


class Clearing:
    """The clearing house of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._tell = Teller(world)
        self._touched: dict[tuple[str, int, int], None] = {}  # (account, shard, subaccount) with less than before
        self.collateral = Collateral(world)

    # --- fills ----------------------------------------------------------------------------------------------------

    def filled(self, account: Account, position: Position) -> None:
        """Note a fill that has been booked: return collateral, and look at the balance once the match is over."""
        self.return_collateral(account, position.subaccount, position.event_ticker)
        self._touched[account.name, position.exchange_index, position.subaccount] = None

    def return_collateral(self, account: Account, subaccount: int, event_ticker: str) -> None:
        """Bring what is returned of an event to what its positions now guarantee."""
        where = (subaccount, event_ticker)
        returned = account.returned_ud.get(where, 0)
        nets = self.collateral.nets(account, subaccount, event_ticker)
        if not nets and not returned:
            return
        due = self.collateral.guaranteed_ud(account, subaccount, event_ticker) if nets else 0
        if due == returned:
            return
        if due:
            account.returned_ud[where] = due
        else:
            account.returned_ud.pop(where, None)  # its event may leave the list now
        account.post(
            Kind.NETTING,
            due - returned,
            (self._world.events[event_ticker].exchange_index, subaccount),
            at_us=self._world.now_us,
            reference=event_ticker,
        )

    def set_netting(self, account: Account, subaccount: int, *, enabled: bool) -> bool:
        """Change the netting of a subaccount; False if its balance cannot give back what was returned."""
        if not enabled:
            owed: dict[int, int] = {}
            for (number, event_ticker), returned in account.returned_ud.items():
                if number == subaccount:
                    shard = self._world.events[event_ticker].exchange_index
                    owed[shard] = owed.get(shard, 0) + returned
            if any(account.balance_ud(shard, subaccount) < amount for shard, amount in owed.items()):
                return False
        account.subaccounts[subaccount].nets = enabled
        held = {p.event_ticker: p.exchange_index for p in account.positions.values() if p.subaccount == subaccount}
        for event_ticker, shard in held.items():
            if event_ticker in self._world.events:
                self.return_collateral(account, subaccount, event_ticker)
                self._touched[account.name, shard, subaccount] = None
        self.enforce()
        return True

    # --- margin ---------------------------------------------------------------------------------------------------

    def drop_unfunded(self, market: Market, side: Side, price_cc: int, count_cx: int) -> None:
        """Cancel resting orders that an incoming order of `side` would meet and that could not pay for their part.

        Only where orders rest without their sum being held back, or where netting lets one order spend what another
        counted on.
        """
        if not self._may_be_unfunded():
            return
        mine = {o.order_id: (a, o) for a in self._world.accounts.values() for o in a.resting(market.ticker)}
        met = [
            order
            for order in market.book.orders()
            if order.side is side.other and order.price_cc + price_cc >= DOLLAR_CC
        ]
        moved: dict[tuple[str, int], int] = {}
        spent: dict[tuple[str, int], int] = {}
        for maker in sorted(met, key=lambda order: -order.price_cc):
            if count_cx <= 0:
                return
            part = min(count_cx, maker.remaining_cx)
            if maker.order_id in mine and not self._pays(*mine[maker.order_id], part, moved, spent):
                continue
            count_cx -= part

    def _may_be_unfunded(self) -> bool:
        if self._world.switches.resting_collateral != "sum":
            return True
        return any(sub.nets for account in self._world.accounts.values() for sub in account.subaccounts.values())

    def _pays(
        self,
        account: Account,
        order: Order,
        count_cx: int,
        moved: dict[tuple[str, int], int],
        spent: dict[tuple[str, int], int],
    ) -> bool:
        who = (account.name, order.subaccount)
        effect = self.collateral.effect_ud(account, order, count_cx, moved_cx=moved.get(who, 0))
        left = account.balance_ud(order.exchange_index, order.subaccount) + spent.get(who, 0) + effect
        if effect < 0 and left < 0:
            self._world.entry.cancel(account, order, reason=orders.MARGIN_CANCEL)
            return False
        moved[who] = moved.get(who, 0) + signed_cx(order.side, count_cx)
        spent[who] = spent.get(who, 0) + effect
        return True

    def enforce(self) -> None:
        """Cancel what the balances that have changed can no longer carry, newest order first."""
        touched, self._touched = self._touched, {}
        for name, shard, subaccount in touched:
            account = self._world.accounts[name]
            resting = [o for o in account.resting(subaccount=subaccount) if o.exchange_index == shard]
            while resting and self._lacks(account, shard, subaccount, resting):
                self._world.entry.cancel(account, self._first_to_go(account, resting), reason=orders.MARGIN_CANCEL)
                resting = [o for o in resting if o.order_id in account.open]

    def _lacks(self, account: Account, shard: int, subaccount: int, resting: list[Order]) -> bool:
        how = self._world.switches.resting_collateral
        needed = self.collateral.reserved_ud(account, resting, "max" if how == "none" else how)
        return needed > max(0, account.balance_ud(shard, subaccount))

    def _first_to_go(self, account: Account, resting: list[Order]) -> Order:
        """Return the newest order that needs cash at all, or the dearest where each counts for itself."""
        if self._world.switches.resting_collateral == "sum":
            return next((o for o in reversed(resting) if self._counts(account, o, resting)), resting[-1])
        return max(resting, key=lambda order: self.collateral.need_ud(account, order))

    def _counts(self, account: Account, order: Order, resting: list[Order]) -> bool:
        others = [o for o in resting if o is not order]
        collateral = self.collateral
        return collateral.reserved_ud(account, others, "sum") < collateral.reserved_ud(account, resting, "sum")

    def withdraw(self, account: Account, amount_ud: int, where: Balance) -> None:
        """Take cash out, however much rests on it: orders it can no longer carry go."""
        account.post(Kind.WITHDRAWAL, -amount_ud, where, at_us=self._world.now_us)
        self.spent(account, where)

    def spent(self, account: Account, where: Balance) -> None:
        """Look after the resting orders of a balance that has become smaller."""
        self._touched[account.name, *where] = None
        self.enforce()

    # --- results --------------------------------------------------------------------------------------------------

    def settle(self, market: Market) -> None:
        """Pay out every position in a market whose result stands; call once, after `market.settled_us` is set."""
        assert market.value_cc is not None, "a market settles after it was determined"
        for account in self._world.accounts.values():
            for position in list(account.positions.values()):
                if position.ticker == market.ticker:
                    self._pay_out(account, position, market, market.value_cc)

    def _pay_out(self, account: Account, position: Position, market: Market, value_cc: int) -> None:
        if not position.position_cx:
            return
        held, cost, now = position.position_cx, position.cost_ud, self._world.now_us
        cash = position.settle(value_cc)
        fee = cash % PRECISION_UD if market.result == "scalar" else 0
        position.fees_ud += fee
        position.updated_us = now
        where = (position.exchange_index, position.subaccount)
        account.post(Kind.SETTLEMENT, cash, where, at_us=now, reference=market.ticker)
        if fee:
            account.post(Kind.FEE, -fee, where, at_us=now, reference=market.ticker)
        account.settlements.append(
            Settlement(
                ticker=market.ticker,
                event_ticker=position.event_ticker,
                exchange_index=position.exchange_index,
                subaccount=position.subaccount,
                result=market.result,
                value_cc=value_cc,
                position_cx=held,
                cost_ud=cost,
                revenue_ud=cash,
                fees_ud=position.fees_ud,
                at_us=now,
            )
        )
        self._tell.position(account, position)
        self.return_collateral(account, position.subaccount, position.event_ticker)
