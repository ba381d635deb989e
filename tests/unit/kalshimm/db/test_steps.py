"""What is done to a database, decided from what it holds and what it should."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from kalshimm.db.plan import AGGREGATES, HISTORY, RETENTION_DAYS
from kalshimm.db.steps import (
    COLUMNSTORE,
    REFRESH,
    RETENTION,
    Actual,
    Policy,
    Wanted,
    outdated,
    plain_steps,
    timescale_steps,
)

DAY = timedelta(days=1)
WANTED = Wanted(HISTORY, AGGREGATES, RETENTION_DAYS, {table.name: DAY for table in HISTORY})


def as_planned() -> Actual:
    policies = {(table.name, COLUMNSTORE): Policy(DAY) for table in HISTORY}
    for one in (*HISTORY, *AGGREGATES):
        if keeps := WANTED.keeps(one.kept):
            policies[one.name, RETENTION] = Policy(keeps)
    source = {view.name: table.kept for view in AGGREGATES for table in HISTORY if table.name == view.source}
    for view in AGGREGATES:
        policies[view.name, REFRESH] = Policy(
            WANTED.keeps(source[view.name]), timedelta(minutes=2), timedelta(minutes=5), view.batch
        )
    return Actual(
        chunks=WANTED.chunks,
        columnstores={table.name: (table.segment_by, table.order_by) for table in HISTORY},
        policies=policies,
        aggregates={view.name: view.mark for view in AGGREGATES},
    )


def as_planned_without_timescale() -> Actual:
    return Actual(views={view.name: view.mark for view in AGGREGATES}, indexes={view.index for view in AGGREGATES})


def test_an_index_that_is_missing_is_made_for_its_view() -> None:
    actual = msgspec.structs.replace(as_planned_without_timescale(), indexes={"markets_candle_1m_rows"})
    made = [(step.subject, step.statements[0].as_string()) for step in plain_steps(WANTED, actual)]
    assert made == [
        (
            "markets_ticker",
            """CREATE INDEX "markets_spread_1m_rows" ON "markets_ticker" (market, time_bucket('1 minute', time))""",
        ),
        (
            "traders_ratesample",
            """CREATE INDEX "traders_rate_1h_rows" ON "traders_ratesample" (trader, time_bucket('1 hour', time))""",
        ),
    ]


def said(actual: Actual, wanted: Wanted = WANTED, *, rebuild: bool = False) -> list[tuple[str, str]]:
    return [(step.subject, step.words) for step in timescale_steps(wanted, actual, rebuild=rebuild)]


def with_policy(name: str, kind: str, policy: Policy | None) -> Actual:
    actual = as_planned()
    policies = {key: value for key, value in actual.policies.items() if key != (name, kind)}
    return msgspec.structs.replace(actual, policies=policies | ({(name, kind): policy} if policy else {}))


def test_nothing_is_done_where_all_is_as_planned() -> None:
    assert said(as_planned()) == []
    assert list(plain_steps(WANTED, as_planned_without_timescale())) == []


def test_everything_is_made_on_an_empty_server() -> None:
    subjects = [subject for subject, _ in said(Actual())]
    assert set(subjects) == {one.name for one in (*HISTORY, *AGGREGATES)}
    assert subjects.count("markets_book_delta") == 4  # hypertable, columnstore, its policy, retention
    assert subjects.count("traders_rewardminute") == 3  # kept for ever
    views_and_sources = {name for view in AGGREGATES for name in (view.name, view.source)}
    assert {step.subject for step in plain_steps(WANTED, Actual())} == views_and_sources


@pytest.mark.parametrize(
    ("actual", "words"),
    [
        (with_policy("markets_trade", RETENTION, Policy(3 * DAY)), ("markets_trade", "kept 365 days")),
        (with_policy("markets_trade", RETENTION, None), ("markets_trade", "kept 365 days")),
        (with_policy("traders_rewardminute", RETENTION, Policy(DAY)), ("traders_rewardminute", "kept for ever")),
        (with_policy("ops_beat", COLUMNSTORE, Policy(7 * DAY)), ("ops_beat", "columnstore after 1 day")),
        (with_policy("traders_rate_1h", REFRESH, None), ("traders_rate_1h", "refreshed each 5 minutes")),
    ],
)
def test_one_policy_that_differs_is_the_only_one_changed(actual: Actual, words: tuple[str, str]) -> None:
    assert said(actual) == [words]


def test_a_chunk_width_or_a_columnstore_that_differs_is_changed() -> None:
    chunks = WANTED.chunks | {"ops_beat": 7 * DAY}
    assert said(msgspec.structs.replace(as_planned(), chunks=chunks)) == [
        ("ops_beat", "new chunks hold 1 day, not 7 days")
    ]
    columnstores = as_planned().columnstores | {"ops_beat": ("name", "time")}
    assert said(msgspec.structs.replace(as_planned(), columnstores=columnstores)) == [
        ("ops_beat", "columnstore by role, name, in order of time")
    ]


def test_an_aggregate_never_looks_further_back_than_its_rows_are_kept() -> None:
    """A refresh of time whose rows are gone would empty it; so it looks less far before they go."""
    wanted = msgspec.structs.replace(WANTED, retention_days=RETENTION_DAYS | {"trade": 2})
    (candle, trade) = timescale_steps(wanted, as_planned(), rebuild=False)
    assert (candle.subject, trade.words) == ("markets_candle_1m", "kept 2 days")
    assert "start_offset => INTERVAL '2 days'" in candle.statements[1].as_string()


@pytest.mark.parametrize("days", [700, 0])
def test_an_aggregate_looks_no_further_back_when_its_rows_are_kept_longer(days: int) -> None:
    """What was dropped before does not come back."""
    wanted = msgspec.structs.replace(WANTED, retention_days=RETENTION_DAYS | {"trade": days})
    words = "kept 700 days" if days else "kept for ever"
    assert said(as_planned(), wanted) == [("markets_trade", words)]


def test_a_changed_definition_waits_for_a_rebuild_which_sets_the_policies_anew() -> None:
    actual = msgspec.structs.replace(as_planned(), aggregates=as_planned().aggregates | {"markets_spread_1m": "older"})
    assert said(actual) == []
    assert outdated(WANTED, actual) == ["markets_spread_1m"]
    assert said(actual, rebuild=True) == [
        ("markets_spread_1m", "computed anew from the rows still kept"),
        ("markets_spread_1m", "refreshed each 5 minutes"),
        ("markets_spread_1m", "kept 365 days"),
    ]


def test_an_ordinary_view_gives_way_to_an_aggregate_of_its_name() -> None:
    aggregates = {name: mark for name, mark in as_planned().aggregates.items() if name != "traders_rate_1h"}
    actual = msgspec.structs.replace(as_planned(), aggregates=aggregates, views={"traders_rate_1h": "any"})
    first, *_ = timescale_steps(WANTED, actual, rebuild=False)
    assert first.statements[0].as_string() == 'DROP VIEW "traders_rate_1h"'
