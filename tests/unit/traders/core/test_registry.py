from __future__ import annotations

import pytest

from traders.core.registry import PLACEMENTS, ParamsError
from traders.strategies.placement import join_best


@pytest.mark.parametrize("raw", [None, [], 5, "count_cx"])
def test_parameters_that_are_no_object_are_refused_in_words(raw: object) -> None:
    with pytest.raises(ParamsError, match="by name"):
        PLACEMENTS["join_best"].parse(raw)


def test_absent_parameters_take_their_defaults() -> None:
    assert PLACEMENTS["join_best"].parse({}) == join_best.Params()


def test_an_unknown_parameter_is_named() -> None:
    with pytest.raises(ParamsError, match="colour: join_best has no such parameter"):
        PLACEMENTS["join_best"].parse({"colour": 1})
