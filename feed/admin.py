"""What the writer noted of the feed's own health, and of each account."""

from __future__ import annotations

from django.contrib import admin

from feed.models import (
    AccountBalance,
    AccountDifference,
    AccountState,
    Connection,
    ExchangeKey,
    FeedGap,
    MalformedFrame,
    OrderGroup,
    Position,
    QueuePosition,
    Settlement,
)
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


@admin.register(AccountState)
class AccountStateAdmin(ReadOnlyAdmin):
    list_display = ("account", "state", "reason", "user_data_at", "attestation_at", "told_at")


@admin.register(AccountBalance)
class AccountBalanceAdmin(ReadOnlyAdmin):
    list_display = ("account", "subaccount", "exchange_index", "balance_ud", "told_at")


@admin.register(Position)
class PositionAdmin(ReadOnlyAdmin):
    list_display = ("account", "ticker", "subaccount", "position_cx", "cost_ud", "realized_ud", "fees_ud", "is_agreed")
    list_filter = ("account", "is_agreed")
    search_fields = ("ticker",)


@admin.register(Settlement)
class SettlementAdmin(ReadOnlyAdmin):
    list_display = ("settled_at", "account", "ticker", "result", "yes_cx", "no_cx", "revenue_ud", "fee_ud")
    list_filter = ("account", "result")
    search_fields = ("ticker",)
    date_hierarchy = "settled_at"


@admin.register(QueuePosition)
class QueuePositionAdmin(ReadOnlyAdmin):
    list_display = ("account", "order_id", "ahead_cx", "as_of")
    search_fields = ("order_id",)


@admin.register(OrderGroup)
class OrderGroupAdmin(ReadOnlyAdmin):
    list_display = ("account", "group_id", "event", "limit_cx", "is_triggered", "exchange_index", "told_at")
    list_filter = ("account", "is_triggered")


@admin.register(AccountDifference)
class AccountDifferenceAdmin(ReadOnlyAdmin):
    list_display = ("found_at", "account", "kind", "subject", "detail")
    list_filter = ("account", "kind")
    date_hierarchy = "found_at"


@admin.register(ExchangeKey)
class ExchangeKeyAdmin(ReadOnlyAdmin):
    """What may be known of the keys in the vault; `manage.py keys` changes them."""

    list_display = ("name", "account", "environment", "key_id", "scopes", "tested_at")
    list_filter = ("account", "environment")
