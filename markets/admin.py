"""The catalogue as last read from the exchange; nothing here is for people to edit.

The history tables have composite keys, which Django 5.2's admin does not take: they have no entry here.
"""

from __future__ import annotations

from django.contrib import admin

from kalshimm.ops.admin import ReadOnlyAdmin
from markets.models import Event, IncentiveProgram, Market, MarketKey, Series


@admin.register(Series)
class SeriesAdmin(ReadOnlyAdmin):
    list_display = ("ticker", "title", "category", "frequency", "seen_at")
    list_filter = ("category", "frequency")
    search_fields = ("ticker", "title")


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    list_display = ("ticker", "title", "sub_title", "series", "mutually_exclusive", "seen_at")
    list_filter = ("mutually_exclusive",)
    list_select_related = ("series",)
    search_fields = ("ticker", "title", "sub_title")


@admin.register(Market)
class MarketAdmin(ReadOnlyAdmin):
    list_display = ("ticker", "yes_sub_title", "event", "status", "result", "open_time", "close_time")
    list_filter = ("status", "result")
    list_select_related = ("event",)
    search_fields = ("ticker", "yes_sub_title", "event__title")
    date_hierarchy = "close_time"


@admin.register(IncentiveProgram)
class IncentiveProgramAdmin(ReadOnlyAdmin):
    list_display = ("market_ticker", "incentive_type", "start_date", "end_date", "period_reward_cc", "paid_out")
    list_filter = ("incentive_type", "paid_out")
    search_fields = ("market_ticker",)


@admin.register(MarketKey)
class MarketKeyAdmin(ReadOnlyAdmin):
    list_display = ("id", "ticker")
    search_fields = ("ticker",)
