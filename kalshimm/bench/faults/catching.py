"""How much faster than the feed the writer is, once it may go on after a pause."""

from __future__ import annotations

import asyncio
import signal
import time
from functools import partial

import psycopg

from feed import schema
from kalshimm.bench.faults.bars import Samples
from kalshimm.bench.faults.ground import Ground
from kalshimm.bench.report import Progress

PAUSE_S = 12.0  # it commits once a second: after a short one that would be all that is seen
STORED = "SELECT entry_id FROM feed_watermark WHERE stream = %s"


async def catch_ups(ground: Ground, runs: int, say: Progress) -> Samples:
    """Stop the writer for a while, let it go on, and wait until it has stored what was there then.

    All that came since it was stopped it stores in the time from then on: how much longer that took to come is how
    much faster it is.
    """
    times = []
    async with await psycopg.AsyncConnection.connect(ground.database_url, autocommit=True) as database:
        for number in range(runs):
            writer = ground.children["writer"].process
            stopped_s = time.monotonic()
            writer.send_signal(signal.SIGSTOP)
            ground.done += 1
            await asyncio.sleep(PAUSE_S)  # the fault itself
            newest = (await ground.client.xinfo_stream(schema.TAPE))["last-generated-id"].decode()
            begun_s = time.monotonic()
            writer.send_signal(signal.SIGCONT)
            await ground.until(partial(_is_stored, database, newest), "the writer has caught up")
            caught_s = time.monotonic()
            times.append((caught_s - stopped_s) / (caught_s - begun_s))
            say(f"writer {number + 1}: {PAUSE_S:g} s of the feed stored in {caught_s - begun_s:.2f} s")
    return {"catch_up": times}


async def _is_stored(database: psycopg.AsyncConnection[tuple[str]], entry_id: str) -> bool:
    rows = await (await database.execute(STORED, (schema.TAPE,))).fetchall()
    return any(_order(stored) >= _order(entry_id) for (stored,) in rows)


def _order(entry_id: str) -> tuple[int, int]:
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number or 0)
