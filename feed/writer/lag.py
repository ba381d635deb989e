"""How far the writer is behind, said aloud; and what is dropped when a stream outgrows its bound."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import redis.asyncio as redis_async

from feed.writer.reading import StreamInfo, stream_info
from feed.writer.watermark import Position

logger = logging.getLogger(__name__)

LAG_ALERT_S = 10.0
REMIND_EVERY_S = 60.0
KEPT_OF_BOUND = 0.9  # of a stream that is cut: else it would be cut again at once


class Lag(msgspec.Struct, frozen=True):
    """What of a stream is not committed yet: entries, their bytes in the store, the age of the oldest."""

    entries: int = 0
    bytes: int = 0
    age_ms: int = 0


def behind(position: Position, info: StreamInfo, *, stream_bytes: int, oldest_ms: int | None, now_ms: int) -> Lag:
    """Return how far a committed position is behind its stream.

    Args:
        oldest_ms: The store's time of the oldest entry behind the position, None if there is none.
    """
    if oldest_ms is None:
        return Lag()
    entries = info.length
    if info.added is not None and position.number is not None:
        entries = min(info.length, max(0, info.added - position.number))
    share = stream_bytes * entries // max(1, info.length)
    return Lag(entries, share, max(0, now_ms - oldest_ms))


def kept(info: StreamInfo, stream_bytes: int, bytes_most: int) -> int | None:
    """Return how many of its newest entries a stream may keep, or None if it is small enough."""
    if stream_bytes <= bytes_most:
        return None
    return int(info.length * bytes_most * KEPT_OF_BOUND) // stream_bytes


class LagWatch:
    """Looks at one stream each second, raises the alarm, and keeps the stream inside its bound.

    What is cut off unread is noted as a gap by whoever reads on (feed.writer.reading).

    Args:
        bytes_most: The bound of a stream that nobody but the writer trims; None for one that others bound.
    """

    def __init__(self, client: redis_async.Redis, stream: str, *, bytes_most: int | None) -> None:
        self._client, self._stream, self._bytes_most = client, stream, bytes_most
        self.lag = Lag()
        self._told_at: float | None = None
        self.dropped = 0

    async def look(self, position: Position, *, now: float) -> Lag:
        """Measure, tell, and cut what is too large.

        Args:
            position: What is committed.
            now: Monotonic seconds.
        """
        pipeline = self._client.pipeline(transaction=True)
        pipeline.xinfo_stream(self._stream)
        pipeline.memory_usage(self._stream)
        pipeline.xrange(self._stream, min=f"({position.entry_id}", count=1)
        pipeline.time()
        told, used, oldest, (seconds, micros) = await pipeline.execute(raise_on_error=False)
        info, stream_bytes = stream_info(told), used or 0
        self.lag = behind(
            position, info, stream_bytes=stream_bytes, oldest_ms=_first_ms(oldest),
            now_ms=seconds * 1_000 + micros // 1_000,
        )  # fmt: skip
        self._tell(now)
        if self._bytes_most is not None:
            await self._cut(info, stream_bytes, self._bytes_most)
        return self.lag

    def _tell(self, now: float) -> None:
        """Raise the alarm when the lag is too large, again while it is, and say when it is over."""
        fields: dict[str, Any] = {"action": "writer_lag", "stream": self._stream, **msgspec.structs.asdict(self.lag)}
        if self.lag.age_ms < LAG_ALERT_S * 1_000:
            if self._told_at is not None and self.lag.age_ms < LAG_ALERT_S * 500:
                logger.info("%s is stored in time again", self._stream, extra=fields)
                self._told_at = None
            return
        if self._told_at is None or now - self._told_at >= REMIND_EVERY_S:
            self._told_at = now
            message = "%s is %.0f s behind: %d entries, %d bytes are not stored"
            alert = {"alert": "WRITER_LAG"}
            logger.warning(
                message, self._stream, self.lag.age_ms / 1_000, self.lag.entries, self.lag.bytes, extra=fields | alert
            )

    async def _cut(self, info: StreamInfo, stream_bytes: int, bytes_most: int) -> None:
        entries = kept(info, stream_bytes, bytes_most)
        if entries is None:
            return
        dropped = await self._client.xtrim(self._stream, maxlen=entries, approximate=False)
        self.dropped += dropped
        fields = {"action": "stream_cut", "alert": "STREAM_OVERFLOW", "stream": self._stream, "entries": dropped}
        message = "%s had %d bytes, %d are allowed (KALSHIMM_TAPE_BYTES): its oldest %d entries were dropped"
        logger.error(message, self._stream, stream_bytes, bytes_most, dropped, extra=fields)


def _first_ms(entries: Any) -> int | None:
    if isinstance(entries, Exception):
        raise entries
    return int(entries[0][0].partition(b"-")[0]) if entries else None
