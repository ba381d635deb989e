"""What an operator is told of a store that does not serve."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors
from redis.exceptions import ConnectionError as RedisConnectionError

from feed.writer.trouble import ENTRIES, STORES, NothingFits, StoreBeganAnew, explain
from kalshimm.errors import StoreSilent

WHERE = "PostgreSQL at 127.0.0.1:5432, data in /srv/data"


@pytest.mark.parametrize(
    ("exc", "alert"),
    [
        (errors.DiskFull("could not extend file: No space left on device"), "DATABASE_FULL"),
        (errors.InsufficientPrivilege("permission denied for table markets_trade"), "DATABASE_REFUSES"),
        (errors.ReadOnlySqlTransaction("cannot execute COPY FROM in a read-only transaction"), "DATABASE_READ_ONLY"),
        (errors.LockNotAvailable("canceling statement due to lock timeout"), "DATABASE_LOCKED"),
        (errors.QueryCanceled("canceling statement due to statement timeout"), "DATABASE_LOCKED"),
        (errors.AdminShutdown("terminating connection"), "DATABASE_AWAY"),
        (psycopg.OperationalError("the connection is closed"), "DATABASE_AWAY"),
        (StoreSilent("PostgreSQL", OSError("refused")), "DATABASE_AWAY"),
        (errors.FeatureNotSupported("cached plan must not change result type"), "DATABASE_AWAY"),
        (NothingFits(21, "null value in column"), "NOTHING_FITS"),
        (RedisConnectionError("refused"), "REDIS_AWAY"),
    ],
)
def test_D12_each_trouble_of_a_store_has_its_name_and_says_where_and_why(exc: Exception, alert: str) -> None:
    assert isinstance(exc, STORES)
    trouble = explain(exc, WHERE)
    assert trouble is not None
    assert trouble.alert == alert
    assert str(exc).rstrip(".") in trouble.sentence
    assert WHERE in trouble.sentence or alert == "REDIS_AWAY"


def test_a_store_that_began_anew_needs_no_alarm_of_its_own() -> None:
    assert explain(StoreBeganAnew("another generation"), WHERE) is None


@pytest.mark.parametrize("exc", [errors.NumericValueOutOfRange(), errors.CharacterNotInRepertoire(), KeyError(7)])
def test_D7_what_no_table_takes_is_an_entrys_fault_and_no_stores(exc: Exception) -> None:
    assert isinstance(exc, ENTRIES)
    assert not isinstance(exc, STORES)


@pytest.mark.parametrize("exc", [errors.UndefinedTable(), errors.UndefinedColumn(), AssertionError()])
def test_a_schema_of_another_version_or_a_bug_is_neither(exc: Exception) -> None:
    assert not isinstance(exc, (*STORES, *ENTRIES))


def test_two_streams_that_meet_in_a_row_are_no_trouble() -> None:
    """The journal and the account both write orders; whoever is broken off goes again."""
    assert explain(errors.DeadlockDetected("deadlock detected"), "the database") is None
