"""The supervisor's side of series rules: which make traders now, and what keeps a live one from it.

    switched off                           it makes none; those that it has made go on
    latched                                all of its live traders are stopped, until a person releases the rule
    something missing                      likewise, and each missing thing is named
    waiting                                those that run go on; no further one, until a person starts the rule again
    the day's result not certain           likewise, until it is
    a fault of its own                     likewise, and the other rules go on
    nothing of that                        the next market's trader is made and started, in one step and by the same
                                           check as a person's start

A live rule goes over a restart of the supervisor only if one of its traders is found alive. Otherwise everything may
have been down for long, so it waits, as its traders do (traders.leases.NEEDS_RESUME).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Exists, OuterRef

from kalshimm.errors import KalshimmError
from kalshimm.ops.services import audit
from traders import fleet, grants
from traders.core.riskbook import exchange_day
from traders.core.rulerisk import Hold, Latch, day_result, loss_of
from traders.models import Mode, SeriesRule, Trader
from traders.ruleresults import results_today
from traders.rulestanding import UNDER_WAY, change, hold
from traders.ruleterms import trading
from traders.series import RollingMarket
from traders.services import RefusedChange

logger = logging.getLogger(__name__)

RESULT_EVERY_US = 2_000_000
REFUSED_AGAIN_US = 10_000_000
Standing = SeriesRule.Standing
NOT_LOOKED_AT = Hold("what it has lost could not be worked out")
NOT_FOUND = "none of its traders was alive when the supervisor came"


class SeriesRules:
    """All series rules of an installation, between looks; all that is remembered here can be lost.

    Sync: call it outside the event loop.
    """

    def __init__(self) -> None:
        self._is_new = True
        self._why: dict[int, tuple[str, str]] = {}  # of live rules: what tells reasons apart, and the reason
        self._said: dict[int, str] = {}
        self._faults: dict[int, str] = {}  # what went wrong with rules in this step
        self._losses: dict[int, Latch | Hold | None] = {}  # as the last look at each found
        self._refused: dict[str, tuple[int, str]] = {}  # markets: when to try again, and why not before
        self._now_us = self._result_at_us = 0

    def step(self, now_us: int, *, living: Collection[int], told_ud: Mapping[int, int]) -> list[str]:
        """See to all rules; return the names of the traders made now.

        Args:
            living: Ids of the traders that have a process.
            told_ud: The results of their whole lives as running traders tell them.
        """
        self._now_us = now_us
        if self._is_new:
            self._hold_unattended(living)
            self._is_new = False
        is_due = now_us - self._result_at_us >= RESULT_EVERY_US
        if is_due:
            self._result_at_us = now_us
        self._faults, before = {}, self._faults
        made: list[str] = []
        for rule in SeriesRule.objects.select_related("strategy"):
            with self._alone(rule, before):
                made += self._see_to(rule, told_ud if is_due else None)
            if rule.mode == Mode.LIVE:
                self._say(rule)
        SeriesRule.objects.exclude(mode=Mode.LIVE).exclude(state_reason="").update(state_reason="")
        return made

    def _see_to(self, rule: SeriesRule, told_ud: Mapping[int, int] | None) -> list[str]:
        """See to one rule; return the names of the traders made now.

        Args:
            told_ud: For a look at what it has lost; None leaves what the last look found.
        """
        if rule.mode == Mode.LIVE:
            if told_ud is not None:
                self._look_at_result(rule, told_ud)
            self._why[rule.pk] = self._why_not(rule)
        return fleet.apply_series_rule(rule, self._now_us, self._make)

    @contextmanager
    def _alone(self, rule: SeriesRule, before: Mapping[int, str]) -> Iterator[None]:
        """Keep what goes wrong with one rule from the others and from the traders that there are.

        Args:
            before: What went wrong in the last step, which was told then.

        Raises:
            OperationalError, InterfaceError: The database is away: nothing of the rule's own.
        """
        try:
            yield
        except (OperationalError, InterfaceError):
            raise
        except Exception as exc:  # a rule is configuration and code of many parts; the fleet must not end with it
            self._result_at_us = 0  # looked at again at once: what is not known keeps it from making traders
            self._faults[rule.pk] = f"{type(exc).__name__}: {exc}"
            if before.get(rule.pk) != self._faults[rule.pk]:
                logger.exception(
                    "series rule %s has failed", rule.series_ticker,
                    extra={"action": "rule_failed", "alert": "RULE_FAILED"},
                )  # fmt: skip

    def _hold_unattended(self, living: Collection[int]) -> None:
        alive = Trader.objects.filter(series_rule=OuterRef("pk"), mode=Mode.LIVE, pk__in=living)
        with transaction.atomic():
            hold(
                SeriesRule.objects.filter(~Exists(alive), standing=Standing.GOING),
                actor=fleet.ACTOR,
                reason=NOT_FOUND,
            )

    # --- what it has lost -----------------------------------------------------------------------------------------

    def _look_at_result(self, rule: SeriesRule, told_ud: Mapping[int, int]) -> None:
        before, self._losses[rule.pk] = self._losses.get(rule.pk), NOT_LOOKED_AT
        day = exchange_day(self._now_us)[0]
        result = day_result(results_today(rule, self._now_us, told_ud))
        released_ud = rule.released_ud if rule.released_day == day else 0
        loss = loss_of(result, day=day, most_ud=rule.daily_loss_ud, released_ud=released_ud)
        # Twice in a row: a book between two messages of one step of the exchange may show any price.
        if isinstance(loss, Latch) and isinstance(before, Latch) and rule.latched_at is None:
            _latch(rule, loss, self._now_us)
        self._losses[rule.pk] = loss

    # --- what keeps it from making traders ------------------------------------------------------------------------

    def _why_not(self, rule: SeriesRule) -> tuple[str, str]:
        """Return why a live rule makes no trader, after what tells that reason from others; both empty if it does."""
        if not rule.is_active:
            return "", ""
        missing = grants.rule_permission(rule)[1]
        if missing:  # its words tell how long ago: they change all the time
            return " ".join(one.code for one in missing), f"Missing: {grants.told(missing)}"
        if rule.standing not in UNDER_WAY:
            words = f"it waits for a person: `traders start --live --rule {rule.series_ticker}`"
            return rule.standing, words
        if (loss := self._losses.get(rule.pk)) is not None:
            return type(loss).__name__, loss.reason
        if rule.standing == Standing.STARTED:
            with transaction.atomic():
                change(rule, "series_rule.goes", fleet.ACTOR, standing=Standing.GOING.value)
        return "", ""

    def _make(self, rule: SeriesRule, markets: list[RollingMarket]) -> list[str]:
        """Make and start traders for markets as long as there is room."""
        if rule.pk not in self._why or self._why[rule.pk][0]:
            return []
        room = rule.max_traders - trading(rule).count()
        made: list[str] = []
        for market in markets:
            if len(made) >= room:
                break
            if name := self._try(rule, market):
                made.append(name)
        return made

    def _try(self, rule: SeriesRule, market: RollingMarket) -> str:
        """Make and start the trader of a market; return its name, empty where it is refused for now."""
        again_us, why = self._refused.get(market.ticker, (0, ""))
        if self._now_us >= again_us:
            self._refused.pop(market.ticker, None)
            try:
                return _start(rule, market)
            except KalshimmError as exc:
                why = str(exc)
                self._refused[market.ticker] = self._now_us + REFUSED_AGAIN_US, why
        self._why[rule.pk] = why, why
        return ""

    def _say(self, rule: SeriesRule) -> None:
        """Write down why a live rule makes no trader, and log it once."""
        if fault := self._faults.get(rule.pk):
            what, reason = fault, f"it has failed, see the log ({fault})"
        else:
            what, reason = self._why[rule.pk]
        if self._said.get(rule.pk) == what and bool(rule.state_reason) == bool(reason):
            return
        self._said[rule.pk] = what
        SeriesRule.objects.filter(pk=rule.pk).update(state_reason=reason)
        if reason:
            logger.warning(
                "series rule %s makes no live trader: %s", rule.series_ticker, reason, extra={"action": "rule_waits"}
            )
        else:
            logger.info("series rule %s makes live traders", rule.series_ticker, extra={"action": "rule_goes"})


@transaction.atomic
def _start(rule: SeriesRule, market: RollingMarket) -> str:
    """Make a trader and start it as a person would; of what is refused nothing stays."""
    trader = fleet.make_trader(rule, market)
    grants.start([trader], actor=fleet.ACTOR)  # it holds the rule's row from now on
    if not SeriesRule.objects.filter(pk=rule.pk, standing=Standing.GOING, latched_at=None).exists():
        raise RefusedChange(f"The series rule {rule.series_ticker} was told to wait meanwhile.")
    return trader.name


def _latch(rule: SeriesRule, loss: Latch, now_us: int) -> None:
    logger.error(
        "series rule %s is latched: %s", rule.series_ticker, loss.reason,
        extra={"action": "rule_latched", "alert": "RULE_LOSS"},
    )  # fmt: skip
    reason = f"{loss.reason}: `traders release --rule {rule.series_ticker}`"
    rule.latched_at, rule.latch_reason = datetime.fromtimestamp(now_us / 1_000_000, UTC), reason
    with transaction.atomic():
        rule.save(update_fields=["latched_at", "latch_reason"])
        audit(fleet.ACTOR, "series_rule.latched", rule.series_ticker, reason=loss.reason)
