"""Traders as configured, and what they did.

Configuration is written by people (admin, commands) and the supervisor; orders, fills and decisions by the writer
alone, from the journal stream.
"""

from __future__ import annotations

from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from timescale.db.models.fields import TimescaleDateTimeField

from traders.core.registry import PLACEMENTS, ParamsError


class Mode(models.TextChoices):
    DRY_RUN = "dry-run", "Dry-run (paper)"
    LIVE = "live", "Live"


class Desired(models.TextChoices):
    RUNNING = "running", "Running"
    PAUSED = "paused", "Paused"
    STOPPED = "stopped", "Stopped"


class StrategySet(models.Model):
    """A named choice of strategies and their parameters, shared by any number of traders."""

    name = models.SlugField(unique=True)
    placement = models.CharField(max_length=32, default="join_best", help_text="Where it would like to rest.")
    placement_params = models.JSONField(default=dict, blank=True, help_text="Parameters by name; empty = defaults.")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        from django.core.exceptions import ValidationError

        if self.placement_params is None:  # a form's empty field
            self.placement_params = {}
        if self.placement not in PLACEMENTS:
            known = ", ".join(sorted(PLACEMENTS))
            raise ValidationError({"placement": f"There is no placement {self.placement!r}; known: {known}."})
        try:
            PLACEMENTS[self.placement].parse(self.placement_params)
        except ParamsError as exc:
            raise ValidationError({"placement_params": str(exc)}) from exc


class SeriesRule(models.Model):
    """Keeps one trader on the open market of a rolling series: as one closes, its successor gets the next."""

    series_ticker = models.CharField(max_length=128, unique=True)
    strategy = models.ForeignKey(StrategySet, on_delete=models.PROTECT)
    is_active = models.BooleanField(default=True)
    max_traders = models.PositiveSmallIntegerField(
        default=1, validators=[MinValueValidator(1)], help_text="Most markets of the series traded at once."
    )

    class Meta:
        ordering = ["series_ticker"]

    def __str__(self) -> str:
        return self.series_ticker


class Trader(models.Model):
    """One market, one strategy set, one broker."""

    name = models.CharField(
        max_length=64,
        unique=True,
        validators=[RegexValidator(r"^[a-z0-9][a-z0-9.-]*$", "Small letters, digits, dots and dashes only.")],
    )
    market_ticker = models.CharField(max_length=128, db_index=True)
    strategy = models.ForeignKey(StrategySet, on_delete=models.PROTECT)
    mode = models.CharField(max_length=8, choices=Mode, default=Mode.DRY_RUN)
    desired = models.CharField(max_length=8, choices=Desired, default=Desired.RUNNING)
    series_rule = models.ForeignKey(SeriesRule, null=True, blank=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField(auto_now_add=True)
    # What the supervisor knows of it; not for people to edit.
    state = models.CharField(max_length=16, default="stopped", editable=False)
    state_reason = models.TextField(blank=True, editable=False)
    pid = models.IntegerField(null=True, editable=False)
    restarts = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        ordering = ["market_ticker", "name"]

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    """An order's latest state, by account and client order id."""

    account = models.CharField(max_length=64, help_text="`paper` for dry-run orders.")
    client_order_id = models.CharField(max_length=64)
    order_id = models.CharField(max_length=64, blank=True)
    trader = models.ForeignKey(Trader, null=True, on_delete=models.SET_NULL, db_constraint=False)
    ticker = models.CharField(max_length=128, db_index=True)
    mode = models.CharField(max_length=8, choices=Mode)
    side = models.SmallIntegerField(help_text="0 bid (Yes ladder), 1 ask (No ladder).")
    price_cc = models.IntegerField(help_text="On its own side's ladder, centi-cents.")
    placed_cx = models.BigIntegerField()
    filled_cx = models.BigIntegerField()
    remaining_cx = models.BigIntegerField()
    status = models.CharField(max_length=16, db_index=True)
    reason = models.TextField(blank=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField(db_index=True)
    journal_number = models.BigIntegerField(help_text="Journal line this state comes from; an older line never wins.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "client_order_id"], name="order_once")]
        ordering = ["-updated_at"]


class Fill(models.Model):
    """One fill, once."""

    account = models.CharField(max_length=64)
    order_id = models.CharField(max_length=64)
    trade_id = models.CharField(max_length=64)
    client_order_id = models.CharField(max_length=64)
    trader = models.ForeignKey(Trader, null=True, on_delete=models.SET_NULL, db_constraint=False)
    ticker = models.CharField(max_length=128, db_index=True)
    mode = models.CharField(max_length=8, choices=Mode)
    side = models.SmallIntegerField()
    price_cc = models.IntegerField(help_text="On its own side's ladder, centi-cents.")
    count_cx = models.BigIntegerField()
    is_taker = models.BooleanField()
    fee_ud = models.BigIntegerField(null=True, help_text="Micro-dollars; empty = unknown.")
    position_cx = models.BigIntegerField(help_text="Net Yes position after it.")
    inferred = models.BooleanField(default=False, help_text="From ticker volume, not from a print.")
    time = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "order_id", "trade_id"], name="fill_once")]
        ordering = ["-time"]


class DecisionRow(models.Model):
    """Why a trader wanted what it wanted, when that changed, and its state changes."""

    pk = models.CompositePrimaryKey("time", "trader", "number")
    time = TimescaleDateTimeField(interval="1 day")
    trader = models.IntegerField()
    number = models.BigIntegerField(help_text="Journal number.")
    kind = models.CharField(max_length=16)
    reason = models.TextField()
    figures = models.JSONField()

    class Meta:
        db_table = "traders_decision"


class JournalMark(models.Model):
    """Highest journal number stored, per trader: traders keep what lies above it."""

    trader = models.IntegerField(primary_key=True)
    number = models.BigIntegerField()
