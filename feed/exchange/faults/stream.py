"""What faults do to frames on their way to one client. No socket, no clock: steps come out.

    frames ──► Line.carry ──► Send · SendLater · CutAfter · CloseWith · EndSubscription · SendSnapshot

A line without faults passes everything on; `is_plain` says so, that nobody needs to look at its frames one by one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from feed.exchange.faults.plan import FaultPlan
from feed.exchange.faults.script import (
    Alter,
    Close,
    CutFrame,
    Fail,
    FrameFault,
    Garble,
    Hold,
    Inject,
    Lose,
    NoPings,
    Pad,
    Renew,
    Repeat,
    Silence,
    Slow,
    Swap,
)


class Send(msgspec.Struct, frozen=True):
    frame: bytes


class SendLater(msgspec.Struct, frozen=True):
    """Send after `delay_ms`, whatever goes on the line meanwhile."""

    frame: bytes
    delay_ms: int


class CutAfter(msgspec.Struct, frozen=True):
    """Write the first `count` bytes of the frame as the socket would, then cut the connection."""

    frame: bytes
    count: int


class CloseWith(msgspec.Struct, frozen=True):
    code: int


class EndSubscription(msgspec.Struct, frozen=True):
    """End a subscription with an error the venue calls terminal."""

    sid: int
    code: int


class SendSnapshot(msgspec.Struct, frozen=True):
    """Send a market's whole book on a subscription, with its next number."""

    sid: int
    ticker: str


Step = Send | SendLater | CutAfter | CloseWith | EndSubscription | SendSnapshot


class _Subject(msgspec.Struct):
    market_ticker: str = ""
    ticker: str = ""  # what user_order calls it


class _Head(msgspec.Struct):
    """What a fault looks at; command answers have no `msg` of this shape."""

    type: str = ""
    sid: int = 0
    msg: msgspec.Raw = msgspec.Raw(b"{}")


_decode_head = msgspec.json.Decoder(_Head).decode
_decode_subject = msgspec.json.Decoder(_Subject).decode


class Line:
    """The way to one client of an account."""

    def __init__(self, plan: FaultPlan, account: str) -> None:
        self._plan, self._account = plan, account
        self.is_silent = False
        self.sends_pings = True
        self._late_ms = 0
        self._swapped: bytes | None = None
        self._ended: set[int] = set()  # sids that failed: nothing more comes on them

    @property
    def is_plain(self) -> bool:
        return not (self.is_silent or self._late_ms or self._swapped is not None or self._plan.has_frame_faults)

    def carry(self, frames: Iterable[bytes], *, now_us: int) -> list[Step]:
        """Return what becomes of frames, in order."""
        steps: list[Step] = []
        for frame in frames:
            if self.is_silent:
                break
            steps += self._carry_one(frame, now_us)
            if steps and isinstance(steps[-1], CutAfter | CloseWith):
                self.is_silent = True
        return steps

    def _carry_one(self, frame: bytes, now_us: int) -> list[Step]:
        head = _decode_head(frame)
        if head.sid in self._ended and head.type != "error":
            return []
        ticker = _ticker(head.msg)
        fault = self._plan.of_frame(kind=head.type, ticker=ticker, account=self._account, now_us=now_us)
        if fault is None:
            return self._pass(frame)
        self._plan.note(fault, at_us=now_us, account=self._account, what=frame[:200].decode(errors="replace"))
        return self._spoil(fault, frame, head.sid, ticker)

    def _spoil(self, fault: FrameFault, frame: bytes, sid: int, ticker: str) -> list[Step]:
        match fault:
            case Lose():
                return []
            case Repeat():
                return [*self._pass(frame), *self._pass(frame)]
            case Swap():
                before, self._swapped = self._swapped, frame
                return [] if before is None else [self._timed(before)]
            case Hold():
                return [SendLater(frame, fault.delay_ms)]
            case Slow():
                self._late_ms = fault.delay_ms
                return self._pass(frame)
            case Garble():
                return self._pass(fault.payload)
            case Alter():
                return self._pass(re.sub(fault.pattern.encode(), fault.by.encode(), frame))
            case Renew():
                return [*self._pass(frame), SendSnapshot(sid, ticker)]
            case Inject():
                return [self._timed(fault.payload), *self._pass(frame)]
            case Pad():
                return self._pass(frame.ljust(fault.bytes))
            case CutFrame():
                return [CutAfter(frame, fault.bytes)]
            case Silence():
                self.is_silent = True
                return []
            case NoPings():
                self.sends_pings = False
                return self._pass(frame)
            case Close():
                return [CloseWith(fault.code)]
            case Fail():
                self._ended.add(sid)
                return [EndSubscription(sid, fault.code)]
        raise AssertionError(f"a frame fault without an effect: {fault}")

    def _pass(self, frame: bytes) -> list[Step]:
        """Send a frame, and behind it the one that waited for it to pass."""
        if self._swapped is None:
            return [self._timed(frame)]
        swapped, self._swapped = self._swapped, None
        return [self._timed(frame), self._timed(swapped)]

    def _timed(self, frame: bytes) -> Step:
        return SendLater(frame, self._late_ms) if self._late_ms else Send(frame)


def _ticker(msg: msgspec.Raw) -> str:
    try:
        subject = _decode_subject(msg)
    except msgspec.MsgspecError:
        return ""  # an answer to a command: its `msg` is a list, or there is none
    return subject.market_ticker or subject.ticker
