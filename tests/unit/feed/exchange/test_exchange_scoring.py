"""The exchange's reference scorer: the published cases, and what must hold for every book."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.exchange.catalog import PRICE_STRUCTURES
from feed.exchange.incentives.accrual import payable_ud
from feed.exchange.incentives.scoring import Bid, Snapshot, Yardstick, grid_steps, score_snapshot
from markets.core.grid import CENT_GRID, TAPERED_DECI_CENT_GRID, PriceGrid, PriceRange
from markets.core.units import Side, format_count, format_dollars, format_price, parse_count, parse_price

US, THEM, OTHERS = "us", "them", "others"
SIDES = {"yes": Side.YES, "no": Side.NO}
TOLERANCE = Fraction(1, 10**9)


# --- the published cases --------------------------------------------------------------------------------------------


def case_grid(case: dict[str, Any]) -> PriceGrid:
    return PriceGrid(
        PriceRange(*(parse_price(band[key]) for key in ("start", "end", "step"))) for band in case["price_ranges"]
    )


def case_bids(case: dict[str, Any], book: dict[str, Any]) -> list[Bid]:
    """Return the book of a case as orders: ours, and each level's rest split between two others."""
    ours = [
        Bid(US, SIDES[o["outcome"]], parse_price(o["price_dollars"]), parse_count(o["remaining_fp"]))
        for o in case["our_orders"]
    ]
    bids = list(ours)
    for word, side in SIDES.items():
        for price_text, count_text in book[f"{word}_dollars"]:
            price, size = parse_price(price_text), parse_count(count_text)
            if case["book_includes_our_orders"]:
                size -= sum(bid.remaining_cx for bid in ours if (bid.side, bid.price_cc) == (side, price))
            bids += [Bid(THEM, side, price, size // 3), Bid(OTHERS, side, price, size - size // 3)]
    return bids


def case_snapshot(case: dict[str, Any], part: dict[str, Any]) -> Snapshot:
    (program,) = case["programs"]
    yardstick = Yardstick(parse_count(program["target_size_fp"]), program["discount_factor_bps"])
    return score_snapshot(
        case_grid(case), case_bids(case, part["book"]), yardstick, is_open=part.get("market_open", True)
    )


def side_body(snapshot: Snapshot, side: str) -> dict[str, Any]:
    scores = snapshot.yes if side == "yes" else snapshot.no
    share = scores.share(US)
    return {
        "side_qualifies": scores.qualifies,
        "depth_fp": format_count(scores.depth_cx),
        "reference_price": None if scores.reference_cc is None else format_price(scores.reference_cc),
        "qualifying_floor_price": None if scores.floor_cc is None else format_price(scores.floor_cc),
        "qualifying_size_fp": format_count(scores.qualifying_cx),
        "our_share_fraction": f"{share.numerator}/{share.denominator}",
    }


def assert_is_case(snapshot: Snapshot, expected: dict[str, Any]) -> None:
    assert snapshot.is_included == expected["snapshot_included"]
    for side in SIDES:
        body = side_body(snapshot, side)
        assert body == {key: expected[side][key] for key in body}
        scores = snapshot.yes if side == "yes" else snapshot.no
        assert abs(scores.total / 100 - Fraction(expected[side]["side_score_total"])) < TOLERANCE
        ours = scores.scores.get(US, Fraction(0))
        assert abs(ours / 100 - Fraction(expected[side]["our_score"])) < TOLERANCE
    assert snapshot.pool_share(US) == Fraction(expected["pool_share_fraction"])


@pytest.fixture(scope="module")
def cases(recorded: Path) -> dict[str, Any]:
    document = json.loads((recorded.parents[1] / "kalshi/reward_cases.json").read_bytes())
    return {case["id"]: case for case in document["cases"]}


@pytest.mark.recorded
@pytest.mark.parametrize("case_id", ["example_1", "example_2", "example_3"])
def test_a_published_snapshot_scores_as_published_with_us_as_one_owner_of_three(
    cases: dict[str, Any], case_id: str
) -> None:
    case = cases[case_id]
    snapshot = case_snapshot(case, case)
    (expected,) = case["expected"]["programs"]
    assert_is_case(snapshot, expected)
    (program,) = case["programs"]
    paid = payable_ud(snapshot.pool_share(US) * Fraction(program["period_reward"], 10_000), None)
    assert format_dollars(paid) == expected["full_period_payout_usd"] + "0000"


@pytest.mark.recorded
def test_the_published_timeline_scores_as_published(cases: dict[str, Any]) -> None:
    case = cases["example_4"]
    total = Fraction(0)
    for segment, expected in zip(case["segments"], case["expected"]["segments"], strict=True):
        snapshot = case_snapshot(case, segment)
        assert_is_case(snapshot, {"pool_share_fraction": "0/1", **expected})
        total += snapshot.pool_share(US) * segment["seconds"]
    raw = total * Fraction(case["programs"][0]["period_reward"], 10_000) / case["expected"]["snapshots_total"]
    assert raw == Fraction(case["expected"]["raw_usd_fraction"])
    assert format_dollars(payable_ud(raw, None)) == case["expected"]["payout_usd"] + "0000"


# --- the rules one by one -------------------------------------------------------------------------------------------


def snapshot_of(
    yes: list[tuple[str, int, int]], no: list[tuple[str, int, int]], target_cx: int = 10_000, bps: int = 5_000
) -> Snapshot:
    bids = [Bid(owner, Side.YES, *rest) for owner, *rest in yes] + [Bid(owner, Side.NO, *rest) for owner, *rest in no]
    return score_snapshot(CENT_GRID, bids, Yardstick(target_cx, bps), is_open=True)


def test_nothing_below_the_floor_scores_but_all_of_the_level_that_reaches_the_target() -> None:
    yes = snapshot_of([(THEM, 4_000, 9_000), (US, 3_900, 5_000), (US, 3_800, 5_000)], []).yes
    assert (yes.floor_cc, yes.qualifying_cx, yes.scores[US]) == (3_900, 14_000, 2_500)


def test_a_bid_better_than_the_reference_gains_nothing_by_it() -> None:
    yes = snapshot_of([(US, 4_500, 100), (THEM, 4_000, 10_000)], []).yes
    assert (yes.reference_cc, yes.scores) == (4_000, {US: 100, THEM: 10_000})


def test_a_fifth_of_the_target_exactly_is_the_reference() -> None:
    yes = snapshot_of([(US, 4_500, 2_000), (THEM, 4_000, 8_000)], []).yes
    assert (yes.reference_cc, yes.scores[THEM]) == (4_500, 8_000 * Fraction(1, 2) ** 5)


def test_one_thin_side_excludes_the_snapshot_for_everybody() -> None:
    snapshot = snapshot_of([(US, 4_500, 20_000)], [(THEM, 4_000, 9_999)])
    assert (snapshot.is_included, snapshot.pool_shares()) == (False, {})


def test_whoever_fills_an_empty_book_alone_holds_the_whole_pool() -> None:
    assert snapshot_of([(US, 4_500, 20_000)], [(US, 4_000, 10_000)]).pool_shares() == {US: 1}


def test_quoting_one_side_earns_at_most_half() -> None:
    shares = snapshot_of([(US, 4_500, 20_000)], [(THEM, 4_000, 10_000)]).pool_shares()
    assert shares == {US: Fraction(1, 2), THEM: Fraction(1, 2)}


def test_a_discount_of_nothing_scores_at_the_reference_alone() -> None:
    yes = snapshot_of([(US, 4_500, 5_000), (THEM, 4_400, 5_000)], [], bps=0).yes
    assert yes.scores == {US: 5_000, THEM: 0}


def test_steps_are_counted_band_by_band_on_the_markets_own_grid() -> None:
    assert grid_steps(TAPERED_DECI_CENT_GRID, Side.YES, 1_200, 980) == 4
    assert grid_steps(TAPERED_DECI_CENT_GRID, Side.NO, 9_310, 9_250) == 6
    assert grid_steps(TAPERED_DECI_CENT_GRID, Side.NO, 9_250, 9_310) == 0


@pytest.mark.parametrize(
    ("raw", "cap_cc", "paid_ud"),
    [("99/100", None, 0), ("1", None, 1_000_000), ("1999/1000", None, 1_990_000), ("16", 123_456, 12_340_000),
     ("2", 9_999, 0), ("5", 0, 0)],
)  # fmt: skip
def test_a_period_pays_whole_cents_from_a_dollar_up_to_the_cap(raw: str, cap_cc: int | None, paid_ud: int) -> None:
    assert payable_ud(Fraction(raw), cap_cc) == paid_ud


# --- properties -----------------------------------------------------------------------------------------------------


@st.composite
def books(draw: st.DrawFn) -> tuple[PriceGrid, list[Bid], Yardstick]:
    grid = PRICE_STRUCTURES[draw(st.sampled_from(sorted(PRICE_STRUCTURES)))]
    bids = [
        Bid(owner, side, draw(st.sampled_from(grid.prices_cc(side)[-12:] + grid.prices_cc(side)[:40])), size)
        for owner, side, size in draw(
            st.lists(
                st.tuples(st.sampled_from([US, THEM, OTHERS]), st.sampled_from(Side), st.integers(1, 90_000)),
                max_size=25,
            )
        )
    ]
    return grid, bids, Yardstick(draw(st.integers(1, 200_000)), draw(st.integers(0, 10_000)))


@given(books(), st.booleans())
def test_all_shares_add_up_to_the_pool_or_to_nothing(
    world: tuple[PriceGrid, list[Bid], Yardstick], is_open: bool
) -> None:
    grid, bids, yardstick = world
    snapshot = score_snapshot(grid, bids, yardstick, is_open=is_open)
    assert sum(snapshot.pool_shares().values()) == (1 if snapshot.is_included else 0)
    assert all(share >= 0 for share in snapshot.pool_shares().values())
    assert snapshot.is_included <= is_open


@given(books(), st.randoms(use_true_random=False))
def test_neither_the_order_of_the_orders_nor_splitting_them_matters(
    world: tuple[PriceGrid, list[Bid], Yardstick], chance: Any
) -> None:
    grid, bids, yardstick = world
    pieces = []
    for bid in bids:
        part = chance.randint(0, bid.remaining_cx)
        pieces += [Bid(bid.owner, bid.side, bid.price_cc, size) for size in (part, bid.remaining_cx - part) if size]
    chance.shuffle(pieces)
    assert score_snapshot(grid, pieces, yardstick, is_open=True) == score_snapshot(grid, bids, yardstick, is_open=True)


@given(books())
def test_everybodys_size_and_the_target_twice_leave_the_shares(
    world: tuple[PriceGrid, list[Bid], Yardstick],
) -> None:
    grid, bids, yardstick = world
    doubled = [Bid(bid.owner, bid.side, bid.price_cc, 2 * bid.remaining_cx) for bid in bids]
    once = score_snapshot(grid, bids, yardstick, is_open=True)
    twice = score_snapshot(grid, doubled, Yardstick(2 * yardstick.target_cx, yardstick.discount_bps), is_open=True)
    assert twice.pool_shares() == once.pool_shares()
