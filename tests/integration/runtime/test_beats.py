from __future__ import annotations

import redis

from kalshimm.runtime import streams
from kalshimm.runtime.clock import ManualClock
from kalshimm.runtime.heartbeat import Pulse, beat_key, decode_beat

NOBODY = "redis://127.0.0.1:1/0"


async def test_E6_a_beat_tells_the_worst_lag_since_the_last_one_that_was_written(
    redis_url: str, redis_client: redis.Redis
) -> None:
    clock = ManualClock()
    pulse = Pulse(role="trader", name="late", clock=clock)
    there, away = streams.connect(redis_url), streams.connect(NOBODY)

    def told_ms() -> int:
        return decode_beat(redis_client.get(beat_key("trader", "late"))).lag_ms

    for late_ms in (0, 300, 20):
        clock.advance_us((250 + late_ms) * 1_000)
        pulse.turn(every_s=0.25)
    assert not await pulse.beat(away)
    assert await pulse.beat(there)
    assert told_ms() == 300
    assert await pulse.beat(there)
    assert told_ms() == 0
    await away.aclose()
    await there.aclose()
