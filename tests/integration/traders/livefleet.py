"""A supervisor of live traders and a local exchange in a thread of their own; what the traders are is a stand-in."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from asgiref.sync import sync_to_async
from django.db import connections
from liveground import TICKER, Ground, a_world, ground
from traderworld import DEADLINE_S, ROOT

from feed.exchange.world import World
from feed.kalshi.wire.kinds import Secret
from feed.keys import Vault
from kalshimm.runtime import streams
from kalshimm.runtime.clock import SystemClock
from kalshimm.runtime.home import installation_number
from kalshimm.runtime.worker import cancel
from markets.core.orderids import Owner
from tests.fixtures.stack import eventually
from traders import grants
from traders.models import Mode, Trader
from traders.processes import trader_folder
from traders.services import create_trader, strategy_named
from traders.supervisor import Supervisor

T = TypeVar("T")


class Began(msgspec.Struct, frozen=True, array_like=True):
    """One start, as the stand-in notes it."""

    at_us: int
    pid: int
    epoch: int
    group_id: str


class LiveFleet:
    """The exchange and whatever runs beside it; the test's own thread looks on."""

    def __init__(self, home: Path, redis_url: str, *, world: Callable[..., World] = a_world) -> None:
        self.home, self._redis_url = home, redis_url
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="live fleet", daemon=True)
        self._thread.start()
        self._open = ground(home / "exchange", SystemClock(), world=world)
        self.venue: Ground = self.run(self._open.__aenter__())
        self._supervisor: asyncio.Task[None] | None = None
        self._spawner: subprocess.Popen[bytes] | None = None

    def run(self, what: Coroutine[Any, Any, T]) -> T:
        """Run something in the thread of the fleet."""
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(DEADLINE_S)

    def supervise(self) -> None:
        """Start a supervisor."""
        self.run(self._supervise())

    async def _supervise(self) -> None:
        async def work() -> None:
            client = streams.connect(self._redis_url)
            try:
                await Supervisor(self.home, self._redis_url, client=client, clock=SystemClock()).run(asyncio.Event())
            finally:
                await client.aclose()

        self._supervisor = asyncio.create_task(work())

    def end_supervisor(self) -> None:
        """End it at whatever it is doing."""
        if self._supervisor is not None:
            self.run(cancel(self._supervisor))
            self._supervisor = None

    def spawn(self) -> None:
        """Start the spawner of stand-ins."""
        with (self.home / "spawner.out").open("ab") as output:
            self._spawner = subprocess.Popen(
                [sys.executable, str(Path(__file__).parent / "stillspawner.py"), str(self.home), self._redis_url],
                env=os.environ | {"PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "kalshimm.settings"},
                stdout=output, stderr=output, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        eventually((self.home / "run" / "spawner.sock").exists, "the spawner listens")

    def close(self) -> None:
        self.end_supervisor()
        if self._spawner is not None:
            self._spawner.terminate()
            self._spawner.wait(DEADLINE_S)
        self.run(sync_to_async(connections.close_all)())
        self.run(self._open.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()

    # --- what there is --------------------------------------------------------------------------------------------

    def starts(self, trader: Trader) -> list[Began]:
        path = trader_folder(self.home, trader.pk) / "starts"
        lines = path.read_text().splitlines() if path.exists() else []
        return [msgspec.json.decode(line, type=Began) for line in lines]

    def runs(self, trader: Trader, *, epoch: int) -> Callable[[], bool]:
        def is_so() -> bool:
            starts = self.starts(trader)
            return bool(starts) and starts[-1].epoch == epoch

        return is_so

    def writes(self) -> list[str]:
        return self.run(_of(self.venue.writes))

    def resting(self) -> list[str]:
        return self.run(_of(self.venue.resting))

    def groups(self) -> dict[str, bool]:
        return self.run(_of(self.venue.groups))

    def an_id(self, trader: Trader, epoch: int, counter: int) -> str:
        return Owner(installation_number(self.home), trader.pk, epoch).client_order_id(counter)

    def place(self, client_order_id: str, group_id: str | None = None, **options: Any) -> str:
        return self.run(self.venue.place(client_order_id, group_id, **options)).order_id

    def add_key(self) -> None:
        """Put the exchange's own key into the vault, known to be allowed to trade."""
        ready, vault = self.venue.ready, Vault(self.home)
        pem = Secret(Path(ready.private_key_path).read_text())
        sealed = vault.seal(name="trading", account="local", environment="local", key_id=ready.key_id, pem=pem)
        vault.keep(msgspec.structs.replace(sealed, scopes=("read", "write")), instead_of=None)


async def _of(what: Callable[[], T]) -> T:
    return what()


def a_live_trader(name: str = "live-1") -> Trader:
    return create_trader(
        name=name, market_ticker=TICKER, strategy=strategy_named("join-best"), actor="test", mode=Mode.LIVE
    )


def go_live(trader: Trader) -> None:
    """Grant and start it, as a person does."""
    grants.create_grant(trader, actor="test", confirm_name=trader.name)
    grants.start_live([trader], actor="test")
