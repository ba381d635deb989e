"""Rows of part D as far as gateway, writer and readers go: Redis dies, comes back empty, slows down, fills up."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from feed import schema
from kalshimm.runtime.heartbeat import Beat, beat_key, decode_beat
from tests.faults.rig import Case


def tape_rows(case: Case) -> Counter[tuple[int, bytes]]:
    """Return how often each row stands on the tape, which the writer has not trimmed."""
    entries: Any = case.rig.redis.xrange(schema.TAPE)
    return Counter(
        (entry.conn, schema.encode(row))
        for _, fields in entries
        for entry in (schema.decode_tape(fields[schema.FIELD]),)
        for row in entry.rows
    )


def beat(case: Case) -> Beat:
    value: Any = case.rig.redis.get(beat_key("gateway", "local"))
    return decode_beat(value)


# ---- D1, D2 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "away_s", [0, 2, pytest.param(5, marks=pytest.mark.long), pytest.param(60, marks=pytest.mark.long)]
)
def test_D1_a_store_that_comes_back_with_its_data_loses_and_doubles_nothing(case: Case, away_s: float) -> None:
    case.rig.valkey.kill()
    case.until_invalid(within_s=2 + schema.FEED_ENTRY_MAX_S)
    case.wait(away_s)
    case.rig.valkey.start()
    verdict = case.judge()
    assert not case.gaps(), "every message of the time without a store is there"
    assert verdict.covered == 0
    case.until_alert_is_stored("STREAM_WRITE_FAILED")


def test_D2_an_empty_store_is_a_new_generation_with_a_gap_row_and_books_from_snapshots(case: Case) -> None:
    before = case.rig.redis.get(schema.GENERATION)
    case.rig.writer.freeze()  # so that something is on the stream that only the store knows
    already = set(tape_rows(case))  # which the writer may have read ahead
    case.until(lambda: len(set(tape_rows(case)) - already) > 50, "rows that the writer has not read")
    case.rig.valkey.kill()
    case.rig.valkey.start(empty=True)
    case.rig.writer.thaw()
    case.until(lambda: case.gaps("began anew"), "a gap row")
    verdict = case.judge(faults=3)
    assert verdict.covered > 0, "something was lost, and is marked"
    assert case.rig.redis.get(schema.GENERATION) not in (None, before)
    case.until_alert_is_stored("STORE_BEGAN_ANEW")
    states = case.rig.redis.hkeys(schema.MARKETS)
    assert {ticker.decode() for ticker in states} >= set(case.rig.tickers), "lists are told again too"
    assert "delete_markets" not in str(case.rig.control("GET", "/ledger/lines")), "nothing was unsubscribed meanwhile"


# ---- D3, D4, D5 ------------------------------------------------------------------------------------------------------


def test_D3_a_paused_store_makes_readers_distrust_and_loses_nothing(case: Case) -> None:
    case.rig.redis.client_pause(3_000)
    case.log.note("store", "CLIENT PAUSE 3000")
    case.until_invalid(within_s=3)
    verdict = case.judge()
    assert not case.gaps()
    assert verdict.covered == 0


def test_D3_a_slow_line_to_the_store_loses_nothing(case: Case) -> None:
    case.rig.redis_gateway.delay(0.5)
    case.until(lambda: beat(case).state == "degraded", "the gateway says that it is degraded")
    case.rig.redis_gateway.pass_all()
    case.until(lambda: beat(case).state == "connected", "and that it is no more")
    verdict = case.judge()
    assert not case.gaps()
    assert verdict.covered == 0


def test_D4_a_full_store_fails_loudly_evicts_nothing_and_recovers(case: Case) -> None:
    client = case.rig.redis
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1mb")
    case.log.note("store", "maxmemory 1 MiB, noeviction")
    case.until_invalid(within_s=5)
    case.until(lambda: "STREAM_WRITE_FAILED" in case.alerts(), "an alert")
    client.config_set("maxmemory", "0")
    verdict = case.judge()
    assert not case.gaps()
    assert verdict.covered == 0
    assert client.info("stats")["evicted_keys"] == 0
    case.until_alert_is_stored("STREAM_WRITE_FAILED")


def test_D5_an_append_whose_answer_is_lost_is_repeated_and_its_copy_dropped(case: Case) -> None:
    case.rig.writer.freeze()  # the tape keeps both copies in sight
    case.rig.redis_gateway.lose_answer_to(schema.TAPE.encode())
    case.until(lambda: case.log.of("answer dropped"), "the answer is lost")
    case.until(lambda: max(tape_rows(case).values(), default=0) >= 2, "a row stands on the tape twice")
    case.rig.writer.thaw()
    verdict = case.judge(faults=2)
    assert not case.gaps()
    assert verdict.covered == 0
