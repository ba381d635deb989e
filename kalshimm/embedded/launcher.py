"""`manage.py up`: everything on one machine, started in order, followed, restarted, stopped in reverse.

    1. refuse what cannot work before anything is started (`preflight`)
    2. stores, migrations, first administrator
    3. local exchange, catalogue, demo fleet
    4. workers and web; wait until each has proved itself ready
    5. follow: relay their output, restart what dies, say what changes
    6. on Ctrl-C, SIGTERM, SIGHUP or any failure during 1-4: stop in reverse order, the stores last

Children write to files and have their own sessions, so they survive a killed launcher; the next `up` finds them by
their run files and reuses what still fits.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import msgspec

from kalshimm import env
from kalshimm.embedded import ports, processes, readiness, stores
from kalshimm.embedded.child import Child
from kalshimm.embedded.console import Console
from kalshimm.embedded.ending import StopTraders, end_left_over, end_process
from kalshimm.embedded.keeper import StoreKeeper
from kalshimm.embedded.processes import Choice, Part, Proof, RunFile
from kalshimm.embedded.stores import Stores
from kalshimm.errors import EXIT_FAILED, AlreadyRunning, KalshimmError, NotReachable
from kalshimm.runtime import home
from kalshimm.runtime.locks import FileLock

TICK_S = 0.1
LOOK_EVERY_S = 1.0
STEP_TIMEOUT_S = 120.0
READY_WITHIN_S = 120.0
REUSE_PATIENCE_S = 8.0
DEATHS_WHILE_STARTING = 3
SPARE_S = 0.5  # of the time in which all of it was promised to have stopped
TRADERS_GRACE_S = 4.0  # at least; a live one ends once the exchange has confirmed its cancels
OTHERS_SHARE_S = 5.5
LEFT_OVER_GRACE_S = 2.0
STORES_SHARE_S = 1.5
HURRY_GRACE_S = 0.2
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopAsked(Exception):
    """A signal asked to stop while something was being waited for."""


class StepFailed(KalshimmError):
    """A part that must work for the stack to start does not; leaves with that part's own exit code."""

    def __init__(self, name: str, exit_code: int, last_line: str) -> None:
        self.exit_code = exit_code if exit_code > 0 else EXIT_FAILED
        super().__init__(f"{name} failed: {last_line or f'exit {exit_code}'}")


class Announcement(msgspec.Struct, frozen=True):
    """`run/up.json`: written once everything is ready; private, for the link logs in."""

    pid: int
    url: str
    login_url: str


def announcement_path(home_folder: Path) -> Path:
    return home_folder / "run" / "up.json"


def lock_of(home_folder: Path) -> FileLock:
    return FileLock(home.folder(home_folder, "run") / "up.lock")


def preflight(choice: Choice) -> None:
    """Refuse what cannot work, with nothing started or written but the home's own folders.

    Raises:
        KalshimmError: Named by what is wrong: a key is missing, the port is taken, the home is not writable.
    """
    if choice.environment != "local":
        _require_key(choice.environment)
    home.folder(choice.home, "run")
    web = RunFile.read(choice.home, "web")
    is_ours = web is not None and web.identity.lives() and str(choice.port) in web.argv
    if not is_ours:
        ports.require_free(choice.port)


def _require_key(environment: str) -> None:
    """Raise unless a readable key is set: the market-data handshake of the real venue is always signed."""
    key_id, path = env.secret("KALSHI_KEY_ID"), env.text("KALSHI_PRIVATE_KEY_PATH")
    wanted = (
        f"--exchange {environment} needs a read-scope API key, for the market-data handshake is always signed: "
        "set KALSHI_KEY_ID and KALSHI_PRIVATE_KEY_PATH"
    )
    if not key_id or not path:
        raise KalshimmError(f"{wanted}, or use --exchange local, which needs none.")
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        load_pem_private_key(Path(path).expanduser().read_bytes(), password=None)
    except OSError as exc:
        raise KalshimmError(f"{wanted}; {path} cannot be read ({exc.strerror}).") from exc
    except (ValueError, TypeError) as exc:
        raise KalshimmError(f"{wanted}; {path} is not an unencrypted PEM private key.") from exc


@dataclass
class Launcher:
    """One run of `up` in the foreground."""

    choice: Choice
    console: Console
    stop_traders: StopTraders
    _children: list[Child] = field(default_factory=list)
    _stores: Stores | None = None
    _keeper: StoreKeeper | None = None
    _environment: dict[str, str] = field(default_factory=dict)
    _digest: str = ""
    _signals: int = 0
    _looked_at: float = 0.0
    _silent: set[str] = field(default_factory=set)
    _login_url: str = ""

    def run(self) -> None:
        """Run until asked to stop; everything is stopped when this returns or raises."""
        preflight(self.choice)
        lock = lock_of(self.choice.home)
        if not lock.try_acquire():
            raise AlreadyRunning(f"KALSHIMM_HOME {self.choice.home}", lock.read_pid())
        lock.write(str(os.getpid()))
        try:
            with self._counting_signals():
                self._run_locked()
        finally:
            lock.release()

    def _run_locked(self) -> None:
        try:
            self._start_all()
            self._announce()
            self._pump(lambda: False, within_s=None, otherwise="")
        except StopAsked:
            pass
        finally:
            self._stop_all()

    # -- starting --------------------------------------------------------------------------------------------------

    def _start_all(self) -> None:
        began = time.monotonic()
        self._start_stores()
        self._end_unwanted()
        is_local = self.choice.environment == "local"
        exchange = self._bring_up_exchange() if is_local else None
        self._login_url = self._step("prepare", "prepare", "--port", str(self.choice.port))
        if exchange is not None:
            self._environment = self._prepared(self._venue_of(exchange))
            told = self._step("catalog", "demo_fleet" if self.choice.wants_demo else "refresh_catalog")
            self.console.say("catalog", told.splitlines()[-1] if told else "fetched")
        for part in processes.workers(self.choice.port):
            self._bring_up(part)
        self._wait_until_ready(began)

    def _start_stores(self) -> None:
        self._stores = stores.ensure(self.choice.home, lasting=True)
        self._stores.export()
        self._keeper = StoreKeeper(self._stores, lambda name, text, bad: self.console.say(name, text, trouble=bad))
        self._environment = self._prepared({})
        for name in self._stores.embedded:
            self.console.say(name, "started" if name in self._stores.started else "still runs: reused")
        for name in {"postgres", "valkey"} - set(self._stores.embedded):
            self.console.say(name, "given by the environment")

    def _prepared(self, venue: Mapping[str, str]) -> dict[str, str]:
        return processes.child_environment(self.choice, venue)

    def _end_unwanted(self) -> None:
        """End processes of an earlier run that this run has no place for."""
        wanted = {part.name for part in processes.workers(self.choice.port)}
        if self.choice.environment == "local":
            wanted.add("exchange")
        for found in reversed(RunFile.all_living(self.choice.home)):
            if found.name not in wanted:
                self._replace(found)

    def _bring_up_exchange(self) -> Child:
        """Start the local exchange, or reuse the one of an earlier run; either way at the port it had."""
        found = RunFile.read(self.choice.home, "exchange")
        port = _port_of(found) if found is not None and found.identity.lives() else None
        part = processes.exchange(self.choice, port or ports.free_port())
        self._digest = processes.fit_digest(self._environment, processes.code_digest())
        child = self._child(part)
        if found is not None and port is not None:
            if found.argv == part.argv and found.digest == self._digest and processes.venue_of_line(found.line):
                child.adopt(found, self._environment)
                return child
            self._replace(found)
        child.start(self._environment, self._digest)
        return child

    def _venue_of(self, exchange: Child) -> dict[str, str]:
        """Return how to reach the exchange, as told by its line: in its run file, or on its output any moment."""

        def is_told() -> bool:
            found = RunFile.read(self.choice.home, "exchange")
            return exchange.identity is not None and found is not None and bool(found.line)

        self._pump(is_told, within_s=READY_WITHIN_S, otherwise="the local exchange did not say where it listens")
        found = RunFile.read(self.choice.home, "exchange")
        venue = processes.venue_of_line(found.line) if found is not None else None
        assert venue is not None, "only such a line is kept"
        return venue

    def _bring_up(self, part: Part) -> None:
        """Reuse the process of an earlier run if it fits and shows life, else start one."""
        if self._signals:
            raise StopAsked
        self._digest = processes.fit_digest(self._environment, processes.code_digest())
        child = self._child(part)
        found = RunFile.read(self.choice.home, part.name)
        if found is not None and found.identity.lives():
            fits = found.argv == part.argv and found.digest == self._digest
            if fits and self._shows_life(part, found):
                child.adopt(found, self._environment)
                return
            self._replace(found)
        child.start(self._environment, self._digest)

    def _shows_life(self, part: Part, found: RunFile) -> bool:
        """Whether a process proves itself within some seconds: it may only just have found its stores again."""
        deadline = time.monotonic() + REUSE_PATIENCE_S
        while found.identity.lives() and time.monotonic() < deadline:
            if self._signals:
                raise StopAsked
            if readiness.is_ready(part, found.identity, self.choice):
                return True
            time.sleep(TICK_S)
        return False

    def _replace(self, found: RunFile) -> None:
        self.console.say(found.name, f"of an earlier run does not fit, pid {found.identity.pid}: stopping")
        end_process(found.identity, LEFT_OVER_GRACE_S)
        RunFile.path(self.choice.home, found.name).unlink(missing_ok=True)
        if found.name == "supervisor":
            self.stop_traders(self.choice.home, TRADERS_GRACE_S)

    def _child(self, part: Part) -> Child:
        def say(text: str) -> None:
            self.console.say(part.name, text, trouble="died" in text or "killed" in text)

        child = Child(part, self.choice.home, say)
        self._children.append(child)
        return child

    def _wait_until_ready(self, began: float) -> None:
        waiting = list(self._children)

        def is_all_ready() -> bool:
            for child in list(waiting):
                if child.identity is not None and readiness.is_ready(child.part, child.identity, self.choice):
                    waiting.remove(child)
            return not waiting

        self._pump(
            is_all_ready,
            within_s=READY_WITHIN_S,
            otherwise=lambda: f"not ready within {READY_WITHIN_S:.0f} s: {', '.join(c.part.name for c in waiting)}",
        )
        self.console.say("up", f"ready after {time.monotonic() - began:.1f} s")

    def _announce(self) -> None:
        assert self._stores is not None, "they start first"
        rows = [(name, "ready", "embedded") for name in self._stores.embedded]
        rows += [(c.part.name, "ready", f"pid {c.identity.pid}") for c in self._children if c.identity is not None]
        self.console.table(rows)
        mode = "every trader is dry-run (paper)"
        self.console.plain(f"  {self.choice.url}  on the {self.choice.environment} exchange, {mode}")
        self.console.plain(f"  log in once with {self._login_url}")
        self.console.plain("  Ctrl-C stops everything.\n")
        told = Announcement(os.getpid(), self.choice.url, self._login_url)
        home.write_private(announcement_path(self.choice.home), msgspec.json.encode(told))

    def _step(self, name: str, *argv: str) -> str:
        """Run a command to its end and return what it printed."""
        self.console.say(name, f"manage.py {argv[0]}")
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                processes.manage(*argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                cwd=processes.BASE_DIR,
                env=self._environment,
                start_new_session=True,
            )
            try:
                self._pump(
                    lambda: process.poll() is not None,
                    within_s=STEP_TIMEOUT_S,
                    otherwise=f"{name} took longer than {STEP_TIMEOUT_S:.0f} s",
                )
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            errors.seek(0)
            said = errors.read().decode(errors="replace").splitlines()
            for line in said:
                self.console.relay(name, line)
            if process.returncode != 0:
                raise StepFailed(name, process.returncode, said[-1] if said else "")
            output.seek(0)
            return output.read().decode().strip()

    # -- following -------------------------------------------------------------------------------------------------

    def _pump(self, is_done: Callable[[], bool], *, within_s: float | None, otherwise: str | Callable[[], str]) -> None:
        """Follow everything until `is_done`.

        Raises:
            StopAsked: A signal came, or nobody reads our output any more.
            NotReachable: It took longer than `within_s`; the message is `otherwise`.
        """
        deadline = None if within_s is None else time.monotonic() + within_s
        while not is_done():
            if self._signals or self.console.is_broken:
                raise StopAsked
            if deadline is not None and time.monotonic() > deadline:
                problem = otherwise if isinstance(otherwise, str) else otherwise()
                raise NotReachable(f"Start given up: {problem}; see {self.choice.home / 'log'}.")
            self._tick(is_starting=deadline is not None)
            time.sleep(TICK_S)

    def _tick(self, *, is_starting: bool) -> None:
        for child in self._children:
            self._relay(child)
            child.watch()
            if is_starting and child.attempts >= DEATHS_WHILE_STARTING:
                self._relay(child)  # its last words
                raise StepFailed(child.part.name, child.exit_code, child.last_line)
        if time.monotonic() - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = time.monotonic()
            if self._keeper is not None:
                self._keeper.look()
            if not is_starting:
                self._look_for_silence()

    def _relay(self, child: Child) -> None:
        for line in child.tail.lines():
            self.console.relay(child.part.name, line)
            child.last_line = line or child.last_line
            if child.part.proof is Proof.LINE and processes.venue_of_line(line) is not None:
                child.keep_line(line)

    def _look_for_silence(self) -> None:
        """Say once when a running process falls silent, and once when it is heard again."""
        for child in self._children:
            if child.identity is None or child.part.proof is not Proof.BEAT:
                continue
            name, is_heard = child.part.name, readiness.is_ready(child.part, child.identity, self.choice)
            if is_heard and name in self._silent:
                self._silent.discard(name)
                self.console.say(name, "beats")
            elif not is_heard and name not in self._silent:
                self._silent.add(name)
                self.console.say(name, "is silent: its process lives but does not beat", trouble=True)

    # -- stopping --------------------------------------------------------------------------------------------------

    @contextmanager
    def _counting_signals(self) -> Iterator[None]:
        def count(number: int, frame: FrameType | None) -> None:
            del number, frame
            self._signals += 1

        before = {number: signal.signal(number, count) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop_all(self) -> None:
        """Stop in reverse order within the time promised; a second signal leaves everybody less."""
        began, asked, total_s = time.monotonic(), self._signals, self.choice.stop_within_s - SPARE_S
        self.console.say("up", "stopping" + ("" if self._signals > 1 else ", once more Ctrl-C to hurry"))
        announcement_path(self.choice.home).unlink(missing_ok=True)

        def share_s(wanted_s: float) -> float:
            left_s = total_s - STORES_SHARE_S - (time.monotonic() - began)
            return max(HURRY_GRACE_S, min(wanted_s, left_s)) if self._signals <= max(1, asked) else HURRY_GRACE_S

        if self._keeper is not None:
            self._keeper.stop()
        for child in reversed(self._children):
            child.stop(share_s(child.part.stop_grace_s))
            self._relay(child)
            if child.part.name == "supervisor":
                self._end_traders(share_s(max(TRADERS_GRACE_S, total_s - OTHERS_SHARE_S)))
        # What an earlier `up` left and this one had not come to, and traders forked while the supervisor ended.
        end_left_over(self.choice.home, lambda: share_s(LEFT_OVER_GRACE_S), self.stop_traders, self.console.say)
        if self._stores is not None:
            if self._stores.embedded:
                self.console.say("up", f"stopping {' and '.join(self._stores.embedded)}")
            left_s = max(1.0, total_s - (time.monotonic() - began))
            self._stores.release(postgres_s=left_s, valkey_s=1.0)
        self.console.say("up", f"all stopped in {time.monotonic() - began:.1f} s")

    def _end_traders(self, seconds: float) -> None:
        """End the traders, which no worker's end ends; without a supervisor nobody would look after them."""
        killed = self.stop_traders(self.choice.home, seconds)
        for pid in killed:
            self.console.say("traders", f"pid {pid} did not stop within {seconds:.1f} s: killed", trouble=True)


def _port_of(found: RunFile) -> int | None:
    try:
        return int(found.argv[found.argv.index("--port") + 1])
    except (ValueError, IndexError):
        return None
