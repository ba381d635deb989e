"""What keeps the writer from storing: which errors are a store's and pass, which an entry's and stay; and what to say.

a store's     wait, connect anew, go on from the watermark: nothing is lost, the streams hold it
an entry's    no table takes it, however often: found by halving, set aside with the reason; but where nothing fits,
              it is not the entries: that is a store's, too
anything else ends the writer: a schema of another version, a bug
"""

from __future__ import annotations

import struct

import msgspec
import psycopg
from psycopg import errors
from redis.exceptions import RedisError

from kalshimm.errors import NotReachable


class StoreBeganAnew(Exception):
    """The store's generation is another than the reader's: what the streams hold now is of a new store."""


class NothingFits(Exception):
    """So many entries in a row cannot be stored that it is not they that are wrong."""

    def __init__(self, entries: int, problem: str) -> None:
        super().__init__(f"{entries} entries in a row cannot be stored, the last one: {problem}")


# InternalError: a database that takes no writes, a transaction broken off. NotSupportedError: a statement prepared
# before a table was changed; no value brings it about. InsufficientPrivilege: a right that was taken away, or a file
# that the database itself may not open; entries have no rights.
STORES = (
    RedisError, psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError, psycopg.NotSupportedError,
    errors.InsufficientPrivilege, NotReachable, OSError, StoreBeganAnew, NothingFits,
)  # fmt: skip
# RecursionError: something nested too deeply to be read, or written as JSON.
ENTRIES = (
    msgspec.MsgspecError, psycopg.DataError, psycopg.IntegrityError, struct.error, OverflowError, ValueError, TypeError,
    LookupError, RecursionError,
)  # fmt: skip


DATABASE_AWAY, REDIS_AWAY = "DATABASE_AWAY", "REDIS_AWAY"


class Trouble(msgspec.Struct, frozen=True):
    """What is wrong: the alert's name, and a sentence for the operator."""

    alert: str
    sentence: str

    @property
    def ends_with_a_connection(self) -> bool:
        """Whether it is over as soon as both stores answer; others are over with the next commit."""
        return self.alert in (DATABASE_AWAY, REDIS_AWAY)


def explain(exc: BaseException, database: str) -> Trouble | None:
    """Return what a store's error means; None where it needs no alarm.

    Args:
        database: Where the database is, in words.
    """
    why = " ".join(str(exc).split()).rstrip(".")
    match exc:
        case StoreBeganAnew() | errors.DeadlockDetected():  # two streams meet in a row: one of them goes again, at once
            return None
        case NothingFits():
            sentence = (
                f"{why}; nothing is set aside any more: are {database} (manage.py migrate), the writer and those who "
                "write to the stream of one version? Entries that are broken have to be taken off it with XTRIM"
            )
            return Trouble("NOTHING_FITS", sentence)
        case errors.DiskFull():
            return Trouble("DATABASE_FULL", f"the disk of {database} is full ({why}): free space there")
        case errors.ReadOnlySqlTransaction():
            sentence = f"{database} takes no writes ({why}): is it a standby, or default_transaction_read_only on?"
            return Trouble("DATABASE_READ_ONLY", sentence)
        case errors.InsufficientPrivilege():
            sentence = f"{database} lets the writer write no more ({why}): give it its rights back"
            return Trouble("DATABASE_REFUSES", sentence)
        case errors.LockNotAvailable() | errors.QueryCanceled():
            sentence = f"{database} makes the writer wait too long ({why}): who holds the lock, or what is so slow?"
            return Trouble("DATABASE_LOCKED", sentence)
        case RedisError():
            return Trouble(REDIS_AWAY, f"Redis does not serve ({why})")
        case _:
            return Trouble(DATABASE_AWAY, f"{database} does not serve ({why})")
