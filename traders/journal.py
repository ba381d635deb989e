"""A trader's own record: a numbered file first, the stream afterwards.

    append ──► file (written at once) ──► kmm:journal ──► writer ──► kmm:ack ──► compacted out of the file

A record is `length, CRC-32, msgpack of a JournalEntry`; a torn last record (the process died while writing) is cut
off and said. Numbers rise by one for ever. Everything above the writer's acknowledged number is sent again after any
loss of Redis; the writer takes each (trader, number) once. The checkpoint holds what the compacted part amounted to,
so checkpoint + file = state.

What a power cut leaves is that, too, because each step is on the disk before the next begins:

    lines ──► checkpoint: file, name, folder ──► compacted journal: file, name, folder

A line that is missing all the same, in the middle, is a hole: the database goes in its place where it has it, and
without that nobody trades (`recover`). Once the disk has refused lines, nothing of that file counts as durable any
more (`JournalLost`): the process ends, and the next one writes what it can read anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import logging
import os
import struct
import zlib
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import redis.asyncio as redis_async

from feed.schema import (
    ACK,
    FIELD,
    JOURNAL,
    FillState,
    JournalEntry,
    LatchChange,
    OrderState,
    SettledState,
    decode_journal,
    encode,
)
from kalshimm.errors import KalshimmError
from kalshimm.runtime.home import write_private
from markets.core.units import Side
from traders.core.inventory import Inventory, Payout
from traders.core.limits import Latch
from traders.core.liveorders import Kept
from traders.core.orders import OrderStatus
from traders.core.riskbook import RiskMemory

logger = logging.getLogger(__name__)

# Where the platform has it, without the times of the file, which nobody reads.
_to_disk = getattr(os, "fdatasync", os.fsync)
HEAD = struct.Struct("<II")
RECORD_MOST = 1_000_000  # a longer length is damage, not a record
COMPACT_BYTES = 256_000  # below this the file is not worth rewriting
SEND_AT_ONCE = 200
IN_FLIGHT_MOST = 2_000  # sent and not acknowledged: with no writer the file keeps the rest, not Redis
CHECKPOINT_VERSION = 3
OLD_CHECKPOINT = {"action": "old_checkpoint"}

Missing = list[tuple[int, int]]
"""Numbers of lines that are not there: first and last of each run."""


class JournalHole(KalshimmError, ValueError):
    """Lines in the middle of a trader's journal are missing: what would come of the others is not its state.

    Args:
        missing: Not empty.
        advice: Where, and what to do.
    """

    def __init__(self, trader: int, missing: Missing, advice: str = "") -> None:
        self.trader, self.missing = trader, missing
        super().__init__(f"Trader {trader}: of its journal {_told(missing)} missing{advice or '.'}")


class JournalLost(KalshimmError):
    """The disk refused lines of a journal: it may have dropped them, and would say so no second time."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(
            f"{path} cannot be brought to the disk ({error.strerror or error}), and what it holds from before may be "
            "lost: nothing more is sent on it; look after the disk, then start the trader again."
        )


def _told(missing: Missing) -> str:
    runs = ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in missing)
    is_one = len(missing) == 1 and missing[0][0] == missing[0][1]
    return f"line {runs} is" if is_one else f"lines {runs} are"


def gaps(above: int, lines: Iterable[JournalEntry]) -> Missing:
    """Return which numbers are missing between `above` and the last of the lines, which rise."""
    found, last = [], above
    for line in lines:
        if line.number > last + 1:
            found.append((last + 1, line.number - 1))
        last = max(last, line.number)
    return found


class Checkpoint(msgspec.Struct, frozen=True):
    """What a trader is after journal line `number`; `open_orders` still rested then.

    `live` is what it knew of live orders, `outside_cx` what of the account's position in its market was not its own,
    `outside_cost_ud` what that had cost at most (None: nobody noted it), `outside_us` when it was learnt,
    `outside_fills` the newest fills that are in that; `drifted_under` the grant under which its position was found not
    to be what fills explain, 0 when it is.
    """

    number: int = 0
    inventory: Inventory = Inventory()
    open_orders: tuple[OrderState, ...] = ()
    control_id: str = "0-0"
    risk: RiskMemory = RiskMemory()
    live: Kept = Kept()
    outside_cx: int | None = None
    outside_fills: tuple[tuple[str, str], ...] = ()
    drifted_under: int = 0
    outside_cost_ud: int | None = None
    outside_us: int = 0
    version: int = CHECKPOINT_VERSION

    def after(self, entry: JournalEntry) -> Checkpoint:
        """Return the checkpoint one line later; a line it already contains changes nothing."""
        if entry.number <= self.number:
            return self
        inventory, orders, risk, body = self.inventory, self.open_orders, self.risk, entry.body
        if isinstance(body, FillState):
            inventory = inventory.after(
                Side(body.side), body.price_cc, body.count_cx, fee_ud=body.fee_ud, inferred=body.inferred,
                time_us=body.time_us,
            )  # fmt: skip
        elif isinstance(body, OrderState):
            orders = _with_order(orders, body)
        elif isinstance(body, SettledState):
            inventory = inventory.paid_out(Payout(body.paid_ud, body.fee_ud))
        elif isinstance(body, LatchChange):
            latch = Latch(body.code, body.at_us, body.figures)
            risk = msgspec.structs.replace(risk, latch=latch) if body.is_on else risk.released()
        return msgspec.structs.replace(self, number=entry.number, inventory=inventory, open_orders=orders, risk=risk)

    def after_all(self, entries: Sequence[JournalEntry]) -> Checkpoint:
        """Return the checkpoint after lines that rise.

        Raises:
            JournalHole: One is missing in between.
        """
        if missing := gaps(self.number, entries):
            raise JournalHole(entries[0].trader, missing)
        kept = self
        for entry in entries:
            kept = kept.after(entry)
        return kept

    def outside_under(self, grant: int) -> int | None:
        """Return `outside_cx` as a start under a grant has to take it.

        Where positions were found to differ, nothing ever makes them agree again by itself. A person who was told so
        and starts the trader under another grant takes them as they are: it is learnt anew.
        """
        return self.outside_cx if self.drifted_under in (0, grant) else None

    def or_newer(self, stored: Checkpoint) -> Checkpoint:
        """Return what the database knows where it is ahead of the files: they were restored, or lost in a power cut."""
        if stored.number <= self.number:
            return self
        risk = msgspec.structs.replace(self.risk, latch=stored.risk.latch)  # of a day it only knows the latch
        return msgspec.structs.replace(stored, control_id=self.control_id, risk=risk)


def _with_order(orders: tuple[OrderState, ...], order: OrderState) -> tuple[OrderState, ...]:
    others = tuple(o for o in orders if o.client_order_id != order.client_order_id)
    return (*others, order) if order.status == OrderStatus.RESTING else others


class _Head(msgspec.Struct):
    """What every checkpoint says first of all."""

    version: int


def load_checkpoint(path: Path) -> Checkpoint | None:
    """Return the checkpoint, or None when there is none, or one of an earlier version: the database knows as much.

    Raises:
        msgspec.MsgspecError: The file is not a checkpoint that we know; it is replaced atomically, so somebody else
            wrote it.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    version = msgspec.json.decode(content, type=_Head).version
    if version < CHECKPOINT_VERSION:
        logger.warning("checkpoint of version %d: the database is gone by instead", version, extra=OLD_CHECKPOINT)
        return None
    if version > CHECKPOINT_VERSION:
        raise msgspec.ValidationError(f"checkpoint of version {version}, expected {CHECKPOINT_VERSION}")
    return msgspec.json.decode(content, type=Checkpoint)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint; it is on the disk when this returns.

    Raises:
        HomeNotWritable: It cannot be; the old one or this is there, whole.
    """
    write_private(path, msgspec.json.encode(checkpoint), is_durable=True)


class Recovered(NamedTuple):
    """What a trader's earlier processes left: `state` is what comes of `lines` after `before`, or the database."""

    before: Checkpoint
    lines: tuple[JournalEntry, ...]
    state: Checkpoint


def recover(
    checkpoint: Checkpoint | None, lines: tuple[JournalEntry, ...], stored: Checkpoint, folder: Path
) -> Recovered:
    """Return what a trader goes on from.

    Where lines are missing that the database has, it is gone by the database, as if the older files were not there.

    Args:
        checkpoint, lines: What is in its folder.
        stored: What the database knows.

    Raises:
        JournalHole: Neither has lines that must have been: it must not trade.
    """
    before = checkpoint or stored
    try:
        state = before.after_all(lines).or_newer(stored)
    except JournalHole as hole:
        if hole.missing[-1][1] > stored.number:
            raise JournalHole(hole.trader, hole.missing, _advice(folder, stored.number)) from None
        logger.warning(
            "journal in %s: %s missing; the database has them and is gone by instead",
            folder, _told(hole.missing), extra={"action": "journal_hole", "trader": hole.trader},
        )  # fmt: skip
        lines = tuple(line for line in lines if line.number > stored.number)
        before = before.or_newer(stored)
        return Recovered(before, lines, before.after_all(lines))
    if unstored := _unstored(before, lines, stored.number):
        logger.warning(
            "journal in %s: %s missing, and not in the database; the checkpoint has what they amount to",
            folder, _told(unstored), extra={"action": "journal_unstored"},
        )  # fmt: skip
    return Recovered(before, lines, state)


def _advice(folder: Path, stored: int) -> str:
    return (
        f" in {folder}, and the database has them only up to {stored}: what it holds is not certain, so it does not "
        "trade. Start it again once the writer has stored more, or after the journal was put back from a copy. To go "
        "on from what the database knows, compare its position with the exchange's first, then move journal and "
        "checkpoint.json out of that folder."
    )


def _unstored(before: Checkpoint, lines: Sequence[JournalEntry], stored: int) -> Missing:
    """Return which lines the database will never have: the file has them no more."""
    missing = gaps(stored, lines)
    last = max([stored, *(line.number for line in lines)])
    return missing if last >= before.number else [*missing, (last + 1, before.number)]


def read_records(content: bytes) -> tuple[list[JournalEntry], int]:
    """Return the whole records of a journal file, and how many bytes they take; the rest is torn."""
    entries: list[JournalEntry] = []
    at = 0
    while body := _body_at(content, at):
        entries.append(decode_journal(body))
        at += HEAD.size + len(body)
    return entries, at


def _body_at(content: bytes, at: int) -> bytes:
    """Return the record that begins there, without its head; empty where none does that is whole."""
    if at + HEAD.size > len(content):
        return b""
    length, checksum = HEAD.unpack_from(content, at)
    if length > RECORD_MOST:
        return b""
    body = content[at + HEAD.size : at + HEAD.size + length]
    return body if len(body) == length and zlib.crc32(body) == checksum else b""


def _read_beyond(content: bytes, at: int) -> list[JournalEntry]:
    """Return the whole records behind damage: pages of a file reach the disk in any order."""
    entries: list[JournalEntry] = []
    while at + HEAD.size <= len(content):
        body = _body_at(content, at)
        if body:
            entries.append(decode_journal(body))
        at += HEAD.size + len(body) if body else 1
    return entries


def record(entry: JournalEntry) -> bytes:
    body = encode(entry)
    return HEAD.pack(len(body), zlib.crc32(body)) + body


class Journal:
    """The journal of one trader.

    Args:
        path: Its file; made when missing.
        first_number: Numbers continue above this when the file is empty.

    Raises:
        HomeNotWritable: What the file holds cannot be written anew.
    """

    def __init__(self, path: Path, *, first_number: int) -> None:
        self._path = path
        self._pending: deque[JournalEntry] = deque(self._recover())
        self.last_number = max(first_number, self._pending[-1].number if self._pending else 0)
        self._sent = 0
        self._acknowledged = 0
        self._durable = self.last_number
        self._failed: OSError | None = None
        self._syncing: asyncio.Future[None] | None = None
        self._file = path.open("ab", buffering=0)

    def _recover(self) -> list[JournalEntry]:
        """Read what is there, and write it anew: pages that the disk refused read well, and are nowhere but in memory.

        What is damaged before whole lines is kept beside it, for a person.
        """
        content = self._path.read_bytes() if self._path.exists() else b""
        entries, good = read_records(content)
        beyond = _read_beyond(content, good)
        if beyond:
            aside = self._path.with_name(f"{self._path.name}.damaged-{beyond[0].number}")
            with contextlib.suppress(FileExistsError):
                aside.hardlink_to(self._path)
            logger.error(
                "journal: damaged at byte %d, and whole lines from number %d on stand behind that; kept as %s",
                good, beyond[0].number, aside, extra={"action": "journal_damaged"},
            )  # fmt: skip
        elif good < len(content):
            lost = len(content) - good
            logger.warning("journal: %d torn bytes at its end dropped", lost, extra={"action": "journal_torn"})
        entries += beyond
        write_private(self._path, b"".join(map(record, entries)), is_durable=True)
        return entries

    def entries(self) -> tuple[JournalEntry, ...]:
        """Return what the file holds and the writer has not acknowledged, oldest first."""
        return tuple(self._pending)

    def append(self, entry: JournalEntry) -> None:
        """Write one entry to the file.

        Raises:
            ValueError: Its number is not the next, or it is so long that it would pass for damage.
            OSError: The file cannot be written; nothing may be done that is not written down.
        """
        if entry.number != self.last_number + 1:
            raise ValueError(f"journal number {entry.number} follows {self.last_number}")
        written = record(entry)
        if len(written) > RECORD_MOST:
            raise ValueError(f"journal line {entry.number} has {len(written)} bytes, {RECORD_MOST} are the most")
        self._write(written)
        self.last_number = entry.number
        self._pending.append(entry)

    def _write(self, content: bytes) -> None:
        """Write all of it or nothing: half a record would hide every one after it."""
        end = self._file.tell()
        try:
            count = self._file.write(content)
            if count != len(content):
                raise OSError(errno.ENOSPC, f"{count} of {len(content)} bytes were written")
        except OSError:
            os.ftruncate(self._file.fileno(), end)
            self._file.seek(end)  # where it is cut off the next time, too
            raise

    async def synced(self) -> None:
        """Return once everything written so far is on the disk; whoever waits meanwhile shares one write.

        Raises:
            JournalLost: The disk refused it, now or before: no later try would prove anything, so the process ends.
            OSError: It was not tried; nothing may be done that is not written down.
        """
        wanted = self.last_number
        while True:
            if self._failed is not None:
                raise JournalLost(self._path, self._failed) from self._failed
            if self._durable >= wanted:
                return
            if self._syncing is None:
                self._syncing = asyncio.ensure_future(self._sync(self.last_number))
            try:
                await asyncio.shield(self._syncing)
            finally:
                if self._syncing is not None and self._syncing.done():
                    self._syncing = None

    async def _sync(self, number: int) -> None:
        descriptor = os.dup(self._file.fileno())  # the file may be compacted meanwhile
        try:
            await asyncio.to_thread(_to_disk, descriptor)
        except OSError as exc:
            self._failed = exc
            raise JournalLost(self._path, exc) from exc
        finally:
            os.close(descriptor)
        self._durable = max(self._durable, number)

    @property
    def unsent(self) -> int:
        return self.last_number - max(self._sent, self._acknowledged)

    def acknowledge(self, number: int) -> None:
        """Forget what the writer has stored."""
        self._acknowledged = max(self._acknowledged, number)
        while self._pending and self._pending[0].number <= self._acknowledged:
            self._pending.popleft()

    def resend(self) -> None:
        """Send everything unacknowledged again: Redis was away, nobody knows what it kept."""
        self._sent = 0

    async def send(self, client: redis_async.Redis) -> None:
        """Send what is not sent yet, oldest first, a bounded number ahead of the writer.

        Raises what the Redis client raises; what was not confirmed counts as not sent.
        """
        while batch := self._next_batch():
            pipeline = client.pipeline(transaction=False)
            for entry in batch:
                pipeline.xadd(JOURNAL, {FIELD: encode(entry)})
            await pipeline.execute()
            self._sent = batch[-1].number

    def _next_batch(self) -> list[JournalEntry]:
        if not self._pending or self._sent >= self.last_number:
            return []
        window = itertools.islice(self._pending, IN_FLIGHT_MOST)
        return list(itertools.islice((entry for entry in window if entry.number > self._sent), SEND_AT_ONCE))

    async def fetch_acknowledged(self, client: redis_async.Redis, trader: int) -> None:
        """Take the writer's committed number for this trader."""
        value = await client.hget(ACK, str(trader))
        if value is not None:
            self.acknowledge(int(value))

    def compact(self, checkpoint: Checkpoint) -> None:
        """Rewrite the file without what is both acknowledged and contained in `checkpoint` (already on the disk).

        Raises:
            JournalLost: What was written does not read back whole.
            HomeNotWritable: It cannot be rewritten; the old one or the new is there, whole.
        """
        if self._path.stat().st_size < COMPACT_BYTES:
            return
        keep_above = min(self._acknowledged, checkpoint.number)
        content = self._path.read_bytes()
        entries, good = read_records(content)
        if good < len(content):
            raise JournalLost(self._path, OSError(errno.EIO, f"damaged at byte {good}"))
        kept = [record(entry) for entry in entries if entry.number > keep_above]
        if len(kept) == len(entries):
            return
        write_private(self._path, b"".join(kept), is_durable=True)
        self._file.close()
        self._file = self._path.open("ab", buffering=0)

    def close(self) -> None:
        self._file.close()
