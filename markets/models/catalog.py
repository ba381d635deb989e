"""The venue's catalogue as last read: series, their events, their markets, incentive programs."""

from __future__ import annotations

from datetime import datetime

from django.db import models

from markets.core.fees import FeeSchedule, FeeTerms
from markets.core.grid import PriceGrid, PriceRange
from markets.core.rewards import ProgramTerms


class Series(models.Model):
    """A template of events, such as one city's daily high temperature."""

    ticker = models.CharField(primary_key=True, max_length=128)
    title = models.TextField(blank=True)
    category = models.CharField(max_length=64, blank=True)
    frequency = models.CharField(max_length=32, blank=True)
    fee_type = models.CharField(max_length=64, blank=True)
    fee_multiplier = models.CharField(max_length=32, blank=True, help_text="As the venue writes it; exact text.")
    seen_at = models.DateTimeField(help_text="When the catalogue last showed it.")

    class Meta:
        verbose_name_plural = "series"
        ordering = ["ticker"]

    def __str__(self) -> str:
        return self.ticker


class Event(models.Model):
    """One occasion with one or more markets."""

    ticker = models.CharField(primary_key=True, max_length=128)
    series = models.ForeignKey(Series, on_delete=models.CASCADE, related_name="events")
    title = models.TextField(blank=True)
    sub_title = models.TextField(blank=True)
    mutually_exclusive = models.BooleanField(default=False, help_text="At most one market can settle Yes.")
    exchange_index = models.IntegerField(default=0)
    fee_type_override = models.CharField(
        max_length=64, blank=True, default="", db_default="", help_text="Empty: the fees of its series."
    )
    fee_multiplier_override = models.CharField(max_length=32, blank=True, default="", db_default="")
    strike_date = models.DateTimeField(null=True, help_text="The moment it is about; empty for a period, or unknown.")
    milestones = models.JSONField(
        default=list, db_default=[], help_text="[[microseconds, name], …] of what its outcome hangs on, oldest first."
    )
    seen_at = models.DateTimeField()

    class Meta:
        ordering = ["ticker"]

    def __str__(self) -> str:
        return self.ticker

    def fees(self) -> FeeSchedule | None:
        """Return what its fills are charged by; None while that is unknown."""
        if self.fee_type_override or self.fee_multiplier_override:
            # Either may be overridden alone: the venue then means the other of the series.
            return FeeSchedule.parse(
                self.fee_type_override or self.series.fee_type,
                self.fee_multiplier_override or self.series.fee_multiplier,
            )
        return FeeSchedule.parse(self.series.fee_type, self.series.fee_multiplier)


class Market(models.Model):
    """One Yes/No question."""

    ticker = models.CharField(primary_key=True, max_length=128)
    event = models.ForeignKey(Event, on_delete=models.CASCADE, related_name="markets")
    yes_sub_title = models.TextField(blank=True)
    status = models.CharField(max_length=16, db_index=True, help_text="The venue's word: initialized, active, …")
    result = models.CharField(max_length=8, blank=True)
    open_time = models.DateTimeField()
    close_time = models.DateTimeField(db_index=True)
    occurrence_time = models.DateTimeField(null=True, help_text="When what it asks about happens; empty = unknown.")
    expected_expiration_time = models.DateTimeField(null=True, help_text="When its result is likely to be known.")
    settlement_value_ud = models.BigIntegerField(
        null=True, help_text="Worth of one Yes contract, micro-dollars; empty = not determined."
    )
    settlement_time = models.DateTimeField(null=True, help_text="When it paid out.")
    exchange_index = models.IntegerField(default=0)
    price_ranges = models.JSONField(help_text="[[start, end, step], …] in centi-cents of the Yes price.")
    fee_waived_until = models.DateTimeField(null=True, help_text="Its fills are free until then.")
    seen_at = models.DateTimeField()

    class Meta:
        ordering = ["ticker"]

    def __str__(self) -> str:
        return self.ticker

    def grid(self) -> PriceGrid:
        return PriceGrid(PriceRange(*band) for band in self.price_ranges)

    def fee_terms(self) -> FeeTerms | None:
        """Return what its fills are charged; None while that is unknown."""
        schedule = self.event.fees()
        if schedule is None:
            return None
        until = self.fee_waived_until
        return FeeTerms(schedule, None if until is None else microseconds(until))


class IncentiveProgram(models.Model):
    """A period in which the venue pays for liquidity or volume in a market."""

    id = models.CharField(primary_key=True, max_length=64)
    market_ticker = models.CharField(max_length=128, db_index=True)
    incentive_type = models.CharField(max_length=32)
    start_date = models.DateTimeField()
    end_date = models.DateTimeField()
    period_reward_cc = models.BigIntegerField(help_text="Centi-cents ($0.0001) for the whole period.")
    target_size_cx = models.BigIntegerField(null=True, help_text="Hundredths of a contract; empty = not published.")
    discount_factor_bps = models.IntegerField(null=True)
    paid_out = models.BooleanField(default=False)
    seen_at = models.DateTimeField()

    class Meta:
        ordering = ["start_date", "id"]

    def __str__(self) -> str:
        return f"{self.market_ticker} {self.incentive_type}"

    def terms(self) -> ProgramTerms:
        """Return the program as it is scored."""
        return ProgramTerms(
            program_id=self.id,
            period_reward_cc=self.period_reward_cc,
            target_size_cx=self.target_size_cx,
            discount_bps=self.discount_factor_bps,
            start_us=microseconds(self.start_date),
            end_us=microseconds(self.end_date),
            incentive_type=self.incentive_type,
        )


def microseconds(moment: datetime) -> int:
    """Return microseconds since 1970 of an aware time."""
    return round(moment.timestamp() * 1_000_000)
