from __future__ import annotations

from celery import shared_task

from feed import catalog


@shared_task
def refresh_catalog() -> None:
    """Bring series, events, markets and incentive programs up to the exchange's state."""
    catalog.refresh()
