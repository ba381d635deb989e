"""What happens around every `manage.py` command: its stores, its log, and its errors as one line.

Decided before Django is set up, because the settings hold the addresses of the stores:

- `kill` runs at once, without Django: it must be quick, and work whatever is broken;
- a command that needs no stores runs at once;
- given stores (`DATABASE_URL`, `REDIS_URL`) are used as they are;
- else this home's running stores are used, or embedded ones are started, migrated, and stopped afterwards.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from kalshimm import env
from kalshimm.errors import EXIT_USAGE, ConfigurationError, KalshimmError, StoreSilent
from kalshimm.runtime import home, logs

BASE_DIR = Path(__file__).resolve().parent.parent
DJANGO_PACKAGES = (
    "django.core",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "daphne",
)
OWN_PACKAGES = ("kalshimm", "kalshimm.ops", "markets", "feed", "traders")
# They run without stores, or see to the stores themselves.
STORELESS = frozenset(
    {
        *("up", "down", "health", "exchange", "spawner", "rewards", "strategies", "backtest", "bench"),
        *("help", "version", "check", "diffsettings", "test", "testserver", "startapp", "startproject"),
        *("makemigrations", "collectstatic", "findstatic", "compilemessages", "makemessages"),
    }
)
HELP_OPTIONS = frozenset({"-h", "--help", "--version"})
# SQLSTATE classes of a connection that was refused, lost, or not let in; others are errors of a statement.
CONNECTION_CLASSES = ("08", "28", "3D", "57P")
EXIT_SIGNALLED = 128
KILL = "kill"


def execute(argv: Sequence[str]) -> None:
    """Run the command that `argv` names; leave by `SystemExit` with the code its error means."""
    try:
        _prepare(argv)
        _run(list(argv))
    except KeyboardInterrupt:
        sys.exit(EXIT_SIGNALLED + signal.SIGINT)
    except Exception as exc:  # top of the process: errors made for operators become one line, others a traceback
        error = operator_error(exc)
        if error is None:
            raise
        if env.text("KALSHIMM_DEBUG") not in env.FALSE:
            traceback.print_exception(exc)
        print(error, file=sys.stderr)  # noqa: T201 - the one line
        sys.exit(error.exit_code)


def _prepare(argv: Sequence[str]) -> None:
    """Read the environment; a setting that makes no sense keeps everything from beginning but a kill."""
    is_kill = list(argv[1:2]) == [KILL]
    try:
        env.load_dotenv(BASE_DIR / ".env", is_tolerant=is_kill)
        logs.configure(debug=env.boolean("KALSHIMM_DEBUG"))
    except (ConfigurationError, OSError, UnicodeDecodeError):
        if not is_kill:
            raise  # a kill says in which home it was; what it lacks shows there


def operator_error(exc: BaseException) -> KalshimmError | None:
    """Return what to tell an operator about `exc`, looking into exception groups; None if it is not for them."""
    if isinstance(exc, KalshimmError):
        return exc
    if isinstance(exc, BaseExceptionGroup):
        found = map(operator_error, exc.exceptions)
        return next((error for error in found if error is not None), None)
    return _store_error(exc)


def needs_stores(argv: Sequence[str]) -> bool:
    """Return whether a command line names a command that works on the stores."""
    if len(argv) < 2 or HELP_OPTIONS & set(argv[1:]):
        return False
    return argv[1] not in STORELESS and is_command(argv[1])


def is_command(name: str) -> bool:
    """Return whether manage.py has a command of this name."""
    return name.isidentifier() and any(_has_command(package, name) for package in (*OWN_PACKAGES, *DJANGO_PACKAGES))


def _has_command(package: str, name: str) -> bool:
    try:
        return importlib.util.find_spec(f"{package}.management.commands.{name}") is not None
    except ModuleNotFoundError:
        return False  # an app without commands


def _run(argv: list[str]) -> None:
    if argv[1:2] == [KILL]:
        _run_kill(argv[2:])
    elif not needs_stores(argv):
        _run_storeless(argv)
    elif env.secret("DATABASE_URL") and env.secret("REDIS_URL"):
        _run_django(argv)
    else:
        _run_with_stores(argv)


def _run_kill(argv: list[str]) -> None:
    from traders import killcommand

    options = killcommand.parsed(argv)
    if not options.drill:
        sys.exit(killcommand.run(options, home.locate(BASE_DIR)))
    from kalshimm.bench import killdrill

    sys.exit(killdrill.main(as_json=options.as_json))


def _run_storeless(argv: list[str]) -> None:
    unknown = len(argv) > 1 and not argv[1].startswith("-") and argv[1] != "help" and not is_command(argv[1])
    try:
        _run_django(argv)
    except SystemExit as exc:
        # Django says what it does not know, but leaves with 1.
        raise SystemExit(EXIT_USAGE if unknown else exc.code) from exc


def _run_with_stores(argv: list[str]) -> None:
    from kalshimm.embedded import stores

    # Without this a SIGTERM would end us at once and leave the servers running.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _exit_on_signal)
    in_use = stores.ensure(home.locate(BASE_DIR))
    try:
        in_use.export()
        if "postgres" in in_use.started and argv[1] != "migrate":
            _migrate()
        _run_django(argv)
    finally:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # stopping is bounded, and half of it is worse
        in_use.release()


def _exit_on_signal(number: int, frame: FrameType | None) -> None:
    del frame
    sys.exit(EXIT_SIGNALLED + number)


def _migrate() -> None:
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", interactive=False, verbosity=0, stdout=sys.stderr)


def _run_django(argv: list[str]) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kalshimm.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(argv)


def _store_error(exc: BaseException) -> KalshimmError | None:
    """Return what to say of an error that means a store is away; None for any other."""
    import psycopg
    from redis.exceptions import ConnectionError as RedisConnectionError
    from redis.exceptions import TimeoutError as RedisTimeoutError

    if isinstance(exc, RedisConnectionError | RedisTimeoutError):
        return StoreSilent("Redis", exc)
    # Django wraps the driver's error in one of its own.
    cause = exc if isinstance(exc, psycopg.OperationalError) else exc.__cause__
    if not isinstance(cause, psycopg.OperationalError):
        return None
    if cause.sqlstate is not None and not cause.sqlstate.startswith(CONNECTION_CLASSES):
        return None
    return StoreSilent("PostgreSQL", cause)
