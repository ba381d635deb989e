"""Configuration of traders, which people edit, and what traders did, which nobody does."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin

from kalshimm.ops.admin import AuditedAdmin, ReadOnlyAdmin
from markets.models import Market, Series
from traders.models import Fill, JournalMark, Order, SeriesRule, StrategySet, Trader


class TraderForm(forms.ModelForm):  # type: ignore[type-arg]  # takes a parameter only for the type checker
    """A trader on a market that the catalogue knows."""

    class Meta:
        model = Trader
        fields = ("name", "market_ticker", "strategy", "limits", "desired", "series_rule")

    def clean_market_ticker(self) -> str:
        ticker: str = self.cleaned_data["market_ticker"]
        if not Market.objects.filter(ticker=ticker).exists():
            raise forms.ValidationError(f"The catalogue has no market {ticker!r}; look it up under Markets.")
        return ticker


class SeriesRuleForm(forms.ModelForm):  # type: ignore[type-arg]  # as above
    """A rule for a series that the catalogue knows."""

    class Meta:
        model = SeriesRule
        fields = ("series_ticker", "strategy", "is_active", "max_traders")

    def clean_series_ticker(self) -> str:
        ticker: str = self.cleaned_data["series_ticker"]
        if not Series.objects.filter(ticker=ticker).exists():
            raise forms.ValidationError(f"The catalogue has no series {ticker!r}; look it up under Series.")
        return ticker


@admin.register(StrategySet)
class StrategySetAdmin(AuditedAdmin):
    list_display = ("name", "placement", "buffering", "flattens")
    search_fields = ("name",)


@admin.register(SeriesRule)
class SeriesRuleAdmin(AuditedAdmin):
    form = SeriesRuleForm
    list_display = ("series_ticker", "strategy", "is_active", "max_traders")
    list_filter = ("is_active",)
    list_select_related = ("strategy",)
    search_fields = ("series_ticker",)


@admin.register(Trader)
class TraderAdmin(AuditedAdmin):
    """Mode is shown, not offered: going live is not a field to tick.

    A trader keeps its market: its journal and position are of that one. Another strategy is taken up by the
    supervisor, which starts the trader anew.
    """

    form = TraderForm
    list_display = ("name", "market_ticker", "strategy", "mode", "desired", "state", "state_reason")
    list_filter = ("mode", "desired", "state")
    list_select_related = ("strategy",)
    search_fields = ("name", "market_ticker")
    readonly_fields = ("mode", "state", "state_reason", "pid", "restarts", "created_at")

    def get_readonly_fields(self, request: Any, obj: Any = None) -> Any:
        return (*self.readonly_fields, "market_ticker") if obj else self.readonly_fields

    def get_deleted_objects(self, objs: Any, request: Any) -> Any:
        """Refuse to delete what runs: without its row nobody could pause it."""
        deleted, counts, needed, protected = super().get_deleted_objects(objs, request)
        running = [f"trader {obj} runs as process {obj.pid}; stop it first" for obj in objs if obj.pid is not None]
        return deleted, counts, needed, [*protected, *running]

    def get_fieldsets(self, request: Any, obj: Any = None) -> Any:
        wanted = (None, {"fields": TraderForm.Meta.fields})
        known = ("As the supervisor knows it", {"fields": self.readonly_fields})
        return (wanted, known) if obj else (wanted,)


@admin.register(Order)
class OrderAdmin(ReadOnlyAdmin):
    list_display = ("updated_at", "trader", "ticker", "mode", "side", "price_cc", "placed_cx", "filled_cx", "status")
    list_filter = ("mode", "status")
    list_select_related = ("trader",)
    search_fields = ("ticker", "client_order_id", "order_id")
    date_hierarchy = "updated_at"


@admin.register(Fill)
class FillAdmin(ReadOnlyAdmin):
    list_display = ("time", "trader", "ticker", "mode", "side", "price_cc", "count_cx", "fee_ud", "position_cx")
    list_filter = ("mode", "is_taker", "inferred")
    list_select_related = ("trader",)
    search_fields = ("ticker", "client_order_id", "order_id", "trade_id")
    date_hierarchy = "time"


@admin.register(JournalMark)
class JournalMarkAdmin(ReadOnlyAdmin):
    list_display = ("trader", "number")
