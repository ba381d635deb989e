"""The rig of whole-fleet rows: the live rig with a spawner and a supervisor, whose traders are the product's own.

                          ┌── fleet_redis ── supervisor ── fleet_db ──► PostgreSQL
    Valkey ◄──────────────┤                      │ starts, adopts, fences
    exchange ◄─ fleet_rest ┴───────────────── traders (forked by the spawner, init's children)

Nothing here starts a trader: an operator at the command line (`rig.operator`) creates it, grants it and lets it run,
and everything else is the supervisor's doing. Traders share the supervisor's taps: they are told its addresses.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec

from kalshimm.embedded.ports import free_port
from kalshimm.runtime.heartbeat import beat_key, decode_beat
from kalshimm.runtime.process import ProcessIdentity
from tests.faults.base import HEAL_S
from tests.faults.liverig import LiveCase, LiveOptions, LiveRig
from tests.faults.livetrader import LIVE, LiveTrader, Plan
from tests.faults.log import FaultLog
from tests.faults.person import Person
from tests.faults.processes import END_S, Worker
from tests.faults.records import FollowedRecord
from tests.faults.tap import Tap
from traders.processes import living, read_running, send_signal, stop_all, wait_ended
from traders.start import CannotStart, read_start

UP_S = 60.0  # takeovers of many traders at once share one budget
CREATE = """
from django.core.exceptions import ValidationError
from traders.models import Mode, StrategySet, Trader
from traders.services import create_trader
choices = {choices!r}
strategy, _ = StrategySet.objects.get_or_create(name={strategy!r}, defaults=choices)
strategy.full_clean(exclude=["name"])
mode = Mode({mode!r})
made = create_trader(name={name!r}, market_ticker={ticker!r}, strategy=strategy, actor="rig", mode=mode)
made.limits = {limits!r}
made.full_clean()
made.save()
print(made.pk)
"""


class FleetProcess(Worker):
    """A trader's process, whichever it is now: known by what it wrote of itself, signalled by that and nothing else."""

    def __init__(self, trader_folder: Path, name: str, log: FaultLog) -> None:
        super().__init__(name, [], {}, folder=trader_folder, log=log)
        self._folder = trader_folder
        self.log_path = trader_folder / "log"

    @property
    def identity(self) -> ProcessIdentity | None:
        """Return the process that lives; None while there is none."""
        running = read_running(self._folder)
        return running.identity if running and running.identity.lives() else None

    @property
    def pid(self) -> int:
        identity = self.identity
        return identity.pid if identity else 0

    @property
    def is_running(self) -> bool:
        return self.identity is not None

    @property
    def exit_code(self) -> int | None:
        return None

    def start(self) -> None:
        raise AssertionError(f"{self.name}: only the supervisor starts it")

    def kill(self) -> None:
        identity = self.identity
        self._signal(signal.SIGKILL)
        if identity is not None:
            wait_ended([identity], END_S)

    def _signal(self, number: signal.Signals, *, is_fault: bool = True) -> None:
        identity = self.identity
        assert identity is not None, f"{self.name} does not run: {self.output()[-2_000:]}"
        assert send_signal(identity, number), f"{self.name} has just ended"
        if is_fault:
            self._log.note("process", f"{number.name} to {self.name} (pid {identity.pid})")


class FleetTrader(LiveTrader):
    """One trader of the supervisor's, over all of its lives."""

    rig: FleetRig

    def __init__(self, rig: FleetRig, number: int, name: str, plan: Plan) -> None:
        self.name = name
        super().__init__(rig, number, plan)
        self.record = FollowedRecord(self.folder / "journal")

    def _lines(self) -> tuple[Tap, Tap]:
        return self.rig.fleet_rest, self.rig.fleet_redis

    def _process(self) -> Worker:
        return FleetProcess(self.folder, self.name, self.rig.log)

    @property
    def process(self) -> FleetProcess:
        assert isinstance(self.worker, FleetProcess)
        return self.worker

    def start(self, *, desired: str = "running") -> None:
        """Have the operator let it run."""
        assert desired == "running"
        self.rig.operator.types("traders", "start", self.name, *(["--live"] if self.is_live else []))

    def end(self) -> None:
        """Have the operator stop it; nothing waits for that."""
        self.rig.operator.types("traders", "stop", self.name)

    def look(self) -> FleetTrader:
        """Take in under which lease its process lives."""
        self.record.read()
        try:
            live = read_start(self.folder).live
        except CannotStart:
            live = None  # it has not been started yet
        if live is not None:
            self.epoch, self.group_id = live.epoch, live.group_id
        return self

    def party(self) -> Any:
        return super(FleetTrader, self.look()).party()

    def row(self) -> dict[str, Any]:
        """Return what `traders list` says of it."""
        rows = self.rig.operator.asks("traders", "list", "--archived")["traders"]
        found: dict[str, Any] = next(row for row in rows if row["id"] == self.number)
        return found


class FleetRig(LiveRig):
    """Everything of one module, its traders not yet made (`make`)."""

    def __init__(self, folder: Path, database_url: str, options: LiveOptions) -> None:
        super().__init__(folder, database_url, msgspec.structs.replace(options, traders=()))
        planned = {plan.market for plan in options.traders}
        self._free = [market for market in self._free if market not in planned]
        self.fleet_rest = self.tap("fleet_rest", self.ready["rest"])
        self.fleet_redis = self.tap("fleet_redis", self.valkey.url)
        self.fleet_db = self.tap("fleet_db", database_url)
        direct = self._settings({}) | {
            "KALSHIMM_LIVE": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(self.packages), os.environ.get("PYTHONPATH")])),
        }
        tapped = direct | {
            "KALSHI_REST_URL": self.fleet_rest.url_through(self.ready["rest"]),
            "REDIS_URL": self.fleet_redis.url_through(self.valkey.url),
            "DATABASE_URL": self.fleet_db.url_through(database_url),
        }
        self.operator = Person(direct, folder=folder, log=self.log)
        self.workers.append(self.operator)
        self.spawner = self.worker("spawner", ["spawner"], tapped)
        self.supervisor = self.worker("supervisor", ["supervisor"], tapped)
        self.web_port = free_port()
        self.web = Web(self.web_port, direct, folder=folder, log=self.log)
        self.workers.append(self.web)
        self.spawner.start()
        self.supervisor.start()
        self.operator.types("refresh_catalog")
        self.fleet: list[FleetTrader] = []

    @property
    def helpers(self) -> tuple[Worker, ...]:
        """Every process but traders, exchange and web."""
        return (self.gateway, self.writer, self.desk, self.spawner, self.supervisor)

    def make(self, plan: Plan, *, name: str = "") -> FleetTrader:
        """Have the operator make a trader, and grant a live one; it does not run yet."""
        name = name or f"{plan.mode}-{plan.market + 1}"
        choices = plan.strategies
        written = CREATE.format(
            name=name, ticker=self.tickers[plan.market], mode=plan.mode, limits=plan.limits, strategy=f"set-{name}",
            choices={
                "placement": choices.placement.name, "placement_params": choices.placement.params,
                "buffering": choices.buffering.name, "buffering_params": choices.buffering.params,
                "flattens": msgspec.to_builtins(choices.flattens), "guards": choices.guards,
                "tolerances": choices.tolerances,
            },
        )  # fmt: skip
        number = int(self.operator.types("shell", "--no-imports", "-c", written))
        trader = FleetTrader(self, number, name, plan)
        if plan.mode == LIVE:
            self.operator.types("grants", "create", name, "--confirm", name)
        self.fleet.append(trader)
        self.traders.append(trader)
        return trader

    def make_whole(self) -> None:
        """Undo whatever a row left behind, but for what markets and traders have become."""
        self.heal(self.spawner, self.supervisor)
        super().make_whole()

    def supervisor_beats(self) -> bool:
        """Whether the supervisor that runs now has said so."""
        value: Any = self.redis.get(beat_key("supervisor", "main"))
        return value is not None and self.supervisor.is_running and decode_beat(value).pid == self.supervisor.pid

    def replace(self, trader: LiveTrader) -> LiveTrader:
        """Put another trader in another market in the place of one that a failed row has spoilt."""
        assert isinstance(trader, FleetTrader)
        trader.end()
        place = self.fleet.index(trader)
        fresh = self.make(self.cleared(trader))
        self.fleet.remove(fresh)
        self.fleet[place] = fresh
        self.traders.remove(trader)
        return fresh

    def close(self) -> None:
        for worker in (self.supervisor, self.spawner):
            worker.close()  # else it would start again whoever ends
        for identity in living(self.home).values():
            send_signal(identity, signal.SIGCONT)
        stop_all(self.home, END_S)
        super().close()


class Web(Worker):
    """The web process on a port of its own."""

    def __init__(self, port: int, settings: dict[str, str], *, folder: Path, log: FaultLog) -> None:
        super().__init__("web", [], settings, folder=folder, log=log)
        self.port = port

    def command(self) -> list[str]:
        argv = ["-v", "0", "-b", "127.0.0.1", "-p", str(self.port), "kalshimm.asgi:application"]
        return [sys.executable, "-m", "daphne", *argv]


class FleetCase(LiveCase):
    """One row on one of the fleet's traders, or on all of them."""

    rig: FleetRig
    trader: FleetTrader

    def __init__(self, rig: FleetRig, trader: FleetTrader, *, quotes: bool = True) -> None:
        super().__init__(rig, trader, quotes=quotes)
        self._spoken = (*self._spoken, rig.spawner, rig.supervisor)
        self.begin()

    def have_it_quote(self) -> None:
        """Have the operator let it run, and wait until it quotes."""
        self.until(self.rig.supervisor_beats, "the supervisor is at work")
        row = self.trader.row()
        if row["desired"] == "paused" or row["state"] == "fenced":
            self.rig.operator.types("traders", "resume", self.trader.name)
        elif row["desired"] == "stopped" or row["state"] == "failed":
            self.trader.start()
        self.until(self.quotes_fully, f"{self.trader.name} quotes", within_s=UP_S)

    def until_quotes(self, what: str = "the trader quotes", *, within_s: float = UP_S) -> None:
        self.until(self.quotes_fully, what, within_s=within_s)

    def until_row(self, within_s: float = HEAL_S, **fields: str) -> dict[str, Any]:
        """Wait until `traders list` says so of the trader; return what it says then."""
        found: dict[str, Any] = {}

        def is_so() -> bool:
            found.update(self.trader.row())
            return all(found[name] == value for name, value in fields.items())

        self.until(is_so, f"the list says {fields}", within_s=within_s)
        return found

    def state(self) -> str:
        said = "\n".join(f"{one.name}: {one.output()[-1_500:]}" for one in (self.rig.supervisor, self.rig.spawner))
        return f"{self.trader.row()}\n{super().state()}\n{said}"
