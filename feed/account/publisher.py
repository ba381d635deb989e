"""Put what changed on `kmm:account:{id}`, in order; every so often a whole entry, from which a newcomer reads on.

What Redis does not take is kept and sent again; past a bound only what a whole entry cannot give again is kept:
fills, settlements and differences. Those, and orders that are over, are told once more to a store that began anew:
the writer may not have had them yet.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

import redis.asyncio as redis_async
from redis.exceptions import RedisError

from feed import schema
from kalshimm.runtime.clock import Clock

logger = logging.getLogger(__name__)

UPDATES_AN_ENTRY = 200
ENTRIES_A_WHOLE = 1_000
WHOLE_EVERY_S = 30.0
STREAM_ENTRIES = 10_000  # at least the last nine whole ones
BACKLOG_UPDATES = 20_000
TOLD_AGAIN = 20_000  # updates, to a store that began anew: far more than come while a writer is restarted
LASTING = (schema.AccountFill, schema.AccountSettlement, schema.AccountDifference)


class AccountPublisher:
    """Writes one account's stream; the only writer of it."""

    def __init__(self, client: redis_async.Redis, account: str, clock: Clock) -> None:
        self._client, self._account, self._clock = client, account, clock
        self._backlog: list[schema.AccountUpdate] = []
        self._entries = 0
        self._whole_at: float | None = None
        self._generation: bytes | None = None
        self._told: deque[schema.AccountUpdate] = deque(maxlen=TOLD_AGAIN)
        self.is_failing = False

    def add(self, updates: list[schema.AccountUpdate]) -> None:
        self._backlog += updates
        if len(self._backlog) > BACKLOG_UPDATES:
            self._backlog = [update for update in self._backlog if isinstance(update, LASTING)]
            self._whole_at = None

    @property
    def is_whole_due(self) -> bool:
        """Whether a newcomer would have to read too far back."""
        is_old = self._whole_at is None or self._clock.monotonic() - self._whole_at >= WHOLE_EVERY_S
        return is_old or self._entries >= ENTRIES_A_WHOLE

    def ask_whole(self) -> None:
        """Make the next entry a whole one."""
        self._whole_at = None

    async def send(self, whole: Callable[[], list[schema.AccountUpdate]] | None) -> bool:
        """Send what gathered, and a whole entry behind it when one is due; return False when Redis does not take it.

        Args:
            whole: Gives all there is; None while that is not known: what a whole entry leaves out is over.
        """
        with_whole = whole is not None and self.is_whole_due
        sending, self._backlog = self._backlog, []
        pipeline = self._client.pipeline(transaction=False)
        pipeline.get(schema.GENERATION)
        entries = 0
        for start in range(0, len(sending), UPDATES_AN_ENTRY):
            self._queue(pipeline, sending[start : start + UPDATES_AN_ENTRY], is_whole=False)
            entries += 1
        if whole is not None and with_whole:
            self._queue(pipeline, whole(), is_whole=True)
        try:
            generation, *_ = await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as exc:
            if not self.is_failing:
                fields = {"action": "account_unpublished", "alert": "ACCOUNT_UNPUBLISHED"}
                logger.error("Redis does not take the account's truth: %s", exc, extra=fields)
            self.is_failing = True
            self._backlog = sending + self._backlog
            self.ask_whole()
            return False
        self.is_failing = False
        self._entries += entries
        if with_whole:
            self._entries, self._whole_at = 0, self._clock.monotonic()
        self._see_store(generation)
        self._told += [update for update in sending if _is_said_once(update)]
        return True

    def _see_store(self, generation: bytes | None) -> None:
        """Tell a store that began anew once more what the one before may have taken with it."""
        if generation is None or generation == self._generation:
            return  # whoever makes one has not yet
        if self._generation is not None:
            logger.warning(
                "the store began anew: %d updates of %s are told again", len(self._told), self._account,
                extra={"action": "account_told_again"},
            )  # fmt: skip
            self._backlog = [*self._told, *self._backlog]
            self._told.clear()
            self.ask_whole()  # behind them: some may be older than what it knows by now
        self._generation = generation

    def _queue(
        self, pipeline: redis_async.client.Pipeline, updates: list[schema.AccountUpdate], *, is_whole: bool
    ) -> None:
        entry = schema.AccountEntry(schema.VERSION, self._account, self._clock.wall_us(), is_whole, updates)
        stream = schema.account_stream(self._account)
        pipeline.xadd(stream, {schema.FIELD: schema.encode(entry)}, maxlen=STREAM_ENTRIES, approximate=True)


def _is_said_once(update: schema.AccountUpdate) -> bool:
    """Return whether no whole entry ever says it again."""
    return isinstance(update, LASTING) or (isinstance(update, schema.AccountOrder) and update.is_complete)
