"""What benches of the data path stand on: a throw-away home with stores of its own, and child processes that end.

Nothing here touches the stores, keys or streams of the installation: children see this home and these stores alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, cast
from urllib.parse import urlsplit, urlunsplit

import msgspec
import psutil
import redis.asyncio as redis_async

from feed import schema
from feed.publisher import ROWS_AN_ENTRY
from kalshimm.bench.blaster import Drop, Dropped, Play, Played, Ready
from kalshimm.embedded import valkey
from kalshimm.errors import KalshimmError
from kalshimm.runtime import streams

BASE_DIR = Path(__file__).resolve().parents[2]  # the settings have it, too, and make a home where there is none
T = TypeVar("T")

READY_WITHIN_S = 60.0
STOP_WITHIN_S = 10.0
ANSWER_WITHIN_S = 300.0
OUTPUT_LINE_MAX = 64 << 20
LEASE_S = 24 * 3600  # longer than any bench: nobody needs to renew it
NO_DATABASE = "postgresql://nobody@127.0.0.1:1/nothing"  # for workers that must not need one
Entries = list[tuple[bytes, dict[bytes, bytes]]]  # what Redis answers; its client's types allow much more
OTHERS_SETTINGS = ("KALSHI", "DATABASE_URL", "REDIS_URL", "CREDENTIALS_DIRECTORY")


class Child:
    """A process of the bench's own."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.process = process
        self._log = log
        self._seen = psutil.Process(process.pid)

    def cpu_s(self) -> float:
        """Return the processor time it has used so far."""
        times = self._seen.cpu_times()
        return float(times.user + times.system)

    def require_alive(self) -> None:
        """Raise KalshimmError with its last words if it has ended."""
        if self.process.returncode is not None:
            said = self._log.read_text(errors="replace").strip().splitlines()[-1:]
            raise KalshimmError(" ".join([f"The bench's {self.name} ended with {self.process.returncode}:", *said]))

    async def line(self) -> bytes:
        """Return its next line of output.

        Raises:
            KalshimmError: It ended, or does not answer.
        """
        assert self.process.stdout is not None, "it was asked for"
        try:
            line = await asyncio.wait_for(self.process.stdout.readline(), ANSWER_WITHIN_S)
        except TimeoutError as exc:
            raise KalshimmError(f"The bench's {self.name} does not answer.") from exc
        if not line:
            await self.process.wait()
            self.require_alive()
        return line

    async def ask(self, what: msgspec.Struct, answer: type[T]) -> T:
        """Send it a line, and return its next one."""
        assert self.process.stdin is not None, "it was asked for"
        self.process.stdin.write(msgspec.json.encode(what) + b"\n")
        await self.process.stdin.drain()
        return msgspec.json.decode(await self.line(), type=answer)


@contextlib.asynccontextmanager
async def child(
    name: str, argv: Sequence[str], environment: dict[str, str], log: Path, *, keep: Sequence[int] = ()
) -> AsyncIterator[Child]:
    """Run a Python process with pipes for input and output; its errors go to `log`. It is stopped at the end.

    Args:
        keep: File descriptors it inherits.
    """
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env=environment,
            cwd=BASE_DIR,
            limit=OUTPUT_LINE_MAX,
            pass_fds=keep,
        )
    try:
        yield Child(name, process, log)
    finally:
        await _stop(process)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_WITHIN_S)
    except TimeoutError:
        process.kill()
        await process.wait()


class Exchange(msgspec.Struct, frozen=True):
    """The line that a local exchange prints when it serves."""

    rest: str
    ws: str
    control: str
    key_id: str
    private_key_path: str


class Rig:
    """A home that is removed at the end, a Valkey of its own, and where the children find both."""

    def __init__(self, home: Path, redis_url: str, database_url: str) -> None:
        self.home, self.redis_url, self.database_url = home, redis_url, database_url

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(OTHERS_SETTINGS)}
        own = {"KALSHIMM_HOME": str(self.home), "DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url}
        return {**kept, **own, **more}

    def python(
        self, name: str, *argv: str, keep: Sequence[int] = (), more: Mapping[str, str] | None = None
    ) -> contextlib.AbstractAsyncContextManager[Child]:
        """Run Python with these arguments until the end of the block, with `more` in its environment."""
        return child(name, argv, self.environment(more or {}), self.home / f"{name}.log", keep=keep)

    def manage(
        self, name: str, *argv: str, more: Mapping[str, str] | None = None
    ) -> contextlib.AbstractAsyncContextManager[Child]:
        """Run a command of manage.py until the end of the block, with `more` in its environment."""
        return self.python(name, str(BASE_DIR / "manage.py"), *argv, more=more)

    @contextlib.asynccontextmanager
    async def blaster(self, *, markets: int, deltas: int, moves_every: int = 0) -> AsyncIterator[BlasterClient]:
        """Run a blaster with the tape of this size; with `moves_every` the one market of kalshimm.bench.moves."""
        size = ("--markets", str(markets), "--deltas", str(deltas), "--moves-every", str(moves_every))
        argv = ("-m", "kalshimm.bench.blaster", *size)
        async with self.python("blaster", *argv) as process:
            ready = msgspec.json.decode(await process.line(), type=Ready)
            yield BlasterClient(process, ready)

    @contextlib.asynccontextmanager
    async def exchange(self, *options: str) -> AsyncIterator[tuple[Child, Exchange]]:
        """Run a local exchange whose keys lie in this home."""
        argv = ("exchange", "--key-dir", str(self.home / "exchange"), *options)
        async with self.manage("exchange", *argv) as process:
            yield process, msgspec.json.decode(await process.line(), type=Exchange)

    def gateway(self, ws_url: str) -> contextlib.AbstractAsyncContextManager[Child]:
        """Run the real gateway against a venue at `ws_url`."""
        venue = {"KALSHI_ENV": "local", "KALSHI_WS_URL": ws_url, "KALSHI_REST_URL": "http://127.0.0.1:1/trade-api/v2"}
        return self.manage("gateway", "gateway", more=venue)

    def redis_of(self, database: int) -> str:
        """Return the address of one of the store's databases."""
        parts = urlsplit(self.redis_url)
        if parts.scheme == "unix":
            return urlunsplit(parts._replace(query=f"db={database}"))
        return urlunsplit(parts._replace(path=f"/{database}"))

    @contextlib.asynccontextmanager
    async def client(self, *, database: int = 0) -> AsyncIterator[redis_async.Redis]:
        client = streams.connect(self.redis_of(database))
        try:
            yield client
        finally:
            await client.aclose()


class BlasterClient:
    """The other end of a blaster's pipes."""

    def __init__(self, process: Child, ready: Ready) -> None:
        self.process, self.ws_url, self.own_port = process, ready.ws, ready.own_port

    async def play(self, play: Play) -> Played:
        return await self.process.ask(play, Played)

    async def drop(self) -> Dropped:
        return await self.process.ask(Drop(), Dropped)


@contextlib.contextmanager
def rig() -> Iterator[Rig]:
    """Make a home with a Valkey, and remove both at the end."""
    with tempfile.TemporaryDirectory(prefix="kalshimm-bench-") as folder:
        home = Path(folder)
        try:
            redis_url, _ = valkey.start(home, durable=False)
            yield Rig(home, redis_url, NO_DATABASE)
        finally:
            valkey.stop(home, within_s=STOP_WITHIN_S)


async def want(client: redis_async.Redis, tickers: Sequence[str], leased: Sequence[str]) -> None:
    """Name what the gateway shall subscribe, and of which markets it shall keep a book stream."""
    expiry_s = time.time() + LEASE_S
    members = {schema.interest_member(ticker, f"{schema.TAPE_HOLDER}bench"): expiry_s for ticker in tickers}
    members |= {schema.interest_member(ticker, "bench"): expiry_s for ticker in leased}
    await client.zadd(schema.INTEREST, members)


async def all_valid(client: redis_async.Redis, count: int, *, gateway: Child, after_conn: int = 0) -> int:
    """Wait until the feed says that `count` books are valid on a connection after `after_conn`; return the connection.

    Raises:
        KalshimmError: Not within READY_WITHIN_S.
    """
    deadline_s, state = time.monotonic() + READY_WITHIN_S, None
    last_id: str | bytes = "0"
    while time.monotonic() < deadline_s:
        gateway.require_alive()
        answer = await client.xread({schema.FEED: last_id}, block=500)
        for _stream, entries in cast(list[tuple[bytes, Entries]], answer):
            last_id = entries[-1][0]
            state = schema.decode_feed(entries[-1][1][schema.FIELD])
            if state.subscribed >= count and state.conn > after_conn:
                return state.conn
    raise KalshimmError(f"The gateway did not make {count} books valid in {READY_WITHIN_S:.0f} s; the feed: {state}.")


async def tape_reaches(client: redis_async.Redis, seq: int, *, gateway: Child) -> None:
    """Wait until the newest row of the tape has this number or a later one.

    Raises:
        KalshimmError: Nothing has come for a while.
    """
    newest, since_s = -1, time.monotonic()
    while newest < seq:
        gateway.require_alive()
        await asyncio.sleep(0.01)
        for _id, fields in cast(Entries, await client.xrevrange(schema.TAPE, count=1)):
            rows = schema.decode_tape(fields[schema.FIELD]).rows
            now = max((row.seq for row in rows if isinstance(row, schema.DeltaRow)), default=newest)
            newest, since_s = (now, time.monotonic()) if now != newest else (newest, since_s)
        if time.monotonic() - since_s > READY_WITHIN_S:
            raise KalshimmError(f"The tape stands at {newest}, {seq - newest} rows before its end.")


class Counted(msgspec.Struct):
    """What stands on the tape: deltas, and how often a batch was published (each ends in an entry that is not full)."""

    deltas: int = 0
    batches: int = 0


async def count_tape(client: redis_async.Redis) -> Counted:
    """Return what the tape holds.

    Raises:
        KalshimmError: A gap row of a subscription stands among it.
    """
    counted, start = Counted(), b"-"
    while page := cast(Entries, await client.xrange(schema.TAPE, min=start, count=1_000)):
        for _id, fields in page:
            rows = schema.decode_tape(fields[schema.FIELD]).rows
            counted.deltas += sum(isinstance(row, schema.DeltaRow) for row in rows)
            counted.batches += len(rows) < ROWS_AN_ENTRY
            for row in rows:
                if isinstance(row, schema.GapRow) and row.sid:
                    raise KalshimmError(f"The gateway lost something on the way: {row.reason}.")
        start = b"(" + page[-1][0]
    return counted
