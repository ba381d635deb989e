"""Which fault strikes now: counters, chance and time on one side, a log of those applied on the other. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import msgspec

from feed.exchange.faults.script import (
    AnyFault,
    CloseAtOnce,
    CommandFault,
    Delay,
    Fault,
    FrameFault,
    LagReads,
    RestFault,
)

LOG_MAX = 100_000
BY_HAND = "control"

F = TypeVar("F", bound=Fault)


class Applied(msgspec.Struct, frozen=True):
    """One fault that happened: its name, what it did, when, to whom, and to what request, frame or command."""

    number: int
    id: str
    do: str
    at_us: int
    account: str
    what: str


class _Armed:
    """A fault with what is left of it."""

    def __init__(self, fault: AnyFault, added_us: int, chance: random.Random) -> None:
        self.fault = fault
        self._added_us = added_us
        self._chance = chance
        self._to_pass = fault.skip
        self._left = fault.times

    @property
    def is_spent(self) -> bool:
        return self._left == 0

    def is_in_time(self, now_us: int) -> bool:
        fault, age_ms = self.fault, (now_us - self._added_us) // 1_000
        return fault.after_ms <= age_ms and (fault.until_ms is None or age_ms < fault.until_ms)

    def strikes(self, account: str, now_us: int) -> bool:
        """Whether this match is hit; call it once for each match, for it counts."""
        fault = self.fault
        if self.is_spent or (fault.account and fault.account != account) or not self.is_in_time(now_us):
            return False
        if self._to_pass:
            self._to_pass -= 1
            return False
        if fault.chance < 1 and self._chance.random() >= fault.chance:
            return False
        if self._left is not None:
            self._left -= 1
        return True


class FaultPlan:
    """All faults of one exchange. Without faults every question costs one look at an empty list."""

    def __init__(self, *, seed: int) -> None:
        self._seed = seed
        self._added = 0
        self._armed: list[_Armed] = []
        self.applied: list[Applied] = []
        self._last_number = 0

    @property
    def has_frame_faults(self) -> bool:
        return any(isinstance(a.fault, FrameFault) for a in self._armed)

    def add(self, faults: Iterable[AnyFault], *, now_us: int) -> list[str]:
        """Arm faults and return their names; a fault without one gets `fault-N`."""
        names = []
        for fault in faults:
            self._added += 1
            named = fault if fault.id else msgspec.structs.replace(fault, id=f"fault-{self._added}")
            self._armed.append(_Armed(named, now_us, random.Random(f"{self._seed}:fault:{self._added}")))
            names.append(named.id)
        return names

    def remove(self, fault_id: str = "") -> int:
        """Disarm the faults of that name, or all; return how many were armed."""
        before = len(self._armed)
        self._armed = [a for a in self._armed if fault_id and a.fault.id != fault_id]
        return before - len(self._armed)

    def armed(self) -> list[AnyFault]:
        return [a.fault for a in self._armed]

    # --- matching -------------------------------------------------------------------------------------------------

    def of_request(
        self, *, method: str, path: str, account: str, body: Mapping[str, Any], now_us: int
    ) -> list[RestFault]:
        """Return the faults that hit a request: any number of delays, and at most one other, last.

        Args:
            path: Below /trade-api/v2.
        """

        def fits(fault: RestFault) -> bool:
            return (
                fault.method in ("*", method)
                and fnmatchcase(path, fault.path)
                and all(name in body and body[name] == value for name, value in fault.body.items())
            )

        hit: list[RestFault] = []
        other: RestFault | None = None
        for armed in self._of(RestFault):
            fault = armed.fault
            assert isinstance(fault, RestFault), "chosen by kind"
            if (other is not None and not isinstance(fault, Delay)) or not fits(fault):
                continue
            if not armed.strikes(account, now_us):
                continue
            if isinstance(fault, Delay):
                hit.append(fault)
            else:
                other = fault
        self._forget_spent()
        return [*hit, other] if other is not None else hit

    def of_frame(self, *, kind: str, ticker: str, account: str, now_us: int) -> FrameFault | None:
        """Return the fault that hits a frame of a type (and market, if it has one) on its way to a client."""
        for armed in self._of(FrameFault):
            fault = armed.fault
            assert isinstance(fault, FrameFault), "chosen by kind"
            if fault.type in ("*", kind) and fnmatchcase(ticker, fault.ticker) and armed.strikes(account, now_us):
                self._forget_spent()
                return fault
        return None

    def of_command(self, *, cmd: str, account: str, now_us: int) -> CommandFault | None:
        for armed in self._of(CommandFault):
            fault = armed.fault
            assert isinstance(fault, CommandFault), "chosen by kind"
            if fault.cmd in ("*", cmd) and armed.strikes(account, now_us):
                self._forget_spent()
                return fault
        return None

    def of_connection(self, *, account: str, now_us: int) -> CloseAtOnce | None:
        for armed in self._of(CloseAtOnce):
            if armed.strikes(account, now_us):
                self._forget_spent()
                assert isinstance(armed.fault, CloseAtOnce), "chosen by kind"
                return armed.fault
        return None

    def of_reads(self, now_us: int) -> LagReads | None:
        """Return the fault that lets reads of account data trail, the longest if there are several."""
        lags = [a.fault for a in self._of(LagReads) if a.is_in_time(now_us) and isinstance(a.fault, LagReads)]
        return max(lags, key=lambda lag: lag.lag_ms, default=None)

    def _of(self, kind: type[F]) -> list[_Armed]:
        return [a for a in self._armed if isinstance(a.fault, kind)] if self._armed else []

    def _forget_spent(self) -> None:
        self._armed = [a for a in self._armed if not a.is_spent]

    # --- the log --------------------------------------------------------------------------------------------------

    def note(self, fault: Fault, *, at_us: int, account: str, what: str) -> None:
        """Log a fault as applied: call it when it has happened, not when it was decided."""
        self._note(fault.id, str(fault.__struct_config__.tag), at_us=at_us, account=account, what=what)

    def note_hand(self, *, at_us: int, what: str) -> None:
        """Log what was done by hand on the control port: a pause, a market's state, somebody else's order."""
        self._note("", BY_HAND, at_us=at_us, account="", what=what)

    def _note(self, fault_id: str, do: str, *, at_us: int, account: str, what: str) -> None:
        self._last_number += 1
        self.applied.append(Applied(self._last_number, fault_id, do, at_us, account, what))
        if len(self.applied) > LOG_MAX:
            del self.applied[: LOG_MAX // 10]
