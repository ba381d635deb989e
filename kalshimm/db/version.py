"""Whether database and code are of one version: whoever works on the tables looks before it starts (D13)."""

from __future__ import annotations

import logging

from django.db import OperationalError, connection
from django.db.migrations.loader import MigrationLoader

from kalshimm.errors import SchemaMismatch

logger = logging.getLogger(__name__)


def require_known() -> None:
    """Refuse a database that a newer version has migrated; see `require_schema`."""
    loader = _loader()
    if loader is not None:
        _refuse_newer(loader)


def require_schema() -> None:
    """Refuse a database that is not of exactly this version.

    A database that does not answer says nothing: whoever needs it waits for it.

    Raises:
        SchemaMismatch: It was migrated by a newer version, or not yet by this one; the message names the migration.
    """
    loader = _loader()
    if loader is None:
        return
    _refuse_newer(loader)
    older = [name for name in loader.graph.nodes if name not in loader.applied_migrations]
    if older:
        raise SchemaMismatch(_named(min(older)), is_newer=False)


def _refuse_newer(loader: MigrationLoader) -> None:
    # What an app that is not installed any more has left behind is nobody's business.
    known = loader.disk_migrations.keys() | {name for m in loader.disk_migrations.values() for name in m.replaces}
    newer = sorted(name for name in loader.applied_migrations if name not in known and name[0] in loader.migrated_apps)
    if newer:
        raise SchemaMismatch(_named(newer[0]), is_newer=True)


def _loader() -> MigrationLoader | None:
    try:
        return MigrationLoader(connection)
    except OperationalError as exc:
        logger.warning("the database's version cannot be read: %s", exc, extra={"action": "schema_unread"})
        return None
    finally:
        connection.close()  # the commands that follow hold connections of their own


def _named(name: tuple[str, str]) -> str:
    return ".".join(name)
