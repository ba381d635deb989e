"""What is packed by hand is what PostgreSQL reads: deltas of every size, through the writer and back."""

from __future__ import annotations

from collections.abc import AsyncIterator

import psycopg
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feed import schema
from feed.sinks.base import Entry
from feed.sinks.tables import DELTAS, delta_key, pack_deltas
from feed.sinks.tape import Packed, TapeSink
from feed.writer.trouble import ENTRIES
from kalshimm.runtime.copying import FIRST_US, LAST_US
from tests.integration.feed.writerbench import CONN, Bench, a_delta, publish

INT4 = st.integers(-(2**31), 2**31 - 1)
INT8 = st.integers(-(2**63), 2**63 - 1)
DELTA = st.builds(
    schema.DeltaRow,
    st.integers(FIRST_US, LAST_US), st.sampled_from(sorted(schema.TimeSource)), st.sampled_from(["M-1", "Ü 2"]), INT8,
    st.sampled_from([0, 1]), INT4, INT8,
)  # fmt: skip


@pytest.fixture
async def bench(redis_client: redis.Redis, redis_url: str, database_url: str) -> AsyncIterator[Bench]:
    bench = Bench(redis_url, database_url)
    yield bench
    await bench.client.aclose()


@settings(max_examples=1, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deltas=st.lists(DELTA, min_size=400, max_size=400, unique_by=lambda d: (d.time_us, d.ticker, d.seq)))
async def test_every_delta_comes_back_as_it_was(
    bench: Bench, redis_client: redis.Redis, deltas: list[schema.DeltaRow]
) -> None:
    publish(redis_client, list(deltas))
    writer = await bench.drain(TapeSink(schema.TAPE))
    assert writer.stored == {"deltas": len(deltas)}
    stored = await bench.rows(
        "SELECT (extract(epoch FROM d.time) * 1000000)::int8, time_source, ticker, seq, side, price_cc, delta_cx"
        " FROM markets_book_delta d JOIN markets_marketkey m ON m.id = d.market"
    )
    put = {(d.time_us, int(d.source), d.ticker, d.seq, d.side, d.price_cc, d.delta_cx) for d in deltas}
    assert set(stored) == put


def test_a_packed_delta_has_the_length_that_its_columns_say() -> None:
    packed: list[bytes] = []
    gap = schema.GapRow(0, 0, "M-1", "a gap", 1, 2, 3)
    others = pack_deltas([schema.DeltaRow(0, 0, "M-1", 1, 0, 1, 1), gap], {"M-1": delta_key(7, 8)}, packed)
    assert others == [gap]
    sizes = {"int8": 8, "int4": 4, "int2": 2}
    assert [len(row) for row in packed] == [2 + sum(4 + sizes[kind] for kind in DELTAS.types)]


@pytest.mark.parametrize("wrong", [{"time_us": LAST_US + 1}, {"time_us": FIRST_US - 1}, {"side": 7}, {"seq": 2**63}])
def test_a_value_that_no_column_holds_is_refused(wrong: dict[str, int]) -> None:
    values = {"time_us": 0, "source": 0, "ticker": "M-1", "seq": 1, "side": 0, "price_cc": 1, "delta_cx": 1} | wrong
    with pytest.raises(ENTRIES):
        pack_deltas([schema.DeltaRow(**values)], {"M-1": delta_key(7, 8)}, [])  # type: ignore[arg-type]


async def test_what_is_packed_ahead_names_nothing_that_a_transaction_may_take_back(bench: Bench) -> None:
    entry = schema.TapeEntry(schema.VERSION, CONN, [a_delta(1), a_delta(2, ticker="M-2")])
    written = Entry("1-1", schema.encode(entry))
    sink = TapeSink(schema.TAPE)
    async with await psycopg.AsyncConnection.connect(bench.dsn) as connection:
        await sink.load(connection)
        assert sink.decode(written) == entry, "nobody knows its names"
        await sink.resolve(connection, [entry])
        assert sink.decode(written) == entry, "not before the commit"
        await connection.rollback()
        sink.rolled_back()
        assert sink.decode(written) == entry, "and not after a rollback"
        await sink.resolve(connection, [entry])
        await connection.commit()
        sink.committed()
        first = sink.decode(written)
    assert isinstance(first, Packed)
    assert (first.rows, first.delta_count) == (2, 2)
    another = TapeSink(schema.TAPE)
    async with await psycopg.AsyncConnection.connect(bench.dsn) as connection:
        await another.load(connection)
    assert another.decode(written) == first, "the next writer knows them from the start"


async def test_D7_a_market_first_named_beside_what_cannot_be_stored_keeps_its_rows(
    bench: Bench, redis_client: redis.Redis
) -> None:
    publish(redis_client, [a_delta(n, ticker=f"M-{n % 3}") for n in range(1, 31)])
    poison = schema.TapeEntry(schema.VERSION, CONN, [a_delta(99, ticker="A\0")])
    redis_client.xadd(schema.TAPE, {schema.FIELD: schema.encode(poison)})
    publish(redis_client, [a_delta(n, ticker=f"M-{n % 4}") for n in range(31, 6_001)])  # more than one chunk
    writer = await bench.drain(TapeSink(schema.TAPE))
    assert writer.stored == {"deltas": 6_000, "poisoned": 1, "gaps": 1}
    stored = await bench.rows(
        "SELECT seq, ticker FROM markets_book_delta d JOIN markets_marketkey m ON m.id = d.market ORDER BY seq"
    )
    assert stored == [(n, f"M-{n % (3 if n <= 30 else 4)}") for n in range(1, 6_001)]
