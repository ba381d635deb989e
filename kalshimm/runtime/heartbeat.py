"""Beats: keys with a time to live, written by the loop that does the work. Silence is the alarm.

Once a minute a beat also goes onto the log stream, as a record of its own kind: the writer keeps those.
"""

from __future__ import annotations

import logging

import msgspec
import redis.asyncio as redis_async
from redis.exceptions import RedisError

from kalshimm.runtime import logs
from kalshimm.runtime.clock import Clock
from kalshimm.runtime.process import ProcessIdentity

logger = logging.getLogger(__name__)

BEAT_VERSION = 1
BEAT_TTL_S = 5
BEAT_EVERY_S = 1.0
BEAT_KEPT_EVERY_S = 60.0
BEAT_ACTION = "beat"  # of the log records that carry one
BEAT_KEYS = "kmm:beat:*"


def beat_key(role: str, name: str) -> str:
    return f"kmm:beat:{role}:{name}"


class Beat(msgspec.Struct, frozen=True, array_like=True):
    """Proof that a worker's own loop runs; `detail` is a role's own summary for the pages, in its own schema.

    `pid`, `boot_id` and `started_us` together identify the process; `lag_ms` is how late its loop came, at
    the worst since the last beat.
    """

    version: int
    role: str
    name: str
    pid: int
    boot_id: str
    started_us: int
    written_us: int
    loops: int
    lag_ms: int
    state: str
    last_event: str
    counters: dict[str, int]
    detail: bytes = b""


decode_beat = msgspec.msgpack.Decoder(Beat).decode
_unreadable: set[bytes] = set()  # keys that were complained of, so that a look each second says it once


class Pulse:
    """What one worker knows of itself: its loop sets the fields, calls `turn`, and has it written by `beat`."""

    def __init__(self, *, role: str, name: str, clock: Clock) -> None:
        self.role, self.name, self._clock = role, name, clock
        self.identity = ProcessIdentity.own()
        self.loops = 0
        self.lag_ms = 0
        self.state = "starting"
        self.last_event = ""
        self.counters: dict[str, int] = {}
        self.detail = b""
        self._due: float | None = None
        self._kept_at: float | None = None

    def count(self, counter: str, by: int = 1) -> None:
        self.counters[counter] = self.counters.get(counter, 0) + by

    def turn(self, *, every_s: float) -> None:
        """Note one turn of the loop, and how late it came against its period."""
        now = self._clock.monotonic()
        if self._due is not None:
            self.lag_ms = max(self.lag_ms, int((now - self._due) * 1_000))
        self.loops += 1
        self._due = now + every_s

    def snapshot(self) -> Beat:
        return Beat(
            version=BEAT_VERSION,
            role=self.role,
            name=self.name,
            pid=self.identity.pid,
            boot_id=self.identity.boot_id,
            started_us=self.identity.started_us,
            written_us=self._clock.wall_us(),
            loops=self.loops,
            lag_ms=self.lag_ms,
            state=self.state,
            last_event=self.last_event,
            counters=dict(self.counters),
            detail=self.detail,
        )

    async def beat(self, client: redis_async.Redis) -> bool:
        """Write the beat; with Redis away say so once per outage and return False: the work goes on."""
        beat, self.lag_ms = self.snapshot(), 0
        try:
            await client.set(beat_key(self.role, self.name), msgspec.msgpack.encode(beat), ex=BEAT_TTL_S)
            await self._keep(client, beat)
        except (RedisError, OSError, TimeoutError) as exc:
            self.lag_ms = max(self.lag_ms, beat.lag_ms)
            if self.counters.get("beats_lost", 0) == 0:
                logger.warning("beat could not be written: %s", exc, extra={"action": "beat_lost"})
            self.count("beats_lost")
            return False
        self.counters.pop("beats_lost", None)
        return True

    async def _keep(self, client: redis_async.Redis, beat: Beat) -> None:
        """Put the beat on the log stream, once a minute and without the role's own summary."""
        now = self._clock.monotonic()
        if self._kept_at is not None and now - self._kept_at < BEAT_KEPT_EVERY_S:
            return
        fields = {"action": BEAT_ACTION, "beat": msgspec.msgpack.encode(msgspec.structs.replace(beat, detail=b""))}
        record = logs.Record(beat.written_us, "INFO", __name__, f"{self.role} {self.name} {beat.state}", fields)
        await logs.send(client, [record], role=self.role, name=self.name)
        self._kept_at = now

    async def retire(self, client: redis_async.Redis) -> None:
        """Take the beat away at a clean stop: nobody need wait for it to lapse."""
        try:
            await client.delete(beat_key(self.role, self.name))
        except (RedisError, OSError, TimeoutError) as exc:
            logger.info("beat left to lapse: %s", exc)


async def read_beats(client: redis_async.Redis, pattern: str = BEAT_KEYS) -> list[Beat]:
    """Return every living beat that can be read, ordered by role and name."""
    keys = [key async for key in client.scan_iter(match=pattern, count=500)]
    if not keys:
        return []
    values = await client.mget(keys)
    read = [read_beat(key, value) for key, value in zip(keys, values, strict=True) if isinstance(value, bytes)]
    return sorted((beat for beat in read if beat is not None), key=lambda beat: (beat.role, beat.name))


def read_beat(key: bytes, value: bytes) -> Beat | None:
    """Return the beat that stands under a key, or None when it is not of this version, which is logged once."""
    try:
        beat = decode_beat(value)
        problem = "" if beat.version == BEAT_VERSION else f"version {beat.version}, expected {BEAT_VERSION}"
    except msgspec.MsgspecError as exc:
        problem = str(exc)
    if not problem:
        _unreadable.discard(key)
        return beat
    if key not in _unreadable:
        _unreadable.add(key)
        logger.warning("beat %s cannot be read: %s", key.decode(), problem, extra={"action": "bad_beat"})
    return None
