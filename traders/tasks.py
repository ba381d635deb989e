from __future__ import annotations

from celery import shared_task
from django.conf import settings

from feed.tasks import refresh_catalog
from kalshimm.runtime.clock import SystemClock
from traders import settling_paper
from traders.archive import archive_ended
from traders.models import SeriesRule


@shared_task  # type: ignore[untyped-decorator]  # celery ships no types
def refresh_rolling_series() -> None:
    """Look at the series that rules follow, whose markets come and go faster than the whole catalogue is read."""
    series = list(SeriesRule.objects.filter(is_active=True).values_list("series_ticker", flat=True))
    if series:
        refresh_catalog(series)


@shared_task  # type: ignore[untyped-decorator]  # celery ships no types
def settle_paper_traders() -> None:
    """Book what markets paid to dry-run traders, whose processes ended with them; archive those that are over."""
    settling_paper.settle_due(settings.KALSHIMM_HOME, settings.REDIS_URL, SystemClock())
    archive_ended(actor="celery")
