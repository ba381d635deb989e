"""The writer against a real PostgreSQL and a real Valkey."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import psycopg
import pytest
import redis
from msgspec.structs import replace

from feed import schema
from feed.sinks.account import AccountSink
from feed.sinks.base import Sink
from feed.sinks.journal import JournalSink
from feed.sinks.log import LogSink
from feed.sinks.tape import TapeBatch, TapeSink
from feed.writer import StreamWriter, stream
from feed.writer.reading import ENTRIES_A_CHUNK
from feed.writer.stream import POISON_IN_A_ROW
from kalshimm.db.version import require_schema_of
from kalshimm.errors import SchemaMismatch, StoreSilent
from kalshimm.runtime import database
from kalshimm.runtime.clock import ManualClock, SystemClock
from kalshimm.runtime.heartbeat import Pulse
from kalshimm.runtime.logs import LOG_STREAM, LOG_VERSION, LogEntry
from tests.integration.feed.writerbench import BEFORE, CONN, Bench, a_delta, a_line, an_order, publish


@pytest.fixture
async def bench(redis_client: redis.Redis, redis_url: str, database_url: str) -> AsyncIterator[Bench]:
    bench = Bench(redis_url, database_url)
    yield bench
    await bench.client.aclose()


async def test_it_stores_every_kind_of_row(bench: Bench, redis_client: redis.Redis) -> None:
    head = (BEFORE, schema.TimeSource.EXCHANGE, "M-1")
    publish(
        redis_client,
        [
            a_delta(2),
            schema.SnapshotRow(*head, 1, [(4_200, 2_000), (4_100, 5)], []),
            schema.TickerRow(*head, 99, 4_200, 4_100, None, 5, None, None, 700, None),
            schema.TradeRow(*head, "t-1", 4_200, 1_200, 1, False),
            schema.GapRow(*head, "sequence gap", 1, 3, 9),
            schema.MalformedRow(*head, "no price", b"\x00{"),
        ],
    )
    writer = await bench.drain(TapeSink(schema.TAPE))
    assert writer.stored == {"deltas": 1, "snapshots": 1, "tickers": 1, "trades": 1, "gaps": 1, "malformed": 1}
    assert await bench.rows("SELECT yes_price_cc, yes_count_cx, no_price_cc FROM markets_book_snapshot") == [
        ([4_200, 4_100], [2_000, 5], [])
    ]
    assert await bench.rows("SELECT yes_bid_cc, yes_ask_cc, volume_cx FROM markets_ticker") == [(4_100, None, 700)]
    joined = "SELECT ticker, identity FROM markets_book_delta d JOIN markets_marketkey m ON m.id = d.market"
    assert await bench.rows(f"{joined} JOIN feed_connection c ON c.id = d.conn") == [("M-1", CONN)]


async def test_D14_the_same_rows_again_add_nothing(bench: Bench, redis_client: redis.Redis) -> None:
    publish(redis_client, [a_delta(n) for n in range(1, 121)])
    await bench.drain(TapeSink(schema.TAPE))
    publish(redis_client, [a_delta(n) for n in range(61, 181)])
    writer = await bench.drain(TapeSink(schema.TAPE))
    assert writer.stored["deltas"] == 60
    assert await bench.count("markets_book_delta") == 180


async def test_it_goes_on_from_its_watermark_and_trims_what_is_stored(bench: Bench, redis_client: redis.Redis) -> None:
    publish(redis_client, [a_delta(1)])
    first = await bench.drain(TapeSink(schema.TAPE))
    assert redis_client.xlen(schema.TAPE) == 0
    publish(redis_client, [a_delta(2)])
    second = await bench.drain(TapeSink(schema.TAPE))
    assert second.stored["deltas"] == 1
    assert second.watermark > first.watermark


class Failing(TapeSink):
    """Stores its rows, then fails before the transaction can commit."""

    def batch(self, connection: Any) -> TapeBatch:
        return FailingBatch(self, connection)


class FailingBatch(TapeBatch):
    async def finish(self) -> Any:
        await super().finish()
        raise RuntimeError("killed before the commit")


async def test_A12_a_batch_that_is_not_committed_is_read_again(bench: Bench, redis_client: redis.Redis) -> None:
    publish(redis_client, [a_delta(n) for n in range(1, 11)])
    with pytest.raises(RuntimeError, match="killed"):
        await bench.drain(Failing(schema.TAPE))
    assert await bench.count("markets_book_delta") == 0
    assert await bench.count("feed_watermark") == 0
    await bench.drain(TapeSink(schema.TAPE))
    assert await bench.count("markets_book_delta") == 10


async def test_D2_a_store_that_began_anew_is_read_from_its_start_with_a_gap_row(
    bench: Bench, redis_client: redis.Redis
) -> None:
    publish(redis_client, [a_delta(1)])
    entries = redis_client.xrange(schema.TAPE)
    await bench.drain(TapeSink(schema.TAPE))
    ((last_id, _),) = entries
    redis_client.flushall()
    # In the new store ids begin again, below the old watermark.
    entry = schema.encode(schema.TapeEntry(schema.VERSION, CONN, [a_delta(2)]))
    redis_client.xadd(schema.TAPE, {schema.FIELD: entry}, id="1-1")
    await bench.drain(TapeSink(schema.TAPE))
    assert await bench.count("markets_book_delta") == 2
    (gap,) = await gaps_and_their_ms(bench)
    assert "began anew" in gap[0]
    assert gap[1] == ms(last_id), "what was lost followed the last entry that was stored"


async def test_D2_a_new_store_is_told_once_however_often_a_writer_begins_before_anything_comes(
    bench: Bench, redis_client: redis.Redis
) -> None:
    publish(redis_client, [a_delta(1)])
    await bench.drain(TapeSink(schema.TAPE))
    redis_client.flushall()
    for _ in range(3):
        await bench.drain(TapeSink(schema.TAPE))
    assert await bench.count("feed_feedgap") == 1
    publish(redis_client, [a_delta(2)])
    redis_client.delete(schema.TAPE)
    await bench.drain(TapeSink(schema.TAPE))
    assert await bench.count("feed_feedgap") == 1, "of a stream that was never read"


def ms(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[0])


async def gaps_and_their_ms(bench: Bench) -> list[tuple[str, int]]:
    """Return (reason, milliseconds since 1970) of each gap row."""
    milliseconds = "floor(extract(epoch FROM time) * 1000)::bigint"
    return await bench.rows(f"SELECT reason, {milliseconds} FROM feed_feedgap ORDER BY id")  # type: ignore[return-value]


async def test_D6_what_was_trimmed_before_it_was_read_becomes_a_gap_row_with_an_alarm(
    bench: Bench, redis_client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    publish(redis_client, [a_delta(1)])
    ((last_id, _),) = redis_client.xrange(schema.TAPE)
    await bench.drain(TapeSink(schema.TAPE))
    for seq in range(2, 12):
        publish(redis_client, [a_delta(seq)])
    redis_client.xtrim(schema.TAPE, maxlen=3, approximate=False)
    await bench.drain(TapeSink(schema.TAPE))
    assert await bench.count("markets_book_delta") == 4
    gaps = "SELECT reason, expected, received FROM feed_feedgap"
    assert await bench.rows(gaps) == [("kmm:tape:0: 7 entries were trimmed before they were stored", 2, 9)]
    assert [time for _, time in await gaps_and_their_ms(bench)] == [ms(last_id)], "where it begins, not where it ends"
    assert "STREAM_HOLE" in [getattr(record, "alert", "") for record in caplog.records]


async def test_D6_a_hole_with_nothing_behind_it_is_noted_once(bench: Bench, redis_client: redis.Redis) -> None:
    publish(redis_client, [a_delta(1)])
    await bench.drain(TapeSink(schema.TAPE))
    publish(redis_client, [a_delta(2)])
    redis_client.xtrim(schema.TAPE, maxlen=0, approximate=False)
    for _ in range(2):
        await bench.drain(TapeSink(schema.TAPE))
    assert await bench.rows("SELECT expected, received FROM feed_feedgap") == [(2, 3)]
    publish(redis_client, [a_delta(3)])
    await bench.drain(TapeSink(schema.TAPE))
    assert await bench.count("feed_feedgap") == 1


async def test_D6_a_stream_that_was_deleted_is_read_from_its_new_start_with_a_gap_row(
    bench: Bench, redis_client: redis.Redis
) -> None:
    publish(redis_client, [a_delta(1)])
    publish(redis_client, [a_delta(2)])
    await bench.drain(TapeSink(schema.TAPE))
    redis_client.delete(schema.TAPE)
    for _ in range(2):
        await bench.drain(TapeSink(schema.TAPE))
    assert await bench.count("feed_feedgap") == 1, "told once"
    entry = schema.encode(schema.TapeEntry(schema.VERSION, CONN, [a_delta(3)]))
    redis_client.xadd(schema.TAPE, {schema.FIELD: entry}, id="1-1")
    await bench.drain(TapeSink(schema.TAPE))
    assert await bench.count("feed_feedgap") == 1
    assert await bench.count("markets_book_delta") == 3
    assert "was deleted" in (await bench.rows("SELECT reason FROM feed_feedgap"))[0][0]


async def test_A12_what_a_writer_left_untrimmed_is_taken_off_and_not_stored_again(
    bench: Bench, redis_client: redis.Redis
) -> None:
    publish(redis_client, [a_delta(1)])
    entries = redis_client.xrange(schema.TAPE)
    await bench.drain(TapeSink(schema.TAPE))
    redis_client.delete(schema.TAPE)
    for entry_id, fields in entries:  # as if it had died between commit and trim
        redis_client.xadd(schema.TAPE, fields, id=entry_id)
    publish(redis_client, [a_delta(2)])
    writer = await bench.drain(TapeSink(schema.TAPE))
    assert writer.stored == {"deltas": 1}
    assert redis_client.xlen(schema.TAPE) == 0
    assert await bench.count("feed_feedgap") == 0


async def test_D7_an_entry_nobody_can_read_is_set_aside_and_the_stream_goes_on(
    bench: Bench, redis_client: redis.Redis
) -> None:
    publish(redis_client, [a_delta(1)])
    redis_client.xadd(schema.TAPE, {schema.FIELD: b"\xc1 poison"})
    redis_client.xadd(schema.TAPE, {schema.FIELD: schema.encode(schema.TapeEntry(99, CONN, [a_delta(5)]))})
    publish(redis_client, [a_delta(2)])
    first, poison, second_poison, _ = [entry_id for entry_id, _ in redis_client.xrange(schema.TAPE)]
    await bench.drain(TapeSink(schema.TAPE))
    assert await bench.count("markets_book_delta") == 2
    reasons = [row[0] for row in await bench.rows("SELECT reason FROM feed_malformedframe ORDER BY id")]
    assert len(reasons) == 2
    assert "tape version 99" in reasons[1]
    assert await gaps_and_their_ms(bench) == [
        (f"kmm:tape:0: entry {poison.decode()} was set aside", ms(first)),
        (f"kmm:tape:0: entry {second_poison.decode()} was set aside", ms(poison)),
    ]


@pytest.mark.parametrize(
    "poison",
    [
        pytest.param({"fields": {b"other": b"x"}}, id="no payload"),
        pytest.param(
            {"rows": [schema.DeltaRow(10**15 * 1_000, 0, "M-1", 9, 0, 4_200, 1)]}, id="a time past the calendar"
        ),
        pytest.param({"rows": [schema.DeltaRow(BEFORE, 0, "A\0", 9, 0, 4_200, 1)]}, id="a NUL in a ticker"),
        pytest.param({"rows": [schema.DeltaRow(BEFORE, 0, "A" * 200, 9, 0, 4_200, 1)]}, id="a ticker too long"),
        pytest.param({"rows": [schema.DeltaRow(BEFORE, 0, "M-1", 9, 0, 4_200, 2**63)]}, id="a count too large"),
        pytest.param({"rows": [schema.GapRow(BEFORE, 0, "", "NUL \0", 0, 0, 0)]}, id="a NUL in a reason"),
    ],
)
async def test_D7_an_entry_no_table_takes_is_found_by_halving_and_nothing_good_is_lost_with_it(
    bench: Bench, redis_client: redis.Redis, poison: dict[str, Any]
) -> None:
    publish(redis_client, [a_delta(n) for n in range(1, 301)])
    if "rows" in poison:
        entry = schema.TapeEntry(schema.VERSION, CONN, poison["rows"])
        poison = {"fields": {schema.FIELD: schema.encode(entry)}}
    bad = redis_client.xadd(schema.TAPE, poison["fields"]).decode()
    publish(redis_client, [a_delta(n) for n in range(301, 601)])
    writer = await bench.drain(TapeSink(schema.TAPE))
    assert await bench.count("markets_book_delta") == 600
    assert await bench.count("feed_malformedframe") == 1
    assert writer.stored["poisoned"] == 1
    assert [reason for reason, _ in await gaps_and_their_ms(bench)] == [f"kmm:tape:0: entry {bad} was set aside"]
    assert redis_client.xlen(schema.TAPE) == 0


async def test_D7_a_journal_line_no_table_takes_is_set_aside_too(bench: Bench, redis_client: redis.Redis) -> None:
    for number, reason in ((1, "good"), (2, "NUL \0"), (3, "good")):
        redis_client.xadd(schema.JOURNAL, {schema.FIELD: a_line(number, schema.Decision(reason, {}, 1))})
    await bench.drain(JournalSink())
    assert await bench.count("traders_decision") == 2


NESTED = b"\x91" * 100_000  # MessagePack of a list in a list in a list …
A_LOG = LogEntry(LOG_VERSION, BEFORE, "gateway", "local", 7, "INFO", "feed", "good", {})
A_LINE = a_line(1, schema.Decision("good", {}, 1))
TOO_LATE_US = 10**18  # past the calendar
AN_ACCOUNT = schema.account_stream("local")


def a_queue(as_of_us: int) -> bytes:
    queue = schema.AccountQueue([("o-1", 5)], as_of_us)
    return schema.encode(schema.AccountEntry(schema.VERSION, "local", BEFORE, False, [queue]))


@pytest.mark.parametrize(
    ("sink", "good", "poison", "table"),  # the table holds what is good
    [
        pytest.param(
            LogSink(), schema.encode(A_LOG), schema.encode(replace(A_LOG, time_us=TOO_LATE_US)), "ops_service_log",
            id="a log record past the calendar",
        ),
        pytest.param(
            LogSink(), schema.encode(A_LOG), schema.encode(A_LOG)[:-1] + b"\x81\xa1n" + NESTED, "ops_service_log",
            id="a log record nested without end",
        ),
        pytest.param(
            AccountSink(AN_ACCOUNT), a_queue(BEFORE), a_queue(TOO_LATE_US), "feed_queueposition",
            id="an account's time past the calendar",
        ),
        pytest.param(
            AccountSink(AN_ACCOUNT), a_queue(BEFORE), b"\x96" + a_queue(BEFORE)[1:] + NESTED, "feed_queueposition",
            id="an account's entry of one more field, nested without end",
        ),
        pytest.param(
            JournalSink(), A_LINE, b"\x99" + A_LINE[1:] + NESTED, "traders_decision",
            id="a journal line of one more field, nested without end",
        ),
    ],
)  # fmt: skip
async def test_D7_no_entry_of_any_stream_ends_the_writer(
    bench: Bench, redis_client: redis.Redis, sink: Sink, good: bytes, poison: bytes, table: str
) -> None:
    for payload in (poison, good):
        redis_client.xadd(sink.stream, {schema.FIELD: payload})
    writer = await bench.drain(sink)
    assert writer.stored["poisoned"] == 1
    assert await bench.count(table) == 1
    ((reason,),) = await bench.rows("SELECT reason FROM feed_malformedframe")
    assert reason.partition(": ")[2], "it says why"


@pytest.fixture
async def newer(bench: Bench) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """What makes the database one of a newer version."""
    insert = "INSERT INTO django_migrations (app, name, applied) VALUES ('feed', '0099_from_the_future', now())"
    yield lambda: bench.execute(insert)
    await bench.execute("DELETE FROM django_migrations WHERE name = '0099_from_the_future'")


async def test_D13_a_database_that_comes_back_as_one_of_a_newer_version_is_not_written(
    bench: Bench, redis_client: redis.Redis, newer: Callable[[], Awaitable[None]]
) -> None:
    writer = StreamWriter(client=bench.client, dsn=bench.dsn, sink=TapeSink(schema.TAPE), clock=SystemClock())
    running = asyncio.create_task(writer.run(asyncio.Event()))
    publish(redis_client, [a_delta(1)])
    await until(lambda: writer.commits == 1)
    await newer()
    await bench.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    publish(redis_client, [a_delta(2)])
    with pytest.raises(SchemaMismatch, match=r"feed\.0099_from_the_future"):
        await asyncio.wait_for(running, 20)
    assert await bench.count("markets_book_delta") == 1
    assert redis_client.xlen(schema.TAPE) == 1


async def test_a_database_without_any_table_is_sent_to_migrate(bench: Bench) -> None:
    async with await psycopg.AsyncConnection.connect(bench.dsn) as connection:
        await connection.execute("DROP TABLE django_migrations")
        with pytest.raises(SchemaMismatch, match=r"run `manage.py migrate`"):
            await require_schema_of(connection)
        await connection.rollback()


@pytest.fixture
async def unfit(bench: Bench, database_url: str) -> AsyncIterator[Bench]:
    """With a table that takes no row, as after a migration that the writer knows nothing of."""
    await bench.execute("ALTER TABLE traders_decision ADD COLUMN unknown integer NOT NULL")
    yield bench
    await bench.execute("ALTER TABLE traders_decision DROP COLUMN IF EXISTS unknown")


async def test_D13_where_nothing_fits_nothing_is_set_aside_and_all_is_stored_when_it_does(
    unfit: Bench, redis_client: redis.Redis
) -> None:
    lines = 3 * POISON_IN_A_ROW
    for number in range(1, lines + 1):
        redis_client.xadd(schema.JOURNAL, {schema.FIELD: a_line(number, schema.Decision("x", {}, 1))})
    sink = JournalSink()
    async with unfit.writing(sink) as writer:
        await until(lambda: writer.trouble is not None)
        assert writer.trouble is not None
        assert writer.trouble.alert == "NOTHING_FITS"
        assert "unknown" in writer.trouble.sentence
        assert redis_client.xlen(schema.JOURNAL) == lines
        assert not sink.acknowledged, "traders keep what is not stored"
        await unfit.execute("ALTER TABLE traders_decision DROP COLUMN unknown")
        await until(lambda: writer.stored["decisions"] == lines)
        assert writer.trouble is None
    assert await unfit.count("feed_malformedframe") == 0


async def test_D13_where_nothing_fits_that_comes_one_by_one_only_a_few_are_set_aside(
    unfit: Bench, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "QUIET_S", 0.001)
    async with unfit.writing(JournalSink()) as writer:
        for number in range(1, POISON_IN_A_ROW + 2):
            redis_client.xadd(schema.JOURNAL, {schema.FIELD: a_line(number, schema.Decision("x", {}, 1))})
            await until(lambda n=number: writer.trouble is not None or writer.stored["poisoned"] == n)  # type: ignore[misc]
        assert writer.stored["poisoned"] == POISON_IN_A_ROW
    assert redis_client.xlen(schema.JOURNAL) == 1


async def test_acknowledgements_outlive_the_writer(bench: Bench, redis_client: redis.Redis) -> None:
    redis_client.xadd(schema.JOURNAL, {schema.FIELD: a_line(7, schema.Decision("x", {}, 1))})
    await bench.drain(JournalSink())
    another = JournalSink()
    await bench.drain(another)
    assert another.acknowledged == {3: 7}


async def test_journal_lines_become_orders_fills_and_decisions_once(bench: Bench, redis_client: redis.Redis) -> None:
    fill = schema.FillState("c-1", "o-1", "t-1", 0, 4_200, 400, False, None, 400, False)
    lines = [
        a_line(1, an_order(0, "resting")),
        a_line(2, fill),
        a_line(3, an_order(400, "resting")),
        a_line(4, schema.Decision("joins best bid", {"position_cx": 400}, 1)),
        a_line(2, fill),
        a_line(1, an_order(0, "resting")),  # re-sent after a loss: the older state must not win
    ]
    for line in lines:
        redis_client.xadd(schema.JOURNAL, {schema.FIELD: line})
    sink = JournalSink()
    await bench.drain(sink)
    assert await bench.rows("SELECT filled_cx, remaining_cx, journal_number FROM traders_order") == [(400, 600, 3)]
    assert await bench.rows("SELECT count_cx, fee_ud FROM traders_fill") == [(400, None)]
    assert await bench.rows("SELECT reason FROM traders_decision") == [("joins best bid",)]
    assert sink.acknowledged == {3: 4}


async def test_a_minutes_sample_is_stored_once_beside_the_number_of_its_market(
    bench: Bench, redis_client: redis.Redis
) -> None:
    sample = schema.RateSample("quoting", 60, rate_ud_h=1_200_000, share_yes_ppb=250_000_000, position_cx=-400)
    for _ in range(2):
        redis_client.xadd(schema.JOURNAL, {schema.FIELD: a_line(5, sample)})
    await bench.drain(JournalSink())
    columns = "ticker, trader, state, observed_s, rate_ud_h, share_yes_ppb, share_no_ppb, position_cx"
    joined = f"SELECT {columns} FROM traders_ratesample s JOIN markets_marketkey m ON m.id = s.market"
    assert await bench.rows(joined) == [("M-1", 3, "quoting", 60, 1_200_000, 250_000_000, None, -400)]


async def test_a_worker_has_one_beat_a_minute_in_the_beats_table_and_none_in_the_service_log(bench: Bench) -> None:
    clock = ManualClock()
    pulse = Pulse(role="gateway", name="local", clock=clock)
    pulse.counters, pulse.detail = {"frames": 7}, b"for the pages"
    for _ in range(90):
        pulse.turn(every_s=1.0)
        assert await pulse.beat(bench.client)
        clock.advance_us(1_000_000)
    await bench.drain(LogSink())
    beats = "SELECT role, name, loops, state, counters->>'frames' FROM ops_beat ORDER BY time"
    assert await bench.rows(beats) == [
        ("gateway", "local", 1, "starting", "7"),
        ("gateway", "local", 61, "starting", "7"),
    ]
    assert await bench.count("ops_service_log") == 0


async def test_log_records_are_stored_with_their_fields(bench: Bench, redis_client: redis.Redis) -> None:
    entry = LogEntry(
        LOG_VERSION, BEFORE, "gateway", "local", 7, "INFO", "feed", "with a \x00 in it", {"ticker": "M-1", "n": "\x00"}
    )
    redis_client.xadd(LOG_STREAM, {b"d": schema.encode(entry)})
    await bench.drain(LogSink())
    assert await bench.rows("SELECT role, message, fields->>'ticker' FROM ops_service_log") == [
        ("gateway", "with a \\0 in it", "M-1")
    ]


async def test_D11_after_a_failure_it_begins_small_for_a_large_batch_may_be_what_took_too_long(
    bench: Bench, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, fails = TapeBatch.finish, iter([True])

    async def finish(batch: TapeBatch) -> Any:
        if next(fails, False):
            raise psycopg.errors.QueryCanceled("canceling statement due to statement timeout")
        return await real(batch)

    monkeypatch.setattr(TapeBatch, "finish", finish)
    for seq in range(1, 3 * ENTRIES_A_CHUNK + 1):
        publish(redis_client, [a_delta(seq)])
    commits: list[int] = []
    writer = StreamWriter(
        client=bench.client, dsn=bench.dsn, sink=TapeSink(schema.TAPE), clock=SystemClock(),
        on_commit=lambda stored: commits.append(stored["deltas"]),
    )  # fmt: skip
    stop = asyncio.Event()
    running = asyncio.create_task(writer.run(stop))
    await until(lambda: sum(commits) == 3 * ENTRIES_A_CHUNK)
    stop.set()
    await running
    assert commits == [ENTRIES_A_CHUNK, 2 * ENTRIES_A_CHUNK]


async def test_D8_a_quiet_stream_is_well_again_as_soon_as_its_stores_answer(
    bench: Bench, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuses = True

    async def connect(dsn: str) -> Any:
        if refuses:
            raise StoreSilent("PostgreSQL", OSError("refused"))
        return await real(dsn)

    real = database.connect
    monkeypatch.setattr(database, "connect", connect)
    writer = StreamWriter(client=bench.client, dsn=bench.dsn, sink=TapeSink(schema.TAPE), clock=SystemClock())
    stop = asyncio.Event()
    running = asyncio.create_task(writer.run(stop))
    await until(lambda: writer.trouble is not None)
    refuses = False
    await until(lambda: writer.trouble is None)
    assert writer.commits == 0
    stop.set()
    await running


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - a field, not an event
            await asyncio.sleep(0.01)


async def test_D8_a_dead_database_session_is_replaced_and_nothing_is_doubled(
    bench: Bench, redis_client: redis.Redis
) -> None:
    stop = asyncio.Event()
    committed = asyncio.Event()
    writer = StreamWriter(
        client=bench.client,
        dsn=bench.dsn,
        sink=TapeSink(schema.TAPE),
        clock=SystemClock(),
        on_commit=lambda _stored: committed.set(),
    )
    running = asyncio.create_task(writer.run(stop))
    publish(redis_client, [a_delta(1)])
    await asyncio.wait_for(committed.wait(), 10)
    ended = await bench.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert ended
    committed.clear()
    publish(redis_client, [a_delta(2)])
    await asyncio.wait_for(committed.wait(), 10)
    stop.set()
    await running
    assert await bench.count("markets_book_delta") == 2
