"""Which fees hold when: series, an event's override, waivers and scheduled changes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from exchangeworld import CENT, NOW_US, a_world, an_order, cash, place

from feed.exchange.catalog import FeeTerms
from feed.exchange.happenings import Announced
from feed.exchange.trading.accounts import Fill
from feed.exchange.world import SECOND_US, World

EVENT, SERIES = "KXTEST-26NOV22", "KXTEST"
HALF = FeeTerms("quadratic", 5_000)


def trade(world: World, price: str = "0.5000", count: str = "1.00", taker: str = "us") -> Fill:
    """Let `taker` buy from somebody and return the fill."""
    place(world, "them", an_order("ask", price, count))
    (fill,) = place(world, taker, an_order("bid", price, count)).fills
    return fill


def announced(world: World) -> list[dict[str, Any]]:
    return [h.body for h in world.take() if isinstance(h, Announced) and h.type == "event_fee_update"]


def test_an_override_takes_effect_at_its_time_and_is_announced_then() -> None:
    world = a_world()
    world.tariff.change_event(EVENT, HALF, at_us=NOW_US + SECOND_US)
    world.advance(NOW_US + SECOND_US - 1)
    assert trade(world).fee_ud == 17_500
    assert announced(world) == []
    world.advance(NOW_US + SECOND_US)
    assert trade(world).fee_ud == 8_800  # $0.00875, and the balance is kept to $0.0001
    assert announced(world) == [
        {"event_ticker": EVENT, "fee_type_override": "quadratic", "fee_multiplier_override": 0.5}
    ]


def test_null_clears_an_override_and_the_series_counts_again() -> None:
    world = a_world()
    world.tariff.change_event(EVENT, HALF, at_us=NOW_US)
    world.tariff.change_event(EVENT, None, at_us=NOW_US + SECOND_US)
    world.advance(NOW_US + SECOND_US)
    assert announced(world)[-1] == {
        "event_ticker": EVENT, "fee_type_override": None, "fee_multiplier_override": None
    }  # fmt: skip
    assert trade(world).fee_ud == 17_500


def test_an_override_stands_before_a_later_change_of_the_series() -> None:
    world = a_world()
    world.tariff.change_event(EVENT, HALF, at_us=NOW_US)
    world.tariff.change_series(SERIES, FeeTerms("quadratic_with_maker_fees", 20_000), at_us=NOW_US + SECOND_US)
    world.advance(NOW_US + SECOND_US)
    assert world.tariff.terms(world.markets[CENT]) == HALF
    world.tariff.change_event(EVENT, None, at_us=NOW_US + SECOND_US)
    world.advance(NOW_US + SECOND_US)
    assert trade(world).fee_ud == 35_000
    maker_fill = world.account("them").fills[-1]
    assert maker_fill.fee_ud == 8_800


def test_a_series_change_to_fees_without_a_formula_is_refused() -> None:
    with pytest.raises(ValueError, match="flat"):
        a_world().tariff.change_series(SERIES, FeeTerms("flat", 10_000), at_us=NOW_US)


def test_an_override_of_an_event_that_has_left_changes_nothing() -> None:
    world = a_world()
    world.tariff.change_event(EVENT, HALF, at_us=NOW_US + SECOND_US)
    world.delist(EVENT)
    world.advance(NOW_US + SECOND_US)
    assert announced(world) == []


def test_a_waiver_takes_the_trade_fee_away_until_it_expires() -> None:
    world = a_world()
    market = world.markets[CENT]
    market.terms = msgspec.structs.replace(market.terms, fee_waiver_until_us=NOW_US + SECOND_US)
    assert trade(world).fee_ud == 0
    assert trade(world, count="0.01", price="0.3300").fee_ud == 0
    world.advance(NOW_US + SECOND_US)
    assert trade(world).fee_ud == 17_500


@pytest.mark.parametrize(("is_direct", "fee_ud"), [(True, 17_500), (False, 20_000)])
def test_the_precision_is_that_of_the_member(is_direct: bool, fee_ud: int) -> None:
    world = a_world()
    world.account("us").is_direct_member = is_direct
    assert trade(world).fee_ud == fee_ud


def test_the_switch_sets_the_generation() -> None:
    world = a_world()
    before = cash(world.account("us"))
    world.switches = msgspec.structs.replace(world.switches, fee_generation="1e-4")
    world.account("us").is_direct_member = False
    place(world, "them", an_order("ask", "0.3000", "0.90"))
    fills = place(world, "us", an_order("bid", "0.3000", "0.30")).fills
    assert [fill.fee_ud for fill in fills] == [10_000]  # $0.09 and 0.0045 are 0.0945: 0.10 leave the balance
    assert before - cash(world.account("us")) == 100_000


def test_what_a_taker_has_put_by_comes_back_when_its_order_makes() -> None:
    world = a_world(fee_type="quadratic_with_maker_fees")
    us = world.account("us")
    us.is_direct_member = False
    place(world, "them", an_order("ask", "0.5000", "0.30"))
    order = place(world, "us", an_order("bid", "0.5000", "0.60")).order
    assert (order.taker_fees_ud, order.gathered_ud) == (10_000, 4_750)  # 0.15525 leaves the balance as 0.16
    place(world, "them", an_order("ask", "0.5000", "0.30"))
    assert (order.maker_fees_ud, order.gathered_ud) == (0, 4_750 + 8_687 - 10_000)  # 0.151313 as 0.16, and a cent back
