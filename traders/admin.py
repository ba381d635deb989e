"""Configuration of traders, which people edit, and what traders did, which nobody does."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin, messages

from kalshimm.errors import KalshimmError
from kalshimm.ops.admin import AuditedAdmin, ReadOnlyAdmin
from markets.core.units import DOLLAR_UD
from markets.formatting import dollars
from markets.models import Event, Market, Series
from traders.accounts import chosen_account
from traders.allotments import held_ud, known_accounts, reserved_ud
from traders.models import Allotment, Desired, Fill, Grant, JournalMark, Mode, Order, SeriesRule, StrategySet, Trader
from traders.ruleterms import trading


class TraderForm(forms.ModelForm):  # type: ignore[type-arg]  # takes a parameter only for the type checker
    """A trader on a market that the catalogue knows."""

    class Meta:
        model = Trader
        fields = ("name", "market_ticker", "strategy", "account", "subaccount", "limits", "desired", "series_rule")

    def clean_market_ticker(self) -> str:
        ticker: str = self.cleaned_data["market_ticker"]
        if not Market.objects.filter(ticker=ticker).exists():
            raise forms.ValidationError(f"The catalogue has no market {ticker!r}; look it up under Markets.")
        return ticker

    def clean_account(self) -> str:
        name: str = self.cleaned_data["account"]
        if self.instance.mode == Mode.DRY_RUN:
            if name:
                raise forms.ValidationError("A dry-run trader trades on no account; leave it empty.")
            return ""
        try:
            return chosen_account(name)
        except KalshimmError as exc:
            raise forms.ValidationError(str(exc)) from exc

    def clean_subaccount(self) -> int | None:
        number: int | None = self.cleaned_data["subaccount"]
        if number is not None and self.instance.mode == Mode.DRY_RUN:
            raise forms.ValidationError("A dry-run trader trades on no account; leave it empty.")
        return number

    def clean_desired(self) -> str:
        """Refuse to start a live trader: that takes what only `traders start --live` looks at."""
        desired: str = self.cleaned_data["desired"]
        is_start = desired != Desired.STOPPED and self.initial.get("desired") == Desired.STOPPED
        if is_start and self.instance.mode == Mode.LIVE:
            raise forms.ValidationError(f"A live trader is started by `traders start --live {self.instance.name}`.")
        return desired


class SeriesRuleForm(forms.ModelForm):  # type: ignore[type-arg]  # as above
    """A rule for a series that the catalogue knows."""

    class Meta:
        model = SeriesRule
        fields = (
            "series_ticker", "mode", "account", "strategy", "is_active", "max_traders", "daily_loss_ud", "limits",
            "title_has", "needs_program", "lead_s", "close_buffer_s", "begins_from", "begins_until",
        )  # fmt: skip

    def clean_series_ticker(self) -> str:
        ticker: str = self.cleaned_data["series_ticker"]
        if not Series.objects.filter(ticker=ticker).exists():
            raise forms.ValidationError(f"The catalogue has no series {ticker!r}; look it up under Series.")
        return ticker

    def clean_account(self) -> str:
        """Fill in the only account that there is, once the rule is live."""
        name: str = self.cleaned_data["account"]
        if not name and self.cleaned_data.get("mode") != Mode.LIVE:
            return ""
        try:
            return chosen_account(name)
        except KalshimmError as exc:
            raise forms.ValidationError(str(exc)) from exc


@admin.register(StrategySet)
class StrategySetAdmin(AuditedAdmin):
    list_display = ("name", "placement", "buffering", "flattens")
    search_fields = ("name",)


@admin.register(SeriesRule)
class SeriesRuleAdmin(AuditedAdmin):
    form = SeriesRuleForm
    list_display = ("series_ticker", "mode", "strategy", "is_active", "max_traders", "standing", "state_reason")
    list_filter = ("mode", "is_active")
    list_select_related = ("strategy",)
    search_fields = ("series_ticker",)

    def get_readonly_fields(self, request: Any, obj: Any = None) -> Any:
        return ("series_ticker",) if obj else ()  # its traders, grants and allotment are of that one

    def get_deleted_objects(self, objs: Any, request: Any) -> Any:
        """Refuse to delete a rule whose live traders trade: nobody would stop them before the close."""
        deleted, counts, needed, protected = super().get_deleted_objects(objs, request)
        needed.discard(Grant._meta.verbose_name)  # they go with their rule; the audit log keeps who gave them
        live = [f"live traders of the rule {obj} trade; stop them first" for obj in objs if trading(obj).exists()]
        return deleted, counts, needed, [*protected, *live]


@admin.register(Trader)
class TraderAdmin(AuditedAdmin):
    """Mode is shown, not offered: going live is not a field to tick.

    A trader keeps its market, and from its first lease on its account: its journal and position are of those. Another
    strategy is taken up by the supervisor, which starts the trader anew.
    """

    form = TraderForm
    list_display = ("name", "market_ticker", "strategy", "mode", "account", "desired", "state", "state_reason")
    list_filter = ("mode", "account", "desired", "state")
    list_select_related = ("strategy",)
    search_fields = ("name", "market_ticker")
    readonly_fields = ("mode", "state", "state_reason", "pid", "restarts", "created_at")

    def get_readonly_fields(self, request: Any, obj: Any = None) -> Any:
        if obj is None:
            return self.readonly_fields
        place = ("account", "subaccount") if obj.lease_epoch else ()
        return (*self.readonly_fields, "market_ticker", *place)

    def get_deleted_objects(self, objs: Any, request: Any) -> Any:
        """Refuse to delete what runs, may have orders at the exchange, or holds real contracts.

        Nobody could pause it, pull its orders, or count what its position may lose.
        """
        deleted, counts, needed, protected = super().get_deleted_objects(objs, request)
        running = [f"trader {obj} runs as process {obj.pid}; stop it first" for obj in objs if obj.pid is not None]
        leased = [
            f"orders of trader {obj} may rest at the exchange under group {obj.group_id}; stop it and wait until they "
            "are pulled"
            for obj in objs
            if obj.pid is None and obj.group_id
        ]
        held = [why for obj in objs if obj.pid is None and not obj.group_id and (why := _why_held(obj))]
        needed.discard(Grant._meta.verbose_name)  # they go with their trader; the audit log keeps who gave them
        return deleted, counts, needed, [*protected, *running, *leased, *held]

    def get_fieldsets(self, request: Any, obj: Any = None) -> Any:
        wanted = (None, {"fields": TraderForm.Meta.fields})
        known = ("As the supervisor knows it", {"fields": self.readonly_fields})
        return (wanted, known) if obj else (wanted,)


def _why_held(trader: Trader) -> str:
    """Return why a live trader without a process is still needed; empty when it is not."""
    if trader.mode != Mode.LIVE:
        return ""
    cost_ud = held_ud(trader)
    if cost_ud is None:
        return f"the last orders of trader {trader} are not in the database yet; wait until the writer has stored them"
    why = f"trader {trader} holds contracts that cost {dollars(cost_ud)}, and its market has not paid; sell them first"
    return why if cost_ud else ""


@admin.register(Grant)
class GrantAdmin(ReadOnlyAdmin):
    """Given by `grants create`, which restates what it permits and wants the trader's name or the series typed."""

    list_display = (
        "created_at", "trader", "rule", "environment", "account", "subaccount", "worst_loss_ud", "granted_by",
        "expires_at", "started_at", "revoked_at",
    )  # fmt: skip
    list_filter = ("environment", "account")
    list_select_related = ("trader", "rule")
    search_fields = ("trader__name", "series_ticker", "granted_by")
    date_hierarchy = "created_at"


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


class AllotmentForm(forms.ModelForm):  # type: ignore[type-arg]  # as above
    """An allotment in dollars, for an event or an account that there is: one misspelt would limit nobody."""

    most_dollars = forms.DecimalField(
        label="Most, in dollars",
        min_value=0,
        max_digits=12,
        decimal_places=2,
        help_text="What its traders may lose together. Those that run go by the old amount until they start anew.",
    )

    class Meta:
        model = Allotment
        fields = ("scope", "key", "mode")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            self.initial["most_dollars"] = Decimal(self.instance.most_ud) / DOLLAR_UD

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        scope, key, mode = cleaned.get("scope"), cleaned.get("key"), cleaned.get("mode")
        if scope == Allotment.Scope.FLEET and key:
            self.add_error("key", "The fleet has no key; leave it empty.")
        elif scope == Allotment.Scope.RULE and not SeriesRule.objects.filter(series_ticker=key).exists():
            self.add_error("key", f"No rule follows a series {key!r}; see Series rules.")
        elif scope == Allotment.Scope.EVENT and not Event.objects.filter(pk=key).exists():
            self.add_error("key", f"The catalogue has no event {key!r}; look it up under Events.")
        elif scope == Allotment.Scope.ACCOUNT and mode and key not in (known := known_accounts(mode)):
            self.add_error("key", f"Traders of this mode have no account {key!r}; known: {', '.join(known)}.")
        if "most_dollars" in cleaned:
            self.instance.most_ud = int(cleaned["most_dollars"] * DOLLAR_UD)
        return cleaned


@admin.register(Allotment)
class AllotmentAdmin(AuditedAdmin):
    """What event, account and fleet may lose; how much of it is reserved stands beside it."""

    form = AllotmentForm
    list_display = ("__str__", "mode", "most", "reserved")
    list_filter = ("scope", "mode")
    search_fields = ("key",)

    @admin.display(description="most", ordering="most_ud")
    def most(self, row: Allotment) -> str:
        return dollars(row.most_ud)

    @admin.display(description="reserved")
    def reserved(self, row: Allotment) -> str:
        return dollars(reserved_ud(row))

    def save_model(self, request: Any, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        over_ud = reserved_ud(obj) - obj.most_ud
        if over_ud > 0:
            traders = "Its traders have reserved {} more than that: none starts until they have given it back."
            messages.warning(request, traders.format(dollars(over_ud)))
