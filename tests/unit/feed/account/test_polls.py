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
    """A venue whose subaccounts hold positions nobody has told of."""

    def __init__(self, held: dict[int, int], *, is_pinned: bool = False) -> None:
        self.held, self.is_pinned = held, is_pinned
        self.portfolio = SimpleNamespace(positions=self._positions)
        self.funds = SimpleNamespace(subaccount_balances=self._balances)

    async def _balances(self) -> Listing[SubaccountBalance]:
        if self.is_pinned:
            raise Forbidden(403, "", "restricted to a single sub-account")
        return Listing(tuple(SubaccountBalance(subaccount=number, balance_ud=0) for number in self.held), ())

    def _positions(self, *, subaccount: int) -> Any:
        rows = (MarketPosition(ticker="M-1", position_cx=self.held[subaccount], last_updated_us=START_US),)

        async def every() -> Listing[MarketPosition]:
            return Listing(rows, ())

        return SimpleNamespace(all=every)


@pytest.mark.parametrize(("is_pinned", "seen"), [(False, {0: 100, 3: -200}), (True, {0: 100})])
async def test_positions_are_read_of_every_subaccount_the_key_may_list(is_pinned: bool, seen: dict[int, int]) -> None:
    view, venue = AccountView(is_ours), Venue({0: 100, 3: -200}, is_pinned=is_pinned)
    polls = Polls(venue, view, ManualClock(START_US), lambda _: None)  # type: ignore[arg-type]  # as much as is read
    await polls.reads["positions"](START_US + MS)
    assert {position.subaccount: position.position_cx for position in view.positions.all()} == seen
