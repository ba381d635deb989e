"""One decision, stage by stage: what a set of strategies wants of a market.

    placement → guards → buffering → flatten → …

Each stage sees what the one before it wished, and adds its reasons. Guards hold up quotes, never the way out.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar, cast

import msgspec

from markets.core.units import SIDES, Side
from traders.core.guards import Guards, guarded
from traders.core.registry import Kind, ParamsError, Strategy, UnknownStrategy, find, parse_params
from traders.core.types import MarketView, Quote, Quotes, Take, TraderState
from traders.core.why import Why

GUARDS, TOLERANCES = "guards", "tolerances"
FAILED = "strategy_failed"
ERROR_MOST = 300  # characters of what it failed with

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

    def asked(self, view: MarketView, state: TraderState, wanted: Quotes | None = None) -> tuple[Quotes, bool]:
        """Return what the strategy answers, and whether it failed: then nothing, with why.

        Args:
            wanted: What the stage before it wished, and that was sound; None for the first one.
        """
        function = self.strategy.function
        try:
            if wanted is None:
                return _sound(function(view, state, self.params)), False
            answer = function(view, state, wanted, self.params)
            return answer if answer is wanted else _sound(answer), False
        except Exception as exc:  # noqa: BLE001 - a stranger's mistake ends its quotes, not the process that pulls them
            figures = {"strategy": self.strategy.name, "error": f"{type(exc).__name__}: {exc}"[:ERROR_MOST]}
            return Quotes((), (Why(FAILED, "{strategy} failed: {error}", figures),)), True


class Strategies(msgspec.Struct, frozen=True):
    """What a trader goes by."""

    placement: Chosen
    buffering: Chosen
    flattens: tuple[Chosen, ...]
    guards: Guards
    tolerances: Tolerances

    def wanted(self, view: MarketView, state: TraderState) -> Quotes:
        """Return what shall rest and be taken, with every stage's reasons.

        A stage that fails, or answers what nobody can want, has nothing rest: it may be anybody's.
        """
        wanted, failed = self.placement.asked(view, state)
        if not failed:
            wanted = guarded(view, state, wanted, self.guards)
        for stage in (self.buffering, *self.flattens):
            if failed:
                break
            wanted, failed = stage.asked(view, state, wanted)
        return wanted


def _sound(answer: object) -> Quotes:
    """Return a strategy's answer if it can be wanted at all.

    Raises:
        ValueError: It cannot; the message says why.
    """
    if not isinstance(answer, Quotes):
        raise ValueError(f"it answered {type(answer).__name__}, not Quotes")
    quotes, take = answer.quotes, answer.take
    wishes: tuple[Quote | Take, ...] = quotes if take is None else (*quotes, take)
    for one in wishes:
        price_cc, count_cx = one.limit_cc if isinstance(one, Take) else one.price_cc, one.count_cx
        if type(one.side) is not Side or type(price_cc) is not int or type(count_cx) is not int:
            raise ValueError(f"it wants a side, price or count of the wrong type: {one}")
        if count_cx <= 0:
            raise ValueError(f"it wants nothing or less: {one}")
    if len(quotes) > 1 and (len(quotes) > len(SIDES) or quotes[0].side is quotes[1].side):
        raise ValueError("it wants more than one quote on a side")
    whys = tuple(answer.whys)
    for why in whys:  # they are told once the commands have gone, and then it is too late to fail
        if not isinstance(why, Why):
            raise ValueError(f"it gives a reason that is none: {why!r}")
    return answer if whys is answer.whys else msgspec.structs.replace(answer, whys=whys)


def _chosen(kind: Kind, choice: Choice) -> Chosen:
    try:
        strategy = find(kind, choice.name)
        return Chosen(strategy, strategy.parse(choice.params))
    except UnknownStrategy as exc:
        raise NoStrategies(kind, str(exc), is_name=True) from exc
    except ParamsError as exc:
        raise NoStrategies(kind, str(exc)) from exc
    except Exception as exc:  # whatever a stranger's checks raise concerns the traders that chose it
        raise NoStrategies(kind, f"{choice.name}: {type(exc).__name__}: {exc}") from exc


def _parsed(part: str, kind: type[Params], raw: object) -> Params:
    try:
        return cast("Params", parse_params(part, kind, raw))
    except ParamsError as exc:
        raise NoStrategies(part, str(exc)) from exc
