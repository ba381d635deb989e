"""The gateway: one public connection to the venue, every subscribed book exact, published to the streams.

    socket → session → books → publisher → Redis
    interest (sorted set) → subscriptions
    every 250 ms and on change → kmm:feed

The hot path (frame to books) touches neither Redis nor Django. What one read of the socket brought leaves in
one write; while a round trip to Redis is under way rows gather, so batches grow with the load by themselves.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections import Counter

from channels.layers import BaseChannelLayer
from redis.exceptions import RedisError

from feed import schema
from feed.books import Books
from feed.kalshi import channels, pacing
from feed.kalshi.environments import Environment
from feed.kalshi.session import MOST_TICKERS_A_COMMAND, Session
from feed.kalshi.signing import Signer
from feed.link import Link, Receive, Waits
from feed.publisher import GONE_STREAM_S, Publisher
from feed.relay import RELAY_EVERY_S, Relay
from kalshimm.runtime import logs, streams
from kalshimm.runtime.backoff import delay_s
from kalshimm.runtime.clock import Clock, SteadyClock
from kalshimm.runtime.heartbeat import BEAT_EVERY_S, Pulse
from kalshimm.runtime.worker import every, wait_or_stop

logger = logging.getLogger(__name__)

RETRY_REDIS_S = 0.25
SLOW_SEND_S = 0.5  # a write to Redis that took longer is told: readers distrust books at three times that
REFUSED_FIRST_S = 2.0
REFUSED_MOST_S = 300.0
CLOCK_SET_US = 5_000_000  # between two looks; leases are a minute long
ANSWER_TICKS = 40  # of 250 ms: a command unanswered for longer has lost its answer


class Gateway:
    """One process's worth of gateway; `run` returns when stopped.

    Args:
        adapter: `picows` or `websockets`.
        layer: Channels layer for the relay.
        waits: Of the connection; the venue's refusals are waited out as long as ever.
    """

    def __init__(
        self,
        *,
        environment: Environment,
        signer: Signer | None,
        redis_url: str,
        clock: Clock,
        layer: BaseChannelLayer,
        adapter: str = "picows",
        waits: Waits | None = None,
    ) -> None:
        self._environment, self._clock, self._steady = environment, clock, SteadyClock(clock)
        self._redis = streams.connect(redis_url)
        self._publisher = Publisher(redis_url, on_sent=self._flush)
        self._relay = Relay(self._redis, layer)
        self._pulse = Pulse(role="gateway", name=environment.name, clock=clock)
        self._interest: dict[str, bool] = {}  # ticker → leased
        self._refused: dict[tuple[str, str], float] = {}  # channel and ticker → monotonic time of the next try
        self._refusals_seen: Counter[tuple[str, str]] = Counter()
        self._pace = pacing.Pace()
        self._slowed_seen = 0
        self._is_swept = False
        self._link = Link(
            self, what="feed", alert="FEED_DOWN", environment=environment, signer=signer, clock=clock, adapter=adapter,
            waits=waits,
        )  # fmt: skip
        self._books: Books | None = None
        self._state, self._reason = "connecting", ""
        self._generation = ""
        self._interest_kept_until_s = 0.0
        self._wall_ahead_us = 0
        self._away: set[str] = set()  # what Redis does not do for us now
        self._is_late = False

    async def run(self, stop: asyncio.Event) -> None:
        await streams.require(self._redis)
        self._generation = await streams.generation(self._redis, schema.GENERATION)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._link.run(stop), name="link")
                tasks.create_task(self._publish(stop), name="publish")
                tasks.create_task(every(stop, schema.FEED_EVERY_S, self._follow_interest), name="interest")
                tasks.create_task(every(stop, schema.FEED_EVERY_S, self._tick), name="tick")
                tasks.create_task(every(stop, RELAY_EVERY_S, self._relay_turn), name="relay")
                tasks.create_task(every(stop, BEAT_EVERY_S, self._beat), name="beat")
        finally:
            await self._goodbye()

    async def _goodbye(self) -> None:
        self._gather()  # the gap row of our own leaving
        self._publisher.add_feed(self._feed_state())
        await self._publisher.send()
        await self._pulse.retire(self._redis)
        await logs.ship(self._redis, role="gateway", name=self._environment.name)
        self._publisher.close()
        await self._redis.aclose()

    # ---- the connection -----------------------------------------------------------------------------------------

    def link_opened(self) -> Receive:
        # 43 bits of milliseconds and 20 random ones: identities sort by time, and two gateways never share one.
        conn = (self._clock.wall_us() // 1_000) << 20 | secrets.randbits(20)
        self._books = Books(conn, Session())
        self._state, self._reason = "connected", ""
        self._refused.clear()
        self._refusals_seen.clear()
        self._slowed_seen = 0
        self._is_swept = False
        logger.info("the feed's connection is %d", conn, extra={"action": "feed_connected", "conn": conn})
        # Whatever ended before, and however, the history between then and now is missing.
        self._books.wall_ahead(self._steady.wall_ahead_us())
        self._books.began(self._steady.now_us())
        self._subscribe()
        self._flush()
        return self._receive

    def _receive(self, turn: list[bytes], received_us: int) -> None:
        del received_us  # a wall time, and somebody may set the wall clock
        assert self._books is not None, "frames come only from an open link"
        self._books.receive_turn(turn, self._steady.now_us())
        self._flush()

    def link_closed(self, reason: str) -> None:
        if self._books is not None and self._state == "connected":
            self._books.disconnected(reason, self._steady.now_us())
            self._pulse.count("disconnects")
        self._state, self._reason = "disconnected", reason
        self._gather()  # now: the next connection brings books of its own
        self._publisher.start()

    # ---- interest -----------------------------------------------------------------------------------------------

    async def _follow_interest(self) -> None:
        """Read who wants which market, and let the subscriptions follow."""
        try:
            await self._look_for_new_store()
            wanted = await self._read_interest()
            is_kept = self._clock.monotonic() < self._interest_kept_until_s
            self._interest = self._interest | wanted if is_kept else wanted
            if not self._is_swept:
                await self._sweep()
        except (RedisError, OSError, TimeoutError) as exc:
            self._say_away("interest cannot be read", exc, action="interest_unread")
            return  # what was wanted a moment ago is still wanted
        self._away.discard("interest_unread")
        self._subscribe()

    def _say_away(self, what: str, exc: Exception, *, action: str) -> None:
        """Say that Redis does not do something, once until it does."""
        if action not in self._away:
            logger.warning("%s: %s", what, exc, extra={"action": action})
        self._away.add(action)

    def _look_for_set_clock(self) -> None:
        """Keep what is wanted when the wall clock was set: leases end by it, and none of before means anything."""
        ahead_us = self._steady.wall_ahead_us()
        if abs(ahead_us - self._wall_ahead_us) >= CLOCK_SET_US:
            step_s = (ahead_us - self._wall_ahead_us) / 1_000_000
            logger.warning("the wall clock was set by %+.0f s", step_s, extra={"action": "clock_set", "step_s": step_s})
            self._keep_interest()
        self._wall_ahead_us = ahead_us

    def _keep_interest(self) -> None:
        """For as long as holders may take to renew their leases an empty list means nothing."""
        self._interest_kept_until_s = self._clock.monotonic() + schema.INTEREST_LEASE_S

    async def _look_for_new_store(self) -> None:
        """Give an emptied store what its readers need: whole books, and the markets that were wanted a moment ago."""
        generation = await streams.generation(self._redis, schema.GENERATION)
        if generation == self._generation:
            return
        self._generation = generation
        logger.error("the store began anew", extra={"action": "store_generation", "alert": "STORE_BEGAN_ANEW"})
        # Holders renew their leases in time; until then an empty list means nothing.
        self._keep_interest()
        if self._books is not None:
            now_us = self._steady.now_us()
            self._books.lost("the store began anew: what it held and nobody had read is lost", now_us, since_us=now_us)
            self._flush()

    async def _sweep(self) -> None:
        """Once a connection: take away the latest states of markets that lost their readers while we were away."""
        known: list[bytes] = await self._redis.hkeys(schema.MARKETS)  # type: ignore[assignment]  # bytes asked for
        gone = [ticker.decode() for ticker in known if ticker.decode() not in self._interest]
        for ticker in gone:
            await self._redis.hdel(schema.MARKETS, ticker)
            await self._redis.expire(schema.book_stream(ticker), GONE_STREAM_S)
        self._is_swept = True

    async def _read_interest(self) -> dict[str, bool]:
        self._look_for_set_clock()  # with no wait in between: what is over by a clock set meanwhile is not
        now_s = self._clock.wall_us() / 1_000_000
        await self._redis.zremrangebyscore(schema.INTEREST, 0, now_s - schema.INTEREST_LINGER_S)
        wanted: dict[str, bool] = {}
        members: list[bytes] = await self._redis.zrange(schema.INTEREST, 0, -1)  # type: ignore[assignment]  # no scores asked
        for member in members:
            ticker, _, holder = member.decode().rpartition("|")
            is_leased = not holder.startswith(schema.TAPE_HOLDER)
            wanted[ticker] = wanted.get(ticker, False) or is_leased
        return wanted

    def _subscribe(self) -> None:
        """Send what brings the confirmed subscriptions to the wanted markets; one command a channel at a time."""
        if self._books is None or not self._link.is_open or self._books.session.is_in_doubt:
            return
        books, session = self._books, self._books.session
        now_us, now = self._steady.now_us(), self._clock.monotonic()
        self._note_refusals(books, now)
        is_without_lifecycle = session.of_channel(channels.LIFECYCLE) is None
        is_refused = self._refused.get((channels.LIFECYCLE, ""), 0.0) > now
        if is_without_lifecycle and not is_refused and not session.is_pending(channels.LIFECYCLE, "subscribe"):
            self._send(session.subscribe(channels.LIFECYCLE))
        for channel in channels.MARKET_CHANNELS:
            resting = {ticker for (of, ticker), until in self._refused.items() if of == channel and until > now}
            if "" not in resting and self._may_send():
                self._send(self._channel_commands(session, channel, set(self._interest), resting))
        for ticker, is_leased in self._interest.items():
            books.lease(ticker, is_leased=is_leased, now_us=now_us)
        for ticker, market in books.markets.items():
            if market.is_leased and ticker not in self._interest:
                books.lease(ticker, is_leased=False, now_us=now_us)

    def _may_send(self) -> bool:
        return pacing.allowed(self._pace, self._monotonic_us()) > 0

    def _send(self, commands: list[bytes]) -> None:
        self._link.send(commands)
        self._pace = pacing.sent(self._pace, len(commands), self._monotonic_us())

    def _monotonic_us(self) -> int:
        return int(self._clock.monotonic() * 1_000_000)

    def _note_refusals(self, books: Books, now: float) -> None:
        """Leave alone for a growing while what the venue has refused since we last looked."""
        for key, times in books.refusals.items():
            if times > self._refusals_seen[key]:
                wait = delay_s(times, first_s=REFUSED_FIRST_S, most_s=REFUSED_MOST_S, jitter=random.random())
                self._refused[key] = now + wait
                channel, ticker = key
                fields = {"action": "subscription_refused", "channel": channel, "ticker": ticker}
                logger.warning("%s of %s refused, left alone for %.0f s", ticker or "all", channel, wait, extra=fields)
        self._refusals_seen = Counter(books.refusals)
        if books.counters["too_many_commands"] > self._slowed_seen:
            self._slowed_seen = books.counters["too_many_commands"]
            self._pace = pacing.refused(self._pace, self._monotonic_us())
            logger.warning("the venue wants fewer commands", extra={"action": "commands_slowed"})

    @staticmethod
    def _channel_commands(session: Session, channel: str, wanted: set[str], resting: set[str]) -> list[bytes]:
        """Return the commands of one channel; `resting` tickers were refused on it and are not asked for now."""
        subscription = session.of_channel(channel)
        if subscription is None:
            if wanted - resting and not session.is_pending(channel, "subscribe"):
                return session.subscribe(channel, sorted(wanted - resting))
            return []
        frames: list[bytes] = []
        missing = sorted(wanted - resting - subscription.markets)[:MOST_TICKERS_A_COMMAND]
        surplus = sorted(subscription.markets - wanted)[:MOST_TICKERS_A_COMMAND]
        if missing and not session.is_pending(channel, "add_markets"):
            frames += session.add_markets(subscription.sid, missing)
        if surplus and not session.is_pending(channel, "delete_markets"):
            frames += session.delete_markets(subscription.sid, surplus)
        return frames

    # ---- publishing ---------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Let what gathered leave; behind a write that is under way it gathers on."""
        if self._publisher.is_idle:
            self._gather()
            self._publisher.start()

    async def _publish(self, stop: asyncio.Event) -> None:
        """Send what does not leave by itself, until it does."""
        while not await self._stuck_or_stopped(stop):
            is_open = await self._publisher.open()
            self._tell_books()
            if not is_open or not await self._publisher.send():
                await wait_or_stop(stop, RETRY_REDIS_S)
            elif self._publisher.lost:
                self._after_loss()

    def _tell_books(self) -> None:
        """Tell every leased book anew if a write failed: nobody knows what its readers have."""
        if self._books is not None and not self._publisher.are_books_wanted:
            self._books.tell_anew("Redis was away", self._steady.now_us())
            self._publisher.tell_books()
        self._gather()

    async def _stuck_or_stopped(self, stop: asyncio.Event) -> bool:
        """Wait until the publisher is stuck; return whether it is time to stop instead."""
        waits = [asyncio.create_task(event.wait()) for event in (self._publisher.is_stuck, stop)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return stop.is_set()

    def _gather(self) -> None:
        if self._books is None:
            return
        taken = self._books.take()
        if taken.is_empty:
            return
        for sid, tickers in taken.snapshots_wanted:
            # What may not leave now is asked for again by the books' own tick.
            if self._link.is_open and sid in self._books.session.subscriptions and self._may_send():
                self._send(self._books.session.get_snapshot(sid, tickers))
        self._publisher.add(self._books.conn, taken)
        if taken.is_feed_changed:
            self._publisher.add_feed(self._feed_state())
        self._pulse.count("rows", len(taken.rows))

    def _after_loss(self) -> None:
        """Entries were dropped while Redis was away: say so on the tape, and give every reader a whole book."""
        lost, self._publisher.lost = self._publisher.lost, 0
        if self._books is None:
            return
        now_us = self._steady.now_us()
        for_s = asyncio.get_running_loop().time() - self._publisher.lost_since_s
        reason = f"{lost} writes to the streams lost while Redis was away"
        self._books.lost(reason, now_us, since_us=now_us - int(for_s * 1_000_000))
        self._flush()

    # ---- feed state, beat ---------------------------------------------------------------------------------------

    def _feed_state(self) -> schema.FeedState:
        books = self._books
        return schema.FeedState(
            version=schema.VERSION,
            conn=books.conn if books and self._state == "connected" else 0,
            state=self._state,
            generations=books.generations() if books and self._state == "connected" else {},
            frame_age_ms=int(self._link.silent_s * 1_000),
            lag_ms=books.last_lag_ms if books else None,
            written_us=self._clock.wall_us(),
            subscribed=sum(m.is_valid for m in books.markets.values()) if books else 0,
            reason=self._reason,
        )

    async def _tick(self) -> None:
        """Judge crossed books by the clock, and show readers that we live."""
        if self._books is not None:
            self._books.wall_ahead(self._steady.wall_ahead_us())
            self._books.tick(self._steady.now_us())
            self._judge_lag(self._books.last_lag_ms)
            for ticker in self._books.take_paused():
                fields = {"action": "book_paused", "alert": "BOOK_PAUSED", "ticker": ticker}
                logger.error("%s stays crossed after a fresh snapshot: paused", ticker, extra=fields)
            if self._books.session.give_up(ANSWER_TICKS) and self._link.is_open:
                logger.error("what is subscribed is in doubt: connecting anew", extra={"action": "answer_lost"})
                await self._link.hang_up()
            self._gather()  # rows first: a state that is newer than what the tape has would mislead
            states = self._books.take_changed()
            self._publisher.add_states(states)
            if states:
                self._relay.changed()
        # Through the queue like everything else: an older state must not overtake a newer one.
        self._publisher.add_feed(self._feed_state())
        self._publisher.start()

    def _judge_lag(self, lag_ms: int | None) -> None:
        """Say when messages become too late for anybody to quote on, and when they are in time again."""
        is_late = lag_ms is not None and lag_ms >= schema.LAG_MAX_MS
        if is_late and not self._is_late:
            fields = {"action": "feed_late", "alert": "FEED_LATE", "lag_ms": lag_ms}
            logger.error("messages come %d ms late: no book is trusted", lag_ms, extra=fields)
        elif self._is_late and not is_late:
            logger.warning("messages come in time again", extra={"action": "feed_in_time"})
        self._is_late = is_late

    async def _relay_turn(self) -> None:
        try:
            await self._relay.turn()
        except (RedisError, OSError, TimeoutError) as exc:
            self._say_away("browsers cannot be told", exc, action="relay_failed")
            return
        self._away.discard("relay_failed")

    async def _beat(self) -> None:
        pulse, books = self._pulse, self._books
        pulse.turn(every_s=BEAT_EVERY_S)
        slowest_s = self._publisher.take_slowest_s()
        pulse.state, pulse.last_event = self._state, self._reason
        if slowest_s >= SLOW_SEND_S:
            pulse.state, pulse.last_event = "degraded", f"Redis took {slowest_s:.1f} s for a write"
        if books is not None:
            pulse.counters |= dict(books.counters)
            pulse.counters |= {"duplicates": books.session.duplicates, "strays": books.session.strays}
            pulse.counters["books_valid"] = sum(m.is_valid for m in books.markets.values())
            pulse.counters["books_wanted"] = len(self._interest)
        await pulse.beat(self._redis)
        await logs.ship(self._redis, role=pulse.role, name=pulse.name)
