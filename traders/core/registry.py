"""Strategies by kind and name. A strategy file registers itself; adding one touches no other file.

    placement   quotes(view, state, params) → Quotes              where it would like to rest
    buffering   adjust(view, state, quotes, params) → Quotes      keeps distance from being filled
    flatten     override(view, state, quotes, params) → Quotes    gets out of a position

Others add theirs as modules named by entry points of the groups `kalshimm.placement`, `kalshimm.buffering` and
`kalshimm.flatten`. One that cannot be loaded is noted in `BROKEN` and holds up nobody but the traders that want it.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable
from enum import StrEnum
from importlib.metadata import entry_points
from typing import Any, TypeVar

import msgspec

Function = TypeVar("Function", bound=Callable[..., Any])


class ParamsError(ValueError):
    """Parameters do not fit; the message names the field and what it expects."""


class UnknownStrategy(ValueError):
    """There is no strategy of that kind and name; the message lists those there are."""


class Kind(StrEnum):
    PLACEMENT = "placement"
    BUFFERING = "buffering"
    FLATTEN = "flatten"


class Strategy(msgspec.Struct, frozen=True):
    """One strategy: its frozen Params struct, its pure function, and the first line of its file."""

    kind: Kind
    name: str
    params: type[msgspec.Struct]
    function: Callable[..., Any]
    idea: str = ""

    def parse(self, raw: object) -> msgspec.Struct:
        """Return validated parameters from a JSON object; absent ones take their defaults.

        Raises:
            ParamsError: Not an object, or a field is unknown, of the wrong type or out of bounds; the message names it.
        """
        return parse_params(self.name, self.params, raw)


def parse_params(what: str, params: type[msgspec.Struct], raw: object) -> msgspec.Struct:
    """Return `params` of a JSON object; absent fields take their defaults.

    Raises:
        ParamsError: As of `Strategy.parse`; `what` takes the parameters.
    """
    if not isinstance(raw, dict):
        raise ParamsError(f'{what} takes its parameters by name, as in {{"field": 1}}; found {raw!r}')
    unknown = sorted(set(raw) - set(params.__struct_fields__))
    if unknown:
        known = ", ".join(params.__struct_fields__) or "none"
        raise ParamsError(f"{unknown[0]}: {what} has no such parameter; it has {known}")
    try:
        return msgspec.convert(raw, params)
    except msgspec.ValidationError as exc:
        problem, _, path = str(exc).partition(" - at `$.")
        raise ParamsError(f"{path.rstrip('`') or what}: {problem}") from exc


class Parameter(msgspec.Struct, frozen=True):
    """One parameter as people are told of it; a bound is None where there is none."""

    name: str
    default: Any
    least: int | None = None
    most: int | None = None


def parameters(params: type[msgspec.Struct]) -> tuple[Parameter, ...]:
    """Return the parameters of a Params struct, in its order."""
    shape = msgspec.json.schema(params)
    fields = shape["$defs"][params.__name__]["properties"]
    return tuple(
        Parameter(name, field.get("default"), field.get("minimum"), field.get("maximum"))
        for name, field in fields.items()
    )


STRATEGIES: dict[Kind, dict[str, Strategy]] = {kind: {} for kind in Kind}
BROKEN: dict[str, str] = {}  # entry point → why it could not be loaded


def placement(name: str, params: type[msgspec.Struct]) -> Callable[[Function], Function]:
    """Register the decorated function as the placement `name`."""
    return _register(Kind.PLACEMENT, name, params)


def buffering(name: str, params: type[msgspec.Struct]) -> Callable[[Function], Function]:
    """Register the decorated function as the buffering `name`."""
    return _register(Kind.BUFFERING, name, params)


def flatten(name: str, params: type[msgspec.Struct]) -> Callable[[Function], Function]:
    """Register the decorated function as the flatten rule `name`."""
    return _register(Kind.FLATTEN, name, params)


def _register(kind: Kind, name: str, params: type[msgspec.Struct]) -> Callable[[Function], Function]:
    def register(function: Function) -> Function:
        if not (isinstance(params, type) and issubclass(params, msgspec.Struct)):
            raise TypeError(f"{kind} {name!r}: its parameters must be a msgspec.Struct, found {params!r}")
        known = STRATEGIES[kind].get(name)
        if known is not None and known.function.__module__ != function.__module__:
            raise ValueError(f"{kind} {name!r} is {known.function.__module__} already; give yours another name")
        idea = (sys.modules[function.__module__].__doc__ or "").partition("\n")[0]
        STRATEGIES[kind][name] = Strategy(kind, name, params, function, idea)
        return function

    return register


def find(kind: Kind, name: str) -> Strategy:
    """Return a strategy.

    Raises:
        UnknownStrategy: There is none of that name.
    """
    found = STRATEGIES[kind].get(name)
    if found is None:
        broken = "".join(f"; {plugin} could not be loaded ({why})" for plugin, why in BROKEN.items())
        raise UnknownStrategy(f"There is no {kind} {name!r}; known: {', '.join(sorted(STRATEGIES[kind]))}{broken}.")
    return found


def load() -> None:
    """Import every strategy file, ours and those of plug-ins, so that each registers itself."""
    for kind in Kind:
        package = importlib.import_module(f"traders.strategies.{kind}")
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")
    for kind in Kind:
        for point in entry_points(group=f"kalshimm.{kind}"):
            _load_plugin(kind, point.name, point.load)


def _load_plugin(kind: Kind, name: str, load_it: Callable[[], object]) -> None:
    try:
        load_it()
    except Exception as exc:  # noqa: BLE001 - whatever a stranger's module does at import concerns it alone
        BROKEN[f"{kind} {name}"] = f"{type(exc).__name__}: {exc}"
    else:
        BROKEN.pop(f"{kind} {name}", None)
