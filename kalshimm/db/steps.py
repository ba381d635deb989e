"""What has to be done so that a database becomes as planned: a comparison of two values, without a database.

actual = <what the server says of itself>        kalshimm.db.storage reads it
for step in timescale_steps(wanted, actual): …   in this order; none when everything is as it should be
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from datetime import timedelta

import msgspec
from psycopg import sql

from kalshimm.db.plan import Aggregate, HistoryTable

COLUMNSTORE_AFTER = timedelta(days=1)
REFRESH_EVERY = timedelta(minutes=5)
REFRESH_UP_TO = timedelta(minutes=2)  # rows younger than this may still be joined by others: computed when asked for

COLUMNSTORE, RETENTION, REFRESH = "policy_compression", "policy_retention", "policy_refresh_continuous_aggregate"


class Step(msgspec.Struct, frozen=True):
    """One change of a table or view: `words` say what was done, `statements` do it."""

    subject: str
    words: str
    statements: tuple[sql.Composed, ...]


class Policy(msgspec.Struct, frozen=True):
    """A background job of TimescaleDB.

    Attributes:
        after: Age from which it packs or drops; for a refresh the age up to which it looks, None for any.
        until: Age below which a refresh does not look.
        every: How often a refresh runs.
        batch: How many buckets a refresh computes in one transaction.
    """

    after: timedelta | None
    until: timedelta | None = None
    every: timedelta | None = None
    batch: int | None = None


Policies = Mapping[tuple[str, str], Policy]  # by table or view, and kind


class Wanted(msgspec.Struct, frozen=True):
    """The plan, with retention in days by name and the chunk width of each table."""

    tables: tuple[HistoryTable, ...]
    aggregates: tuple[Aggregate, ...]
    retention_days: Mapping[str, int]
    chunks: Mapping[str, timedelta]

    def keeps(self, kept: str) -> timedelta | None:
        """Return how long rows are kept; None is for ever."""
        days = self.retention_days[kept]
        return timedelta(days=days) if days else None


class Actual(msgspec.Struct, frozen=True):
    """What a server holds.

    Attributes:
        chunks: Width of new chunks by hypertable.
        columnstores: (segment by, order by) by table.
        aggregates: Mark of the definition by continuous aggregate, "" where it bears none.
        views: The same of ordinary views.
        indexes: Names of those that help ordinary views.
    """

    chunks: Mapping[str, timedelta] = {}
    columnstores: Mapping[str, tuple[str, str]] = {}
    policies: Policies = {}
    aggregates: Mapping[str, str] = {}
    views: Mapping[str, str] = {}
    indexes: Set[str] = frozenset()


def plain_steps(wanted: Wanted, actual: Actual) -> Iterator[Step]:
    """Yield what makes the views of a plain PostgreSQL, and indexes for them; its tables are as migrated."""
    for view in wanted.aggregates:
        found = actual.views.get(view.name)
        if found != view.mark:
            made = _compose("CREATE VIEW {name} AS " + view.select, name=sql.Identifier(view.name))
            words = "made a view" if found is None else "made anew: its definition had changed"
            yield Step(view.name, words, (*_dropped(view, found), made, _marked(view)))
        if view.index not in actual.indexes:
            indexed = _compose(
                "CREATE INDEX {index} ON {source} (" + view.things + ", time_bucket({width}, time))",
                index=sql.Identifier(view.index),
                source=sql.Identifier(view.source),
                width=sql.Literal(view.width),
            )
            yield Step(view.source, f"indexed by {view.things} and {view.width}", (indexed,))


def _dropped(view: Aggregate, found: str | None) -> tuple[sql.Composed, ...]:
    return () if found is None else (_compose("DROP VIEW {name}", name=sql.Identifier(view.name)),)


def timescale_steps(wanted: Wanted, actual: Actual, *, rebuild: bool) -> Iterator[Step]:
    """Yield what makes hypertables, columnstore, retention and continuous aggregates.

    Args:
        rebuild: Whether an aggregate whose definition has changed is computed anew, from the rows still kept.
    """
    for table in wanted.tables:
        yield from _chunks(table, wanted.chunks[table.name], actual.chunks.get(table.name))
        yield from _columnstore(table, actual)
    for view in wanted.aggregates:
        made = list(_aggregate(view, actual, rebuild=rebuild))
        policies = {} if made else actual.policies  # they go with the view they belong to
        yield from made
        yield from _refresh(view, wanted.keeps(source_of(wanted, view).kept), policies)
        yield from _retention(view.name, wanted.keeps(view.kept), policies)
    for table in wanted.tables:  # behind the refreshes, which must not look for rows that are dropped sooner now
        yield from _retention(table.name, wanted.keeps(table.kept), actual.policies)


def outdated(wanted: Wanted, actual: Actual) -> list[str]:
    """Return the continuous aggregates whose definition has changed: only `rebuild` computes them anew."""
    return [view.name for view in wanted.aggregates if actual.aggregates.get(view.name, view.mark) != view.mark]


def source_of(wanted: Wanted, view: Aggregate) -> HistoryTable:
    (source,) = (table for table in wanted.tables if table.name == view.source)
    return source


def _chunks(table: HistoryTable, width: timedelta, found: timedelta | None) -> Iterator[Step]:
    names = {"table": sql.Literal(table.name), "width": _interval(width)}
    if found is None:
        # Every key begins with the time: TimescaleDB's own index on it would only cost space and speed.
        made = (
            "SELECT create_hypertable({table}, by_range('time', {width}), migrate_data => true, "
            "create_default_indexes => false)"
        )
        yield Step(table.name, f"made a hypertable of {_said(width)}", (_compose(made, **names),))
    elif found != width:
        changed = _compose("SELECT set_chunk_time_interval({table}, {width})", **names)
        yield Step(table.name, f"new chunks hold {_said(width)}, not {_said(found)}", (changed,))


def _columnstore(table: HistoryTable, actual: Actual) -> Iterator[Step]:
    if actual.columnstores.get(table.name) != (table.segment_by, table.order_by):
        settings = _compose(
            "ALTER TABLE {table} SET (timescaledb.enable_columnstore, timescaledb.segmentby = {segment_by}, "
            "timescaledb.orderby = {order_by})",
            table=sql.Identifier(table.name),
            segment_by=sql.Literal(table.segment_by),
            order_by=sql.Literal(table.order_by),
        )
        yield Step(table.name, f"columnstore by {table.segment_by}, in order of {table.order_by}", (settings,))
    wanted, found = Policy(COLUMNSTORE_AFTER), actual.policies.get((table.name, COLUMNSTORE))
    if found != wanted:
        yield Step(
            table.name,
            f"columnstore after {_said(COLUMNSTORE_AFTER)}",
            (
                _compose("CALL remove_columnstore_policy({table}, if_exists => true)", table=sql.Literal(table.name)),
                _compose(
                    "CALL add_columnstore_policy({table}, after => {after})",
                    table=sql.Literal(table.name),
                    after=_interval(COLUMNSTORE_AFTER),
                ),
            ),
        )


def _retention(name: str, keeps: timedelta | None, policies: Policies) -> Iterator[Step]:
    found = policies.get((name, RETENTION))
    if found == (None if keeps is None else Policy(keeps)):
        return
    statements = [_compose("SELECT remove_retention_policy({name}, if_exists => true)", name=sql.Literal(name))]
    if keeps is not None:
        add = "SELECT add_retention_policy({name}, drop_after => {after})"
        statements.append(_compose(add, name=sql.Literal(name), after=_interval(keeps)))
    yield Step(name, "kept for ever" if keeps is None else f"kept {_said(keeps)}", tuple(statements))


def _aggregate(view: Aggregate, actual: Actual, *, rebuild: bool) -> Iterator[Step]:
    found = actual.aggregates.get(view.name)
    if found == view.mark or (found is not None and not rebuild):
        return
    name = sql.Identifier(view.name)
    before = () if found is None else (_compose("DROP MATERIALIZED VIEW {name}", name=name),)
    create = (
        "CREATE MATERIALIZED VIEW {name} "
        "WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS " + view.select + " WITH NO DATA"
    )
    words = (
        f"made a continuous aggregate by {view.width}" if found is None else "computed anew from the rows still kept"
    )
    # Made by this command on plain PostgreSQL, of the same rows: nothing is lost with it.
    plain = _dropped(view, actual.views.get(view.name))
    yield Step(view.name, words, (*before, *plain, _compose(create, name=name), _marked(view)))


def _refresh(view: Aggregate, source_keeps: timedelta | None, policies: Policies) -> Iterator[Step]:
    """Let rows come late by as much as the source was ever kept since the aggregate was made.

    Past that the aggregate holds what no row shows any more, and a refresh would empty it: where the source is kept
    longer from now on, what was dropped before does not come back. Only an aggregate made anew looks further.
    """
    found = policies.get((view.name, REFRESH))
    bounds = [source_keeps] if found is None else [source_keeps, found.after]
    looks_back = min((bound for bound in bounds if bound is not None), default=None)
    wanted = Policy(looks_back, REFRESH_UP_TO, REFRESH_EVERY, view.batch)
    if found == wanted:
        return
    remove = "SELECT remove_continuous_aggregate_policy({name}, if_exists => true)"
    add = (
        "SELECT add_continuous_aggregate_policy({name}, start_offset => {start}, end_offset => {end}, "
        "schedule_interval => {every}, buckets_per_batch => {batch})"
    )
    start = sql.SQL("NULL") if looks_back is None else _interval(looks_back)
    yield Step(
        view.name,
        f"refreshed each {_said(REFRESH_EVERY)}",
        (
            _compose(remove, name=sql.Literal(view.name)),
            _compose(
                add,
                name=sql.Literal(view.name),
                start=start,
                end=_interval(REFRESH_UP_TO),
                every=_interval(REFRESH_EVERY),
                batch=sql.Literal(view.batch),
            ),
        ),
    )


def _marked(view: Aggregate) -> sql.Composed:
    return _compose("COMMENT ON VIEW {name} IS {mark}", name=sql.Identifier(view.name), mark=sql.Literal(view.mark))


def _interval(width: timedelta) -> sql.Composable:
    return sql.Composed([sql.SQL("INTERVAL "), sql.Literal(_said(width))])


def _said(width: timedelta) -> str:
    for seconds, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        count, rest = divmod(int(width.total_seconds()), seconds)
        if count and not rest:
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return str(width)


def _compose(statement: str, **parts: sql.Composable) -> sql.Composed:
    # The texts are this module's and the plan's own constants; everything variable is a part.
    return sql.SQL(statement).format(**parts)
