"""What the writer noted of the feed's own health."""

from __future__ import annotations

from django.contrib import admin

from feed.models import Connection, FeedGap, MalformedFrame
from kalshimm.ops.admin import ReadOnlyAdmin


@admin.register(Connection)
class ConnectionAdmin(ReadOnlyAdmin):
    list_display = ("id", "identity", "first_seen_at")


@admin.register(FeedGap)
class FeedGapAdmin(ReadOnlyAdmin):
    list_display = ("time", "ticker", "reason", "sid", "expected", "received")
    search_fields = ("ticker", "reason")
    date_hierarchy = "time"


@admin.register(MalformedFrame)
class MalformedFrameAdmin(ReadOnlyAdmin):
    list_display = ("time", "connection", "reason")
    list_select_related = ("connection",)
    search_fields = ("reason",)
    date_hierarchy = "time"
