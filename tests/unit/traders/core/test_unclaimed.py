"""Which orders at rest nobody watches, by what their ids say and how it stands with their traders."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.core.orderids import OrderId, encode
from markets.core.units import Side
from traders.core.unclaimed import (
    FORMER_LEASE,
    MARGIN_US,
    NOBODY_WATCHES,
    NOT_MADE_HERE,
    OTHER_INSTALLATION,
    UNKNOWN_TRADER,
    Resting,
    Since,
    Standing,
    named_traders,
    unclaimed,
    whose,
)

HERE, ELSEWHERE = 12, 13
TRADER = 7
NOW_US = 1_795_337_400_000_000


def an_order(epoch: int, *, trader: int = TRADER, installation: int = HERE, seen_us: int = NOW_US) -> Resting:
    return named(encode(OrderId(installation, trader, epoch, 1)), seen_us)


def named(client_order_id: str, seen_us: int = NOW_US) -> Resting:
    return Resting(
        account="local", ticker="HAND-1", order_id="v-1", client_order_id=client_order_id, side=Side.YES,
        price_cc=4_000, remaining_cx=1_000, since_us=seen_us, seen_us=seen_us, exchange_index=0,
    )  # fmt: skip


def why(order: Resting, standing: Standing | None) -> str:
    known = {} if standing is None else {TRADER: standing}
    return "".join(one.why for one in unclaimed([order], known, installation=HERE))


RUNS = Standing(is_known=True, epoch=3, has_process=True)


@pytest.mark.parametrize(
    ("epoch", "standing", "expected"),
    [
        (3, RUNS, ""),
        (4, RUNS, ""),  # the row has fallen behind the process: its start file has its lease
        (2, RUNS, FORMER_LEASE),
        (2, Standing(is_known=True, epoch=3, has_process=True, is_tended=True), ""),  # it is silent, and all is pulled
        (2, Standing(is_known=True, epoch=3, is_tended=True), ""),  # a takeover finds whatever is older
        (3, Standing(is_known=True, epoch=3), NOBODY_WATCHES),
        (9, Standing(is_known=True, epoch=3), NOBODY_WATCHES),
        (3, Standing(), UNKNOWN_TRADER),
        (3, None, UNKNOWN_TRADER),
        (3, Standing(has_process=True), ""),  # it was deleted a moment ago, and is being stopped
        (3, Standing(is_tended=True), ""),
    ],
)
def test_I2_an_order_is_unclaimed_by_its_trader_and_its_lease(
    epoch: int, standing: Standing | None, expected: str
) -> None:
    assert why(an_order(epoch), standing) == expected


def test_I2_orders_of_others_are_nobodys_business() -> None:
    others = [an_order(1, installation=ELSEWHERE), named("by-hand"), named("")]
    assert unclaimed(others, {}, installation=HERE) == []
    assert named_traders(others, HERE) == set()
    assert [whose(one.client_order_id) for one in others] == [OTHER_INSTALLATION, NOT_MADE_HERE, NOT_MADE_HERE]


def test_what_was_told_before_its_trader_changed_is_no_sign_of_life() -> None:
    stopped, since = Standing(is_known=True, epoch=3), Since(NOW_US)
    since.look({TRADER: RUNS}, NOW_US)
    changed_us = since.look({TRADER: stopped}, NOW_US + 100_000_000)
    assert changed_us == {TRADER: NOW_US + 100_000_000}

    def found(seen_us: int) -> int:
        order = an_order(3, seen_us=seen_us)
        return len(unclaimed([order], {TRADER: stopped}, installation=HERE, since_us=changed_us))

    assert (found(NOW_US), found(NOW_US + 100_000_000 + MARGIN_US), found(NOW_US + 100_000_001 + MARGIN_US)) == (
        0,
        0,
        1,
    )


def test_what_was_told_before_a_pull_is_no_sign_of_life_either() -> None:
    since, unknown = Since(NOW_US), {TRADER: Standing()}
    assert since.look(unknown, NOW_US + 50) == {TRADER: NOW_US}, "it has been unknown for as long as we look"
    since.pulled(TRADER, NOW_US + 70)
    assert since.look(unknown, NOW_US + 90) == {TRADER: NOW_US + 70}


def test_a_trader_that_was_not_looked_at_for_a_while_is_not_forgotten() -> None:
    since = Since(NOW_US)
    since.look({TRADER: RUNS}, NOW_US)
    since.look({}, NOW_US + 10)
    assert since.look({TRADER: Standing()}, NOW_US + 20) == {TRADER: NOW_US + 20}


standings_of = st.builds(
    Standing, is_known=st.booleans(), epoch=st.integers(0, 4), has_process=st.booleans(), is_tended=st.booleans()
)


@given(
    ids=st.lists(
        st.builds(OrderId, st.sampled_from([HERE, ELSEWHERE]), st.integers(1, 3), st.integers(1, 4), st.just(1))
    ),
    standings=st.dictionaries(st.integers(1, 3), standings_of),
)
def test_I2_every_order_is_claimed_by_somebody_who_acts_or_listed(
    ids: list[OrderId], standings: dict[int, Standing]
) -> None:
    orders = [named(encode(one)) for one in ids]
    listed = {one.order.client_order_id for one in unclaimed(orders, standings, installation=HERE)}
    for one, order in zip(ids, orders, strict=True):
        standing = standings.get(one.trader, Standing())
        is_his = standing.has_process and (one.epoch >= standing.epoch or not standing.is_known)
        is_claimed = one.installation != HERE or standing.is_tended or is_his
        assert (order.client_order_id in listed) == (not is_claimed)
