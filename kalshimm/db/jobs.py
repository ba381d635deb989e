"""What TimescaleDB's background jobs (columnstore, retention, refresh) say of themselves: they fail quietly."""

from __future__ import annotations

import msgspec
from django.db.backends.base.base import BaseDatabaseWrapper

# The newest error belongs to the failure that is told: errors are kept for a month.
FAILED = """
SELECT jobs.application_name, coalesce(jobs.hypertable_name, ''), stats.total_failures, coalesce(errors.err_message, '')
FROM timescaledb_information.job_stats stats
JOIN timescaledb_information.jobs USING (job_id)
LEFT JOIN LATERAL (
    SELECT err_message FROM timescaledb_information.job_errors
    WHERE job_errors.job_id = stats.job_id ORDER BY start_time DESC LIMIT 1
) errors ON true
WHERE stats.last_run_status = 'Failed'
ORDER BY jobs.job_id
"""


class FailedJob(msgspec.Struct, frozen=True):
    """A job whose last run failed; `failures` counts all that ever did."""

    name: str
    table: str
    failures: int
    message: str


def failed_jobs(connection: BaseDatabaseWrapper) -> list[FailedJob] | None:
    """Return the jobs of this database whose last run failed; None where there are no jobs, on plain PostgreSQL."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('timescaledb_information.job_stats') IS NOT NULL")
        if not cursor.fetchone()[0]:
            return None
        cursor.execute(FAILED)
        return [FailedJob(*row) for row in cursor.fetchall()]
