"""A trader's limits, what they are compared with, and how a refusal is told.

    LATCHED                           a latch stands
    DAILY_LOSS, DRAWDOWN              the day lost too much, or fell too far from its best
    RATE_EXCEEDED                     too many new orders in the last minute
    ORDER_TOO_LARGE                   more contracts than an order may have
    PRICE_OUTSIDE_COLLAR              the YES price is too low or too high
    PRICE_BEYOND_TOUCH                the price is too far above the others' best
    PRICE_OFF_GRID                    the market has no such price
    POSITION_EXCEEDS_MAX              the position may come to more contracts than it may
    EXPOSURE_EXCEEDS_MAX              it may come to cost, or lose, more than it may
    ALLOTMENT_EXCEEDED                with what others use, more than event, account or fleet allow
    CASH_SHORT                        more cash may be needed than lies on the market's shard
    OWN_CROSS                         it would meet an order of our own, or another of the account's
    OUTSIDERS                         somebody else trades the account in this market, and the limits say to wait then
    SENDING_STOPPED                   no new order may be sent at all just now
    …_UNKNOWN                         what the limit of that name needs is not known

A figure that a limit needs and nobody knows refuses too: unknown is not zero. A limit of 0 allows nothing.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from markets.core.units import DOLLAR_CC, Side
from traders.core.exposure import Unproven
from traders.core.orders import RestingQuote
from traders.core.placing import Count, Steps
from traders.core.types import Quotes
from traders.core.why import Figures

Money = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000_000)]  # a million dollars
Loss = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000_000)]
Price = Annotated[int, msgspec.Meta(ge=1, le=DOLLAR_CC - 1)]


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A trader's own limits.

    Attributes:
        order_cx_most: Contracts of one order.
        position_cx_most: Contracts of either side, when all orders of that side fill.
        exposure_ud_most: What the open position may come to cost, or all of it may lose.
        orders_a_minute: New orders in any minute.
        price_cc_least: YES prices from here
        price_cc_most: to here.
        from_touch_steps_most: Steps of the grid by which a quote may be better than the others' best of its side; an
            empty side's best is just below its lowest price.
        daily_loss_ud: What a day may lose before the trader is latched.
        drawdown_ud: What the result may fall from its best before the trader is latched.
        breaches_a_minute: Refusals of a strategy gone wild, in any minute, before the trader is latched.
        waits_for_outsiders: Whether nothing grows while orders rest in the market that the account's owner, or another
            trader of his, has placed; they count in exposure in any case.
    """

    order_cx_most: Count = 1_000
    position_cx_most: Count = 10_000
    exposure_ud_most: Money = 100_000_000
    orders_a_minute: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 60
    price_cc_least: Price = 100
    price_cc_most: Price = 9_900
    from_touch_steps_most: Steps = 3
    daily_loss_ud: Loss = 25_000_000
    drawdown_ud: Loss = 25_000_000
    breaches_a_minute: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 20
    waits_for_outsiders: bool = False

    def __post_init__(self) -> None:
        if self.price_cc_least > self.price_cc_most:
            raise ValueError(f"price_cc_least {self.price_cc_least} is above price_cc_most {self.price_cc_most}")


TIGHTER_ABOVE = ("price_cc_least", "waits_for_outsiders")  # every other limit is tighter the smaller it is


def is_no_looser(limits: Limits, than: Limits) -> bool:
    """Return whether limits allow nothing that those others do not."""

    def is_as_tight(name: str) -> bool:
        one, other = getattr(limits, name), getattr(than, name)
        return bool(one >= other if name in TIGHTER_ABOVE else one <= other)

    return all(map(is_as_tight, Limits.__struct_fields__))


class Latch(msgspec.Struct, frozen=True):
    """Nothing grows any more since `at_us`, until a person releases it."""

    code: str
    at_us: int
    figures: Figures = {}


class Allotment(msgspec.Struct, frozen=True):
    """What an event, an account or the fleet may be exposed to, and what others of it use already; None is unknown."""

    name: str
    most_ud: int | None
    used_ud: int | None


class RiskState(msgspec.Struct, frozen=True, kw_only=True):
    """What the limits are compared with; None is unknown, and refuses what would grow risk.

    Attributes:
        position_cx: Net Yes position (No negative).
        cost_ud: What the open contracts cost, before fees.
        resting: Our orders at rest, oldest first.
        unknown: Orders, and larger states of orders at rest, that an unproven answer may have left behind.
        outside: Orders of the account in this market that are not the trader's own.
        outside_cx: Net Yes position of the account in this market that is not the trader's own.
        outside_cost_ud: What that cost at most, before fees.
        stopped: Why no new order may be sent just now, whatever it is for; empty when it may.
        created_in_minute: Orders sent in the last minute, whatever became of them.
        refused_in_minute: Refusals of the last minute, as `new_breaches` counts them.
        result_ud: The day's result.
        high_water_ud: The best that it was.
        latch: As the last decision left it; only a person takes it off.
        allotments: Of the event, the account and the fleet; empty when none are allotted.
        cash_ud: Cash on the market's shard that is there for this market: less what other markets' orders may need.
        exchange_index: The market's shard.
        shards: Cash elsewhere, by shard.
    """

    position_cx: int | None = None
    cost_ud: int | None = None
    resting: tuple[RestingQuote, ...] = ()
    unknown: tuple[Unproven, ...] = ()
    outside: tuple[Unproven, ...] = ()
    outside_cx: int | None = None
    outside_cost_ud: int | None = None
    stopped: str = ""
    created_in_minute: int | None = None
    refused_in_minute: int = 0
    result_ud: int | None = None
    high_water_ud: int | None = None
    latch: Latch | None = None
    allotments: tuple[Allotment, ...] | None = None
    cash_ud: int | None = None
    exchange_index: int = 0
    shards: dict[int, int] = {}


class Denied(msgspec.Struct, frozen=True):
    """A refusal.

    Attributes:
        code: Stable word.
        figures: What was compared.
        side: The ladder that it is about.
        fits_cx: Contracts that are allowed nevertheless.
    """

    code: str
    figures: Figures = {}
    side: Side | None = None
    fits_cx: int = 0

    @property
    def text(self) -> str:
        """What it says, with `{names}` of figures."""
        if self.code.endswith("_UNKNOWN"):
            return UNKNOWN_TEXT
        beside = BESIDE_TEXT if self.figures.get("aside_ud") else ""
        mend = MEND_TEXT if self.figures.get("from_index") is not None else ""
        return TEXTS[self.code] + beside + mend


class Checked(msgspec.Struct, frozen=True):
    """What is allowed of a wish, and what was refused of it."""

    quotes: Quotes
    denied: tuple[Denied, ...] = ()


TEXTS = {
    "BREACHES": "{refused} refusals within a minute, {most} are the most",
    "LATCHED": "latched by {latch} {age_us} ago, until a person releases it",
    "DAILY_LOSS": "the day's result is {result_ud}, a loss of {most_ud} is the most",
    "DRAWDOWN": "the result fell by {drawdown_ud} from its best, {most_ud} is the most",
    "RATE_EXCEEDED": "{created} new orders in the last minute, {most} are the most",
    "ORDER_TOO_LARGE": "an order has {most_cx} at most",
    "PRICE_OUTSIDE_COLLAR": "{yes_price_cc} is outside {least_cc} to {most_cc}",
    "PRICE_BEYOND_TOUCH": "{yes_price_cc} is {steps} steps better than the others' best, {most} are the most",
    "PRICE_OFF_GRID": "the market has no price {yes_price_cc}",
    "POSITION_EXCEEDS_MAX": "the position could come to {worst_cx}, {most_cx} is the most",
    "EXPOSURE_EXCEEDS_MAX": "exposure could come to {exposure_ud}, {most_ud} is the most",
    "ALLOTMENT_EXCEEDED": "exposure could come to {exposure_ud}, and others use {used_ud} of the {most_ud} of {name}",
    "CASH_SHORT": "{need_ud} of cash could be needed, {cash_ud} is free on shard {exchange_index}",
    "OWN_CROSS": "{yes_price_cc} would meet our own",
    "OUTSIDERS": "{orders} orders of the account rest here that are not ours",
    "SENDING_STOPPED": "no new order may be sent: {because}",
}
BESIDE_TEXT = ", {aside_ud} of it for the other side"
MEND_TEXT = "; moving {move_ud} from shard {from_index} would do"
UNKNOWN_TEXT = "a figure that limits growth is unknown: {unknown}"

# What a strategy does that went wild; the other refusals come with a full position, a bad day or an empty account.
# Not the rate: that one holds back whoever follows a nervous touch, and it holds back a wild one just as well.
BREACHES = frozenset({"ORDER_TOO_LARGE", "PRICE_OUTSIDE_COLLAR", "PRICE_BEYOND_TOUCH", "PRICE_OFF_GRID"})
