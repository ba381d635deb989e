"""One decision, stage by stage: what a set of strategies wants of a market.

    placement → guards → buffering → flatten → …

Each stage sees what the one before it wished, and adds its reasons. Guards hold up quotes, never the way out.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar, cast

import msgspec

from traders.core.guards import Guards, guarded
from traders.core.registry import Kind, ParamsError, Strategy, UnknownStrategy, find, parse_params
from traders.core.types import MarketView, Quotes, TraderState

GUARDS, TOLERANCES = "guards", "tolerances"

Params = TypeVar("Params", bound=msgspec.Struct)


class Tolerances(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may differ between what rests and what is wanted, for the sake of a place in the queue.

    Attributes:
        price_steps: An order so many steps of the grid from the wanted price stays.
        size_bps: So many hundredths of a percent too much or too little stay.
        orders_a_side: So many may rest on a side.
        lifetime_s: After so long the venue takes an order off by itself; it is renewed in time. 0 lets it stand.
    """

    price_steps: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    size_bps: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 1_000
    orders_a_side: Annotated[int, msgspec.Meta(ge=1, le=10)] = 2
    lifetime_s: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 0


class NoStrategies(ValueError):
    """A set of strategies cannot be used as it is configured.

    Attributes:
        part: The part that does not fit: a kind of strategy, `guards` or `tolerances`.
        is_name: Whether its name is the matter, else its parameters.
    """

    def __init__(self, part: str, message: str, *, is_name: bool = False) -> None:
        super().__init__(message)
        self.part = part
        self.is_name = is_name


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A strategy by name, with parameters by theirs; absent ones take their defaults."""

    name: str
    params: Any = {}


class StrategyChoices(msgspec.Struct, frozen=True):
    """A set of strategies as people write it, unchecked: `flattens` a list of choices, in the order they are asked."""

    placement: Choice
    buffering: Choice = Choice("none")
    flattens: Any = []
    guards: Any = {}
    tolerances: Any = {}

    def parse(self) -> Strategies:
        """Return the strategies, checked.

        Raises:
            NoStrategies: One is unknown, or parameters do not fit; it says which.
        """
        try:
            flattens = msgspec.convert(self.flattens, tuple[Choice, ...])
        except msgspec.ValidationError as exc:
            raise NoStrategies(Kind.FLATTEN, f'{exc}; expected a list such as [{{"name": "passive_exit"}}]') from exc
        return Strategies(
            _chosen(Kind.PLACEMENT, self.placement),
            _chosen(Kind.BUFFERING, self.buffering),
            tuple(_chosen(Kind.FLATTEN, choice) for choice in flattens),
            _parsed(GUARDS, Guards, self.guards),
            _parsed(TOLERANCES, Tolerances, self.tolerances),
        )


class Chosen(msgspec.Struct, frozen=True):
    """A strategy with its checked parameters."""

    strategy: Strategy
    params: msgspec.Struct


class Strategies(msgspec.Struct, frozen=True):
    """What a trader goes by."""

    placement: Chosen
    buffering: Chosen
    flattens: tuple[Chosen, ...]
    guards: Guards
    tolerances: Tolerances

    def wanted(self, view: MarketView, state: TraderState) -> Quotes:
        """Return what shall rest and be taken, with every stage's reasons."""
        wanted = cast("Quotes", self.placement.strategy.function(view, state, self.placement.params))
        wanted = guarded(view, state, wanted, self.guards)
        for stage in (self.buffering, *self.flattens):
            wanted = stage.strategy.function(view, state, wanted, stage.params)
        return wanted


def _chosen(kind: Kind, choice: Choice) -> Chosen:
    try:
        strategy = find(kind, choice.name)
        return Chosen(strategy, strategy.parse(choice.params))
    except UnknownStrategy as exc:
        raise NoStrategies(kind, str(exc), is_name=True) from exc
    except ParamsError as exc:
        raise NoStrategies(kind, str(exc)) from exc


def _parsed(part: str, kind: type[Params], raw: object) -> Params:
    try:
        return cast("Params", parse_params(part, kind, raw))
    except ParamsError as exc:
        raise NoStrategies(part, str(exc)) from exc
