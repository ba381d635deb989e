"""Retention by celery, where the database has no policies of its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from django.db import connection
from pytest_django.fixtures import Settings

from feed.models import FeedGap, MalformedFrame
from kalshimm.celery import app
from kalshimm.db.plan import HISTORY, ORDINARY, RETENTION_DAYS
from kalshimm.db.retention import delete_old_rows
from kalshimm.ops.models import BeatRow, ServiceLog
from kalshimm.ops.tasks import delete_old_history

NOW = datetime(2026, 11, 26, 3, tzinfo=UTC)
DAY = timedelta(days=1)


def a_log(time: datetime, number: int) -> ServiceLog:
    return ServiceLog(
        time=time, entry_id=str(number), role="writer", name="0", pid=1, level="INFO", logger="x", message="", fields={}
    )


def a_beat(time: datetime) -> BeatRow:
    return BeatRow(
        time=time, role="writer", name="0", pid=1, boot_id="b", started_at=time, loops=1, lag_ms=0, state="writing"
    )


@pytest.mark.django_db
def test_batches_end_where_the_next_begin_also_among_rows_of_one_moment() -> None:
    old = [a_log(NOW - 31 * DAY, number) for number in range(25)]
    old += [a_log(NOW - 30 * DAY - number * timedelta(seconds=1), 100 + number) for number in range(1, 8)]
    ServiceLog.objects.bulk_create([*old, a_log(NOW - 30 * DAY, 0), a_log(NOW, 1)])
    gone = delete_old_rows(connection, NOW, RETENTION_DAYS, rows_a_delete=4)
    assert gone["ops_service_log"] == len(old) == 32
    assert set(ServiceLog.objects.values_list("time", flat=True)) == {NOW - 30 * DAY, NOW}
    assert delete_old_rows(connection, NOW, RETENTION_DAYS)["ops_service_log"] == 0


@pytest.mark.django_db
def test_every_table_of_the_settings_is_looked_at_but_those_kept_for_ever() -> None:
    kept_for_ever = {table.name for table in HISTORY if not RETENTION_DAYS[table.kept]}
    gone = delete_old_rows(connection, NOW, RETENTION_DAYS)
    assert gone.keys() == {table.name for table in (*HISTORY, *ORDINARY)} - kept_for_ever
    assert kept_for_ever == {"traders_rewardminute"}


@pytest.mark.django_db
def test_what_is_missing_is_known_for_ever_and_broken_frames_for_some_months() -> None:
    for days in (80, 100, 4_000):
        FeedGap.objects.create(time=NOW - days * DAY, reason=str(days))
        MalformedFrame.objects.create(time=NOW - days * DAY, reason=str(days), frame=b"{", digest=days)
    delete_old_rows(connection, NOW, RETENTION_DAYS)
    assert set(FeedGap.objects.values_list("reason", flat=True)) == {"80", "100", "4000"}
    assert set(MalformedFrame.objects.values_list("reason", flat=True)) == {"80"}


@pytest.mark.django_db
def test_the_task_that_celery_runs_by_itself_obeys_the_settings(settings: Settings) -> None:
    scheduled = {entry["task"] for entry in app.conf.beat_schedule.values()}
    assert delete_old_history.name in scheduled
    now = datetime.now(UTC)
    BeatRow.objects.bulk_create([a_beat(now - 3 * DAY), a_beat(now - DAY)])
    settings.RETENTION_DAYS = settings.RETENTION_DAYS | {"beat": 2}
    assert delete_old_history()["ops_beat"] == 1
    assert BeatRow.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_batch_that_is_deleted_holds_up_no_writer(database_url: str) -> None:
    """Nor is a row deleted that was not committed when its batch began: the next run takes it."""
    ServiceLog.objects.bulk_create([a_log(NOW - 40 * DAY, number) for number in range(10)])
    with psycopg.connect(database_url) as writer:
        writer.execute(
            "INSERT INTO ops_service_log SELECT time, 'new', role, name, pid, level, logger, message, fields"
            " FROM ops_service_log LIMIT 1"
        )
        assert delete_old_rows(connection, NOW, RETENTION_DAYS, rows_a_delete=3)["ops_service_log"] == 10
    assert ServiceLog.objects.count() == 1
    assert delete_old_rows(connection, NOW, RETENTION_DAYS)["ops_service_log"] == 1
