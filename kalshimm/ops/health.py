"""Is it alive, does it serve, is it ready to trade: the three questions of a probe, answered with reasons."""

from __future__ import annotations

from collections.abc import Sequence

from asgiref.sync import async_to_sync
from django.conf import settings
from django.db import DatabaseError, connection
from redis.exceptions import RedisError

from feed import schema
from feed.queries import newest_feed
from kalshimm.ops.services import NEEDED_ROLES
from kalshimm.runtime import streams
from kalshimm.runtime.heartbeat import Beat, read_beats

OK = "ok"


def stores() -> dict[str, str]:
    """Return for `database` and `redis` either `ok` or why it does not serve."""
    return {"database": _database(), "redis": async_to_sync(_redis)()}


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as exc:
        return _first_line(exc)
    return OK


async def _redis() -> str:
    client = streams.connect(settings.REDIS_URL)
    try:
        await client.ping()
    except (RedisError, OSError, TimeoutError) as exc:
        return _first_line(exc)
    finally:
        await client.aclose()
    return OK


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def reasons_not_ready(now_us: int) -> list[str]:
    """Return why quotes cannot be worked right now; empty when they can."""
    down = [f"{store} does not answer: {state}" for store, state in stores().items() if state != OK]
    return down or async_to_sync(_worker_reasons)(now_us)


async def _worker_reasons(now_us: int) -> list[str]:
    client = streams.connect(settings.REDIS_URL)
    try:
        beats = await read_beats(client)
        feed = await newest_feed(client)
    except (RedisError, OSError, TimeoutError) as exc:
        return [f"redis does not answer: {_first_line(exc)}"]
    finally:
        await client.aclose()
    return [*silent_workers(beats), *stale_feed(feed, now_us)]


def silent_workers(beats: Sequence[Beat]) -> list[str]:
    heard = {beat.role for beat in beats}
    return [f"{role} is silent" for role in NEEDED_ROLES if role not in heard]


def stale_feed(feed: schema.FeedState | None, now_us: int) -> list[str]:
    """Return why books may not be trusted, by the rule every book reader uses."""
    if feed is None:
        return ["the gateway has written no feed entry"]
    age_s = (now_us - feed.written_us) / 1_000_000
    if age_s > schema.FEED_ENTRY_MAX_S:
        return [f"the newest feed entry is {age_s:.1f} s old, limit {schema.FEED_ENTRY_MAX_S} s"]
    if feed.frame_age_ms > schema.CONNECTION_SILENT_MAX_S * 1_000:
        return [f"the exchange's connection was silent for {feed.frame_age_ms} ms"]
    return []
