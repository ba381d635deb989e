"""One decision: from a market and what we have in it to commands, with every reason and refusal.

    MarketView + TraderState → strategies → risk → diff → commands → risk, once more

The same for dry-run, live and backtest: values in, values out.
"""

from __future__ import annotations

from typing import cast

import msgspec

from markets.core.grid import PriceGrid
from markets.core.units import Side
from traders.core.commands import CancelOrder, Command, PlaceOrder, TakeOrder
from traders.core.diff import DiffTerms, InFlight, diff, due_us, rests_as_wanted
from traders.core.exposure import Unproven
from traders.core.flattening import flattened
from traders.core.limits import Denied, Limits, RiskState
from traders.core.orders import RestingQuote
from traders.core.pipeline import Strategies
from traders.core.registry import parse_params
from traders.core.risk import checked, denied_command, room_cx
from traders.core.types import Flattening, MarketView, Quote, Quotes, Take, TraderState
from traders.core.uncertain import unmoved
from traders.core.why import Why

NO_SIDES: frozenset[Side] = frozenset()
NEVER_US = 1 << 63


class Rules(msgspec.Struct, frozen=True):
    """What a trader decides by."""

    strategies: Strategies
    limits: Limits = Limits()

    def with_lifetime(self, least_s: int) -> Rules:
        """Return the rules with orders that end by themselves, after `least_s` or what the strategies choose above."""
        tolerances = self.strategies.tolerances
        longer = msgspec.structs.replace(tolerances, lifetime_s=max(least_s, tolerances.lifetime_s))
        return Rules(msgspec.structs.replace(self.strategies, tolerances=longer), self.limits)


def parse_limits(raw: object) -> Limits:
    """Return limits from a JSON object; absent ones take their defaults, which are small.

    Raises:
        ParamsError: One is unknown, of the wrong type or out of bounds; the message names it.
    """
    return cast("Limits", parse_params("limits", Limits, raw))


class Seen(msgspec.Struct, frozen=True):
    """All that limits and diff look at, but for the time and what never changes while a trader runs."""

    quotes: tuple[Quote, ...]
    take: Take | None
    must_qualify: bool
    flattening: Flattening | None
    resting: tuple[RestingQuote, ...]
    risk: RiskState
    in_flight: InFlight | None
    grid: PriceGrid
    yes_cc: int
    no_cc: int


class Decided(msgspec.Struct, frozen=True):
    """What is wanted as far as it is allowed, what was refused, and what to tell the broker.

    Attributes:
        calm: What was seen, if nothing is to be done; time alone cannot change that, nor what was refused,
        calm_until_us: until an order comes due for renewal.
        limited: The reasons among those of `wanted` that limits gave: the last ones.
    """

    wanted: Quotes
    denied: tuple[Denied, ...]
    commands: tuple[Command, ...]
    calm: Seen | None = None
    calm_until_us: int = NEVER_US
    limited: tuple[Why, ...] = ()


def decide(
    view: MarketView,
    state: TraderState,
    rules: Rules,
    risk: RiskState,
    *,
    flat_by: str = "",
    in_flight: InFlight | None = None,
    uncertain: frozenset[Side] = NO_SIDES,
    before: Decided | None = None,
) -> Decided:
    """Return the decision on a market that may be quoted.

    Args:
        flat_by: Who wants the trader to be flat, whatever its strategies want; nobody when it is empty.
        in_flight: As of `DiffTerms`.
        uncertain: Sides of which nobody knows what of the touch is ours.
        before: An earlier decision by these rules. The answer is the same without it; but where limits and diff would
            see just what they saw then, and found nothing to do, they need not look again (0.7 µs instead of 25).
    """
    wanted = flattened(view, state, flat_by) if flat_by else rules.strategies.wanted(view, state)
    if uncertain:
        wanted = unmoved(wanted, state.resting, uncertain)
    seen = _seen(view, state, wanted, risk, in_flight)
    if before is not None and _is_still_calm(before, seen, view.time_us):
        if before.denied:
            return _denied_again(before, wanted, seen)
        return Decided(wanted, (), (), seen, before.calm_until_us)
    allowed = checked(view, state, wanted, rules.limits, risk)
    commands = _commands(view, state, allowed.quotes, rules, risk, in_flight=in_flight)
    passed, refused = _last_look(commands, view, rules.limits, risk, is_at_once=in_flight is None)
    whys = [Why(one.code, "{side} held: " + one.text, one.figures, one.side) for one in refused]
    denied = (*allowed.denied, *refused)
    limited = allowed.quotes.because(*whys) if whys else allowed.quotes
    if commands or (denied and risk.latch is not None):  # a latch is told with its age
        return Decided(limited, denied, passed)
    until_us = _first_due_us(state.resting, rules.strategies.tolerances.lifetime_s)
    return Decided(limited, denied, (), seen, until_us, limited.whys[len(wanted.whys) :])


def _denied_again(before: Decided, wanted: Quotes, seen: Seen) -> Decided:
    """Return the same decision with what strategies say now."""
    limited = msgspec.structs.replace(before.wanted, whys=(*wanted.whys, *before.limited))
    return Decided(limited, before.denied, (), seen, before.calm_until_us, before.limited)


def _seen(view: MarketView, state: TraderState, wanted: Quotes, risk: RiskState, in_flight: InFlight | None) -> Seen:
    yes_cc, no_cc = view.book.best_cc
    return Seen(
        tuple(wanted.quotes),  # whatever a plug-in made of them
        wanted.take,
        wanted.must_qualify,
        wanted.flattening,
        state.resting,
        risk,
        in_flight,
        view.grid,
        yes_cc,
        no_cc,
    )


def _first_due_us(resting: tuple[RestingQuote, ...], lifetime_s: int) -> int:
    return min([due_us(order, lifetime_s) for order in resting], default=NEVER_US) if lifetime_s else NEVER_US


def _is_still_calm(before: Decided, seen: Seen, now_us: int) -> bool:
    """Return whether limits and diff would see what they saw then."""
    calm = before.calm
    if calm is None or now_us >= before.calm_until_us:
        return False
    return calm == seen or _are_same_but_for_places(calm, seen)


def _are_same_but_for_places(one: Seen, other: Seen) -> bool:
    """Return whether nothing differs but places in the queue: they move often, and are not for limits and diff."""
    if not (_are_same(one.resting, other.resting) and _are_same(one.risk.resting, other.risk.resting)):
        return False
    risk = msgspec.structs.replace(other.risk, resting=one.risk.resting)
    return one == msgspec.structs.replace(other, resting=one.resting, risk=risk)


def _are_same(orders: tuple[RestingQuote, ...], others: tuple[RestingQuote, ...]) -> bool:
    return orders is others or (len(orders) == len(others) and all(map(_is_same_order, orders, others)))


def _is_same_order(order: RestingQuote, other: RestingQuote) -> bool:
    return order == other or order == msgspec.structs.replace(other, ahead_cx=order.ahead_cx)


def _commands(
    view: MarketView, state: TraderState, wanted: Quotes, rules: Rules, risk: RiskState, *, in_flight: InFlight | None
) -> tuple[Command, ...]:
    tolerances = rules.strategies.tolerances
    terms = DiffTerms(
        now_us=view.time_us,
        grid=view.grid,
        tolerance_steps=tolerances.price_steps,
        size_tolerance_bps=tolerances.size_bps,
        lifetime_s=tolerances.lifetime_s,
        orders_a_side=tolerances.orders_a_side,
        unknown=risk.unknown,
        in_flight=in_flight,
    )
    if rests_as_wanted(wanted, state.resting, terms):
        return ()
    room = room_cx(view, wanted, rules.limits, risk)
    return diff(wanted, state.resting, msgspec.structs.replace(terms, room_cx=room))


def _last_look(
    commands: tuple[Command, ...], view: MarketView, limits: Limits, risk: RiskState, *, is_at_once: bool
) -> tuple[tuple[Command, ...], tuple[Denied, ...]]:
    """Return the commands that may go, each beside what those before it leave, and why the others may not.

    Args:
        is_at_once: Whether a command is carried out before the next one: else what is canceled may rest yet.
    """
    passed: list[Command] = []
    denied: list[Denied] = []
    for command in commands:
        refusal = denied_command(command, view, limits, risk)
        if refusal is None:
            passed.append(command)
            risk = _after(command, risk, is_at_once=is_at_once)
        else:
            denied.append(refusal)
    return tuple(passed), tuple(denied)


def _after(command: Command, risk: RiskState, *, is_at_once: bool) -> RiskState:
    match command:
        case PlaceOrder(side, price_cc, count_cx, _) | TakeOrder(side, price_cc, count_cx):
            sent = Unproven(side, price_cc, count_cx)
            created = None if risk.created_in_minute is None else risk.created_in_minute + 1
            return msgspec.structs.replace(risk, unknown=(*risk.unknown, sent), created_in_minute=created)
        case CancelOrder(client_order_id, _) if is_at_once:
            left = tuple(order for order in risk.resting if order.client_order_id != client_order_id)
            return msgspec.structs.replace(risk, resting=left)
    return risk
