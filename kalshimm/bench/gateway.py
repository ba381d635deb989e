"""What the gateway does with a processor: socket → book → Redis, beside the same without the socket.

The real `manage.py gateway` follows 500 markets, a fifth of them leased, and a blaster plays a lap of the tape to
it as fast as it reads; messages are divided by the gateway's own processor time, and every one must stand on the tape.
The reference is the product's own books and publisher in this process, fed with the same frames from memory, leased
and published alike, in batches as large as the gateway's were in that round, into another database of the same store.
Redis' own time is in neither.

Afterwards a second gateway holds 5,000 books, its connection is cut, and the time until all are valid again is taken.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import redis.asyncio as redis_async

from feed import schema
from feed.publisher import Publisher
from kalshimm.bench import books, frames
from kalshimm.bench.blaster import Play
from kalshimm.bench.books import Material
from kalshimm.bench.report import Bench, Comparison, Effort, Goal, Progress, Round, middle
from kalshimm.bench.rig import BlasterClient, Child, Rig, all_valid, count_tape, rig, tape_reaches, want
from kalshimm.errors import KalshimmError

MARKETS = 500
MEMORY_OVER_TYPED_MIN = 0.18
RECONNECT_MARKETS = 5_000
IN_MEMORY_DATABASE = 1


class GatewayBench(Bench):
    """The bench named `gateway`."""

    name = "gateway"
    about = f"the gateway process, socket to Redis, over {MARKETS} markets of which a fifth is leased"
    unit = "messages per CPU second of the gateway process"
    reference = "the same frames from memory through decode, book and the same streams, per CPU second"
    goal = Goal(floor=0.60, aim=0.80, on="ratio")
    others = (
        Comparison(
            "reconnect",
            f"s from a cut connection until {RECONNECT_MARKETS:,} books are valid again",
            "msgspec typed decode alone, messages per CPU second",
            Goal(floor=15.0, aim=5.0, on="figure at 2.0 M/s typed decode", is_lower_better=True),
            figure="reconnect_s",
            against="typed_per_cpu_s",
        ),
    )

    async def run(self, effort: Effort, progress: Progress) -> list[Round]:
        """Measure gateway and memory round by round, then the reconnects."""
        material = books.prepare(MARKETS, books.frame_count(effort), is_lap=True)
        with rig() as own:
            rounds = await _rounds(own, material, effort, progress)
        with rig() as own:
            delays = await _reconnects(own, effort, progress)
        return [
            Round(one.figure, one.against, {**one.more, "reconnect_s": round(delay, 3)})
            for one, delay in zip(rounds, delays, strict=True)
        ]

    def void(self, rounds: Sequence[Round]) -> str:
        part = middle(rounds, "against") / middle(rounds, "typed_per_cpu_s")
        if part >= MEMORY_OVER_TYPED_MIN:
            return ""
        return f"the path from memory is {part:.3f} of typed decode, and must be {MEMORY_OVER_TYPED_MIN:g}"


async def _rounds(own: Rig, material: Material, effort: Effort, progress: Progress) -> list[Round]:
    tickers, deltas = material.tape.tickers, len(material.deltas)
    rounds: list[Round] = []
    async with (
        own.client() as client,
        own.client(database=IN_MEMORY_DATABASE) as memory,
        own.blaster(markets=MARKETS, deltas=deltas) as blaster,
        own.gateway(blaster.ws_url) as gateway,
    ):
        await want(client, tickers, [tickers[number] for number in material.tape.leased])
        await all_valid(client, len(tickers), gateway=gateway)
        for number in range(1, effort.rounds + 1):
            figure, more = await _through_socket(client, blaster, gateway, deltas)
            against, typed = await _from_memory(
                memory, own.redis_of(IN_MEMORY_DATABASE), material, turn=int(more["messages_a_batch"])
            )
            more["typed_per_cpu_s"] = round(typed, 1)
            rounds.append(Round(round(figure, 1), round(against, 1), more))
            progress(
                f"round {number}: {figure / against:.3f} of the path from memory ({against / typed:.3f} of decode)"
            )
    return rounds


async def _through_socket(
    client: redis_async.Redis, blaster: BlasterClient, gateway: Child, deltas: int
) -> tuple[float, dict[str, float]]:
    """Play a lap to the gateway; return its messages per CPU second."""
    await client.xtrim(schema.TAPE, maxlen=0, approximate=False)
    cpu_s = gateway.cpu_s()
    played = await blaster.play(Play(count=deltas))
    await tape_reaches(client, played.last_seq, gateway=gateway)
    wall_s, cpu_s = time.monotonic() - played.began_s, gateway.cpu_s() - cpu_s
    counted = await count_tape(client)
    if counted.deltas != deltas:
        raise KalshimmError(f"{deltas} deltas were sent, and {counted.deltas} stand on the tape.")
    more = {
        "wall_per_s": round(deltas / wall_s, 1),
        "messages_a_batch": round(deltas / max(counted.batches, 1)),
        "blaster_cpus": round(played.cpu_s / wall_s, 3),
    }
    return deltas / max(cpu_s, 0.01), more


async def _from_memory(
    client: redis_async.Redis, redis_url: str, material: Material, *, turn: int
) -> tuple[float, float]:
    """Take the lap from memory through books and publisher; return its and typed decode's messages per CPU second.

    The two take turns, for a machine's speed may change within a second.

    Args:
        turn: So many frames are published together.
    """
    own = books.subscribed_books(material.tape.tickers)
    publisher = Publisher(redis_url)
    for snapshot in material.snapshots:
        own.receive(snapshot, books.TIME_US)
    for number in material.tape.leased:
        own.lease(material.tape.tickers[number], is_leased=True, now_us=books.TIME_US)
    publisher.add(own.conn, own.take())
    await publisher.send()
    await client.xtrim(schema.TAPE, maxlen=0, approximate=False)
    deltas, spent_s, typed_s = material.deltas, 0.0, 0.0
    for at in range(0, len(deltas), turn):
        part = deltas[at : at + turn]
        start_s = time.process_time()
        for begin in range(0, len(part), books.TAKE_EVERY):
            own.receive_turn(part[begin : begin + books.TAKE_EVERY], books.TIME_US)
        publisher.add(own.conn, own.take())
        if not await publisher.send():
            raise KalshimmError("Redis did not take the rows.")
        between_s = time.process_time()
        books.decode_all(books.decode_typed, part)
        spent_s += between_s - start_s
        typed_s += time.process_time() - between_s
    publisher.close()
    if (arrived := (await count_tape(client)).deltas) != len(deltas):
        raise KalshimmError(f"{len(deltas)} deltas were published from memory, and {arrived} stand on the tape.")
    return len(deltas) / spent_s, len(deltas) / typed_s


async def _reconnects(own: Rig, effort: Effort, progress: Progress) -> list[float]:
    """Return the seconds from each cut of the connection until all books were valid again."""
    tickers = frames.tape(RECONNECT_MARKETS, 0).tickers
    delays: list[float] = []
    async with (
        own.client() as client,
        own.blaster(markets=RECONNECT_MARKETS, deltas=0) as blaster,
        own.gateway(blaster.ws_url) as gateway,
    ):
        await want(client, tickers, [])
        conn = await all_valid(client, len(tickers), gateway=gateway)
        for _ in range(effort.rounds):
            dropped = await blaster.drop()
            conn = await all_valid(client, len(tickers), gateway=gateway, after_conn=conn)
            delays.append(time.monotonic() - dropped.at_s)
            progress(f"{RECONNECT_MARKETS:,} books valid {delays[-1]:.2f} s after the cut")
    return delays
