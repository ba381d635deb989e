from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed import schema
from feed.survey import STRUCTURES, SurveyedMarket, deduced_ranges, survey
from feed.tapefile import TapeFile
from kalshimm.errors import BadRecording
from markets.core.grid import CENT_GRID, TAPERED_DECI_CENT_GRID, PriceGrid, PriceRange
from markets.core.units import Side
from tests.fixtures.tapes import DELAY_US, START_US, Tape, a_tape

HOUR_US = 3_600_000_000
CLOSE_S = START_US // 1_000_000 + 3_600


def the_market(tape: Tape, folder: Path) -> SurveyedMarket:
    (market,) = survey(tape.save(folder)).markets
    return market


def test_it_finds_the_markets_in_the_order_of_their_first_word(tmp_path: Path) -> None:
    tape = (
        Tape().connect().snapshot([(4_000, 1)], [], ticker="B").volume(5, ticker="C").trade(50, 1, Side.NO, ticker="A")
    )
    assert [market.ticker for market in survey(tape.save(tmp_path)).markets] == ["B", "C", "A"]


@pytest.mark.parametrize(
    ("channels", "has_prints"),
    [(("orderbook_delta", "ticker"), False), (("orderbook_delta", "ticker", "trade"), True)],
)
def test_trades_are_told_where_their_channel_is_subscribed(
    tmp_path: Path, channels: tuple[str, ...], has_prints: bool
) -> None:
    assert survey(a_tape(*channels).save(tmp_path)).has_prints is has_prints


def test_trades_are_told_where_one_comes(tmp_path: Path) -> None:
    tape = a_tape("orderbook_delta").trade(3_900, 1, Side.NO)
    assert survey(tape.save(tmp_path)).has_prints


def test_trades_are_told_on_a_tape_of_our_own(tmp_path: Path) -> None:
    file = TapeFile(tmp_path, "tape", ["M"])
    file.write(77, START_US, schema.SnapshotRow(START_US, int(schema.TimeSource.SENDING), "M", 1, [(4_000, 1)], []))
    file.finish("stopped")
    assert survey(file.path).has_prints


@pytest.mark.parametrize("clock_us", [-HOUR_US, 0, HOUR_US])
def test_the_least_delayed_message_says_by_how_much_the_recorders_clock_is_wrong(tmp_path: Path, clock_us: int) -> None:
    tape = a_tape(clock_us=clock_us)
    tape.delay_us = 900_000
    tape.delta(Side.YES, 100, 1)
    found = survey(tape.save(tmp_path))
    assert found.ahead_us == -clock_us - DELAY_US
    assert (found.first_us, found.last_us) == (START_US + clock_us + DELAY_US, START_US + clock_us + 1_100_000)


def test_close_and_grid_come_from_the_message_that_created_the_market(tmp_path: Path) -> None:
    tape = Tape().connect()
    tape.life("created", close_ts=CLOSE_S, price_ranges=[{"start": "0.0000", "end": "1.0000", "step": "0.0010"}])
    tape.snapshot([(4_000, 1)], [])
    assert the_market(tape, tmp_path) == SurveyedMarket("M", CLOSE_S * 1_000_000, (PriceRange(0, 10_000, 10),), False)


def test_what_is_changed_later_was_not_known_before(tmp_path: Path) -> None:
    tape = a_tape().life("close_date_updated", close_ts=CLOSE_S)
    assert the_market(tape, tmp_path).close_us is None


def test_the_close_comes_from_the_recorders_own_line(tmp_path: Path) -> None:
    path = tmp_path / "tape.ndjson"
    path.write_text("".join(json.dumps(line) + "\n" for line in envelopes("2026-05-13T13:00:00Z")))
    (market,) = survey(path).markets
    assert market.close_us == 1_778_677_200_000_000


def test_a_recorders_line_with_a_close_that_is_no_time_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "tape.ndjson"
    path.write_text("".join(json.dumps(line) + "\n" for line in envelopes("soon")))
    with pytest.raises(BadRecording, match="line 1: watches a market"):
        survey(path)


def envelopes(close_time: str) -> list[dict[str, Any]]:
    bodies = [
        ("watch_market", {"market_ticker": "M", "close_time": close_time}, None),
        ("ws_subscribed", {"type": "subscribed", "msg": {"channel": "orderbook_delta", "sid": 2}}, None),
        ("orderbook_snapshot", {"market_ticker": "M"}, 1),
    ]
    return [
        {"event_type": word, "payload_json": body, "sequence_number": seq, "local_recv_ns": START_US * 1_000}
        for word, body, seq in bodies
    ]


def test_a_recording_without_a_market_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRecording, match="holds no book, ticker or trade"):
        survey(Tape().connect().save(tmp_path))


@pytest.mark.parametrize(
    ("prices_cc", "ranges"),
    [
        ({100, 4_200, 9_900}, CENT_GRID.ranges),
        ({10, 4_200, 9_990}, TAPERED_DECI_CENT_GRID.ranges),
        ({4_210}, (PriceRange(0, 10_000, 10),)),
        ({1}, (PriceRange(0, 100, 1), PriceRange(100, 9_900, 10), PriceRange(9_900, 10_000, 1))),
        ({4_201}, (PriceRange(0, 10_000, 1),)),
    ],
)
def test_the_grid_is_the_coarsest_that_has_every_price(prices_cc: set[int], ranges: tuple[PriceRange, ...]) -> None:
    assert deduced_ranges(prices_cc) == ranges


@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_grid_of_every_structure_is_found_again_from_all_of_its_prices(structure: tuple[int, int, int]) -> None:
    edge_cc, step_cc, width_cc = structure
    bands = [(0, width_cc, edge_cc), (width_cc, 10_000 - width_cc, step_cc), (10_000 - width_cc, 10_000, edge_cc)]
    market = PriceGrid(PriceRange(*band) for band in bands)
    prices_cc = market.prices_cc(Side.YES)
    assert PriceGrid(deduced_ranges(set(prices_cc))).prices_cc(Side.YES) == prices_cc


@given(st.sets(st.integers(1, 9_999), min_size=1, max_size=20))
def test_a_deduced_grid_has_every_price_seen(prices_cc: set[int]) -> None:
    assert prices_cc <= set(PriceGrid(deduced_ranges(prices_cc)).prices_cc(Side.YES))
