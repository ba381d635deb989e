"""What account reads see: the engine's state, or a picture of it from a while ago.

The switch `read_lag_ms` says how long, or a fault script (`lag_reads`).

The venue's reads trail its engine (facts.md section 15: a cancelled order listed as resting for 0.4 s, positions a
second behind their fills), and `GET /exchange/user_data_timestamp` says by how much. A picture is stamped with the
first change it holds, so a read as of T holds everything up to T, and at most one step of the exchange more.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from feed.exchange.trading.accounts import RESTING, Account
from feed.exchange.trading.ledger import Ledger

if TYPE_CHECKING:
    from feed.exchange.world import World


class ReadModel:
    """Pictures of every account, as old as reads need them."""

    def __init__(self, world: World, fault_lag_ms: Callable[[], int] = lambda: 0) -> None:
        """Begin without pictures; `fault_lag_ms` says what a fault adds to the switch: the longer of both counts."""
        self._world = world
        self._fault_lag_ms = fault_lag_ms
        self._pictures: dict[str, deque[tuple[int, Account]]] = {}

    @property
    def as_of_us(self) -> int:
        """The time up to which reads hold everything."""
        return self._world.now_us - self._lag_ms * 1_000

    @property
    def _lag_ms(self) -> int:
        return max(self._world.switches.read_lag_ms, self._fault_lag_ms())

    def capture(self) -> None:
        """Take a picture of the accounts that changed; without a lag none are needed."""
        if not self._lag_ms:
            self._pictures.clear()
            return
        for account in self._world.accounts.values():
            pictures = self._pictures.setdefault(account.name, deque())
            if account.changed_us is not None or not pictures:
                stamp_us = account.changed_us if pictures and account.changed_us is not None else 0
                pictures.append((stamp_us, picture_of(account)))
                account.changed_us = None
            while len(pictures) > 1 and pictures[1][0] <= self.as_of_us:
                pictures.popleft()

    def of(self, account: Account) -> Account:
        """Return what a read of the account may see."""
        pictures = self._pictures.get(account.name)
        if not pictures:
            return account
        as_of_us = self.as_of_us
        return next((picture for stamp, picture in reversed(pictures) if stamp <= as_of_us), pictures[0][1])


def picture_of(account: Account) -> Account:
    """Return a copy that no longer changes; orders that have ended change no more and are shared."""
    picture = copy.copy(account)
    picture.orders = {key: copy.copy(o) if o.status == RESTING else o for key, o in account.orders.items()}
    picture.open = {key: picture.orders[key] for key in account.open}
    picture.positions = {key: copy.copy(position) for key, position in account.positions.items()}
    picture.returned_ud = dict(account.returned_ud)
    picture.fills = list(account.fills)
    picture.settlements = list(account.settlements)
    picture.transfers = [copy.copy(transfer) for transfer in account.transfers]
    picture.ledger = Ledger()
    picture.ledger.entries = list(account.ledger.entries)
    picture.ledger.cash_ud = dict(account.ledger.cash_ud)
    return picture
