"""History into files that others read: CSV and Parquet, in parts, resumable.

    OUT/export.json          the request and the parts that are whole
    OUT/deltas-00001.csv     rows 1 to 1,000,000 in the order of their key
    OUT/deltas-00002.csv     …

A part is written under another name, renamed when it is whole, then noted in the manifest. Whoever is killed at any
instruction leaves whole parts only; the same request on the same folder goes on behind the last of them and ends with
the same bytes as a run that was never interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
from django.db import ProgrammingError, connection, transaction
from psycopg.errors import UndefinedTable

from kalshimm.errors import ConfigurationError, HomeNotWritable, KalshimmError
from kalshimm.runtime.locks import exclusive
from markets.exportkinds import ESCAPED, KINDS, Column, ExportKind
from markets.rows import EPOCH, Row, every, one

MANIFEST, LOCK = "export.json", ".export.lock"
VERSION = 1
ROWS_A_PART = 1_000_000
BETWEEN = ".between"  # CSV on its way to Parquet

TAPE = "kmm:tape:0"
# The newest entry that is stored, by the time in its id, or what the writer notes while nothing comes.
STORED_UNTIL = """
SELECT max(time) FROM (
    SELECT timestamptz 'epoch' + split_part(entry_id, '-', 1)::bigint * interval '1 ms' AS time
    FROM feed_watermark WHERE stream = %(tape)s
    UNION ALL SELECT stored_until FROM feed_connection
) known
"""

Format = Literal["csv", "parquet"]
Progress = Callable[[str, int, float], None]


class Request(msgspec.Struct, frozen=True):
    """What to export. `markets` None is all of them; `since` None is the beginning of history."""

    kinds: tuple[str, ...]
    markets: tuple[str, ...] | None
    since: datetime | None
    until: datetime
    format: Format
    rows_a_part: int = ROWS_A_PART


class Part(msgspec.Struct, frozen=True):
    """A whole part; `last` is the key of its last row, as PostgreSQL writes it."""

    kind: str
    file: str
    rows: int
    last: tuple[str, ...]
    is_last: bool


class Manifest(msgspec.Struct, frozen=True):
    """What a folder was asked for, and what of it is there."""

    version: int
    request: Request
    parts: tuple[Part, ...] = ()

    def of(self, kind: str) -> tuple[Part, ...]:
        return tuple(part for part in self.parts if part.kind == kind)

    def is_complete(self, kind: str) -> bool:
        return any(part.is_last for part in self.of(kind))


def run(request: Request, out: Path, *, progress: Progress) -> Manifest:
    """Export into the folder `out`, going on where an earlier run of the same request stopped.

    Args:
        progress: Told the kind, its rows so far and how much of its range they cover (0 to 1).

    Raises:
        KalshimmError: The folder holds another export, or cannot be written.
        AlreadyRunning: Another run is writing into the folder.
        ConfigurationError: History knows none of the markets of that name.
    """
    values = _selection(request)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with exclusive(out / LOCK, what=f"An export into {out}"):
            return _export(request, out, values, progress)
    except ProgrammingError as exc:
        if not isinstance(exc.__cause__, UndefinedTable):
            raise
        raise KalshimmError("There are no views of candles and spreads; `manage.py storage` makes them.") from exc
    except HomeNotWritable as exc:
        raise KalshimmError(f"{out} cannot be written; choose another folder with --out.") from exc
    except OSError as exc:
        raise KalshimmError(f"{out} cannot be written ({exc.strerror}); choose another folder with --out.") from exc


def _export(request: Request, out: Path, values: dict[str, Any], progress: Progress) -> Manifest:
    manifest = open_folder(request, out)
    for kind in request.kinds:
        while not manifest.is_complete(kind):
            manifest = _with_next_part(manifest, kind, out, values, progress)
            _replace(out / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")
    return manifest


def open_folder(request: Request, out: Path) -> Manifest:
    """Return the manifest of `out`, a new one where there is none.

    Raises:
        KalshimmError: It is of another request, or not readable.
    """
    path = out / MANIFEST
    if not path.exists():
        return Manifest(VERSION, request)
    found = read_manifest(out)
    if found.request != request:
        raise KalshimmError(f"{path} belongs to another export; give --out another folder, or delete this one.")
    return found


def read_manifest(out: Path) -> Manifest:
    """Return the manifest of `out`. Raises KalshimmError when it cannot be understood."""
    path = out / MANIFEST
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except msgspec.MsgspecError as exc:
        raise KalshimmError(f"{path} is no manifest of an export ({exc}); delete the folder and begin anew.") from exc
    if found.version != VERSION:
        raise KalshimmError(f"{path} is of version {found.version}, expected {VERSION}; give --out another folder.")
    return found


def stored_until() -> datetime | None:
    """Return up to when what happened is stored, as far as the writer has come; None where none ever wrote."""
    row = one(STORED_UNTIL, {"tape": TAPE})
    return row[0] if row else None


def known_markets(tickers: Iterable[str]) -> tuple[str, ...]:
    """Return those of `tickers` that history knows, sorted."""
    return tuple(sorted(_numbers(tickers)))


def _numbers(tickers: Iterable[str]) -> dict[str, int]:
    return dict(every("SELECT ticker, id FROM markets_marketkey WHERE ticker = ANY(%s)", (list(tickers),)))


def _selection(request: Request) -> dict[str, Any]:
    """Return the values that select the markets, none for all of them."""
    if request.markets is None:
        return {}
    found = _numbers(request.markets)
    if unknown := sorted(set(request.markets) - found.keys()):
        raise ConfigurationError("--market", f"history knows no market {', '.join(unknown)}")
    return {"markets": sorted(found.values()), "tickers": sorted(found)}


def _with_next_part(manifest: Manifest, name: str, out: Path, values: dict[str, Any], progress: Progress) -> Manifest:
    """Write the next part of one kind, from one moment's view of the table."""
    request, kind, done = manifest.request, KINDS[name], manifest.of(name)
    since = request.since or _beginning(kind)
    file = f"{name}-{len(done) + 1:05d}.{request.format}"
    before = sum(part.rows for part in done)
    share = _share(done, since, request.until)
    with transaction.atomic():
        connection.cursor().execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        span = _span(kind, request, since, done, values)
        with _whole_or_not(out / file) as path:
            rows = _write(kind, request.format, span, path, lambda rows: progress(name, before + rows, share))
    part = Part(name, file, rows, span.last, span.is_end)
    progress(name, before + rows, _share((part,), since, request.until))
    return msgspec.structs.replace(manifest, parts=(*manifest.parts, part))


class _Span(msgspec.Struct, frozen=True):
    """The rows of one part: a condition with its values, the key of its last row, and whether none follow."""

    condition: str
    values: dict[str, Any]
    last: tuple[str, ...]
    is_end: bool


def _span(kind: ExportKind, request: Request, since: datetime, done: tuple[Part, ...], values: dict[str, Any]) -> _Span:
    key = ", ".join(kind.key)
    condition = "time >= %(since)s AND time < %(until)s" + (f" AND {kind.of_markets}" if values else "")
    values = values | {"since": since, "until": request.until, "rows": request.rows_a_part - 1}
    if done:
        condition += f" AND ({key}) > ({_key(kind, 'after')})"
        values |= {f"after_{number}": text for number, text in enumerate(done[-1].last)}
    as_text = ", ".join(f"{column}::text" for column in kind.key)
    statement = f"SELECT {as_text} FROM {kind.table} WHERE {condition} ORDER BY {key} OFFSET %(rows)s LIMIT 2"  # noqa: S608
    found = every(statement, values)
    if len(found) < 2:
        return _Span(condition, values, (), is_end=True)
    values |= {f"last_{number}": text for number, text in enumerate(found[0])}
    return _Span(f"{condition} AND ({key}) <= ({_key(kind, 'last')})", values, found[0], is_end=False)


def _key(kind: ExportKind, prefix: str) -> str:
    return ", ".join(f"%({prefix}_{number})s::{type_}" for number, type_ in enumerate(kind.key_types))


def _write(kind: ExportKind, form: Format, span: _Span, path: Path, tell: Callable[[int], None]) -> int:
    """Write a part and return how many rows it has."""
    if form == "csv":
        return _copy(kind, span, path, tell, is_escaped=True)
    between = path.with_suffix(BETWEEN)
    rows = _copy(kind, span, between, tell, is_escaped=False)
    _to_parquet(kind, between, path)
    return rows


def _copy(kind: ExportKind, span: _Span, path: Path, tell: Callable[[int], None], *, is_escaped: bool) -> int:
    """Let the server write CSV into `path`; return how many rows."""
    columns = ", ".join(f"{_expression(column, is_escaped=is_escaped)} AS {column.name}" for column in kind.columns)
    # By the table's columns: a bare name would be the exported column, which is text.
    order = ", ".join(f"{kind.table}.{name}" for name in kind.key)
    select = f"SELECT {columns} FROM {kind.table} WHERE {span.condition} ORDER BY {order}"  # noqa: S608
    lines = 0
    with connection.cursor() as cursor, path.open("wb") as file:
        with cursor.copy(f"COPY ({select}) TO STDOUT (FORMAT csv, HEADER)", span.values) as copy:
            for block in copy:
                file.write(block)
                lines += bytes(block).count(b"\n")
                tell(lines)
        return int(cursor.rowcount)


def _expression(column: Column, *, is_escaped: bool) -> str:
    return ESCAPED.format(column.sql) if column.is_text and is_escaped else column.sql


def _to_parquet(kind: ExportKind, csv: Path, path: Path) -> None:
    """Turn CSV into Parquet, typed column by column; one thread, so that the same rows give the same bytes."""
    import duckdb  # a moment to load, and only here

    types = {column.name: column.type for column in kind.columns}
    config: dict[str, str | bool | int | float | list[str]] = {
        "threads": "1",
        "autoinstall_known_extensions": "false",
        "TimeZone": "UTC",
    }
    with duckdb.connect(":memory:", config=config) as database:
        database.execute(
            f"COPY (SELECT * FROM read_csv($csv, header = true, auto_detect = false, columns = {types}, delim = ',', "  # noqa: S608
            "quote = '\"', escape = '\"', nullstr = '', allow_quoted_nulls = false, max_line_size = 16777216)) "
            "TO $path (FORMAT parquet, COMPRESSION zstd)",
            {"csv": str(csv), "path": str(path)},
        )


@contextmanager
def _whole_or_not(path: Path) -> Iterator[Path]:
    """Give the name to write under; what was written gets its own name when it is whole, and goes when it is not."""
    writing = path.with_name(f".{path.name}.writing")
    try:
        yield writing
        _sync(writing)
        writing.replace(path)
    finally:
        writing.unlink(missing_ok=True)
        writing.with_suffix(BETWEEN).unlink(missing_ok=True)


def _replace(path: Path, content: bytes) -> None:
    with _whole_or_not(path) as writing:
        writing.write_bytes(content)


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _beginning(kind: ExportKind) -> datetime:
    row: Row | None = one(f"SELECT time FROM {kind.table} ORDER BY time LIMIT 1", ())  # noqa: S608
    return row[0] if row else EPOCH


def _share(done: tuple[Part, ...], since: datetime, until: datetime) -> float:
    """Return how much of the range the parts cover, by the times of their last rows."""
    if not done or until <= since:
        return 0.0
    if done[-1].is_last:
        return 1.0
    return min(1.0, (datetime.fromisoformat(done[-1].last[0]) - since) / (until - since))
