"""Strategies by name. A strategy file registers itself; adding one touches no other file."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from traders.core.types import MarketView, Quotes, TraderState


class ParamsError(ValueError):
    """Parameters do not fit; the message names the field and what it expects."""


class PlacementFunction(Protocol):
    def __call__(self, view: MarketView, state: TraderState, params: Any) -> Quotes: ...


class Placement(msgspec.Struct, frozen=True):
    """A placement strategy: its frozen Params struct and its pure function."""

    name: str
    params: type[msgspec.Struct]
    quotes: PlacementFunction

    def parse(self, raw: object) -> msgspec.Struct:
        """Return validated parameters from a JSON object; absent ones take their defaults.

        Raises:
            ParamsError: Not an object, or a field is unknown, of the wrong type or out of bounds; the message names it.
        """
        if not isinstance(raw, dict):
            raise ParamsError(f'{self.name} takes its parameters by name, as in {{"field": 1}}; found {raw!r}')
        unknown = sorted(set(raw) - set(self.params.__struct_fields__))
        if unknown:
            known = ", ".join(self.params.__struct_fields__)
            raise ParamsError(f"{unknown[0]}: {self.name} has no such parameter; it has {known}")
        try:
            return msgspec.convert(raw, self.params)
        except msgspec.ValidationError as exc:
            problem, _, path = str(exc).partition(" - at `$.")
            raise ParamsError(f"{path.rstrip('`') or self.name}: {problem}") from exc


PLACEMENTS: dict[str, Placement] = {}


def placement(name: str, params: type[msgspec.Struct]) -> Callable[[PlacementFunction], PlacementFunction]:
    """Register the decorated function as the placement `name`."""

    def register(function: PlacementFunction) -> PlacementFunction:
        PLACEMENTS[name] = Placement(name, params, function)
        return function

    return register


def load() -> None:
    """Import every strategy file, so that each registers itself."""
    package = importlib.import_module("traders.strategies.placement")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
