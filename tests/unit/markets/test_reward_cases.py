from __future__ import annotations

import json
from copy import deepcopy
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from markets.reward_cases import BadCases, recompute

Json = dict[str, Any]
RELABELLED = {"a": "zeta", "b": "17"}


@pytest.fixture(scope="session")
def published(recorded: Path) -> bytes:
    """The published worked cases, which come beside a checkout like the recordings."""
    return (recorded.parents[1] / "kalshi" / "reward_cases.json").read_bytes()


def a_case(**changes: object) -> Json:
    """One of our own cases: a cent grid, 100 of our YES contracts at the reference of a plain book."""
    case: Json = {
        "id": "ours",
        "price_ranges": [{"start": "0.0000", "end": "1.0000", "step": "0.0100"}],
        "programs": [a_program()],
        "book": {"yes_dollars": [["0.4000", "300.00"]], "no_dollars": [["0.5000", "400.00"]]},
        "our_orders": [{"id": "a", "outcome": "yes", "price_dollars": "0.4000", "remaining_fp": "100.00"}],
    }
    return {name: value for name, value in (case | changes).items() if value is not ...}


def a_program(**changes: object) -> Json:
    return {
        "id": "p",
        "incentive_type": "liquidity",
        "period_reward": 240_000,
        "target_size_fp": "400.00",
        "discount_factor_bps": 5000,
        "start_date": "2026-10-05T00:00:00Z",
        "end_date": "2026-10-06T00:00:00Z",
        "max_reward_per_account": None,
    } | changes


def computed(*cases: Json, **fields: object) -> list[Json]:
    answer = recompute(json.dumps({"cases": cases} | fields).encode())
    assert b"\n" not in answer
    return [case["expected"] for case in json.loads(answer)["cases"]]


def assert_agrees(found: object, expected: object, where: str = "") -> None:
    """Compare fractions and everything else exactly, decimals of 12 places to 1e-9."""
    if isinstance(expected, dict):
        assert isinstance(found, dict)
        assert found.keys() == expected.keys(), where
        for name, value in expected.items():
            assert_agrees(found[name], value, f"{where}.{name}")
    elif isinstance(expected, list):
        assert isinstance(found, list)
        for i, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert_agrees(one, other, f"{where}[{i}]")
    elif isinstance(expected, str) and len(expected.partition(".")[2]) == 12:
        assert isinstance(found, str)
        assert abs(Decimal(found) - Decimal(expected)) <= Decimal("1e-9"), where
    else:
        assert found == expected, where


@pytest.mark.recorded
def test_the_published_cases_come_out_as_published(published: bytes) -> None:
    expected = json.loads(published)
    assert len(expected["cases"]) == 4
    assert_agrees(json.loads(recompute(published)), expected)


@pytest.mark.recorded
def test_what_the_input_expects_has_no_say(published: bytes) -> None:
    stripped, misled = json.loads(published), json.loads(published)
    for case, other in zip(stripped["cases"], misled["cases"], strict=True):
        del case["expected"]
        other["expected"] = {"programs": []}
    for document in (stripped, misled):
        assert_agrees(json.loads(recompute(json.dumps(document).encode())), json.loads(published))


@pytest.mark.recorded
def test_the_names_and_the_order_of_orders_have_no_say(published: bytes) -> None:
    document, expected = json.loads(published), json.loads(published)
    for case, published_case in zip(document["cases"], expected["cases"], strict=True):
        case["our_orders"] = [order | {"id": RELABELLED[order["id"]]} for order in reversed(case["our_orders"])]
        published_case["our_orders"] = case["our_orders"]
        by_order = published_case["expected"].get("usd_per_hour_by_order")
        if by_order:
            published_case["expected"]["usd_per_hour_by_order"] = {RELABELLED[k]: v for k, v in by_order.items()}
    assert_agrees(json.loads(recompute(json.dumps(document).encode())), expected)


@pytest.mark.recorded
def test_an_order_in_two_pieces_earns_what_it_earned_whole(published: bytes) -> None:
    document = json.loads(published)
    case = document["cases"][0]
    whole = case["expected"]
    case["our_orders"] = [case["our_orders"][0] | {"id": i, "remaining_fp": "100.00"} for i in ("x", "y")]
    found = json.loads(recompute(json.dumps(document).encode()))["cases"][0]["expected"]
    assert_agrees(found["programs"], whole["programs"])
    assert found["usd_per_hour_by_order"]["x"] == found["usd_per_hour_by_order"]["y"] == "0.292056074766"


def test_it_keeps_what_it_does_not_know() -> None:
    case = a_case(odd={"n": [1.50, 12345678901234567890, None]}, expected="nonsense")
    raw = json.dumps({"cases": [case], "about": "ours"}).encode()
    answer = recompute(raw)
    assert b'"odd":{"n":[1.5,12345678901234567890,null]}' in answer
    assert json.loads(answer)["about"] == "ours"


def test_our_own_case_comes_out_as_reckoned_by_hand() -> None:
    # $24 in 24 h is $1/h; 100 of 400 on one side of two is an eighth.
    [found] = computed(a_case())
    assert found["usd_per_hour_total"] == "0.125000000000"
    [program] = found["programs"]
    assert program["usd_per_hour_fraction"] == "1/8"
    assert program["yes"]["qualifying_floor_price"] == "0.4000"
    assert (program["full_period_raw_usd"], program["full_period_payout_usd"]) == ("3.000000000000", "3.00")


def test_concurrent_programs_add_up() -> None:
    half = a_program(id="q", target_size_fp="300.00", end_date="2026-10-05T12:00:00Z")
    [found] = computed(a_case(programs=[a_program(), half]))
    assert [program["usd_per_hour"] for program in found["programs"]] == ["0.125000000000", "0.250000000000"]
    assert found["usd_per_hour_total"] == found["usd_per_hour_by_order"]["a"] == "0.375000000000"


def test_a_program_without_a_target_is_unknown_and_makes_the_total_unknown() -> None:
    [found] = computed(a_case(programs=[a_program(), a_program(id="q", target_size_fp=None)]))
    known, unknown = found["programs"]
    assert known["usd_per_hour"] == "0.125000000000"
    assert unknown["pool_usd_per_hour"] == "1.000000000000"
    assert {unknown[name] for name in ("snapshot_included", "yes", "pool_share", "usd_per_hour")} == {None}
    assert found["usd_per_hour_total"] is found["usd_per_hour_by_order"]["a"] is None


def test_a_pool_that_is_not_published_leaves_the_share_known() -> None:
    [found] = computed(a_case(programs=[a_program(period_reward=None)]))
    [program] = found["programs"]
    assert program["pool_share_fraction"] == "1/8"
    assert program["usd_per_hour"] is program["full_period_payout_usd"] is None


def test_a_volume_program_pays_no_resting_order_and_hides_no_other() -> None:
    volume = a_program(id="v", incentive_type="volume", target_size_fp=None, discount_factor_bps=None)
    [found] = computed(a_case(programs=[a_program(), volume]))
    assert found["programs"][1]["usd_per_hour"] is None
    assert found["usd_per_hour_total"] == "0.125000000000"


def test_a_closed_market_pays_nobody() -> None:
    [found] = computed(a_case(market_open=False))
    assert found["programs"][0]["yes"]["our_share_fraction"] == "1/4"
    assert found["usd_per_hour_by_order"] == {"a": "0.000000000000"}


def test_a_thin_side_has_neither_floor_nor_share() -> None:
    [found] = computed(a_case(book={"yes_dollars": [], "no_dollars": [["0.5000", "400.00"]]}))
    side = found["programs"][0]["yes"]
    assert (side["reference_price"], side["qualifying_floor_price"]) == ("0.4000", None)
    assert (side["depth_fp"], side["qualifying_size_fp"], side["our_share_fraction"]) == ("100.00", "0.00", "0/1")


def test_the_cap_comes_before_the_cents() -> None:
    [found] = computed(a_case(programs=[a_program(max_reward_per_account=12_399)]))
    assert found["programs"][0]["full_period_payout_usd"] == "1.23"


def test_seconds_that_no_segment_covers_are_named_unknown() -> None:
    segments = [{"seconds": 21_600, "book": a_case()["book"]}]
    [found] = computed(a_case(book=..., segments=segments))
    assert found["snapshots_total"] == 86_400
    assert found["snapshots_unknown"] == 64_800
    assert found["raw_usd"] == "0.750000000000"
    assert found["payout_usd"] == "0.00"


def test_a_timeline_of_two_programs_is_told_for_each() -> None:
    segments = [{"seconds": 86_400, "book": a_case()["book"]}]
    both = [a_program(), a_program(id="q", period_reward=480_000)]
    [found] = computed(a_case(book=..., segments=segments, programs=both))
    assert [(p["program_id"], p["payout_usd"]) for p in found["programs"]] == [("p", "3.00"), ("q", "6.00")]


def test_a_timeline_of_a_program_that_cannot_be_scored_is_unknown() -> None:
    segments = [{"seconds": 86_400, "book": a_case()["book"]}]
    [found] = computed(a_case(book=..., segments=segments, programs=[a_program(discount_factor_bps=None)]))
    assert found["segments"][0]["usd_per_hour"] is found["raw_usd"] is found["payout_usd"] is None


@pytest.mark.recorded
def test_a_document_may_ask_for_a_retired_reading(published: bytes) -> None:
    document = json.loads(published)
    [found] = computed(document["cases"][0], rule_version="2026-02-28")
    assert found["usd_per_hour_total"] == "0.525210084034"


def test_prices_are_read_without_floats() -> None:
    fine = [{"start": "0.0000", "end": "1.0000", "step": "0.0001"}]
    book = {"yes_dollars": [["0.4201", "100.00"], ["0.4199", "300.03"]], "no_dollars": [["0.5", "400"]]}
    order = {"id": "a", "outcome": "yes", "price_dollars": "0.4199", "remaining_fp": "0.01"}
    [found] = computed(a_case(price_ranges=fine, book=book, our_orders=[order]))
    # The reference is 0.4201, two of this grid's steps above our price: 300.04 contracts score a quarter there.
    share = Fraction(found["programs"][0]["yes"]["our_share_fraction"])
    assert share == (Fraction(1) / 4) / (10_000 + Fraction(30_004) / 4)


def broken(**changes: object) -> Json:
    return deepcopy(a_case(**changes))


@pytest.mark.parametrize(
    ("case", "says"),
    [
        (broken(programs=[a_program(target_size_fp=400)]), "case 'ours': .*programs.*target_size_fp"),
        (broken(programs=[a_program(target_size_fp="lots")]), r"case 'ours', programs\[0\].target_size_fp: .*'lots'"),
        (broken(programs=[a_program(target_size_fp="0.00")]), r"case 'ours', programs\[0\]: .*target size"),
        (broken(programs=[a_program(discount_factor_bps=10_001)]), r"programs\[0\]: a discount factor must lie"),
        (broken(programs=[a_program(start_date="yesterday")]), "start_date"),
        (broken(programs=[a_program(start_date="2026-10-05T00:00:00")]), "start_date"),
        (broken(programs=[a_program(end_date="2026-10-05T00:00:00Z")]), "must end after it starts"),
        (broken(programs=[a_program(), a_program()]), "case 'ours', programs: the id 'p' is there twice"),
        (broken(programs=...), "case 'ours': .*programs"),
        (broken(id=..., our_orders=...), r"cases\[0\]: .*our_orders"),
        (broken(price_ranges=[]), "case 'ours', price_ranges: "),
        (broken(price_ranges=[{"start": "0", "end": "1", "step": "0.00001"}]), r"price_ranges\[0\].step"),
        (broken(book={"yes_dollars": [["0.4050", "1.00"]]}), r"book.yes_dollars\[0\]: 0.4050 is not on"),
        (broken(book={"no_dollars": [["0.4000", "0.00"]]}), r"book.no_dollars\[0\]: expected a positive size"),
        (broken(book={"no_dollars": [["0.4", "1"], ["0.40", "2"]]}), r"book.no_dollars\[1\]: .*twice"),
        (broken(book={"no_dollars": [["NaN", "1"]]}), r"book.no_dollars\[0\]: price must be a decimal"),
        (broken(book=...), "case 'ours', book: "),
        (broken(segments=[]), "case 'ours', book: "),
        (broken(book_includes_our_orders=True, book={}), "case 'ours', our_orders: .*'a'"),
        (broken(book=..., segments=[{"seconds": -1, "book": {}}]), "seconds"),
        (broken(book=..., segments=[{"seconds": 86_401, "book": {}}]), "case 'ours', segments: "),
    ],
)
def test_a_malformed_case_is_named_with_its_field(case: Json, says: str) -> None:
    with pytest.raises(BadCases, match=says):
        computed(case)


@pytest.mark.parametrize("order", [{"price_dollars": "0.4050"}, {"outcome": "maybe"}, {"remaining_fp": "-1.00"}])
def test_a_malformed_order_is_named_with_its_field(order: Json) -> None:
    [name] = order
    with pytest.raises(BadCases, match=rf"case 'ours'.*our_orders.*{name}"):
        computed(a_case(our_orders=[a_case()["our_orders"][0] | order]))


NO_DOCUMENTS = [
    b"", b"[]", b'{"cases": 1}', b'{"cases": [NaN]}', b"\xff", b'{"cases": [3]}', b"[" * 100_000,
    b'{"cases": [], "odd": 1e99999999999999999999}',
]  # fmt: skip


@pytest.mark.parametrize("raw", NO_DOCUMENTS)
def test_what_is_no_document_of_cases_is_refused(raw: bytes) -> None:
    with pytest.raises(BadCases):
        recompute(raw)


def test_a_rule_version_nobody_knows_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadCases, match=r"rule_version: expected one of 2026-02-28, 2026-07-30, found '1999'"):
        computed(a_case(), rule_version="1999")
