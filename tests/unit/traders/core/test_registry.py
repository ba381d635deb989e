from __future__ import annotations

import pkgutil
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType

import msgspec
import pytest

from traders.core import registry
from traders.core.registry import Kind, ParamsError, Strategy, UnknownStrategy, find
from traders.strategies.placement import join_best

registry.load()  # before any test: a file registers itself once
JOIN_BEST = find(Kind.PLACEMENT, "join_best")
STRANGE = "strange_file"


class Params(msgspec.Struct, frozen=True):
    pass


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test register and break what it likes, in a file of its own."""
    monkeypatch.setitem(sys.modules, STRANGE, ModuleType(STRANGE, "Rest nowhere.\n\nEarns nothing."))
    monkeypatch.setattr(registry, "STRATEGIES", {kind: dict(names) for kind, names in registry.STRATEGIES.items()})
    monkeypatch.setattr(registry, "BROKEN", {})


def a_function() -> Callable[..., None]:
    """Return a function of the strange file."""

    def function() -> None:
        pass

    function.__module__ = STRANGE
    return function


# Parameters


@pytest.mark.parametrize("raw", [None, [], 5, "count_cx"])
def test_parameters_that_are_no_object_are_refused_in_words(raw: object) -> None:
    with pytest.raises(ParamsError, match="by name"):
        JOIN_BEST.parse(raw)


def test_absent_parameters_take_their_defaults() -> None:
    assert JOIN_BEST.parse({}) == join_best.Params()


def test_parameters_that_fit_are_taken() -> None:
    assert JOIN_BEST.parse({"bid_cx": 300}) == join_best.Params(bid_cx=300)


def test_an_unknown_parameter_is_named() -> None:
    with pytest.raises(ParamsError, match=r"colour: join_best has no such parameter; it has .*bid_cx"):
        JOIN_BEST.parse({"colour": 1})


@pytest.mark.parametrize("value", [-1, "many", 1.5, None])
def test_a_parameter_out_of_bounds_or_of_another_type_is_named(value: object) -> None:
    with pytest.raises(ParamsError, match=r"^bid_cx: Expected `int`"):
        JOIN_BEST.parse({"bid_cx": value})


# Names


def test_every_strategy_file_of_ours_registers_itself_under_its_own_name() -> None:
    for kind in Kind:
        package = import_module(f"traders.strategies.{kind}")
        files = {module.name for module in pkgutil.iter_modules(package.__path__)}
        ours = {
            name: strategy
            for name, strategy in registry.STRATEGIES[kind].items()
            if strategy.function.__module__.startswith("traders.strategies.")
        }
        assert set(ours) == files
        assert all(strategy.idea.endswith(".") for strategy in ours.values())


def test_a_strategy_is_registered_with_the_first_line_of_its_file() -> None:
    function = a_function()
    assert registry.buffering("strange", Params)(function) is function
    assert find(Kind.BUFFERING, "strange") == Strategy(Kind.BUFFERING, "strange", Params, function, "Rest nowhere.")


@pytest.mark.parametrize("kind", list(Kind))
def test_a_name_is_one_of_its_kind_alone(kind: Kind) -> None:
    register = {Kind.PLACEMENT: registry.placement, Kind.BUFFERING: registry.buffering, Kind.FLATTEN: registry.flatten}
    register[kind]("strange", Params)(a_function())
    assert [each for each in Kind if "strange" in registry.STRATEGIES[each]] == [kind]


def test_a_name_that_another_file_has_is_refused_and_kept_by_it() -> None:
    with pytest.raises(ValueError, match=r"'join_best' is traders\.strategies\.\S+ already; give yours"):
        registry.placement("join_best", Params)(a_function())
    assert find(Kind.PLACEMENT, "join_best") is JOIN_BEST


def test_a_file_that_is_read_again_replaces_its_own() -> None:
    first, again = a_function(), a_function()
    registry.placement("strange", Params)(first)
    registry.placement("strange", Params)(again)
    assert find(Kind.PLACEMENT, "strange").function is again


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(UnknownStrategy, match=r"There is no placement 'join_worst'; known: .*join_best.*\.$"):
        find(Kind.PLACEMENT, "join_worst")


# Plug-ins


def failing() -> object:
    raise ImportError("no module named numpy")


def test_a_plug_in_that_fails_is_noted_and_told_to_whoever_looks_for_it() -> None:
    registry._load_plugin(Kind.PLACEMENT, "lean", failing)
    assert registry.BROKEN == {"placement lean": "ImportError: no module named numpy"}
    with pytest.raises(UnknownStrategy, match=r"placement lean could not be loaded \(ImportError: no module named n"):
        find(Kind.PLACEMENT, "lean")
    assert find(Kind.PLACEMENT, "join_best") is JOIN_BEST


def test_a_plug_in_that_works_registers_itself() -> None:
    function = a_function()
    registry._load_plugin(Kind.FLATTEN, "lean", lambda: registry.flatten("lean", Params)(function))
    assert find(Kind.FLATTEN, "lean").function is function
    assert registry.BROKEN == {}


def test_a_plug_in_that_works_again_is_not_broken_any_more() -> None:
    registry._load_plugin(Kind.FLATTEN, "lean", failing)
    registry._load_plugin(Kind.FLATTEN, "lean", lambda: None)
    assert registry.BROKEN == {}


def test_a_plug_in_that_takes_a_name_of_ours_is_broken_and_ours_stays() -> None:
    taking = a_function()
    registry._load_plugin(Kind.PLACEMENT, "theirs", lambda: registry.placement("join_best", Params)(taking))
    assert registry.BROKEN["placement theirs"].startswith("ValueError: placement 'join_best' is traders.strategies")
    assert find(Kind.PLACEMENT, "join_best") is JOIN_BEST


class Point:
    """An entry point as `importlib.metadata` gives it."""

    def __init__(self, name: str, load: Callable[[], object]) -> None:
        self.name, self.load = name, load


def test_plug_ins_are_found_by_the_entry_points_of_their_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    function = a_function()
    points = {
        "kalshimm.buffering": [
            Point("bad", failing),
            Point("good", lambda: registry.buffering("good", Params)(function)),
        ]
    }
    monkeypatch.setattr(registry, "entry_points", lambda *, group: points.get(group, []))
    registry.load()
    assert find(Kind.BUFFERING, "good").function is function
    assert set(registry.BROKEN) == {"buffering bad"}
