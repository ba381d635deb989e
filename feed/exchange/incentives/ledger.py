"""The programs of one exchange in their time: upcoming, active, closed, paid out; and the credits they made.

    enrol ── start ──► snapshots each second ── end ──► closed ── paid_us ──► credits into the accounts

A volume program is listed and pays nothing here: the venue's last one was to end in October 2026.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from feed.exchange.catalog import LIQUIDITY, SHARD_DEFAULT, Program
from feed.exchange.incentives.accrual import SECOND_US, Credit, Tally, snapshot_us

if TYPE_CHECKING:
    from feed.exchange.world import World

KEPT = 500  # programs on the list, the oldest paid ones leave first


class Statement(msgspec.Struct, frozen=True):
    """A program's seconds and credits as they stand; `paid` ones have reached the accounts."""

    program: Program
    included: int
    is_paid: bool
    credits: list[Credit]


class Incentives:
    """The incentive programs of a world, and the second hand that scores them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._tallies: dict[str, Tally] = {}
        self._paid: set[str] = set()

    def enrol(self, program: Program) -> None:
        """Put a program on the list; from then on it runs, ends and is paid by itself.

        Raises:
            ValueError: The same program twice.
        """
        programs = self._world.programs
        if program.program_id in programs:
            raise ValueError(f"id: program {program.program_id} is listed already")
        self._drop_oldest()
        programs[program.program_id] = program
        if program.incentive_type != LIQUIDITY:
            return
        self._tallies[program.program_id] = Tally(program, self._member_of)
        if program.end_us <= self._world.now_us:
            return  # over before this exchange was there: nobody was seen in it
        self._world.schedule(program.start_us, lambda: self._begin(program))
        self._world.schedule(program.paid_us, lambda: self._pay(program))

    def _drop_oldest(self) -> None:
        over = len(self._world.programs) + 1 - KEPT
        if over <= 0:
            return
        paid = [p.program_id for p in self._world.programs.values() if p.paid_us < self._world.now_us]
        for program_id in paid[:over]:
            del self._world.programs[program_id]
            self._tallies.pop(program_id, None)
            self._paid.discard(program_id)

    # --- life -----------------------------------------------------------------------------------------------------

    def _begin(self, program: Program) -> None:
        second = self._world.now_us // SECOND_US
        if snapshot_us(self._world.seed, program.market_ticker, second) < self._world.now_us:
            second += 1
        self._await_snapshot(program, second)

    def _await_snapshot(self, program: Program, second: int) -> None:
        if second * SECOND_US < program.end_us:
            at_us = snapshot_us(self._world.seed, program.market_ticker, second)
            self._world.schedule(at_us, lambda: self._snapshot(program, second))

    def _snapshot(self, program: Program, second: int) -> None:
        self._tallies[program.program_id].snapshot(self._world.markets.get(program.market_ticker))
        self._await_snapshot(program, second + 1)

    def _member_of(self, owner: str) -> str:
        """Return whom an order's rewards belong to: a member's subaccounts are scored as one."""
        accounts = self._world.accounts
        name, _, subaccount = owner.rpartition("/")
        return name if owner not in accounts and name in accounts and subaccount.isdigit() else owner

    def _pay(self, program: Program) -> None:
        self._paid.add(program.program_id)
        for credit in self._tallies[program.program_id].credits():
            account = self._world.accounts.get(credit.owner)
            if account is not None and credit.amount_ud:
                account.credit(
                    credit.amount_ud,
                    exchange_index=SHARD_DEFAULT,
                    at_us=self._world.now_us,
                    reference=program.program_id,
                )

    # --- reading --------------------------------------------------------------------------------------------------

    def statement(self, program_id: str) -> Statement | None:
        """Return a listed program's seconds and credits; None when there is no such program."""
        program = self._world.programs.get(program_id)
        if program is None:
            return None
        tally = self._tallies.get(program_id)
        if tally is None:
            return Statement(program, 0, False, [])
        return Statement(program, tally.included, program_id in self._paid, tally.credits())
