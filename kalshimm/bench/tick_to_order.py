"""How long it takes from a move of the market to the order that answers it, live: socket in, socket out.

    blaster ──ws──► gateway ──► Valkey ──► trader N ──http──► stub venue      the product
    blaster ──ws──► direct ─────────────────────────http──► stub venue      the limit: no journal, no store
       ▲                                                        │
       └──────────────── what its orders do to the book ────────┘

One market tells 1,000 messages a second, and with each 200th its best bid moves. A live trader joins the best bid, so
it cancels its order and places one whose price says which move it answers. The time counts from the moment the move
was due at the socket to the last byte of the create at the venue's. The traders' processes are the real ones, started
from a start file as the supervisor writes it, with a key of the bench's own; what a desk would tell of the account is
the bench's, too.

What is compared is the journal `synced`: an intent is on the disk before it leaves, as a live trader is set. `written`
leaves once the kernel has it. `sync_p50_us` is what this machine's disk takes for one such line and nothing else.
A processor that idles is slow to wake, so a spinner of the lowest priority keeps each awake meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from feed.kalshi.wire.kinds import Secret
from feed.keys import Vault
from kalshimm.bench import account, moves
from kalshimm.bench.blaster import Play
from kalshimm.bench.latency import spinners
from kalshimm.bench.moves import Due
from kalshimm.bench.report import Bench, Comparison, Effort, Goal, Progress, Round, middle
from kalshimm.bench.rig import OTHERS_SETTINGS, READY_WITHIN_S, BlasterClient, Child, Rig, all_valid, rig, want
from kalshimm.bench.stubvenue import Ask, Came, Serving
from kalshimm.errors import KalshimmError
from markets.core.fees import FeeSchedule, FeeTerms
from markets.core.grid import PriceRange
from markets.core.units import DOLLAR_CC
from traders.core.facts import MarketFacts
from traders.core.pipeline import Choice, StrategyChoices
from traders.engine import LIVE
from traders.processes import trader_folder
from traders.start import LiveStart, Start, write_start

RATE = 1_000  # messages a second
# A create costs 10 tokens and a cancel 2: five moves a second take 60 of the 100 that refill.
MOVES_EVERY = 200
LAP_DELTAS = 8_000
MOVES_LEAST = 4
WARM_UP_DELTAS = 5 * MOVES_EVERY
LATE_S = 0.5  # an order that comes later after the last move does not count
SETTLE_S = 0.3
POLL_S = 0.05
MISSED_PART_MOST = 0.1
GOAL = Goal(floor=3.0, aim=2.0, on="ratio", is_lower_better=True)

ACCOUNT = KEY = ENVIRONMENT = "local"
DAY_US = 86_400_000_000
NO_GUARDS = {
    "need_both_sides": False, "max_spread_cc": 0, "flow_cx": 0, "sweep_cx": 0, "sweep_levels": 0, "jump_cc": 0,
    "lead_s": 0, "lag_s": 0, "weekly_maintenance": False,
}  # fmt: skip
STRATEGIES = StrategyChoices(Choice("join_best", {"bid_cx": 100, "ask_cx": 0}), guards=NO_GUARDS)
LIMITS: dict[str, Any] = {
    "position_cx_most": 50_000, "exposure_ud_most": 10**9, "orders_a_minute": 100_000, "daily_loss_ud": 10**9,
    "drawdown_ud": 10**9,
}  # fmt: skip

SYNCS, LINE = 20, b"x" * 300  # about as long as the line of an intent

DIRECT, SYNCED, WRITTEN = "direct", "synced", "written"
PREFIXES = {DIRECT: "direct_", SYNCED: "", WRITTEN: "written_"}
JOURNAL_SYNC = {SYNCED: "always"}


class TickToOrderBench(Bench):
    """The bench named `tick_to_order`."""

    name = "tick_to_order"
    about = "a move at the gateway's socket to the order at the venue's, live; both cores kept awake by spinners"
    unit = f"µs (p50) from due to the order's last byte, journal synced, at {RATE:,} messages/s"
    reference = "µs (p50) the same from socket to socket in one process, without journal and Redis"
    goal = GOAL
    others = (
        Comparison(
            "journal written",
            f"µs (p50) from due to the order's last byte, journal written, at {RATE:,} messages/s",
            reference,
            GOAL,
            figure="written_p50_us",
        ),
    )
    default_effort = Effort(rounds=5, seconds=8.0)

    async def run(self, effort: Effort, progress: Progress) -> list[Round]:
        """Time all three ways, round by round."""
        count = max(int(RATE * effort.seconds), MOVES_LEAST * MOVES_EVERY)
        rounds: list[Round] = []
        with rig() as own:
            async with spinners(own), _stage(own) as stage:
                for number in range(1, effort.rounds + 1):
                    rounds.append(await _round(stage, count))
                    progress(f"round {number}: {_told(rounds[-1])}")
        return rounds

    def void(self, rounds: Sequence[Round]) -> str:
        part = middle(rounds, "missed_part")
        if part <= MISSED_PART_MOST:
            return ""
        return f"{part:.0%} of the moves were answered by no order, and {MISSED_PART_MOST:.0%} are the most"


async def _round(stage: Stage, count: int) -> Round:
    """Time each way once.

    Raises:
        KalshimmError: One of them answered nothing.
    """
    seen: dict[str, float] = {}
    delays: list[float] = []
    expected = 0
    for kind, prefix in PREFIXES.items():
        async with stage.trader(kind) as course:
            await course.time(WARM_UP_DELTAS)
            moved, found = await course.time(count)
        if not found:
            raise KalshimmError(f"None of {moved} moves was answered by an order of the {kind} trader.")
        expected += moved
        delays += found
        seen |= moves.figures(prefix, found)
    seen["missed_part"] = round(1 - len(delays) / expected, 4)
    seen["sync_p50_us"] = round(await asyncio.to_thread(sync_us, stage.own.home), 1)
    return Round(seen["p50_us"], seen["direct_p50_us"], seen)


def _told(one: Round) -> str:
    written = one.more["written_p50_us"]
    ratios = (
        f"{one.figure / one.against:.2f} and {written / one.against:.2f} times the {one.against:.0f} µs of the limit"
    )
    return f"{one.figure:.0f} µs synced, {written:.0f} µs written: {ratios}"


def sync_us(folder: Path) -> float:
    """Return how long a line of a journal takes to the disk where the traders' journals lie."""
    path, taken = folder / "sync", []
    to_disk = getattr(os, "fdatasync", os.fsync)  # as the journal does
    with path.open("ab", buffering=0) as file:
        for _ in range(SYNCS):
            file.write(LINE)
            began_s = time.monotonic()
            to_disk(file.fileno())
            taken.append((time.monotonic() - began_s) * 1e6)
    return median(taken)


# ---- what plays ------------------------------------------------------------------------------------------------------


class Venue:
    """A blaster that tells a market, and a stub that takes orders in it."""

    def __init__(self, blaster: BlasterClient, stub: Child, rest_url: str) -> None:
        self.blaster, self.rest_url = blaster, rest_url
        self._stub = stub

    async def take(self) -> Came:
        """Return the bids since the last time."""
        return await self._stub.ask(Ask(), Came)


class Course:
    """A connection to a venue, and how far the tape has come on it."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self._moves = moves.moves(moves.tape(LAP_DELTAS, every=MOVES_EVERY))
        self._position = 0

    async def time(self, count: int) -> tuple[int, list[float]]:
        """Play so many deltas; return how many moves were among them, and the delays of the orders in microseconds."""
        await self.venue.take()
        played = await self.venue.blaster.play(Play(count, RATE, step_s=0.0))
        moved = list(moves.played(self._moves, LAP_DELTAS, self._position, count))
        self._position += count
        await asyncio.sleep(LATE_S)
        due = [Due(played.began_s + one.number / RATE, one.bid_cc) for one in moved]
        return len(due), moves.delays_us(due, (await self.venue.take()).bids)


class Stage:
    """Everything but the traders, which come and go: each begins anew, so that none is measured beside another."""

    def __init__(self, own: Rig, product: Venue, direct: Venue) -> None:
        self.own, self._direct = own, direct
        self._course = Course(product)  # the gateway keeps its connection
        self._number = 0

    @contextlib.asynccontextmanager
    async def trader(self, kind: str) -> AsyncIterator[Course]:
        """Run a trader of this kind until the end of the block, from the moment it quotes."""
        self._number += 1
        number, name = self._number, f"trader-{self._number}"
        course = Course(self._direct) if kind == DIRECT else self._course
        journal_sync = JOURNAL_SYNC.get(kind, "written")
        start = start_of(number, course.venue.rest_url, self.own.redis_url, journal_sync=journal_sync)
        write_start(trader_folder(self.own.home, number), start)
        if kind == DIRECT:
            argv = ("-m", "kalshimm.bench.direct", "--trader", str(number), "--ws", course.venue.blaster.ws_url)
            process = self.own.python(name, *argv)
        else:
            process = self.own.manage(name, "trader", str(number))
        await course.venue.take()
        async with process as running:
            await self._quotes(running, course.venue)
            yield course

    async def _quotes(self, trader: Child, venue: Venue) -> None:
        """Wait until the trader's first order has come, and been answered."""
        give_up_s = time.monotonic() + READY_WITHIN_S
        while not (await venue.take()).bids:
            trader.require_alive()
            if time.monotonic() >= give_up_s:
                raise KalshimmError(f"The bench's {trader.name} placed no order in {READY_WITHIN_S:.0f} s.")
            await asyncio.sleep(POLL_S)
        await asyncio.sleep(SETTLE_S)


@contextlib.asynccontextmanager
async def _stage(own: Rig) -> AsyncIterator[Stage]:
    keep_key(own.home)
    async with (
        own.client() as client,
        account.told(client, ACCOUNT),
        _venue(own) as direct,
        _venue(own) as product,
        own.gateway(product.blaster.ws_url) as gateway,
    ):
        await want(client, [moves.TICKER], [moves.TICKER])
        await all_valid(client, 1, gateway=gateway)
        yield Stage(own, product, direct)


@contextlib.asynccontextmanager
async def _venue(own: Rig) -> AsyncIterator[Venue]:
    async with own.blaster(markets=1, deltas=LAP_DELTAS, moves_every=MOVES_EVERY) as blaster:
        argv = ("-m", "kalshimm.bench.stubvenue", "--own-port", str(blaster.own_port))
        async with own.python("venue", *argv) as stub:
            yield Venue(blaster, stub, msgspec.json.decode(await stub.line(), type=Serving).rest)


# ---- what a supervisor would have written ----------------------------------------------------------------------------


def start_of(number: int, rest_url: str, redis_url: str, *, journal_sync: str) -> Start:
    """Return the start of a live trader that joins the best bid, with nothing in its way."""
    now_us = time.time_ns() // 1_000
    fees = FeeTerms(FeeSchedule("quadratic", 10_000))
    return Start(
        trader=number,
        name=f"trader-{number}",
        instance=secrets.token_hex(8),
        ticker=moves.TICKER,
        mode=LIVE,
        account=ACCOUNT,
        strategies=STRATEGIES,
        limits=LIMITS,
        facts=MarketFacts((PriceRange(0, DOLLAR_CC, moves.TICK_CC),), now_us + DAY_US, status="active", fees=fees),
        redis_url=redis_url,
        live=LiveStart(
            environment=ENVIRONMENT,
            rest_url=rest_url,
            key=KEY,
            installation=1,
            epoch=1,
            group_id="bench",
            exchange_index=account.SHARD,
            grant=1,
            grant_expires_us=now_us + DAY_US,
            journal_sync=journal_sync,
        ),
    )


def keep_key(home: Path) -> None:
    """Put a key into the vault of the bench's home: an RSA key, as the venue gives them out."""
    private = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    vault = Vault(home)
    with _no_master_key_but_its_own():
        entry = vault.seal(name=KEY, account=ACCOUNT, environment=ENVIRONMENT, key_id="bench", pem=Secret(pem.decode()))
    vault.keep(msgspec.structs.replace(entry, scopes=("read", "write")), instead_of=None)


@contextlib.contextmanager
def _no_master_key_but_its_own() -> Iterator[None]:
    """Hide the installation's master key, as it is hidden from the traders' processes."""
    kept = {name: os.environ.pop(name) for name in [*os.environ] if name.startswith(OTHERS_SETTINGS)}
    try:
        yield
    finally:
        os.environ.update(kept)
