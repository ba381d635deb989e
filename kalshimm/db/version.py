"""Whether database and code are of one version: whoever works on the tables looks before it starts (D13)."""

from __future__ import annotations

import logging
from collections.abc import Set
from functools import cache

from django.db import OperationalError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from psycopg.errors import UndefinedTable

from kalshimm.errors import SchemaMismatch
from kalshimm.runtime.database import AsyncConnection

logger = logging.getLogger(__name__)

APPLIED = "SELECT app, name FROM django_migrations"

Name = tuple[str, str]  # app, migration


def require_known() -> None:
    """Refuse a database that a newer version has migrated; see `require_schema`."""
    applied = _applied()
    if applied is not None:
        _refuse_newer(applied)


def require_schema() -> None:
    """Refuse a database that is not of exactly this version.

    A database that does not answer says nothing: whoever needs it waits for it, and looks then.

    Raises:
        SchemaMismatch: It was migrated by a newer version, or not yet by this one; the message names the migration.
    """
    applied = _applied()
    if applied is not None:
        _refuse_other(applied)


async def require_schema_of(database: AsyncConnection) -> None:
    """Do the same over a worker's own connection: what comes back after a while may be another database."""
    try:
        rows = await (await database.execute(APPLIED)).fetchall()
    except UndefinedTable:
        rows = []
    _refuse_other({(app, name) for app, name in rows})


def _refuse_other(applied: Set[Name]) -> None:
    _refuse_newer(applied)
    nodes = _code().graph.nodes
    older = [name for name in nodes if name not in applied and not _stands_for(nodes[name].replaces, applied)]
    if older:
        raise SchemaMismatch(_named(min(older)), is_newer=False)


def _refuse_newer(applied: Set[Name]) -> None:
    # What an app that is not installed any more has left behind is nobody's business.
    code = _code()
    known = code.disk_migrations.keys() | {name for m in code.disk_migrations.values() for name in m.replaces}
    newer = sorted(name for name in applied if name not in known and name[0] in code.migrated_apps)
    if newer:
        raise SchemaMismatch(_named(newer[0]), is_newer=True)


def _stands_for(replaced: list[Name], applied: Set[Name]) -> bool:
    return bool(replaced) and applied >= set(replaced)


@cache
def _code() -> MigrationLoader:
    """Return what this version's code knows of migrations."""
    return MigrationLoader(None)


def _applied() -> Set[Name] | None:
    try:
        return set(MigrationRecorder(connection).applied_migrations())
    except OperationalError as exc:
        logger.warning("the database's version cannot be read: %s", exc, extra={"action": "schema_unread"})
        return None
    finally:
        connection.close()  # the commands that follow hold connections of their own


def _named(name: Name) -> str:
    return ".".join(name)
