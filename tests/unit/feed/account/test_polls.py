"""What the poll of an account asks for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from accountworld import MS, START_US, is_ours

from feed.account.polls import Polls
from feed.account.view import AccountView
from feed.kalshi.calls import Listing
from feed.kalshi.errors import Forbidden
from feed.kalshi.wire.account import SubaccountBalance
from feed.kalshi.wire.portfolio import MarketPosition
from kalshimm.runtime.clock import ManualClock


class Venue:
    """A venue whose subaccounts hold positions nobody has told of.

    Args:
        pinned: The one subaccount that the key may read; None is all.
        lists: Whether a pinned key may list the subaccounts: no document says.
    """

    def __init__(self, held: dict[int, int], *, pinned: int | None, lists: bool = False) -> None:
        self.held, self.pinned, self.lists = held, pinned, lists
        self.portfolio = SimpleNamespace(positions=self._positions, balance=self._balance)
        self.funds = SimpleNamespace(subaccount_balances=self._balances)

    def _check(self, subaccount: int) -> None:
        if self.pinned not in (None, subaccount):
            raise Forbidden(403, "", "restricted to a single sub-account")

    async def _balance(self, *, subaccount: int) -> None:
        self._check(subaccount)

    async def _balances(self) -> Listing[SubaccountBalance]:
        if self.pinned is not None and not self.lists:
            raise Forbidden(403, "", "restricted to a single sub-account")
        return Listing(tuple(SubaccountBalance(subaccount=number, balance_ud=0) for number in self.held), ())

    def _positions(self, *, subaccount: int) -> Any:
        async def every() -> Listing[MarketPosition]:
            self._check(subaccount)
            row = MarketPosition(ticker="M-1", position_cx=self.held[subaccount], last_updated_us=START_US)
            return Listing((row,), ())

        return SimpleNamespace(all=every)


@pytest.mark.parametrize("lists", [False, True])
@pytest.mark.parametrize(
    ("pinned", "seen"), [(None, {0: 100, 3: -200}), (0, {0: 100}), (3, {3: -200})], ids=["free", "primary", "third"]
)
async def test_positions_are_read_of_every_subaccount_the_key_may_read(
    pinned: int | None, seen: dict[int, int], lists: bool
) -> None:
    view, venue = AccountView(is_ours), Venue({0: 100, 3: -200}, pinned=pinned, lists=lists)
    polls = Polls(venue, view, ManualClock(START_US), lambda _: None)  # type: ignore[arg-type]  # as much as is read
    await polls.reads["positions"](START_US + MS)
    assert {position.subaccount: position.position_cx for position in view.positions.all()} == seen
