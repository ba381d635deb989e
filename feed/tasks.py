from __future__ import annotations

import logging
from collections.abc import Sequence

from celery import shared_task

from feed import catalog
from kalshimm.errors import KalshimmError

logger = logging.getLogger(__name__)


@shared_task  # type: ignore[untyped-decorator]  # celery ships no types
def refresh_catalog(series: Sequence[str] = ()) -> None:
    """Bring series, events, markets and incentive programs up to the exchange's state; or only some series."""
    try:
        catalog.refresh(series)
    except KalshimmError as exc:
        # The next run is seconds away: a line, not a traceback.
        logger.warning("catalogue not refreshed: %s", exc, extra={"action": "catalogue_not_refreshed"})
