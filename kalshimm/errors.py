"""Errors that kalshimm raises on purpose, and the exit code each one means.

    KalshimmError                          exit 1   refused or failed
    ├── ConfigurationError(variable)       exit 2   a setting or an argument is wrong
    ├── NotReachable(what)                 exit 3   a store, the venue or a binary is not there
    │   └── StoreSilent(store, error)
    ├── OutcomeUnknown(asked)              exit 4   sent, and nobody knows whether it was done
    ├── AlreadyRunning(what, pid)          exit 1   a second copy on one home
    ├── PortInUse(port)                    exit 1
    ├── SchemaMismatch(migration)          exit 1   the database is of another version
    ├── HomeNotWritable(path)              exit 1
    ├── BadRecording(path, line, reason)   exit 1
    └── (feed.kalshi.errors.VenueError …)  exit 1   what the venue refused

Each message is one sentence that says what is wrong and what to do about it.
A refusal inside the engine is a value, not an exception.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NOT_REACHABLE = 3
EXIT_OUTCOME_UNKNOWN = 4


class KalshimmError(Exception):
    """Anything kalshimm gives up on deliberately; `str()` of it is fit for an operator."""

    exit_code = EXIT_FAILED


class ConfigurationError(KalshimmError):
    """A setting is missing or makes no sense.

    Args:
        variable: Name of the environment variable or option at fault.
        problem: What is wrong with it and what would be right.
    """

    exit_code = EXIT_USAGE

    def __init__(self, variable: str, problem: str) -> None:
        self.variable = variable
        super().__init__(f"{variable}: {problem}")


class NotReachable(KalshimmError):
    """Something needed does not answer: a store, the venue, a server binary."""

    exit_code = EXIT_NOT_REACHABLE


class StoreSilent(NotReachable):
    """A store does not answer.

    Args:
        store: PostgreSQL or Redis.
        error: What its driver says, which names no password.
    """

    def __init__(self, store: Literal["PostgreSQL", "Redis"], error: BaseException) -> None:
        variable = "DATABASE_URL" if store == "PostgreSQL" else "REDIS_URL"
        why = " ".join(str(error).split()).rstrip(".?")
        super().__init__(f"{store} does not answer ({why}); check {variable}, or start the stores with `make up`.")


class OutcomeUnknown(KalshimmError):
    """A write left, and no answer proves whether the venue applied it.

    The answer is to ask (private channel, listing, fills), never to send again.

    Args:
        asked: What was asked for, as one would say it: `place order …`, `cancel order …`.
        problem: What came instead of an answer.
        client_order_id: Of the order that may now rest; "" where none was to be placed.
    """

    exit_code = EXIT_OUTCOME_UNKNOWN

    def __init__(self, asked: str, problem: str, *, client_order_id: str = "") -> None:
        self.asked, self.problem, self.client_order_id = asked, problem, client_order_id
        super().__init__(f"Asked to {asked}, and nobody knows whether it was done: {problem}.")


class AlreadyRunning(KalshimmError):
    """Another copy holds the lock.

    Args:
        what: What is locked, in words.
        pid: Process that holds it, or None when it could not be read.
    """

    def __init__(self, what: str, pid: int | None) -> None:
        self.pid = pid
        holder = f"process {pid}" if pid else "another process"
        super().__init__(
            f"{what} is already run by {holder}; stop that one first, or set KALSHIMM_HOME to another folder."
        )


class PortInUse(KalshimmError):
    """A TCP port we need is taken."""

    def __init__(self, port: int) -> None:
        self.port = port
        super().__init__(f"Port {port} is in use; free it or choose another with --port or KALSHIMM_PORT.")


class SchemaMismatch(KalshimmError):
    """The database is not of this version.

    Args:
        migration: The first that one of them has and the other has not, as app.name.
        is_newer: Whether the database has it and the code has not.
    """

    def __init__(self, migration: str, *, is_newer: bool) -> None:
        self.migration = migration
        super().__init__(
            f"The database has migration {migration}, which this version of kalshimm does not know; run the version "
            "that made it, or restore a backup from before it."
            if is_newer
            else f"The database lacks migration {migration}; run `manage.py migrate`, or `make up`."
        )


class HomeNotWritable(KalshimmError):
    """KALSHIMM_HOME cannot be created or written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"KALSHIMM_HOME {path} cannot be written ({reason}); choose a folder that belongs to you.")


class BadRecording(KalshimmError):
    """A recording cannot be read to its end.

    Args:
        path: The file.
        line: 1-based line number, or None when the damage is below the line level.
        reason: What was expected and what was found.
    """

    def __init__(self, path: Path, line: int | None, reason: str) -> None:
        self.path, self.line = path, line
        where = f"{path}, line {line}" if line else f"{path}"
        super().__init__(f"{where}: {reason}")
