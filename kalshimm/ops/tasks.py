from __future__ import annotations

from celery import shared_task
from django.conf import settings
from django.db import connection
from django.utils import timezone

from kalshimm.db import retention


@shared_task  # type: ignore[untyped-decorator]  # celery ships no types
def delete_old_history() -> dict[str, int]:
    """Delete history older than its retention, where the database does not do so by itself."""
    return retention.delete_old_rows(connection, timezone.now(), settings.RETENTION_DAYS)
