"""From what the strategy wants resting and what rests, the fewest commands that make them equal.

    what rests is as wanted           nothing; and as good as wanted is within the tolerances of price and size
    it is too much                    decrease, or cancel the last in the queue: what is in front keeps its place
    it is too little                  a second order at the wanted price: what rests keeps its place
    its price is another              place beside it and then cancel it, where there is room; else cancel, then place
    half of its lifetime has gone     renew: an expiry-only change keeps the place

In order: cancels, decreases, renewals, places, cancels of what a new order stands beside already, and at last the take.
When anything is reduced (a side less, none at all, or a position got out of), every cancel comes first.

What must not happen whatever is lost on the way, or filled meanwhile: orders of ours that meet each other, more of them
on a side than may be, more contracts on a side than are wanted, were there or have room. A broker that answers later
(`in_flight`) has carried out nothing yet when the next command leaves: what has to wait for an answer is not in the
commands, and the next decision asks again.

Costs in tokens: place, decrease, renew 10; cancel 2 (facts.md section 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from markets.core.grid import PriceGrid
from markets.core.rewards import BPS
from markets.core.settlement import Resting
from markets.core.units import DOLLAR_CC, SIDES, Side
from traders.core.commands import CancelOrder, Command, DecreaseOrder, PlaceOrder, RenewOrder, TakeOrder
from traders.core.orders import RestingQuote
from traders.core.types import Quote, Quotes, Take
from traders.core.why import said

SECOND_US = 1_000_000
Sides = frozenset[Side]


class InFlight(msgspec.Struct, frozen=True):
    """Sides with a command of that kind which nobody has answered: at most one of each is on its way.

    `amends` are decreases and renewals; `renewals` those sides where renewals alone have to wait. Where
    `bars_decreases`, no decrease will leave for some time: what rests too much is canceled in its place. While
    `is_taking`, what a take has traded is not all known: another one might trade it again.
    """

    creates: Sides = frozenset()
    cancels: Sides = frozenset()
    amends: Sides = frozenset()
    renewals: Sides = frozenset()
    bars_decreases: bool = False
    is_taking: bool = False


class DiffTerms(msgspec.Struct, frozen=True, kw_only=True):
    """How to get from what rests to what is wanted.

    Attributes:
        now_us: Needed where orders have a lifetime.
        grid: Needed where prices have a tolerance.
        tolerance_steps: An order so many steps of the grid from the wanted price stays.
        size_tolerance_bps: So many hundredths of a percent too much or too little stay; too much only where there is
            room for even more, and never while a position is got out of.
        lifetime_s: After so long the venue takes an order off unless it is renewed; 0 lets it stand without end.
        orders_a_side: So many may rest on a side.
        room_cx: By side, what may rest beside all that does; 0 has every replacement begin with a cancel.
        unknown: Orders that may rest besides: none of ours may meet them.
        in_flight: None where every command is carried out before the next one.
    """

    now_us: int = 0
    grid: PriceGrid | None = None
    tolerance_steps: int = 0
    size_tolerance_bps: int = 0
    lifetime_s: int = 0
    orders_a_side: int = 2
    room_cx: tuple[int, int] = (0, 0)
    unknown: tuple[Resting, ...] = ()
    in_flight: InFlight | None = None


DEFAULT = DiffTerms()


def diff(wanted: Quotes, resting: Sequence[RestingQuote], terms: DiffTerms = DEFAULT) -> tuple[Command, ...]:
    """Return the commands that turn `resting` into `wanted`, or as much of them as can be sent now.

    Raises:
        ValueError: More than one quote is wanted on a side, one without size, or two that meet each other.
    """
    _check(wanted)
    plans = [_plan(side, wanted, resting, terms) for side in SIDES]
    is_reducing = _gets_out(wanted) or any(plan.is_reducing for plan in plans)
    beside = [not is_reducing and _fits_beside(plan, plans[plan.side.other], resting, terms) for plan in plans]
    firsts = [order for plan in plans if not beside[plan.side] for order in _sent_cancels(plan, terms)]
    lasts = [order for plan in plans if beside[plan.side] for order in _sent_cancels(plan, terms)]
    live = resting if terms.in_flight else [order for order in resting if order not in firsts]
    unwanted = said(wanted.whys) if any(plan.cancels and plan.quote is None for plan in plans) else ""
    return (
        *(_cancel(plans[order.side], order, unwanted) for order in firsts),
        *(command for plan in plans for command in _sent_decreases(plan, terms)),
        *(command for plan in plans for command in _sent_renewals(plan, terms)),
        *(command for plan in plans for command in _sent_places(plan, live, terms)),
        *(_cancel(plans[order.side], order, unwanted) for order in lasts),
        *_sent_takes(wanted.take, plans, live, terms),
    )


def rests_as_wanted(wanted: Quotes, resting: Sequence[RestingQuote], terms: DiffTerms) -> bool:
    """Return whether one order rests for each quote, of its price and about its size, and no other, and none is due.

    Then `diff` finds no command, whatever room there is. It is what most decisions end with, and this says so in a
    tenth of the time.
    """
    quotes = wanted.quotes
    if wanted.take is not None or len(resting) != len(quotes) or any(_is_due(order, terms) for order in resting):
        return False
    if len(quotes) > 1 and (len(quotes) > 2 or quotes[0].side is quotes[1].side or _meet(*quotes)):
        return False
    return all(_rests(quote, resting, terms) for quote in quotes)


def _rests(quote: Quote, resting: Sequence[RestingQuote], terms: DiffTerms) -> bool:
    orders = [order for order in resting if order.side is quote.side]
    if len(orders) != 1 or orders[0].price_cc != quote.price_cc:
        return False
    short_cx = quote.count_cx - orders[0].remaining_cx
    return 0 <= short_cx <= quote.count_cx * terms.size_tolerance_bps // BPS


class _Plan(msgspec.Struct, frozen=True):
    """What shall become of one side, however long it takes.

    Attributes:
        quote: What is wanted; None for nothing.
        orders: All that rest.
        kept: Those that stay, the best places first.
        cancels: Those that do not, the most exposed first.
        least_cx: What the last one kept is decreased to; 0 leaves it.
        place_cx: Size of a new order; 0 needs none.
        is_reducing: Whether less shall rest than does.
        take: What shall be traded at once, of either side.
    """

    side: Side
    quote: Quote | None
    orders: tuple[RestingQuote, ...]
    kept: tuple[RestingQuote, ...] = ()
    cancels: tuple[RestingQuote, ...] = ()
    least_cx: int = 0
    place_cx: int = 0
    is_reducing: bool = False
    take: Take | None = None


def _check(wanted: Quotes) -> None:
    for side in SIDES:
        quotes = [quote for quote in wanted.quotes if quote.side is side]
        if len(quotes) > 1:
            raise ValueError(f"{len(quotes)} quotes are wanted on the {side.book_side}; at most one is allowed")
        if quotes and quotes[0].count_cx <= 0:
            raise ValueError(f"a {side.book_side} without size is wanted")
    if len(wanted.quotes) > 1 and sum(quote.price_cc for quote in wanted.quotes) >= DOLLAR_CC:
        raise ValueError("a bid and an ask are wanted that meet each other")


def _gets_out(wanted: Quotes) -> bool:
    return wanted.take is not None or wanted.flattening is not None


# What shall become of a side


def _plan(side: Side, wanted: Quotes, resting: Sequence[RestingQuote], terms: DiffTerms) -> _Plan:
    orders = tuple(order for order in resting if order.side is side)
    quote = wanted.on(side)
    if quote is None or _meets_take(quote, wanted.take):
        return _Plan(side, None, orders, (), _exposed_first(orders), is_reducing=bool(orders), take=wanted.take)
    slack_cx = quote.count_cx * terms.size_tolerance_bps // BPS
    over_cx = slack_cx if terms.room_cx[side] > 0 and not _gets_out(wanted) else 0
    kept = _kept(quote, wanted, orders, terms, slack_cx=slack_cx, over_cx=over_cx)
    short_cx = quote.count_cx - _total_cx(kept)
    least_cx = kept[-1].remaining_cx + short_cx if short_cx < -over_cx else 0
    if least_cx and terms.in_flight and terms.in_flight.bars_decreases:
        kept.pop()
        least_cx = 0
    place_cx = short_cx if short_cx > slack_cx else 0
    if place_cx and len(kept) == terms.orders_a_side:
        place_cx += kept.pop().remaining_cx  # no room for one more: the last in the queue becomes part of the new one
    return _Plan(
        side,
        quote,
        orders,
        tuple(kept),
        _exposed_first([order for order in orders if order not in kept]),
        least_cx,
        place_cx,
        is_reducing=_total_cx(orders) > quote.count_cx + over_cx,
        take=wanted.take,
    )


def _kept(
    quote: Quote, wanted: Quotes, orders: Sequence[RestingQuote], terms: DiffTerms, *, slack_cx: int, over_cx: int
) -> list[RestingQuote]:
    """Return the orders that stay: those closest to the wanted price, the oldest first, until they are enough."""
    good = [(distance, order) for order in orders if (distance := _distance(order, quote, wanted, terms)) is not None]
    good.sort(key=lambda one: (one[0], one[1].rested_us))
    kept = [order for _, order in good[: terms.orders_a_side]]
    if len(kept) == len(good) and _total_cx(kept) <= quote.count_cx + over_cx:
        return kept
    while len(kept) > 1 and _total_cx(kept[:-1]) + slack_cx >= quote.count_cx:
        kept.pop()
    return kept


def _distance(order: RestingQuote, quote: Quote, wanted: Quotes, terms: DiffTerms) -> int | None:
    """Return the steps between an order and the wanted price, None when it may not stay."""
    if order.price_cc == quote.price_cc:
        return 0
    if not terms.tolerance_steps or terms.grid is None or _meets_take(order, wanted.take):
        return None
    if wanted.must_qualify and order.price_cc < quote.price_cc:
        return None
    other = wanted.on(quote.side.other)
    if other is not None and _meet(order, other):
        return None
    steps = abs(terms.grid.rank(order.side, order.price_cc) - terms.grid.rank(order.side, quote.price_cc))
    return steps if steps <= terms.tolerance_steps else None


def _exposed_first(orders: Iterable[RestingQuote]) -> tuple[RestingQuote, ...]:
    return tuple(sorted(orders, key=lambda order: -order.price_cc))


def _total_cx(orders: Iterable[Resting]) -> int:
    return sum([order.remaining_cx for order in orders])


class _Priced(Protocol):
    @property
    def side(self) -> Side: ...
    @property
    def price_cc(self) -> int: ...


def _meet(one: _Priced, other: _Priced) -> bool:
    return one.side is not other.side and one.price_cc + other.price_cc >= DOLLAR_CC


def _meets_take(one: _Priced, take: Take | None) -> bool:
    return take is not None and one.side is not take.side and one.price_cc + take.limit_cc >= DOLLAR_CC


# What of it can be sent now


def _fits_beside(plan: _Plan, other: _Plan, resting: Sequence[RestingQuote], terms: DiffTerms) -> bool:
    """Return whether the new order may rest before what it replaces is canceled."""
    if not plan.cancels or not _sent_places(plan, resting, terms):
        return False
    # What the other side's new order would meet has to go before it comes.
    return not (other.quote and other.place_cx and any(_meet(order, other.quote) for order in plan.cancels))


def _sent_cancels(plan: _Plan, terms: DiffTerms) -> tuple[RestingQuote, ...]:
    if terms.in_flight is None:
        return plan.cancels
    return () if plan.side in terms.in_flight.cancels else plan.cancels[:1]


def _sent_decreases(plan: _Plan, terms: DiffTerms) -> list[Command]:
    if not plan.least_cx or (terms.in_flight and plan.side in terms.in_flight.amends):
        return []
    return [DecreaseOrder(plan.kept[-1].client_order_id, plan.least_cx)]


def _sent_renewals(plan: _Plan, terms: DiffTerms) -> list[Command]:
    lifetime_us = terms.lifetime_s * SECOND_US
    due = [order for order in plan.kept if _is_due(order, terms)]
    if terms.in_flight:
        due.sort(key=lambda order: order.expires_us or 0)
        waits = plan.side in terms.in_flight.amends or plan.side in terms.in_flight.renewals
        due = [] if plan.least_cx or waits else due[:1]
    return [RenewOrder(order.client_order_id, terms.now_us + lifetime_us) for order in due]


def _is_due(order: RestingQuote, terms: DiffTerms) -> bool:
    """Return whether an order is to be renewed; one at its end is gone."""
    if not terms.lifetime_s or due_us(order, terms.lifetime_s) > terms.now_us:
        return False
    return order.expires_us is None or terms.now_us < order.expires_us


def due_us(order: RestingQuote, lifetime_s: int) -> int:
    """Return when an order comes due for renewal: once half of its lifetime has gone, at once where it has no end."""
    return 0 if order.expires_us is None else order.expires_us - lifetime_s * SECOND_US // 2 + 1


def _sent_places(plan: _Plan, live: Sequence[RestingQuote], terms: DiffTerms) -> list[Command]:
    """Return the new order, unless it has to wait.

    Args:
        live: What may rest of our own when it arrives.
    """
    quote = plan.quote
    if quote is None or not plan.place_cx or _create_has_to_wait(plan, terms):
        return []
    ours = [order for order in live if order.side is plan.side]
    number = len(ours) + sum(order.side is plan.side for order in terms.unknown)
    most_cx = max(quote.count_cx, _total_cx(plan.orders) + terms.room_cx[plan.side])
    if number >= terms.orders_a_side or _total_cx(ours) + plan.place_cx > most_cx:
        return []
    if any(_meet(quote, order) for order in (*live, *terms.unknown)):
        return []
    expires_us = terms.now_us + terms.lifetime_s * SECOND_US if terms.lifetime_s else None
    return [PlaceOrder(plan.side, quote.price_cc, plan.place_cx, expires_us)]


def _create_has_to_wait(plan: _Plan, terms: DiffTerms) -> bool:
    if terms.in_flight is None:
        return False
    return plan.side in terms.in_flight.creates or (plan.take is not None and plan.take.side is plan.side)


def _sent_takes(
    take: Take | None, plans: Sequence[_Plan], live: Sequence[RestingQuote], terms: DiffTerms
) -> list[Command]:
    """Return the take, unless an order of ours still rests that it would meet, or that would get out as well.

    Unknown ones do not hold it up: getting out is not to wait for them, and the venue lets nobody trade with himself.
    """
    if take is None:
        return []
    waits = terms.in_flight
    if waits and (waits.is_taking or take.side in waits.creates or take.side in waits.cancels):
        return []  # what is canceled may fill yet, and both together pass through zero
    if any(_meets_take(order, take) or order in plans[take.side].cancels for order in live):
        return []
    return [TakeOrder(take.side, take.limit_cc, take.count_cx)]


def _cancel(plan: _Plan, order: RestingQuote, unwanted: str) -> CancelOrder:
    if plan.quote is None:
        reason = "it would meet our own take" if _meets_take(order, plan.take) else unwanted
    else:
        reason = "resized" if order.price_cc == plan.quote.price_cc else "repriced"
    return CancelOrder(order.client_order_id, reason)
