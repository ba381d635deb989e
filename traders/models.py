"""Traders as configured, and what they did.

Configuration is written by people (admin, commands) and the supervisor; orders, fills and decisions by the writer
alone, from the journal stream.
"""

from __future__ import annotations

from datetime import time

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from timescale.db.models.fields import TimescaleDateTimeField

from traders.core.decision import parse_limits
from traders.core.pipeline import GUARDS, TOLERANCES, Choice, NoStrategies, StrategyChoices
from traders.core.registry import Kind, ParamsError
from traders.series import Terms

SECOND_US = 1_000_000
DAILY_LOSS_UD_MOST = 1_000_000_000_000  # a million dollars, as of a trader's own limits
SUBACCOUNT_MOST = 63


class Mode(models.TextChoices):
    DRY_RUN = "dry-run", "Dry-run (paper)"
    LIVE = "live", "Live"


class Desired(models.TextChoices):
    RUNNING = "running", "Running"
    PAUSED = "paused", "Paused"
    FLAT = "flat", "Flat: out of its position"
    STOPPED = "stopped", "Stopped"


PAPER = "paper"  # the account of every dry-run trader

# Where a part that does not fit is shown.
FIELDS = {Kind.FLATTEN.value: "flattens", GUARDS: GUARDS, TOLERANCES: TOLERANCES}
PARAMS = "Parameters by name; empty = defaults."


class StrategySet(models.Model):
    """A named choice of strategies and their parameters, shared by any number of traders."""

    name = models.SlugField(unique=True)
    placement = models.CharField(max_length=64, default="join_best", help_text="Where it would like to rest.")
    placement_params = models.JSONField(default=dict, blank=True, help_text=PARAMS)
    buffering = models.CharField(
        max_length=64, default="none", db_default="none", help_text="How it keeps distance from being filled."
    )
    buffering_params = models.JSONField(default=dict, db_default={}, blank=True, help_text=PARAMS)
    flattens = models.JSONField(
        default=list,
        db_default=[],
        blank=True,
        help_text='How it gets out of a position, asked in this order: [{"name": "passive_exit", "params": {}}, …]. '
        "Empty = never by itself.",
    )
    guards = models.JSONField(
        default=dict, db_default={}, blank=True, help_text=f"When it does not quote, whatever its placement. {PARAMS}"
    )
    tolerances = models.JSONField(
        default=dict,
        db_default={},
        blank=True,
        help_text=f"What may differ from what it wants, for the sake of a place in the queue. {PARAMS}",
    )

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        for field in ("placement_params", "buffering_params", "guards", "tolerances"):
            if getattr(self, field) is None:  # a form's empty field
                setattr(self, field, {})
        self.flattens = self.flattens or []
        try:
            self.choices().parse()
        except NoStrategies as exc:
            field = FIELDS.get(exc.part, exc.part if exc.is_name else f"{exc.part}_params")
            raise ValidationError({field: str(exc)}) from exc

    def choices(self) -> StrategyChoices:
        """Return the set as traders are told it, unchecked."""
        return StrategyChoices(
            Choice(self.placement, self.placement_params),
            Choice(self.buffering, self.buffering_params),
            self.flattens,
            self.guards,
            self.tolerances,
        )


def _minute(at: time | None) -> int | None:
    return None if at is None else 60 * at.hour + at.minute


class SeriesRule(models.Model):
    """Gives each market of a series that it means a trader: as one closes, its successor gets the next.

    Each of its traders has these limits. An allotment of the scope `rule` is theirs together. Those of a live rule may
    trade by the rule's own grant.
    """

    class Standing(models.TextChoices):
        UNSTARTED = "unstarted", "Nobody has started it"
        STARTED = "started", "A person has started it"
        GOING = "going", "A supervisor sees to it"
        WAITING = "waiting", "It waits for a person to start it again"

    series_ticker = models.CharField(max_length=128, unique=True)
    mode = models.CharField(
        max_length=8,
        choices=Mode,
        default=Mode.DRY_RUN,
        db_default=Mode.DRY_RUN,
        help_text="Of the traders that it makes from now on. Live ones it makes only under a grant: `grants create "
        "--rule SERIES`, then `traders start --live --rule SERIES`. Back to dry-run stops those that it permits.",
    )
    account = models.CharField(
        max_length=64, blank=True, default="", db_default="", help_text="Of its live traders, as its keys name it."
    )
    strategy = models.ForeignKey(StrategySet, on_delete=models.PROTECT)
    is_active = models.BooleanField(default=True)
    max_traders = models.PositiveSmallIntegerField(
        default=1, validators=[MinValueValidator(1)], help_text="Most markets of the series traded at once."
    )
    daily_loss_ud = models.BigIntegerField(
        default=25_000_000,
        db_default=25_000_000,
        validators=[MinValueValidator(1), MaxValueValidator(DAILY_LOSS_UD_MOST)],
        help_text="What all of its live traders may lose in one of the exchange's days before it is latched, in "
        "micro-dollars: 25000000 is $25. A raised one voids its grant.",
    )
    limits = models.JSONField(
        default=dict, db_default={}, blank=True, help_text=f"Of each of its traders. {PARAMS} The defaults are small."
    )
    title_has = models.CharField(
        max_length=128, blank=True, default="", db_default="", help_text="Only markets with this in their title."
    )
    needs_program = models.BooleanField(
        default=False, db_default=False, help_text="Only markets in which a liquidity program pays, or will."
    )
    lead_s = models.PositiveIntegerField(
        default=0, db_default=0, help_text="A trader is made so many seconds before its market opens."
    )
    close_buffer_s = models.PositiveIntegerField(
        default=0, db_default=0, help_text="A trader stops so many seconds before its market closes."
    )
    begins_from = models.TimeField(
        null=True, blank=True, help_text="Traders are made from this time of the exchange's day (ET) …"
    )
    begins_until = models.TimeField(null=True, blank=True, help_text="… until this one; both empty for always.")
    # Of a live rule, as a person's start, a kill and the supervisor leave it; not for people to edit.
    standing = models.CharField(
        max_length=12, choices=Standing, default=Standing.UNSTARTED, db_default=Standing.UNSTARTED, editable=False
    )
    state_reason = models.TextField(
        blank=True, default="", db_default="", editable=False, help_text="Why it makes no live trader; empty = it does."
    )
    latched_at = models.DateTimeField(null=True, editable=False, help_text="Since when it has lost too much in a day.")
    latch_reason = models.TextField(blank=True, default="", db_default="", editable=False)
    released_day = models.CharField(
        max_length=10, blank=True, default="", db_default="", editable=False, help_text="When a person released it."
    )
    released_ud = models.BigIntegerField(
        default=0, db_default=0, editable=False, help_text="That day's result then: what follows counts from it."
    )

    class Meta:
        ordering = ["series_ticker"]

    def clean(self) -> None:
        if self.limits is None:  # a form's empty field
            self.limits = {}
        try:
            parse_limits(self.limits)
        except ParamsError as exc:
            raise ValidationError({"limits": str(exc)}) from exc
        if (self.begins_from is None) != (self.begins_until is None):
            missing = "begins_from" if self.begins_from is None else "begins_until"
            raise ValidationError({missing: "A window has a begin and an end; leave both empty for always."})

    def terms(self) -> Terms:
        """Return what it says of markets."""
        return Terms(
            most=self.max_traders,
            lead_us=self.lead_s * SECOND_US,
            close_buffer_us=self.close_buffer_s * SECOND_US,
            needs_program=self.needs_program,
            title_has=self.title_has,
            from_minute=_minute(self.begins_from),
            until_minute=_minute(self.begins_until),
        )

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
    limits = models.JSONField(
        default=dict, db_default={}, blank=True, help_text=f"What it may do at most. {PARAMS} The defaults are small."
    )
    account = models.CharField(
        max_length=64, blank=True, default="", db_default="", help_text="Of a live trader, as its keys name it."
    )
    subaccount = models.PositiveSmallIntegerField(
        null=True, blank=True, validators=[MaxValueValidator(SUBACCOUNT_MOST)], help_text="Empty: the primary one."
    )
    desired = models.CharField(max_length=8, choices=Desired, default=Desired.RUNNING)
    desired_reason = models.TextField(
        blank=True, default="", db_default="", editable=False, help_text="Why, where no person has said so."
    )
    series_rule = models.ForeignKey(SeriesRule, null=True, blank=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField(auto_now_add=True)
    # What the supervisor knows of it; not for people to edit.
    state = models.CharField(max_length=16, default="stopped", editable=False)
    state_reason = models.TextField(blank=True, editable=False)
    released_at = models.DateTimeField(null=True, editable=False, help_text="Limits that latched before are released.")
    # Of a live trader. The lease rises by one with each start; its orders name it and the group.
    lease_epoch = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    group_id = models.CharField(
        max_length=64, blank=True, default="", db_default="", editable=False, help_text="Order group of its lease."
    )
    reserved_ud = models.BigIntegerField(
        null=True, editable=False, help_text="What its start reserved of the allotments; empty = nothing."
    )
    pid = models.IntegerField(null=True, editable=False)
    archived_at = models.DateTimeField(
        null=True, editable=False, help_text="Its market has paid and it holds nothing: lists leave it out."
    )
    restarts = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        ordering = ["market_ticker", "name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if self.limits is None:  # a form's empty field
            self.limits = {}
        try:
            parse_limits(self.limits)
        except ParamsError as exc:
            raise ValidationError({"limits": str(exc)}) from exc


class Grant(models.Model):
    """A person's permission to trade live, for one trader or for what a series rule makes: account, limits, until when.

    It is never changed, but ended. A changed account or raised limit voids it: they are compared at every start.
    """

    trader = models.ForeignKey(Trader, null=True, on_delete=models.CASCADE, related_name="grants")
    rule = models.ForeignKey(SeriesRule, null=True, on_delete=models.CASCADE, related_name="grants")
    # What was confirmed of a rule; empty for a trader's.
    series_ticker = models.CharField(max_length=128, blank=True, default="", db_default="")
    max_traders = models.PositiveSmallIntegerField(null=True, help_text="Most traders at once.")
    daily_loss_ud = models.BigIntegerField(null=True, help_text="Of all of them in a day, micro-dollars.")
    environment = models.CharField(max_length=8, help_text="local, demo or prod.")
    account = models.CharField(max_length=64)
    subaccount = models.PositiveSmallIntegerField(null=True, help_text="Empty: the primary one.")
    limits = models.JSONField(help_text="The limits that were confirmed, all of them.")
    limits_digest = models.CharField(max_length=64)
    worst_loss_ud = models.BigIntegerField(help_text="What was shown as the worst, micro-dollars.")
    granted_by = models.CharField(max_length=150)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, help_text="The start flag: set by `traders start --live`.")
    revoked_at = models.DateTimeField(null=True)
    revoked_by = models.CharField(max_length=150, blank=True, default="")

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(trader=None, rule__isnull=False, max_traders__isnull=False)
                & models.Q(daily_loss_ud__isnull=False)
                | models.Q(trader__isnull=False, rule=None),
                name="grant_for_trader_or_rule",
            )
        ]

    @property
    def whom(self) -> str:
        """Return whom it names: a trader, or the series of a rule."""
        return self.trader.name if self.trader else self.series_ticker


class RetiredGroup(models.Model):
    """An order group that no lease uses any more; the supervisor deletes it at the exchange after a day."""

    account = models.CharField(max_length=64)
    environment = models.CharField(max_length=8)
    group_id = models.CharField(max_length=64)
    exchange_index = models.IntegerField()
    subaccount = models.IntegerField(null=True)
    retired_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        ordering = ["retired_at"]
        constraints = [models.UniqueConstraint(fields=["account", "group_id"], name="retired_once")]

    def __str__(self) -> str:
        return self.group_id


class Allotment(models.Model):
    """What the traders of an event, a series rule, an account or the fleet may lose together.

    Each start reserves its worst.
    """

    class Scope(models.TextChoices):
        EVENT = "event", "Event"
        ACCOUNT = "account", "Account"
        RULE = "rule", "Series rule"
        FLEET = "fleet", "Fleet"

    scope = models.CharField(max_length=8, choices=Scope)
    key = models.CharField(
        max_length=128, blank=True, default="", help_text="Event or series ticker, or account; empty for the fleet."
    )
    mode = models.CharField(max_length=8, choices=Mode, default=Mode.LIVE, help_text="Dry-run and live count apart.")
    most_ud = models.BigIntegerField(validators=[MinValueValidator(0)], help_text="Micro-dollars.")

    class Meta:
        ordering = ["scope", "key"]
        constraints = [models.UniqueConstraint(fields=["scope", "key", "mode"], name="allotment_once")]

    def __str__(self) -> str:
        return f"{self.scope} {self.key}".strip()


class Order(models.Model):
    """An order's latest state, by account and client order id, else the venue's order id."""

    account = models.CharField(max_length=64, help_text="`paper` for dry-run orders.")
    client_order_id = models.CharField(max_length=64, blank=True, help_text="Empty: a person's order without one.")
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
    journal_number = models.BigIntegerField(
        help_text="Newest line of its trader's journal on it; an older line never wins. 0: no trader has told of it."
    )
    # What the account's own stream adds; where it has told of an order, its word is the order's state.
    told_at = models.DateTimeField(null=True, help_text="Time of the account's newest word on it. Empty: none yet.")
    venue_time = models.DateTimeField(null=True, help_text="The venue's time of the change it tells.")
    is_complete = models.BooleanField(
        default=False, db_default=False, help_text="Rests no more, and all its fills are known."
    )
    is_external = models.BooleanField(default=False, db_default=False, help_text="Not placed by this installation.")
    group_id = models.CharField(max_length=64, blank=True, default="", db_default="")
    exchange_index = models.IntegerField(null=True)
    subaccount = models.IntegerField(default=0, db_default=0)
    expires_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["account", "client_order_id"], name="order_once", condition=~models.Q(client_order_id="")
            ),
            models.UniqueConstraint(
                fields=["account", "order_id"], name="order_once_by_id", condition=models.Q(client_order_id="")
            ),
        ]
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
    position_cx = models.BigIntegerField(null=True, help_text="Its trader's net Yes position after it.")
    inferred = models.BooleanField(default=False, help_text="From ticker volume, not from a print.")
    time = models.DateTimeField(db_index=True)
    is_external = models.BooleanField(null=True, help_text="Of an order that is not ours. Empty: unknown.")
    exchange_index = models.IntegerField(null=True)
    subaccount = models.IntegerField(default=0, db_default=0)

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


class RateSample(models.Model):
    """What one trader was worth in one minute; an empty figure is unknown, not zero.

    Sides are ladders: `yes` our Yes bids, `no` our No bids. Shares are billionths, floored.
    """

    pk = models.CompositePrimaryKey("time", "trader")
    time = TimescaleDateTimeField(interval="7 days", help_text="When the minute's sample was taken.")
    trader = models.IntegerField()
    market = models.IntegerField(help_text="Number of the market in the history tables.")
    mode = models.CharField(max_length=8, choices=Mode)
    state = models.CharField(max_length=16)
    rate_ud_h = models.BigIntegerField(null=True, help_text="Expected reward, micro-dollars an hour.")
    share_yes_ppb = models.BigIntegerField(null=True, help_text="Our share of the Yes side's qualifying score.")
    share_no_ppb = models.BigIntegerField(null=True)
    observed_s = models.SmallIntegerField(help_text="Seconds of the minute whose book and orders are known.")
    present_yes_s = models.SmallIntegerField(null=True, help_text="Of those, seconds resting and qualifying.")
    present_no_s = models.SmallIntegerField(null=True)
    resting_yes_cx = models.BigIntegerField(null=True, help_text="Our remaining size, all orders of the side.")
    resting_no_cx = models.BigIntegerField(null=True)
    ahead_yes_cx = models.BigIntegerField(null=True, help_text="Queue ahead of our best order of the side.")
    ahead_no_cx = models.BigIntegerField(null=True)
    buffer_yes_cx = models.BigIntegerField(null=True, help_text="Better prices and queue ahead of that order.")
    buffer_no_cx = models.BigIntegerField(null=True)
    position_cx = models.BigIntegerField(null=True, help_text="Net Yes.")
    yes_bid_cc = models.IntegerField(null=True)
    yes_ask_cc = models.IntegerField(null=True)
    fills = models.BigIntegerField(null=True, help_text="So far.")
    trading_ud = models.BigIntegerField(null=True, help_text="Trading result so far, before fees.")


class RewardMinute(models.Model):
    """What one incentive program is expected to pay an account for one minute.

    Each of its seconds is scored, forfeited (the snapshot was excluded; by whose missing side), unknown (no book to be
    trusted) or missed (nobody looked). An empty figure is unknown, not zero.
    """

    pk = models.CompositePrimaryKey("time", "market", "account", "program_id")
    time = TimescaleDateTimeField(interval="7 days", help_text="Begin of the minute.")
    market = models.IntegerField(help_text="Number of the market in the history tables.")
    account = models.CharField(max_length=64, help_text="`paper` for dry-run orders.")
    program_id = models.CharField(max_length=64)
    rule = models.CharField(max_length=32, help_text="Scoring rule the seconds were read by.")
    scored_s = models.SmallIntegerField()
    forfeited_yes_s = models.SmallIntegerField(help_text="Excluded because the Yes side, or both, did not qualify.")
    forfeited_no_s = models.SmallIntegerField(help_text="Excluded because the No side alone did not qualify.")
    unknown_s = models.SmallIntegerField()
    missed_s = models.SmallIntegerField()
    our_score_cx_s = models.BigIntegerField(
        null=True, help_text="Our scores of both sides summed over seconds, floored."
    )
    all_score_cx_s = models.BigIntegerField(null=True, help_text="Everybody's, ours included.")
    share_ppb_s = models.BigIntegerField(null=True, help_text="Pool share in billionths, summed over seconds, floored.")
    accrued_ud = models.BigIntegerField(
        null=True,
        help_text="Growth of the period's floored total in this minute: minutes sum to within one micro-dollar.",
    )


class JournalMark(models.Model):
    """Highest journal number stored, per trader: traders keep what lies above it."""

    trader = models.IntegerField(primary_key=True)
    number = models.BigIntegerField()
