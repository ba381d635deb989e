"""The stores a process needs: the given ones, or this home's own embedded ones.

Each store is given by its variable (`DATABASE_URL`, `REDIS_URL`, also `…_FILE`) or else embedded, independently.
Everyone who uses embedded stores holds a shared lock while they do; whoever lets go last stops them, unless they are
`lasting`, that is an `up`'s.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import psycopg
import redis

from kalshimm import env
from kalshimm.embedded import ports, postgres, valkey
from kalshimm.errors import ConfigurationError, NotReachable, StoreSilent
from kalshimm.runtime import home
from kalshimm.runtime.home import StoreAddresses
from kalshimm.runtime.locks import FileLock

GIVEN_ANSWERS_S = 5
START_WAIT_S = 180.0  # somebody else starts them, perhaps with a recovery
STOP_POSTGRES_S = 5.0
STOP_VALKEY_S = 3.0


@dataclass
class Stores:
    """Stores in use by this process; `started` names the embedded ones that did not run before."""

    home: Path
    addresses: StoreAddresses
    embedded: tuple[str, ...]
    started: tuple[str, ...]
    _users: FileLock | None = field(default=None, repr=False)

    def export(self) -> None:
        """Put the addresses into the environment, for the settings and for child processes."""
        os.environ["DATABASE_URL"] = self.addresses.database_url
        os.environ["REDIS_URL"] = self.addresses.redis_url

    def release(self, *, postgres_s: float = STOP_POSTGRES_S, valkey_s: float = STOP_VALKEY_S) -> None:
        """Stop using the stores, and stop them if nobody else needs them."""
        if self._users is None:
            return
        with _starting(self.home).held(within_s=START_WAIT_S):
            is_last = self._users.try_acquire()
            noted = home.running_stores(self.home)
            is_an_ups = noted is not None and noted.lasting and not self.addresses.lasting
            if self.addresses.lasting or (is_last and not is_an_ups):
                _stop_all(self.home, postgres_s=postgres_s, valkey_s=valkey_s)
            self._users.release()
        self._users = None


def ensure(home_folder: Path, *, lasting: bool = False, durable: bool = True) -> Stores:
    """Return stores that answer, starting what is neither given nor running; the caller must `release` them.

    Args:
        lasting: They are an `up`'s: commands leave them running, and `release` stops them whoever uses them still.
        durable: False for tests, whose data is thrown away.

    Raises:
        NotReachable: A store cannot be started; nothing that was started for this call is left running.
    """
    given_database, given_redis = env.secret("DATABASE_URL"), env.secret("REDIS_URL")
    if lasting:
        _require_given(given_database, given_redis)
    if given_database and given_redis and not lasting:
        return Stores(home_folder, StoreAddresses(given_database, given_redis), (), ())
    embedded = tuple(n for n, given in (("postgres", given_database), ("valkey", given_redis)) if not given)
    run = home.folder(home_folder, "run")
    users = FileLock(run / "stores.users.lock")
    with _starting(home_folder).held(within_s=START_WAIT_S):
        started: list[str] = []
        try:
            database_url, redis_url = given_database, given_redis
            if not database_url:
                database_url, is_new = postgres.start(home_folder, durable=durable)
                started += ["postgres"] * is_new
            if not redis_url:
                redis_url, is_new = valkey.start(home_folder, durable=durable)
                started += ["valkey"] * is_new
            noted = home.running_stores(home_folder)
            # What an `up` left running stays an `up`'s, also when one of the two had to be started again.
            keep = lasting or (noted is not None and noted.lasting and len(started) < len(embedded))
            note = StoreAddresses(database_url, redis_url, keep)
            home.write_private(home.stores_file(home_folder), msgspec.json.encode(note))
        except BaseException:
            _stop_named(home_folder, started)
            raise
        users.try_acquire(shared=True)
    addresses = StoreAddresses(database_url, redis_url, lasting)
    return Stores(home_folder, addresses, embedded, tuple(started), users)


def revive(home_folder: Path, names: Sequence[str], addresses: StoreAddresses) -> None:
    """Start the named embedded stores of a running `up` again where they do not run.

    Raises:
        NotReachable: One does not start, or not at its address, the only one where its users look for it.
    """
    starts = {"postgres": postgres.start, "valkey": valkey.start}
    urls = {"postgres": addresses.database_url, "valkey": addresses.redis_url}
    lives = {"postgres": postgres.lives, "valkey": valkey.lives}
    with _starting(home_folder).held(within_s=START_WAIT_S):
        for name in names:
            port = urlsplit(urls[name]).port
            if not lives[name](home_folder) and port is not None and not ports.becomes_free(port):
                raise NotReachable(f"{name} cannot come back: its port {port} is used by somebody else; free it.")
            url, _ = starts[name](home_folder)
            if url != urls[name]:
                raise NotReachable(
                    f"{name} came back elsewhere than where its users look for it; stop `up` and start it again."
                )


@contextlib.contextmanager
def used(home_folder: Path, *, lasting: bool = False, durable: bool = True) -> Iterator[Stores]:
    """Use stores for a while; see `ensure`."""
    stores = ensure(home_folder, lasting=lasting, durable=durable)
    try:
        yield stores
    finally:
        stores.release()


def stop_left_over(home_folder: Path) -> list[str]:
    """Stop whatever embedded stores of this home still run; return their names."""
    if not home_folder.is_dir():
        return []
    with _starting(home_folder).held(within_s=START_WAIT_S):
        return _stop_all(home_folder, postgres_s=STOP_POSTGRES_S, valkey_s=STOP_VALKEY_S)


def _require_given(database_url: str | None, redis_url: str | None) -> None:
    """Look at the given stores before anything is started on top of them.

    Raises:
        StoreSilent: One does not answer.
        ConfigurationError: Its address makes no sense.
    """
    if database_url:
        env.database(database_url)
        try:
            psycopg.connect(database_url, connect_timeout=GIVEN_ANSWERS_S).close()
        except psycopg.OperationalError as exc:
            raise StoreSilent("PostgreSQL", exc) from exc
        except psycopg.ProgrammingError:
            # What it says may quote a password.
            raise ConfigurationError("DATABASE_URL", "PostgreSQL's client library cannot read this URL") from None
    if redis_url:
        try:
            with redis.Redis.from_url(env.redis_url(redis_url), socket_connect_timeout=GIVEN_ANSWERS_S) as client:
                client.ping()
        except (redis.RedisError, OSError) as exc:
            raise StoreSilent("Redis", exc) from exc
        except (TypeError, ValueError):
            raise ConfigurationError("REDIS_URL", "an option after ? is unknown or makes no sense") from None


def _starting(home_folder: Path) -> FileLock:
    return FileLock(home.folder(home_folder, "run") / "stores.starting.lock")


def _stop_all(home_folder: Path, *, postgres_s: float, valkey_s: float) -> list[str]:
    stopped = []
    if valkey.stop(home_folder, within_s=valkey_s):
        stopped.append("valkey")
    if postgres.stop(home_folder, within_s=postgres_s):
        stopped.append("postgres")
    home.stores_file(home_folder).unlink(missing_ok=True)
    return stopped


def _stop_named(home_folder: Path, names: list[str]) -> None:
    if "valkey" in names:
        valkey.stop(home_folder, within_s=STOP_VALKEY_S)
    if "postgres" in names:
        postgres.stop(home_folder, within_s=STOP_POSTGRES_S)
