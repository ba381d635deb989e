"""How long a message takes from the gateway's socket to a trader, beside a bare socketpair.

A blaster sends deltas of one leased market at 1,000 and 5,000 a second through the real gateway; a process with the
product's own stream reader notes when it has each. The time counts from the moment a message was due, so whoever is
late with sending is late. The floor is the same from a process to another through a socketpair, blocking reads and
nothing decoded, sent by the same pacing in the same run. A processor that idles is slow to wake, so a spinner of the
lowest priority keeps each awake meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import AsyncIterator, Sequence
from statistics import quantiles

import msgspec

from kalshimm.bench import frames
from kalshimm.bench.blaster import Play
from kalshimm.bench.hops import Armed, Seen, Sent, Task
from kalshimm.bench.report import Bench, Comparison, Effort, Goal, Progress, Round
from kalshimm.bench.rig import BlasterClient, Child, Rig, all_valid, rig, want

RATES = (1_000, 5_000)  # messages a second
LAP_DELTAS = 20_000
WARM_UP = Task(500, 1_000)
GOAL = Goal(floor=5.0, aim=3.0, on="ratio", is_lower_better=True)
HOPS = ("-m", "kalshimm.bench.hops")


class LatencyBench(Bench):
    """The bench named `latency`."""

    name = "latency"
    about = "gateway socket to trader, from the moment a message is due; both cores kept awake by spinners"
    unit = "µs (p50) from due to in the trader's hands at 1,000 messages/s"
    reference = "µs (p50) through a bare socketpair at the same rate"
    goal = GOAL
    others = (
        Comparison(
            "latency at 5,000 messages/s",
            "µs (p50) from due to in the trader's hands at 5,000 messages/s",
            reference,
            GOAL,
            figure="p50_us_at_5000",
            against="floor_p50_us_at_5000",
        ),
    )

    async def run(self, effort: Effort, progress: Progress) -> list[Round]:
        """Time both ways at both rates, round by round."""
        rounds: list[Round] = []
        with rig() as own:
            async with spinners(own), _socketpair(own) as pair, _trader_way(own) as way:
                for number in range(1, effort.rounds + 1):
                    seen: dict[str, float] = {}
                    for rate in RATES:
                        task = Task(max(int(rate * effort.seconds), 10), rate)
                        seen |= _figures(f"floor_{{}}_us_at_{rate}", await pair.time(task))
                        seen |= _figures(f"{{}}_us_at_{rate}", await way.time(task))
                    rounds.append(Round(seen["p50_us_at_1000"], seen["floor_p50_us_at_1000"], seen))
                    progress(f"round {number}: " + ", ".join(_told(seen, rate) for rate in RATES))
        return rounds


class Pair:
    """Two processes and a socketpair between them."""

    def __init__(self, sender: Child, receiver: Child) -> None:
        self._sender, self._receiver = sender, receiver

    async def time(self, task: Task) -> list[float]:
        """Return each message's delay in microseconds."""
        await self._receiver.ask(task, Armed)
        sent = await self._sender.ask(task, Sent)
        return _delays_us(task, sent.began_s, msgspec.json.decode(await self._receiver.line(), type=Seen))


class Way:
    """Blaster, gateway, store and reader."""

    def __init__(self, blaster: BlasterClient, reader: Child) -> None:
        self._blaster, self._reader = blaster, reader

    async def time(self, task: Task) -> list[float]:
        """Return each message's delay in microseconds."""
        await self._reader.ask(task, Armed)
        played = await self._blaster.play(Play(task.count, task.rate, step_s=0.0))
        return _delays_us(task, played.began_s, msgspec.json.decode(await self._reader.line(), type=Seen))


@contextlib.asynccontextmanager
async def spinners(own: Rig) -> AsyncIterator[None]:
    """Keep every processor awake until the end of the block."""
    async with contextlib.AsyncExitStack() as stack:
        for cpu in sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1):
            await stack.enter_async_context(own.python("spinner", *HOPS, "spinner", "--cpu", str(cpu)))
        yield


@contextlib.asynccontextmanager
async def _socketpair(own: Rig) -> AsyncIterator[Pair]:
    near, far = socket.socketpair()
    with near, far:
        async with (
            own.python("sender", *HOPS, "sender", "--fd", str(near.fileno()), keep=(near.fileno(),)) as sender,
            own.python("receiver", *HOPS, "receiver", "--fd", str(far.fileno()), keep=(far.fileno(),)) as receiver,
        ):
            pair = Pair(sender, receiver)
            await pair.time(WARM_UP)
            yield pair


@contextlib.asynccontextmanager
async def _trader_way(own: Rig) -> AsyncIterator[Way]:
    (ticker,) = frames.tape(1, 0).tickers
    async with (
        own.client() as client,
        own.blaster(markets=1, deltas=LAP_DELTAS) as blaster,
        own.gateway(blaster.ws_url) as gateway,
    ):
        await want(client, [ticker], [ticker])
        await all_valid(client, 1, gateway=gateway)
        async with own.python("reader", *HOPS, "reader", "--ticker", ticker) as reader:
            way = Way(blaster, reader)
            await way.time(WARM_UP)
            yield way


def _delays_us(task: Task, began_s: float, seen: Seen) -> list[float]:
    return [(at_s - began_s - number / task.rate) * 1e6 for number, at_s in enumerate(seen.at_s)]


def _figures(name: str, delays_us: Sequence[float]) -> dict[str, float]:
    cuts = quantiles(delays_us, n=100)
    return {name.format(f"p{part}"): round(cuts[part - 1], 1) for part in (50, 90, 99)}


def _told(seen: dict[str, float], rate: int) -> str:
    p50, floor = seen[f"p50_us_at_{rate}"], seen[f"floor_p50_us_at_{rate}"]
    return f"{p50:.0f} µs at {rate:,}/s, {p50 / floor:.1f} times the floor"
