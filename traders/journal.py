"""A trader's own record: a numbered file first, the stream afterwards.

    append ──► file (written at once) ──► kmm:journal ──► writer ──► kmm:ack ──► compacted out of the file

A record is `length, CRC-32, msgpack of a JournalEntry`; a torn last record (the process died while writing) is cut
off and said. Numbers rise by one for ever. Everything above the writer's acknowledged number is sent again after any
loss of Redis; the writer takes each (trader, number) once. The checkpoint holds what the compacted part amounted to,
so checkpoint + file = state.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import os
import struct
import zlib
from collections import deque
from collections.abc import Iterable
from pathlib import Path

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


class Checkpoint(msgspec.Struct, frozen=True):
    """What a trader is after journal line `number`; `open_orders` still rested then.

    `live` is what it knew of live orders, `outside_cx` what of the account's position in its market was not its own,
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
    version: int = CHECKPOINT_VERSION

    def after(self, entry: JournalEntry) -> Checkpoint:
        """Return the checkpoint one line later; a line it already contains changes nothing."""
        if entry.number <= self.number:
            return self
        inventory, orders, risk, body = self.inventory, self.open_orders, self.risk, entry.body
        if isinstance(body, FillState):
            inventory = inventory.after(
                Side(body.side), body.price_cc, body.count_cx, fee_ud=body.fee_ud, inferred=body.inferred
            )
        elif isinstance(body, OrderState):
            orders = _with_order(orders, body)
        elif isinstance(body, SettledState):
            inventory = inventory.paid_out(Payout(body.paid_ud, body.fee_ud))
        elif isinstance(body, LatchChange):
            latch = Latch(body.code, body.at_us, body.figures)
            risk = msgspec.structs.replace(risk, latch=latch) if body.is_on else risk.released()
        return msgspec.structs.replace(self, number=entry.number, inventory=inventory, open_orders=orders, risk=risk)

    def after_all(self, entries: Iterable[JournalEntry]) -> Checkpoint:
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


def read_records(content: bytes) -> tuple[list[JournalEntry], int]:
    """Return the whole records of a journal file, and how many bytes they take; the rest is torn."""
    entries: list[JournalEntry] = []
    at = 0
    while at + HEAD.size <= len(content):
        length, checksum = HEAD.unpack_from(content, at)
        body = content[at + HEAD.size : at + HEAD.size + length]
        if length > RECORD_MOST or len(body) < length or zlib.crc32(body) != checksum:
            break
        entries.append(decode_journal(body))
        at += HEAD.size + length
    return entries, at


def record(entry: JournalEntry) -> bytes:
    body = encode(entry)
    return HEAD.pack(len(body), zlib.crc32(body)) + body


class Journal:
    """The journal of one trader.

    Args:
        path: Its file; made when missing.
        first_number: Numbers continue above this when the file is empty.
    """

    def __init__(self, path: Path, *, first_number: int) -> None:
        self._path = path
        self._pending: deque[JournalEntry] = deque(self._recover())
        self.last_number = max(first_number, self._pending[-1].number if self._pending else 0)
        self._sent = 0
        self._acknowledged = 0
        self._durable = 0
        self._syncing: asyncio.Future[None] | None = None
        self._file = path.open("ab", buffering=0)

    def _recover(self) -> list[JournalEntry]:
        if not self._path.exists():
            return []
        content = self._path.read_bytes()
        entries, good = read_records(content)
        if good < len(content):
            lost = len(content) - good
            logger.warning("journal: %d torn bytes at its end dropped", lost, extra={"action": "journal_torn"})
            os.truncate(self._path, good)
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
            raise

    async def synced(self) -> None:
        """Return once everything written so far is on the disk; whoever waits meanwhile shares one write.

        Raises:
            OSError: It cannot be brought there; nothing may be done that is not written down.
        """
        wanted = self.last_number
        while self._durable < wanted:
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
        """Rewrite the file without what is both acknowledged and contained in `checkpoint` (already on disk)."""
        if self._path.stat().st_size < COMPACT_BYTES:
            return
        keep_above = min(self._acknowledged, checkpoint.number)
        entries, _ = read_records(self._path.read_bytes())
        kept = [record(entry) for entry in entries if entry.number > keep_above]
        if len(kept) == len(entries):
            return
        write_private(self._path, b"".join(kept), is_durable=True)
        self._file.close()
        self._file = self._path.open("ab", buffering=0)

    def close(self) -> None:
        self._file.close()
