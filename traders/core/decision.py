"""One decision: from a market and what we have in it to commands, with every reason and refusal.

    MarketView + TraderState → strategies → risk → diff → commands → risk, once more

The same for dry-run, live and backtest: values in, values out.
"""

from __future__ import annotations

from typing import cast

import msgspec

from traders.core.commands import CancelOrder, Command, PlaceOrder, TakeOrder
from traders.core.diff import DiffTerms, InFlight, diff
from traders.core.exposure import Unproven
from traders.core.flattening import flattened
from traders.core.limits import Denied, Limits, RiskState
from traders.core.pipeline import Strategies
from traders.core.registry import parse_params
from traders.core.risk import checked, denied_command, room_cx
from traders.core.types import MarketView, Quotes, TraderState
from traders.core.why import Why


class Rules(msgspec.Struct, frozen=True):
    """What a trader decides by."""

    strategies: Strategies
    limits: Limits = Limits()


def parse_limits(raw: object) -> Limits:
    """Return limits from a JSON object; absent ones take their defaults, which are small.

    Raises:
        ParamsError: One is unknown, of the wrong type or out of bounds; the message names it.
    """
    return cast("Limits", parse_params("limits", Limits, raw))


class Decided(msgspec.Struct, frozen=True):
    """What is wanted as far as it is allowed, what was refused, and what to tell the broker."""

    wanted: Quotes
    denied: tuple[Denied, ...]
    commands: tuple[Command, ...]


def decide(
    view: MarketView,
    state: TraderState,
    rules: Rules,
    risk: RiskState,
    *,
    flat_by: str = "",
    in_flight: InFlight | None = None,
) -> Decided:
    """Return the decision on a market that may be quoted.

    Args:
        flat_by: Who wants the trader to be flat, whatever its strategies want; nobody when it is empty.
        in_flight: As of `DiffTerms`.
    """
    wanted = flattened(view, state, flat_by) if flat_by else rules.strategies.wanted(view, state)
    allowed = checked(view, state, wanted, rules.limits, risk)
    tolerances = rules.strategies.tolerances
    terms = DiffTerms(
        now_us=view.time_us,
        grid=view.grid,
        tolerance_steps=tolerances.price_steps,
        size_tolerance_bps=tolerances.size_bps,
        lifetime_s=tolerances.lifetime_s,
        orders_a_side=tolerances.orders_a_side,
        room_cx=room_cx(view, allowed.quotes, rules.limits, risk),
        unknown=risk.unknown,
        in_flight=in_flight,
    )
    commands = diff(allowed.quotes, state.resting, terms)
    passed, refused = _last_look(commands, view, rules.limits, risk, is_at_once=in_flight is None)
    whys = (Why(one.code, "{side} held: " + one.text, one.figures, one.side) for one in refused)
    return Decided(allowed.quotes.because(*whys), (*allowed.denied, *refused), passed)


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
