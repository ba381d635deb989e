"""The language of fault scripts: a JSON list of faults, each one object.

    {"do": "apply_then_drop", "id": "lost", "method": "POST", "path": "/portfolio/events/orders"}
    {"do": "delay", "path": "/portfolio/*", "delay_ms": 8000, "times": null}
    {"do": "lose", "type": "orderbook_delta", "skip": 10, "times": 2}

On a REST request (`method`, `path` below /trade-api/v2 with `*`, `account`, `body` fields that it must hold):

    drop                not applied, the connection is cut
    answer              not applied, answered with `status` and `text`
    delay               applied after `delay_ms`
    apply_then_drop     applied, then the connection is cut
    apply_then_delay    applied at once, answered `delay_ms` later
    apply_then_answer   applied, but answered with `status` and `text`
    cut                 applied, its answer cut short after `bytes` of the body (one without a body: before its head)

On a frame to a client (`type` and `ticker` of the frame, `account`):

    lose                not sent, its number stays used: a gap
    repeat              sent twice
    swap                sent after the frame that follows it
    hold                sent `delay_ms` later; frames behind it pass
    slow                it and all behind it on this connection `delay_ms` later
    garble              sent with `text` in place of it, or with the bytes of `hex` (which need be no UTF-8)
    alter               sent with each match of the regular expression `pattern` replaced by `by`
    renew               sent, and behind it a fresh snapshot of its market that nobody asked for
    inject              `text`, or the bytes of `hex`, sent before it
    pad                 sent with spaces behind it, `bytes` long in all
    cut_frame           its first `bytes` bytes, then the connection is cut
    silence             from here on nothing is sent or answered, not even pings; TCP stays up
    no_pings            from here on no pings
    close               the connection is closed with `code`, the frame lost; 1006 is cut, as no such code is ever sent
    fail                the subscription of the frame ends with error `code` (10, 25), the frame lost

On a command of a client (`cmd`, `account`):

    refuse              answered with error `code` (26, 27, …; `market_tickers` at fault), not carried out; with
                        `rest` carried out for the other markets of its `market_tickers`
    ignore              neither carried out nor answered

On a new connection (`account`):

    close_at_once       accepted, then closed with `code`

On all reads of account data, from `after_ms` to `until_ms`:

    lag_reads           they and the user-data timestamp trail `lag_ms` behind the engine

Every fault: `id` (its name in the log), `skip` (matches that pass first), `times` (how many are hit; null: all),
`chance` (of a match being hit), `after_ms` and `until_ms` (since it was added). Several delays add up; of the others
the first that fits is taken. Source: faults.md, "The harness".
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from kalshimm.errors import KalshimmError

DELAY_MAX_MS = 600_000
PAD_MAX = 100_000_000  # well above the 64 MiB that the venue's messages have at most
ABNORMAL = 1006  # what a client calls a connection that ended without a close frame
CLOSE_CODES = frozenset({*range(1_000, 1_004), ABNORMAL, *range(1_007, 1_015)})


class BadFaultScript(KalshimmError):
    """A fault script cannot be read."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do"):
    """When a fault strikes; what it does is its class."""

    id: str = ""
    account: str = ""
    skip: int = 0
    times: int | None = 1
    chance: float = 1.0
    after_ms: int = 0
    until_ms: int | None = None

    def __post_init__(self) -> None:
        if self.skip < 0 or self.after_ms < 0 or (self.times is not None and self.times < 1):
            raise ValueError("skip and after_ms start at 0, times at 1")
        if not 0 < self.chance <= 1:
            raise ValueError("chance lies above 0 and is at most 1")


# ---- REST ----------------------------------------------------------------------------------------------------------


class RestFault(Fault, frozen=True, kw_only=True):
    method: str = "*"
    path: str = "*"
    body: dict[str, Any] = {}


class Drop(RestFault, frozen=True, kw_only=True, tag="drop"):
    """Cut the connection before anything is applied."""


class ApplyThenDrop(RestFault, frozen=True, kw_only=True, tag="apply_then_drop"):
    """Apply, then cut the connection without an answer."""


class ApplyThenDelay(RestFault, frozen=True, kw_only=True, tag="apply_then_delay"):
    """Apply, then answer `delay_ms` late."""

    delay_ms: int

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_delay(self.delay_ms)


class _Answering(RestFault, frozen=True, kw_only=True):
    status: int = 503
    text: str = '{"error":{"code":"service_unavailable","message":"service unavailable"}}'
    content_type: str = "application/json"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 200 <= self.status <= 599:
            raise ValueError("status lies in 200..599")


class Answer(_Answering, frozen=True, kw_only=True, tag="answer"):
    """Answer without applying."""


class ApplyThenAnswer(_Answering, frozen=True, kw_only=True, tag="apply_then_answer"):
    """Apply, then answer something else."""


class Cut(RestFault, frozen=True, kw_only=True, tag="cut"):
    """Apply, then send the head and `bytes` of the body only."""

    bytes: int = 10


class Delay(RestFault, frozen=True, kw_only=True, tag="delay"):
    """Apply `delay_ms` late."""

    delay_ms: int

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_delay(self.delay_ms)


# ---- frames --------------------------------------------------------------------------------------------------------


class FrameFault(Fault, frozen=True, kw_only=True):
    type: str = "*"
    ticker: str = "*"


class Lose(FrameFault, frozen=True, kw_only=True, tag="lose"):
    pass


class Repeat(FrameFault, frozen=True, kw_only=True, tag="repeat"):
    pass


class Swap(FrameFault, frozen=True, kw_only=True, tag="swap"):
    pass


class Hold(FrameFault, frozen=True, kw_only=True, tag="hold"):
    delay_ms: int

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_delay(self.delay_ms)


class Slow(FrameFault, frozen=True, kw_only=True, tag="slow"):
    delay_ms: int

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_delay(self.delay_ms)


class _Saying(FrameFault, frozen=True, kw_only=True):
    text: str | None = None
    hex: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.text is None) == (self.hex is None):
            raise ValueError("text or hex: expected one of them")
        _ = self.payload

    @property
    def payload(self) -> bytes:
        return bytes.fromhex(self.hex) if self.hex is not None else (self.text or "").encode()


class Garble(_Saying, frozen=True, kw_only=True, tag="garble"):
    pass


class Alter(FrameFault, frozen=True, kw_only=True, tag="alter"):
    pattern: str
    by: str

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            re.compile(self.pattern)
        except re.error as exc:
            raise ValueError(f"pattern is no regular expression: {exc}") from exc


class Renew(FrameFault, frozen=True, kw_only=True, tag="renew"):
    pass


class Inject(_Saying, frozen=True, kw_only=True, tag="inject"):
    pass


class Pad(FrameFault, frozen=True, kw_only=True, tag="pad"):
    bytes: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.bytes <= PAD_MAX:
            raise ValueError(f"bytes lies in 1..{PAD_MAX}")


class CutFrame(FrameFault, frozen=True, kw_only=True, tag="cut_frame"):
    bytes: int = 10


class Silence(FrameFault, frozen=True, kw_only=True, tag="silence"):
    pass


class NoPings(FrameFault, frozen=True, kw_only=True, tag="no_pings"):
    pass


class Close(FrameFault, frozen=True, kw_only=True, tag="close"):
    code: int = 1011

    def __post_init__(self) -> None:
        super().__post_init__()
        check_close_code(self.code)


class Fail(FrameFault, frozen=True, kw_only=True, tag="fail"):
    code: int = 25


# ---- commands and connections --------------------------------------------------------------------------------------


class CommandFault(Fault, frozen=True, kw_only=True):
    cmd: str = "*"


class Refuse(CommandFault, frozen=True, kw_only=True, tag="refuse"):
    """Answer with an error; `market_tickers` names the markets at fault, where that is a part of those asked for."""

    code: int
    market_tickers: list[str] = []
    rest: bool = False


class Ignore(CommandFault, frozen=True, kw_only=True, tag="ignore"):
    pass


class CloseAtOnce(Fault, frozen=True, kw_only=True, tag="close_at_once"):
    code: int = 1013

    def __post_init__(self) -> None:
        super().__post_init__()
        check_close_code(self.code)


class LagReads(Fault, frozen=True, kw_only=True, tag="lag_reads"):
    """Let reads of account data trail; a state of the whole exchange while it lasts, logged with each read it met."""

    lag_ms: int
    times: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_delay(self.lag_ms, "lag_ms")
        if self.account or self.skip or self.times is not None or self.chance != 1:
            raise ValueError("lag_reads is for all reads: account, skip, times and chance do not go with it")


AnyFault = (
    Drop | ApplyThenDrop | ApplyThenDelay | Answer | ApplyThenAnswer | Cut | Delay
    | Lose | Repeat | Swap | Hold | Slow | Garble | Alter | Renew | Inject | Pad | CutFrame | Silence | NoPings | Close
    | Fail | Refuse | Ignore | CloseAtOnce | LagReads
)  # fmt: skip


def read_faults(data: bytes, source: str) -> list[AnyFault]:
    """Return the faults of a script.

    Args:
        source: What to call the script in an error.

    Raises:
        BadFaultScript: Not a JSON list of known faults; the message names the field.
    """
    try:
        return msgspec.json.decode(data, type=list[AnyFault])
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise BadFaultScript(f"{source} is no fault script: {exc}. See feed/exchange/faults/script.py.") from exc


def read_file(path: Path) -> list[AnyFault]:
    """Return the faults of a file.

    Raises:
        BadFaultScript: It cannot be read, or holds no script.
    """
    try:
        return read_faults(path.read_bytes(), str(path))
    except OSError as exc:
        raise BadFaultScript(f"{path} cannot be read ({exc.strerror}).") from exc


def _check_delay(delay_ms: int, name: str = "delay_ms") -> None:
    if not 0 < delay_ms <= DELAY_MAX_MS:
        raise ValueError(f"{name} lies in 1..{DELAY_MAX_MS}")


def check_close_code(code: int) -> None:
    """Raise ValueError for a code no connection can be closed with; 1006 stands for a cut."""
    if code not in CLOSE_CODES and not 3_000 <= code <= 4_999:
        raise ValueError("code: one that may close a connection (RFC 6455 section 7.4), or 1006")
