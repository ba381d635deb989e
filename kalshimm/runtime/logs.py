"""Structured records from every process: to its own output at once, to the log stream by a bounded queue.

The queue never blocks and never raises on the caller's path: when it is full the record is counted as dropped, and
the count travels with the next record that fits. Keys and signatures are never passed to a logger.
"""

from __future__ import annotations

import collections
import logging
import os
import sys
import time
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:  # who ships has it; `kill` logs, too, and must begin at once
    import redis.asyncio as redis_async

QUEUE_RECORDS = 5_000
# Libraries that tell of every request, frame or task; from them only trouble is of interest.
NOISY = (
    *("asyncio", "daphne", "django.channels", "aiohttp.access", "kombu", "amqp", "picows"),
    "websockets",  # at DEBUG it writes down the headers of a handshake, the signature among them
    *("celery.beat", "celery.worker.strategy", "celery.app.trace"),
)
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


LOG_STREAM = "kmm:log"
LOG_VERSION = 1
LOG_STREAM_ENTRIES = 100_000  # cap while no writer runs; the writer trims what it has stored


class LogEntry(msgspec.Struct, frozen=True, array_like=True):
    """One record on the log stream, with the process it came from; time in microseconds since 1970."""

    version: int
    time_us: int
    role: str
    name: str
    pid: int
    level: str
    logger: str
    message: str
    fields: dict[str, Any]


decode_log = msgspec.msgpack.Decoder(LogEntry).decode


class Record(msgspec.Struct, frozen=True):
    """A log record as values: time in microseconds since 1970, level name, fields as passed in `extra`."""

    time_us: int
    level: str
    logger: str
    message: str
    fields: dict[str, Any]


def to_record(record: logging.LogRecord) -> Record:
    fields = {
        k: v if isinstance(v, int | str | bool) else str(v) for k, v in vars(record).items() if k not in _STANDARD
    }
    if record.exc_info:
        fields["traceback"] = "".join(traceback.format_exception(*record.exc_info))
    return Record(int(record.created * 1_000_000), record.levelname, record.name, record.getMessage(), fields)


class QueueHandler(logging.Handler):
    """Keep records until the worker's shipping task takes them."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._records: collections.deque[Record] = collections.deque()
        self.dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        if len(self._records) >= QUEUE_RECORDS:
            self.dropped += 1
            return
        try:
            self._records.append(to_record(record))
        except Exception:  # noqa: BLE001  # a broken log call must not break who made it
            self.handleError(record)

    def take(self) -> list[Record]:
        """Return and forget what has gathered, and how many were dropped meanwhile as a record of its own."""
        taken = [self._records.popleft() for _ in range(len(self._records))]
        if self.dropped:
            fields = {"action": "log_records_dropped", "count": self.dropped}
            taken.append(
                Record(time.time_ns() // 1_000, "WARNING", __name__, f"{self.dropped} log records dropped", fields)
            )
            self.dropped = 0
        return taken

    def put_back(self, records: list[Record]) -> None:
        """Return records that could not be sent, as far as there is room."""
        room = max(0, QUEUE_RECORDS - len(self._records))
        self.dropped += max(0, len(records) - room)
        self._records.extendleft(reversed(records[:room]))


class LineFormatter(logging.Formatter):
    """One line a record: UTC time, level, logger, message, then fields as name=value."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        entry = to_record(record)
        fields = "".join(f" {k}={v}" for k, v in entry.fields.items() if k != "traceback")
        head = f"{self.formatTime(record, '%H:%M:%S')}.{int(record.msecs):03d} {entry.level:<7} {entry.logger}"
        tail = f"\n{entry.fields['traceback']}" if "traceback" in entry.fields else ""
        return f"{head}: {entry.message}{fields}{tail}"


queue_handler = QueueHandler()


def configure(*, debug: bool = False) -> None:
    """Send all records to stderr as lines, and keep them for shipping."""
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(LineFormatter())
    root = logging.getLogger()
    root.handlers[:] = [stream, queue_handler]
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    for noisy in NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _encode(entry: LogEntry) -> bytes:
    """Return the entry as msgpack; what msgpack does not hold (huge integers, lone surrogates) goes as its repr."""
    try:
        return msgspec.msgpack.encode(entry)
    except (OverflowError, UnicodeEncodeError):
        plain = {str(k): ascii(v) for k, v in entry.fields.items()}
        return msgspec.msgpack.encode(msgspec.structs.replace(entry, message=ascii(entry.message), fields=plain))


async def send(client: redis_async.Redis, records: Sequence[Record], *, role: str, name: str) -> None:
    """Put records on the log stream. Raises what the client raises."""
    pipeline = client.pipeline(transaction=False)
    for r in records:
        entry = LogEntry(LOG_VERSION, r.time_us, role, name, os.getpid(), r.level, r.logger, r.message, r.fields)
        pipeline.xadd(LOG_STREAM, {b"d": _encode(entry)}, maxlen=LOG_STREAM_ENTRIES, approximate=True)
    await pipeline.execute()


async def ship(client: redis_async.Redis, *, role: str, name: str) -> None:
    """Send what has gathered to the log stream; with Redis away it is kept for the next call."""
    from redis.exceptions import RedisError

    records = queue_handler.take()
    if not records:
        return
    try:
        await send(client, records, role=role, name=name)
    except (RedisError, OSError, TimeoutError):
        # No log line here: it would queue itself for ever while Redis is away.
        queue_handler.put_back(records)
