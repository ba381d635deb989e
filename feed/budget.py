"""One token budget for every process of an account: the decision of feed/kalshi/limiter.py, atomic in Redis.

The buckets of an account are one hash, `kmm:budget:{account}`, a field each. Time is Redis's own, so that processes
with clocks of their own agree. With Redis gone, or slow, nobody knows what the others spend:

    cancels   go on, from a bucket of this process alone that holds the part nobody else may use
    reads     go on, at a quarter of the refill
    creates, renewals   are refused: BUDGET_UNREACHABLE
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence

import redis.asyncio as redis_async
from redis.exceptions import RedisError

from feed.kalshi.limiter import (
    BASIC,
    CANCELS_ALONE_PERCENT,
    KNOWN_COSTS,
    PENALTY_FIRST_US,
    PENALTY_FORGOTTEN_US,
    PENALTY_MOST_US,
    Ask,
    Charge,
    Costs,
    Granted,
    Level,
    Limits,
    Refused,
    Work,
    charges,
    drain,
    take,
)
from kalshimm.runtime.clock import Clock

logger = logging.getLogger(__name__)

ANSWER_MAX_S = 0.25  # a cancel waits no longer for its budget
AWAY_S = 1.0  # after a failure Redis is left alone for so long: not every cancel pays the wait
ALONE_READ_SHARE = 4  # other processes read too
UNREACHABLE = Refused("BUDGET_UNREACHABLE", wait_us=int(AWAY_S * 1_000_000))

# The arithmetic of limiter.take and limiter.drain. Numbers stay below 2^53, where doubles are exact; `%.0f` because
# Lua's own conversion would round them to 14 digits.
_SCRIPT = """
local verb, now, jitter = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if now < 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end
local first, most, forgotten = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

local function read(bucket, refill, capacity)
  local text = redis.call('HGET', KEYS[1], bucket)
  if not text then return {capacity, 0, 0, 0} end
  local v = {}
  for part in string.gmatch(text, '[^ ]+') do v[#v + 1] = tonumber(part) end
  local level = math.min(capacity, v[1] + refill * math.max(0, now - v[2]))
  return {level, v[3], v[4], v[5]}
end
local function write(bucket, b)
  redis.call('HSET', KEYS[1], bucket, string.format('%.0f %.0f %.0f %.0f %.0f', b[1], now, b[2], b[3], b[4]))
end

local rows, reason, from, wait, fits = {}, '', '', 0, -1
for i = 7, #ARGV, 7 do
  local bucket, refill, capacity = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local unit, items, floor = tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4]), tonumber(ARGV[i + 5])
  local b = read(bucket, refill, capacity)
  if verb == 'drain' then
    local since = now - b[3]
    local penalties = 1
    if since >= 0 and since < forgotten and b[2] > 0 then penalties = b[2] + 1 end
    local full = math.min(most, first * 2 ^ math.min(penalties - 1, 10))
    write(bucket, {0, penalties, now, now + full - math.floor(full * jitter / 2000)})
  else
    local held = b[4] - now
    if ARGV[i + 6] ~= '1' or held <= 0 or held > most then held = 0 end
    local wanted = unit * items + floor
    local why, after = '', 0
    if wanted > capacity then
      why, after = 'EXCEEDS_BUDGET', -1
    elseif wanted <= b[1] then
      if held > 0 then why, after = 'HELD_AFTER_429', held end
    elseif refill == 0 then
      why, after = 'BUDGET_SPENT', -1
    else
      why, after = 'BUDGET_SPENT', math.max(held, math.ceil((wanted - b[1]) / refill))
    end
    if why ~= '' and (reason == '' or (wait >= 0 and (after < 0 or after > wait))) then
      reason, from, wait = why, bucket, after
    end
    local fit = 0
    if held == 0 then fit = math.floor(math.max(0, b[1] - floor) / math.max(unit, 1)) end
    if fits < 0 or fit < fits then fits = fit end
    rows[#rows + 1] = {bucket, b, unit * items}
  end
end
for _, row in ipairs(rows) do
  if reason == '' then row[2][1] = row[2][1] - row[3] end
  write(row[1], row[2])
end
return {reason, from, string.format('%.0f', wait), string.format('%.0f', math.max(fits, 0))}
"""


def budget_key(account: str) -> str:
    return f"kmm:budget:{account}"


class SharedBuckets:
    """The buckets of one account in Redis.

    Args:
        client: Whose calls raise when Redis does not answer.
        account: Whose budget it is; keys of one account share one.
    """

    def __init__(self, client: redis_async.Redis, account: str) -> None:
        self._key = budget_key(account)
        self._script = client.register_script(_SCRIPT)

    async def take(self, asked: Sequence[Charge], *, now_us: int | None = None) -> Granted | Refused:
        """Decide as `limiter.take` does. `now_us` None is Redis's own time."""
        reason, bucket, wait_us, fits = await self._run("take", asked, now_us, 0)
        if not reason:
            return Granted()
        wait = int(wait_us)
        return Refused(reason.decode(), bucket.decode(), wait if wait >= 0 else None, int(fits))

    async def drain(self, asked: Sequence[Charge], *, jitter_permille: int, now_us: int | None = None) -> None:
        """Learn from a 429 as `limiter.drain` does."""
        await self._run("drain", asked, now_us, jitter_permille)

    async def _run(self, verb: str, asked: Sequence[Charge], now_us: int | None, jitter: int) -> list[bytes]:
        arguments: list[str | int] = [verb, -1 if now_us is None else now_us, jitter]
        arguments += [PENALTY_FIRST_US, PENALTY_MOST_US, PENALTY_FORGOTTEN_US]
        for c in asked:
            arguments += [c.bucket, c.refill, c.capacity_ut, c.unit_ut, c.items, c.floor_ut, int(c.is_held_back)]
        answer: list[bytes] = await self._script(keys=[self._key], args=arguments)
        return answer


class Budget:
    """The limiter that the REST client of one account asks; knows what to do without Redis.

    Args:
        client: Without retries of its own: a script that ran twice would bill twice.
    """

    def __init__(
        self,
        client: redis_async.Redis,
        account: str,
        clock: Clock,
        *,
        limits: Limits = BASIC,
        costs: Costs = KNOWN_COSTS,
    ) -> None:
        self.limits, self.costs = limits, costs  # replaced once the venue has told
        self._shared = SharedBuckets(client, account)
        self._clock = clock
        self._alone: dict[str, Level] = {}
        self._away_until: float | None = None

    @property
    def is_alone(self) -> bool:
        """Whether the budget is this process's guess, because Redis did not answer a moment ago."""
        return self._away_until is not None

    async def acquire(self, ask: Ask) -> Granted | Refused:
        """Take the tokens of one request, or say why not; answers within ANSWER_MAX_S."""
        asked = charges(ask, self.limits, self.costs)
        if self._may_ask():
            try:
                async with asyncio.timeout(ANSWER_MAX_S):
                    answer = await self._shared.take(asked)
            except (RedisError, OSError, TimeoutError) as exc:
                self._lost(exc)
            else:
                self._found()
                return answer
        return self._decide_alone(ask)

    async def rate_limited(self, ask: Ask) -> None:
        """Learn that the venue answered 429 to a request that was granted."""
        asked = charges(ask, self.limits, self.costs)
        jitter = random.randrange(1_001)
        logger.warning("the venue answered 429 to %s %s", ask.method, ask.path, extra={"action": "rate_limited"})
        self._alone = drain(self._alone, self._alone_charges(ask), self._now_us(), jitter_permille=jitter)
        if not self._may_ask():
            return
        try:
            async with asyncio.timeout(ANSWER_MAX_S):
                await self._shared.drain(asked, jitter_permille=jitter)
        except (RedisError, OSError, TimeoutError) as exc:
            self._lost(exc)

    def _decide_alone(self, ask: Ask) -> Granted | Refused:
        if ask.work in (Work.CREATE, Work.RENEW):
            return UNREACHABLE
        self._alone, answer = take(self._alone, self._alone_charges(ask), self._now_us())
        return answer

    def _alone_charges(self, ask: Ask) -> tuple[Charge, ...]:
        """Return the charges on this process's own buckets: cancels have their reserve, reads a share."""
        return tuple(self._alone_charge(charge, ask.work) for charge in charges(ask, self.limits, self.costs))

    @staticmethod
    def _alone_charge(charge: Charge, work: Work) -> Charge:
        if work is Work.READ:
            refill, capacity_ut = charge.refill // ALONE_READ_SHARE, charge.capacity_ut // ALONE_READ_SHARE
        else:
            refill, capacity_ut = charge.refill, charge.capacity_ut * CANCELS_ALONE_PERCENT // 100
        return Charge(charge.bucket, refill, capacity_ut, charge.unit_ut, charge.items, 0, charge.is_held_back)

    def _now_us(self) -> int:
        return int(self._clock.monotonic() * 1_000_000)

    def _may_ask(self) -> bool:
        return self._away_until is None or self._clock.monotonic() >= self._away_until

    def _lost(self, exc: Exception) -> None:
        if self._away_until is None:
            logger.error(
                "no budget from Redis (%s): creates stop, cancels go on",
                str(exc) or type(exc).__name__,
                extra={"action": "budget_lost", "alert": "BUDGET_UNREACHABLE"},
            )
        self._away_until = self._clock.monotonic() + AWAY_S

    def _found(self) -> None:
        if self._away_until is not None:
            logger.warning("the budget is shared again", extra={"action": "budget_found"})
        self._away_until = None
