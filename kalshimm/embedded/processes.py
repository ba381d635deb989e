"""The processes that `up` runs, in the order in which they start; they stop the other way round."""

from __future__ import annotations

import enum
import hashlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from kalshimm.embedded import ports
from kalshimm.runtime import home
from kalshimm.runtime.process import ProcessIdentity

BASE_DIR = Path(__file__).resolve().parent.parent.parent
# What processes are made of: code, templates (a process keeps those it has read) and installed packages.
SOURCES = (
    "manage.py", "kalshimm/**/*.py", "markets/**/*.py", "feed/**/*.py", "traders/**/*.py", "templates/**/*",
    "requirements.lock",
)  # fmt: skip
# What a process must have been started with to fit today; the rest of the environment does not matter.
CONTRACT = ("DATABASE_URL", "REDIS_URL", "KALSHI")


class Proof(enum.Enum):
    """How a process shows that it is ready."""

    LINE = "a JSON line on its output"
    BEAT = "a beat in Redis"
    SOCKET = "an answer on its Unix socket"
    PAGE = "an answer to /livez"


@dataclass(frozen=True)
class Part:
    """One process: what starts it, what proves it ready, how long it may take to stop.

    `stop_grace_s` is its share of the ten seconds in which everything stops.
    """

    name: str
    argv: tuple[str, ...]
    proof: Proof
    stop_grace_s: float


STOP_WITHIN_S = 10.0  # Ctrl-C to the last process


@dataclass(frozen=True)
class Choice:
    """What the operator asked of `up`."""

    home: Path
    port: int
    environment: str  # local, demo or prod
    replay: tuple[Path, ...] = ()
    markets: int | None = None
    speed: float | None = None
    scenario: str | None = None
    wants_demo: bool = True
    stop_within_s: float = STOP_WITHIN_S

    @property
    def url(self) -> str:
        return f"http://{ports.LOOPBACK}:{self.port}/"


class RunFile(msgspec.Struct, frozen=True):
    """What `run/<name>.json` keeps of a started process, so that a later `up` can find and judge it.

    `digest` covers the environment's contract and the code; `line` is the exchange's JSON line.
    """

    name: str
    identity: ProcessIdentity
    argv: tuple[str, ...]
    digest: str
    line: str = ""

    @classmethod
    def path(cls, home_folder: Path, name: str) -> Path:
        return home_folder / "run" / f"{name}.process.json"

    @classmethod
    def read(cls, home_folder: Path, name: str) -> RunFile | None:
        try:
            return msgspec.json.decode(cls.path(home_folder, name).read_bytes(), type=cls)
        except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
            return None

    @classmethod
    def all_living(cls, home_folder: Path) -> list[RunFile]:
        """Return every process of this home that still lives, oldest first."""
        names = [path.name.removesuffix(".process.json") for path in (home_folder / "run").glob("*.process.json")]
        files = [found for name in names if (found := cls.read(home_folder, name)) is not None]
        living = [file for file in files if file.identity.lives()]
        return sorted(living, key=lambda file: file.identity.started_us)

    def write(self, home_folder: Path) -> None:
        home.write_private(self.path(home_folder, self.name), msgspec.json.encode(self))


def manage(*argv: str) -> tuple[str, ...]:
    return (sys.executable, str(BASE_DIR / "manage.py"), *argv)


def module(name: str, *argv: str) -> tuple[str, ...]:
    # Celery warns in six lines that it runs as root; that this home is root's was the operator's choice.
    return (sys.executable, "-W", "ignore:You're running the worker with superuser", "-m", name, *argv)


def exchange(choice: Choice, port: int) -> Part:
    """Return the local exchange, on a port that it keeps when it has to be started again."""
    options = ["--port", str(port), "--key-dir", str(choice.home / "exchange")]
    if choice.replay:
        options += ["--replay", *map(str, choice.replay)]
    if choice.markets is not None:
        options += ["--markets", str(choice.markets)]
    if choice.speed is not None:
        options += ["--speed", str(choice.speed)]
    if choice.scenario is not None:
        options += ["--scenario", choice.scenario]
    return Part("exchange", manage("exchange", *options), Proof.LINE, stop_grace_s=0.5)


def workers(port: int) -> list[Part]:
    """Return what runs beside the exchange and the stores."""
    celery = ("-q", "-A", "kalshimm", "worker", "-B", "--concurrency", "1", "--without-mingle")
    daphne = ("-v", "0", "-b", ports.LOOPBACK, "-p", str(port), "kalshimm.asgi:application")
    return [
        Part("gateway", manage("gateway"), Proof.BEAT, stop_grace_s=0.7),
        Part("desk", manage("desk"), Proof.BEAT, stop_grace_s=0.5),
        Part("writer", manage("writer"), Proof.BEAT, stop_grace_s=1.2),
        Part("spawner", manage("spawner"), Proof.SOCKET, stop_grace_s=0.8),
        Part("supervisor", manage("supervisor"), Proof.BEAT, stop_grace_s=0.7),
        Part("celery", module("celery", *celery), Proof.BEAT, stop_grace_s=1.9),
        Part("web", module("daphne", *daphne), Proof.PAGE, stop_grace_s=0.7),
    ]


def code_digest() -> str:
    """Return a value that changes with `SOURCES`: a process started from others does not fit any more."""
    digest = hashlib.sha256()
    for pattern in SOURCES:
        for path in sorted(BASE_DIR.glob(pattern)):
            status = path.stat()
            digest.update(f"{path} {status.st_mtime_ns} {status.st_size}\n".encode())
    return digest.hexdigest()


def fit_digest(environment: Mapping[str, str], code: str) -> str:
    """Return what two starts have in common if one process can serve for both."""
    contract = sorted((k, v) for k, v in environment.items() if k.startswith(CONTRACT))
    return hashlib.sha256(repr((contract, code)).encode()).hexdigest()


def child_environment(choice: Choice, venue: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the children: ours, the choice, and how to reach the exchange."""
    return os.environ | {
        "PYTHONUNBUFFERED": "1",  # a line is in the log file when it is written
        "DJANGO_SETTINGS_MODULE": "kalshimm.settings",
        "KALSHIMM_HOME": str(choice.home),
        "KALSHIMM_PORT": str(choice.port),
        "KALSHI_ENV": choice.environment,
        **venue,
    }


def venue_of_line(line: str) -> dict[str, str] | None:
    """Return the venue's part of the environment from the local exchange's JSON line; None for any other line."""
    if not line.startswith("{"):
        return None
    try:
        told = msgspec.json.decode(line.encode(), type=dict[str, str | int | float | None])
        return {
            "KALSHI_REST_URL": str(told["rest"]),
            "KALSHI_WS_URL": str(told["ws"]),
            "KALSHI_KEY_ID": str(told["key_id"]),
            "KALSHI_PRIVATE_KEY_PATH": str(told["private_key_path"]),
        }
    except (msgspec.DecodeError, KeyError):
        return None


def arguments(choice: Choice) -> list[str]:
    """Return the options with which `up` makes the same choice again."""
    given = ["--exchange", choice.environment, "--port", str(choice.port)]
    if choice.replay:
        given += ["--replay", *map(str, choice.replay)]
    if choice.markets is not None:
        given += ["--markets", str(choice.markets)]
    if choice.speed is not None:
        given += ["--speed", str(choice.speed)]
    if choice.scenario is not None:
        given += ["--scenario", choice.scenario]
    if not choice.wants_demo:
        given.append("--no-demo")
    return given
