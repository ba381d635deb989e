"""The Celery application: batch work that may wait, never anything trading needs."""

from __future__ import annotations

import os
import sys
from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_init, worker_ready
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kalshimm.settings")

app = Celery("kalshimm")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.steps["consumer"].add("kalshimm.ops.pulse:PulseStep")

# The real venue lists tens of thousands of markets; what rolls is read more often, by itself.
CATALOG_EVERY_S = 10 if settings.KALSHI_ENV == "local" else 900
ROLLING_EVERY_S = 10
RETENTION_EVERY_S = 3600
SETTLE_EVERY_S = 60

# Each expires before its successor is due: after an outage runs never pile up.
app.conf.beat_schedule = {
    "refresh_catalog": {
        "task": "feed.tasks.refresh_catalog",
        "schedule": CATALOG_EVERY_S,
        "options": {"expires": CATALOG_EVERY_S},
    },
    "refresh_rolling_series": {
        "task": "traders.tasks.refresh_rolling_series",
        "schedule": ROLLING_EVERY_S,
        "options": {"expires": ROLLING_EVERY_S},
    },
    "settle_paper_traders": {
        "task": "traders.tasks.settle_paper_traders",
        "schedule": SETTLE_EVERY_S,
        "options": {"expires": SETTLE_EVERY_S},
    },
    "delete_old_history": {
        "task": "kalshimm.ops.tasks.delete_old_history",
        "schedule": RETENTION_EVERY_S,
        "options": {"expires": RETENTION_EVERY_S},
    },
}
# The schedule is above and nowhere else: nothing to remember between two starts.
app.conf.beat_schedule_filename = str(settings.KALSHIMM_HOME / "run" / "celerybeat-schedule")


@worker_init.connect  # type: ignore[untyped-decorator]  # celery ships no types
def _require_schema(**_: Any) -> None:
    from kalshimm.db.version import require_schema  # Django is set up by now
    from kalshimm.errors import SchemaMismatch

    try:
        require_schema()
    except SchemaMismatch as exc:
        print(exc, file=sys.stderr)  # noqa: T201 - the one line, as manage.py's commands leave
        raise SystemExit(exc.exit_code) from exc


@worker_ready.connect  # type: ignore[untyped-decorator]  # celery ships no types
def _refresh_catalog_now(**_: Any) -> None:
    """Read the catalogue at once: the schedule's first turn comes only after its first period."""
    app.send_task("feed.tasks.refresh_catalog", expires=CATALOG_EVERY_S)


@setup_logging.connect  # type: ignore[untyped-decorator]  # celery ships no types
def _configure_logs(**_: Any) -> None:
    from kalshimm.runtime import logs  # Django must be set up by the time logging is

    logs.configure(debug=settings.DEBUG)
