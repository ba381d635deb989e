from __future__ import annotations

import pytest

from markets.core.units import Side
from tests.fixtures.views import NOW_US, a_view
from traders.core.registry import ParamsError, parse_params
from traders.core.types import Flattening, Quote, Quotes, Take, TraderState
from traders.core.why import said
from traders.strategies.flatten import cross_at_limit
from traders.strategies.flatten.stop_loss import Params, override

VIEW = a_view({4_200: 1_000, 4_100: 2_000}, {5_500: 1_000, 5_400: 2_000})
WISHES = Quotes((Quote(Side.YES, 4_200, 800), Quote(Side.NO, 5_500, 800)))
DOLLAR = Params(loss_ud=1_000_000, steps_most=3)
A_DAY_AGO = Flattening("stop_loss", NOW_US - 86_400_000_000)


def long(cost_cc: int, **fields: object) -> TraderState:
    return TraderState(position_cx=1_000, cost_ud=1_000 * cost_cc, **fields)  # type: ignore[arg-type]


def test_a_loss_of_that_much_is_cut_at_once() -> None:
    assert override(VIEW, long(5_199), WISHES, DOLLAR) is WISHES  # ten contracts worth 42 cents
    out = override(VIEW, long(5_200), WISHES, DOLLAR)
    assert (out.quotes, out.take) == ((), Take(Side.NO, 6_100, 1_000))
    assert out.flattening == Flattening("stop_loss", NOW_US)
    assert said(out.whys[:1]) == "stop loss: position 10 has lost $1.00"


def test_a_short_position_is_marked_where_it_could_be_bought_back() -> None:
    # Ten No contracts bring 55 cents each: what the best ask leaves of a dollar.
    assert override(VIEW, TraderState(-1_000, cost_ud=1_000 * 6_499), WISHES, DOLLAR) is WISHES
    out = override(VIEW, TraderState(-1_000, cost_ud=1_000 * 6_500), WISHES, DOLLAR)
    assert out.take == Take(Side.YES, 4_800, 1_000)


def test_a_loss_a_contract_is_a_limit_of_its_own() -> None:
    params = Params(loss_ud=0, loss_cc=300)
    assert override(VIEW, long(4_499), WISHES, params) is WISHES
    assert override(VIEW, long(4_500), WISHES, params).take is not None
    assert override(VIEW, TraderState(-1_000, cost_ud=1_000 * 5_799), WISHES, params) is WISHES
    assert override(VIEW, TraderState(-1_000, cost_ud=1_000 * 5_800), WISHES, params).take is not None


def test_a_gain_changes_nothing() -> None:
    assert override(VIEW, long(1_000), WISHES, DOLLAR) is WISHES
    assert override(VIEW, TraderState(), WISHES, DOLLAR) is WISHES


def test_once_begun_it_goes_on_although_the_loss_recovers() -> None:
    out = override(VIEW, long(1_000, flattening=A_DAY_AGO), WISHES, DOLLAR)
    assert out.take == Take(Side.NO, 6_100, 1_000)
    assert out.flattening == A_DAY_AGO
    assert said(out.whys[:1]) == "stop loss: position 10 has lost −$3.20, goes on until flat"


def test_when_flat_it_is_over() -> None:
    assert override(VIEW, TraderState(flattening=A_DAY_AGO), WISHES, DOLLAR) is WISHES


def test_it_is_not_begun_by_what_another_rule_began() -> None:
    other = Flattening("passive_exit", NOW_US - 1)
    assert override(VIEW, long(1_000, flattening=other), WISHES, DOLLAR) is WISHES


def test_without_a_price_it_knows_no_loss_but_does_not_forget_one() -> None:
    crossed = a_view({4_200: 1_000}, {5_800: 1_000})
    assert override(crossed, long(9_900), WISHES, DOLLAR) is WISHES
    out = override(crossed, long(9_900, flattening=A_DAY_AGO), WISHES, DOLLAR)
    assert (out.take, out.flattening, out.on(Side.YES)) == (None, A_DAY_AGO, None)


def test_a_milder_rule_after_it_takes_nothing_back() -> None:
    state = long(5_200, position_since_us=0)
    stopped = override(VIEW, state, WISHES, DOLLAR)
    after = cross_at_limit.override(VIEW, state, stopped, cross_at_limit.Params(steps_most=1))
    assert (after.take, after.quotes, after.flattening) == (stopped.take, (), stopped.flattening)


def test_a_stop_loss_without_a_limit_is_refused() -> None:
    with pytest.raises(ParamsError, match="loss_ud"):
        parse_params("stop_loss", Params, {"loss_ud": 0})
