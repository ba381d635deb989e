"""The bars: percentiles, verdicts, and what an exchange's ledger comes to."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kalshimm.bench.faults.bars import Document, judged_percentile, percentile, row, rows, table
from kalshimm.bench.faults.constants import settings
from kalshimm.bench.faults.dying import logged_us
from kalshimm.bench.faults.evidence import CREATE, ORPHAN_US, OWNER, EventLine, Evidence, Lines, Most, RequestLine
from kalshimm.bench.faults.listed import BARS, COUNTS, SETTINGS, TIMES
from kalshimm.bench.faults.run import MEASURED
from kalshimm.bench.faults.soaking import growths
from markets.core.orderids import Owner

INSTALLATION, TRADER, PAPER = 5, 1, 2
BY_NAME = {bar.name: bar for bar in BARS}
NOON_US = 1_795_780_800_000_000  # 2026-11-27 12:00:00 UTC


@pytest.mark.parametrize(
    ("percent", "count", "expected"), [(95, 3, 3), (95, 20, 19), (95, 40, 38), (99, 50, 50), (99, 200, 198)]
)
def test_a_percentile_is_a_sample_that_so_many_do_not_exceed(percent: int, count: int, expected: float) -> None:
    assert percentile([float(n) for n in range(count, 0, -1)], percent) == expected


@pytest.mark.parametrize(("count", "percent"), [(3, 95), (20, 95), (49, 95), (50, 99)])
def test_many_samples_are_judged_by_the_99th_and_few_by_the_95th(count: int, percent: int) -> None:
    assert judged_percentile(count) == percent


@pytest.mark.parametrize(
    ("seconds", "verdict"), [(5.0, "reaches the aim"), (5.1, "reaches the floor"), (10.1, "MISSES THE FLOOR")]
)
def test_a_time_is_judged_by_its_worst_but_few(seconds: float, verdict: str) -> None:
    told = row(BY_NAME["frozen_pulled"], samples=[1.0, seconds, 2.0])
    assert (told.value, told.judged, told.p50, told.verdict) == (seconds, "p95 of 3", 2.0, verdict)


@pytest.mark.parametrize(
    ("lowest", "verdict"), [(10.0, "reaches the aim"), (5.0, "reaches the floor"), (4.9, "MISSES THE FLOOR")]
)
def test_what_should_be_high_is_judged_by_its_lowest_but_few(lowest: float, verdict: str) -> None:
    told = row(BY_NAME["catch_up"], samples=[20.0, lowest, 30.0])
    assert (told.value, told.verdict) == (lowest, verdict)


@pytest.mark.parametrize(("count", "verdict"), [(0, "reaches the aim"), (1, "MISSES THE FLOOR")])
def test_a_count_must_be_nothing(count: float, verdict: str) -> None:
    assert row(BY_NAME["orphans"], value=count).verdict == verdict


def test_growth_is_from_the_third_twelfth_to_the_last_and_knows_no_outliers() -> None:
    warming, before, later, after = [10] * 24, [*[100] * 11, 900], [500] * 96, [*[103] * 11, 1]
    grown = growths({"desk": [*warming, *before, *later, *after], "writer": [7] * 144})
    assert grown == {"desk": pytest.approx(3.0), "writer": 0.0}


def test_what_was_not_measured_has_neither_figure_nor_verdict() -> None:
    told = row(BY_NAME["adoption"])
    assert (told.value, told.samples, told.verdict, told.judged) == (None, [], "", "")


def test_every_setting_reaches_its_floor_and_each_bar_stands_in_the_table_once() -> None:
    made = rows(BARS, {name: [0.0] for name in MEASURED}, {}, settings())
    assert settings().keys() == {bar.name for bar in SETTINGS}
    assert [one.name for one in made if one.kind == "setting" and not one.verdict.startswith("reaches")] == []
    assert set(MEASURED) == {bar.name for bar in (*COUNTS, *TIMES)}
    text = table(Document(bench="faults", runs=1, bars=made, conditions={"faults": 7}, cpus_busy=1.0))
    assert all(text.count(f"{bar.what} ") == 1 for bar in BARS)
    assert "faults 7" in text
    assert "tests/faults/test_writer_kills.py" in text


def test_a_log_line_tells_its_time_also_behind_midnight() -> None:
    assert logged_us("12:00:00.250 WARNING traders.supervisor: crashed", NOON_US) == NOON_US + 250_000
    midnight_us = NOON_US + 12 * 3_600 * 1_000_000
    assert logged_us("00:00:00.100 WARNING x: y", midnight_us - 50_000) == midnight_us + 100_000


class Exchange:
    """Lines as the control port tells them."""

    def __init__(self, **most: int) -> None:
        limits = {"order_cx": 1_000, "position_cx": 1_000} | most
        self.evidence = Evidence(INSTALLATION, {TRADER: Most(**limits)})
        self._number = 0

    def order(self, order_id: str, at_us: int, *, counter: int = 1, epoch: int = 1, **body: Any) -> None:
        told = {
            "order_id": order_id, "client_order_id": Owner(INSTALLATION, TRADER, epoch).client_order_id(counter),
            "outcome_side": "yes", "initial_count_fp": "5.00", "fill_count_fp": "0.00", "remaining_count_fp": "5.00",
            "status": "resting",
        }  # fmt: skip
        self._add(EventLine(self._next(), at_us, OWNER, "user_orders", told | body))

    def ended(self, order_id: str, at_us: int, **body: Any) -> None:
        self.order(order_id, at_us, **{"status": "canceled", "remaining_count_fp": "0.00", **body})

    def request(self, trader: int, *, status: int = 201, path: str = CREATE, is_batch: bool = False) -> None:
        order = {"client_order_id": Owner(INSTALLATION, trader, 1).client_order_id(9)}
        body: Any = {"orders": [order]} if is_batch else order
        self._add(RequestLine(self._next(), 7, OWNER, "POST", path, status, body))

    def _add(self, line: RequestLine | EventLine) -> None:
        told = msgspec.json.encode(Lines([line]))
        self.evidence.add(msgspec.json.decode(told, type=Lines).lines)

    def _next(self) -> int:
        self._number += 1
        return self._number


def test_a_second_order_for_one_wish_is_a_duplicate() -> None:
    exchange = Exchange()
    exchange.order("a", 1, counter=1)
    exchange.order("b", 2, counter=2)
    assert exchange.evidence.duplicates() == 0
    exchange.order("c", 3, counter=1)
    assert exchange.evidence.duplicates() == 1


@pytest.mark.parametrize(("rested_us", "orphans"), [(ORPHAN_US, 0), (ORPHAN_US + 1, 1)])
def test_an_order_is_an_orphan_once_it_has_outlived_its_trader_by_ten_seconds(rested_us: int, orphans: int) -> None:
    exchange = Exchange()
    exchange.order("before", 10)
    exchange.evidence.died(TRADER, 20)
    exchange.order("of-the-next-lease", 30, counter=2, epoch=2)
    assert exchange.evidence.orphans(20 + rested_us) == orphans
    exchange.ended("before", 20 + rested_us)
    assert exchange.evidence.orphans(10**12) == orphans


@pytest.mark.parametrize(
    ("most", "breaches"), [({}, 0), ({"order_cx": 499}, 2), ({"position_cx": 799}, 1), ({"position_cx": 800}, 0)]
)
def test_a_limit_is_passed_by_one_order_or_by_all_that_may_fill(most: dict[str, int], breaches: int) -> None:
    exchange = Exchange(**most)
    exchange.ended("filled", 1, fill_count_fp="3.00", status="executed")
    exchange.order("rests", 2, counter=2)
    assert exchange.evidence.breaches == breaches


def test_creates_are_their_traders_also_in_a_batch_and_429_is_counted() -> None:
    exchange = Exchange()
    exchange.request(TRADER)
    exchange.request(PAPER, path=f"{CREATE}/batched", is_batch=True, status=429)
    exchange.request(TRADER, path=f"{CREATE}/x/amend")
    evidence = exchange.evidence
    assert (evidence.writes_of([TRADER]), evidence.writes_of([PAPER]), evidence.limited) == (1, 1, 1)


def test_lives_of_orders_are_known_by_lease_and_time() -> None:
    exchange = Exchange()
    exchange.order("a", 10)
    exchange.ended("a", 50)
    exchange.order("b", 70, counter=2, epoch=2)
    evidence = exchange.evidence
    assert [order.epoch for order in evidence.resting(TRADER)] == [2]
    assert (evidence.epoch(TRADER), evidence.last_end_us(TRADER)) == (2, 50)
    assert evidence.first_create_us(TRADER, after_epoch=1) == 70
    assert evidence.first_create_us(TRADER, after_epoch=2) is None
