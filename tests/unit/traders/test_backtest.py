"""The engine over small recordings by hand: what a recording tells, the trader acts on at the recording's times."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from markets.core.fees import FeeSchedule, FeeTerms
from markets.core.grid import CENT_GRID, PriceRange
from markets.core.units import DOLLAR_CC, Side
from tests.fixtures.tapes import SECOND_US, START_US, Tape, a_tape
from traders.backtest import NoSuchMarket, Plan, backtest
from traders.backtested import BacktestResult, MarketResult, TapeFill, encode_result
from traders.brokers.paper import PaperSettings
from traders.brokers.replay import Cause, CauseKind
from traders.core import registry
from traders.core.pipeline import Choice, NoStrategies, StrategyChoices
from traders.core.registry import ParamsError

registry.load()
PLAIN = StrategyChoices(Choice("join_best"), guards={"jump_cc": 0})
PLAN = Plan(strategies=PLAIN)
TICKERS = ("orderbook_delta", "ticker")
CLOSE_S = 10
CLOSE_TS = START_US // SECOND_US + CLOSE_S

Play = Callable[..., BacktestResult]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Run a plan over a tape."""

    def run(tape: Tape, plan: Plan = PLAN, **changes: Any) -> BacktestResult:
        return backtest(tape.save(tmp_path), msgspec.structs.replace(plan, **changes))

    return run


def only(result: BacktestResult) -> MarketResult:
    (market,) = result.markets
    return market


def the_fill(result: BacktestResult) -> TapeFill:
    (fill,) = only(result).fills
    return fill


def ends(market: MarketResult) -> list[tuple[int, int, str, str]]:
    """Return side, price, status and reason of each order."""
    return [(order.side, order.price_cc, order.status, order.reason) for order in market.orders]


def a_print_through_our_bid() -> Tape:
    return a_tape().trade(3_900, 400, Side.NO).wait(0.1).delta(Side.YES, 100, 1)


def a_queue_used_up() -> Tape:
    """Return a tape without trades on which the 300 ahead of us trade, and 200 of those behind us."""
    tape = a_tape(*TICKERS).volume(1_000).wait(0.1).delta(Side.YES, 4_000, 400).wait(0.1)
    return tape.delta(Side.YES, 4_000, -500).wait(0.1).wait(0.1).volume(1_500)


# --- fills and their causes -------------------------------------------------------------------------------------------


def test_it_quotes_what_the_recording_shows_and_cancels_when_it_ends(play: Play) -> None:
    market = only(play(a_tape()))
    assert ends(market) == [
        (0, 4_000, "canceled", "the recording ends"),
        (1, 5_800, "canceled", "the recording ends"),
    ]
    assert [state.state for state in market.states] == ["quoting", "draining", "stopped"]


def test_a_print_fills_and_the_fill_names_it(play: Play) -> None:
    fill = the_fill(play(a_print_through_our_bid()))
    assert (fill.trade_id, fill.side, fill.price_cc, fill.count_cx) == ("trade-1", 0, 4_000, 400)
    assert (fill.fee_ud, fill.inferred, fill.is_taker, fill.position_cx) == (None, False, False, 400)
    assert fill.cause == Cause(CauseKind.PRINT, START_US + 200_000, yes_price_cc=3_900, count_cx=400)
    assert fill.client_order_id == "bt1-1-1"


def test_what_traded_ahead_of_us_by_the_ticker_fills_nothing(play: Play) -> None:
    tape = a_tape(*TICKERS).volume(1_000).wait(0.1)
    tape.delta(Side.YES, 4_000, -100).wait(0.1).delta(Side.YES, 4_000, -200).wait(0.1).volume(1_400)
    result = play(tape)
    assert not result.has_prints
    assert only(result).fills == ()


def test_an_inferred_fill_names_its_ticker_and_counts_in_one_number_but_not_in_the_other(play: Play) -> None:
    result = play(a_queue_used_up())
    fill = the_fill(result)
    at_us = START_US + 600_000
    assert fill.cause == Cause(CauseKind.TICKER, at_us, yes_price_cc=4_000, volume_cx=1_500)
    assert (fill.inferred, fill.count_cx, fill.told_us) == (True, 200, at_us)
    market = only(result)
    assert (market.result.fills, market.result.position_cx, market.result.cash_ud) == (1, 200, -200 * 4_000)
    assert (market.printed.fills, market.printed.position_cx, market.printed.cash_ud) == (0, 0, 0)


def test_a_ticker_says_nothing_where_trades_are_told(play: Play) -> None:
    tape = a_tape().volume(1_000).wait(0.1).delta(Side.YES, 4_000, 400).wait(0.1)
    tape.delta(Side.YES, 4_000, -500).wait(0.1).volume(1_500)
    assert only(play(tape)).fills == ()
    assert len(only(play(tape, has_prints=False)).fills) == 1


def test_fees_are_charged_where_the_plan_knows_them(play: Play) -> None:
    fees = FeeTerms(FeeSchedule("quadratic_with_maker_fees", 10_000))
    result = play(a_print_through_our_bid(), fees=fees)
    fee_ud = 16_800  # 1.75 % × 4 × 0.40 × 0.60 dollars
    assert the_fill(result).fee_ud == fee_ud
    assert (result.result.fees_ud, result.result.unknown_fees, result.result.cash_ud) == (
        fee_ud,
        0,
        -1_600_000 - fee_ud,
    )
    assert play(a_print_through_our_bid()).result.unknown_fees == 1


def test_an_order_cannot_fill_before_its_latency_is_over(play: Play) -> None:
    tape = a_print_through_our_bid()
    assert only(play(tape, paper=PaperSettings(latency_us=250_000))).fills == ()
    assert len(only(play(tape, paper=PaperSettings(latency_us=99_000))).fills) == 1


def test_a_take_names_itself(play: Play) -> None:
    out = StrategyChoices(Choice("join_best"), flattens=[{"name": "cross_at_limit", "params": {"after_s": 1}}])
    tape = a_print_through_our_bid()
    for _ in range(30):
        tape.wait(0.1).delta(Side.YES, 100, 1)
    market = only(play(tape, strategies=out))
    took = [fill for fill in market.fills if fill.is_taker]
    assert {fill.cause.kind for fill in took} == {CauseKind.TAKE}
    assert sum(fill.count_cx for fill in took) == 400
    assert market.result.position_cx == 0


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clock_us", [-3_600_000_000, 3_600_000_000])
def test_a_recorder_whose_clock_is_wrong_changes_nothing(play: Play, clock_us: int) -> None:
    def tape(clock_us: int) -> Tape:
        return a_tape(clock_us=clock_us).trade(3_900, 400, Side.NO).wait(1.0).delta(Side.YES, 100, 1)

    right, wrong = play(tape(0)), play(tape(clock_us))
    names = {name: getattr(right, name) for name in ("recording",)}
    assert msgspec.structs.replace(wrong, **names) == right


def test_time_goes_on_while_nothing_happens(play: Play) -> None:
    market = only(play(a_tape().wait(5.0).delta(Side.YES, 100, 1)))
    assert market.counts["looks"] == 4 * 5 + 3, "four a second, and one for each turn"


def test_a_quiet_market_is_not_a_stale_one(play: Play) -> None:
    market = only(play(a_tape().wait(60.0).trade(3_900, 400, Side.NO)))
    assert len(market.fills) == 1


def test_nothing_rests_close_to_the_close_though_nothing_happens(play: Play) -> None:
    tape = a_tape().wait(CLOSE_S + 5).trade(3_900, 400, Side.NO)
    market = only(play(tape, close_us=CLOSE_TS * SECOND_US))
    left = [(order.changed_us - START_US) // SECOND_US for order in market.orders]
    assert left == [CLOSE_S - 5] * 2, "the guard's last seconds"
    assert (market.why_ended, market.fills) == ("market closed", ())
    assert market.ended_us // SECOND_US == CLOSE_TS


def test_the_close_of_the_recording_counts_before_that_of_the_plan(play: Play) -> None:
    tape = Tape().connect("orderbook_delta", "trade", "market_lifecycle_v2").life("created", close_ts=CLOSE_TS)
    tape.snapshot([(4_000, 300)], [(5_800, 200)]).delta(Side.YES, 100, 1).wait(CLOSE_S + 1).delta(Side.YES, 100, 1)
    market = only(play(tape, close_us=CLOSE_TS * SECOND_US * 2))
    assert (market.close_us, market.why_ended) == (CLOSE_TS * SECOND_US, "market closed")


def test_an_unknown_close_holds_nobody_back(play: Play) -> None:
    market = only(play(a_tape()))
    assert (market.close_us, market.why_ended, len(market.orders)) == (None, "the recording ends", 2)


# --- what goes wrong on the line --------------------------------------------------------------------------------------


def test_a_lost_message_ends_the_quotes_until_the_next_snapshot(play: Play) -> None:
    tape = a_tape().lose().delta(Side.YES, 100, 1).wait(0.1).trade(3_900, 400, Side.NO).wait(1.0)
    tape.snapshot([(4_100, 300)], [(5_800, 200)]).wait(0.1).delta(Side.YES, 100, 1)
    market = only(play(tape))
    assert market.fills == ()
    assert [price_cc for _, price_cc, *_ in ends(market)] == [4_000, 5_800, 4_100, 5_800]


def test_a_connection_that_ends_takes_its_orders_along(play: Play) -> None:
    tape = a_tape().wait(20.0).connect().snapshot([(4_100, 300)], [(5_800, 200)]).delta(Side.YES, 100, 1)
    market = only(play(tape))
    gone_us = [order.changed_us - START_US for order in market.orders[:2]]
    assert gone_us == [100_000] * 2, "with its last frame, not when the next begins"
    assert len(market.orders) == 4


def test_messages_that_come_late_are_no_ground_for_a_quote(play: Play) -> None:
    tape = a_tape()
    tape.delay_us += 6 * SECOND_US
    tape.delta(Side.YES, 100, 1).wait(1.0).delta(Side.YES, 100, 1)
    market = only(play(tape))
    assert [status for _, _, status, _ in ends(market)] == ["canceled"] * 2
    assert any("late" in decision.reason for decision in market.decisions)


# --- markets and what is known of them --------------------------------------------------------------------------------


def two_markets() -> Tape:
    tape = a_tape()
    tape.snapshot([(2_000, 100)], [(7_000, 100)], ticker="N").delta(Side.YES, 100, 1, ticker="N").wait(0.1)
    return tape.trade(1_900, 300, Side.NO, ticker="N").trade(3_900, 400, Side.NO)


def test_each_market_has_a_trader_of_its_own(play: Play) -> None:
    result = play(two_markets())
    assert [(one.ticker, one.result.position_cx) for one in result.markets] == [("M", 400), ("N", 300)]
    assert (result.result.fills, result.result.cash_ud) == (2, -400 * 4_000 - 300 * 2_000)
    names = {order.client_order_id for one in result.markets for order in one.orders}
    assert len(names) == sum(len(one.orders) for one in result.markets)


def test_a_result_that_is_unknown_in_one_market_is_unknown_in_all(play: Play) -> None:
    tape = two_markets().delta(Side.YES, 2_000, -100, ticker="N").delta(Side.YES, 100, -1, ticker="N").wait(0.1)
    result = play(tape)
    assert [one.result.result_ud for one in result.markets] == [0, None], "nobody bids for what is held of N"
    assert (result.result.result_ud, result.result.fills) == (None, 2)


def test_one_market_of_several_can_be_asked_for(play: Play) -> None:
    assert [one.ticker for one in play(two_markets(), market="N").markets] == ["N"]
    with pytest.raises(NoSuchMarket, match="does not hold X; it holds M, N"):
        play(two_markets(), market="X")


def test_the_grid_is_deduced_unless_the_plan_says_it(play: Play) -> None:
    market = only(play(a_tape().delta(Side.YES, 4_010, 5)))
    assert (market.price_ranges, market.are_ranges_deduced) == ((PriceRange(0, DOLLAR_CC, 10),), True)
    market = only(play(a_tape(), price_ranges=CENT_GRID.ranges))
    assert (market.price_ranges, market.are_ranges_deduced) == (CENT_GRID.ranges, False)


def test_a_market_that_is_halted_is_not_quoted(play: Play) -> None:
    tape = a_tape().life("deactivated", is_deactivated=True).wait(0.1).trade(3_900, 400, Side.NO)
    market = only(play(tape))
    assert market.fills == ()
    assert "guard_status" in market.reasons
    tape = a_tape().life("deactivated").wait(0.1).life("close_date_updated", close_ts=CLOSE_TS).wait(0.1)
    assert only(play(tape.trade(3_900, 400, Side.NO))).fills == (), "a message about something else changes that not"


def test_a_close_that_is_moved_counts_from_then_on(play: Play) -> None:
    tape = a_tape().life("close_date_updated", close_ts=START_US // SECOND_US + 2).wait(3.0).delta(Side.YES, 100, 1)
    market = only(play(tape))
    assert (market.close_us, market.why_ended) == (None, "market closed")
    assert market.ended_us == START_US + 2 * SECOND_US


def test_how_the_market_settles_counts_though_its_trader_has_ended(play: Play) -> None:
    tape = a_print_through_our_bid().life("close_date_updated", close_ts=START_US // SECOND_US)
    tape.wait(1.0).life("determined", result="yes", settlement_value="1.0000")
    result = play(tape)
    assert only(result).why_ended == "market closed"
    assert (result.result.settled_ud, result.printed.settled_ud) == (400 * 6_000, 400 * 6_000)
    assert play(a_print_through_our_bid()).result.settled_ud is None


def test_what_a_life_message_garbles_is_ignored(play: Play) -> None:
    assert len(
        only(play(a_tape().life("close_date_updated", close_ts="soon").wait(0.1).delta(Side.YES, 100, 1))).orders
    )


# --- the same again ---------------------------------------------------------------------------------------------------


def test_the_same_recording_twice_gives_equal_bytes(play: Play) -> None:
    once, again = (encode_result(play(two_markets())) for _ in range(2))
    assert once == again


def test_the_seed_names_the_orders_and_nothing_else(play: Play) -> None:
    one, other = (play(two_markets(), seed=seed) for seed in (1, 2))
    assert one != other
    assert encode_result(one).replace(b'"bt1-', b'"bt2-').replace(b'"seed":1', b'"seed":2') == encode_result(other)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"strategies": StrategyChoices(Choice("nobody"))}, NoStrategies),
        ({"strategies": StrategyChoices(Choice("join_best", {"size": 1}))}, NoStrategies),
        ({"limits": {"order_cx_most": -1}}, ParamsError),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(play: Play, changes: dict[str, Any], refusal: type[Exception]) -> None:
    with pytest.raises(refusal):
        play(a_tape(), **changes)


# --- whatever happens -------------------------------------------------------------------------------------------------

steps = st.lists(
    st.one_of(
        st.tuples(st.just("level"), st.sampled_from(Side), st.integers(3_500, 3_900), st.integers(1, 500)),
        st.tuples(st.just("trade"), st.sampled_from(Side), st.integers(3_400, 4_500), st.integers(1, 900)),
        st.tuples(st.just("ticker"), st.just(Side.YES), st.integers(1, 9_900), st.integers(0, 900)),
        st.tuples(st.just("wait"), st.just(Side.YES), st.integers(1, 9_900), st.integers(1, 30)),
    ),
    max_size=40,
)


def played(happened: list[tuple[str, Side, int, int]], channels: tuple[str, ...]) -> Tape:
    tape, volume_cx = a_tape(*channels), 1_000
    for what, side, price_cc, size in happened:
        tape.wait(0.05)
        match what:
            case "level":
                own_cc = price_cc // 100 * 100 + (0 if side is Side.YES else 1_800)
                tape.delta(side, own_cc, size).wait(0.05).delta(side, own_cc, -size)
            case "trade" if "trade" in channels:
                tape.trade(price_cc, size, side)
            case "ticker":
                volume_cx += size
                tape.volume(volume_cx)
            case "wait":
                tape.wait(size / 10)
    return tape


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(happened=steps, channels=st.sampled_from([TICKERS, (*TICKERS, "trade")]))
def test_whatever_happens_fills_add_up_and_each_comes_after_its_order_and_its_cause(
    happened: list[tuple[str, Side, int, int]], channels: tuple[str, ...], tmp_path: Path
) -> None:
    tape = played(happened, channels)
    market = only(backtest(tape.save(tmp_path), PLAN))
    sent = {order.client_order_id: order for order in market.orders}
    position_cx = 0
    for fill in market.fills:
        position_cx += fill.count_cx if fill.side == Side.YES else -fill.count_cx
        assert fill.position_cx == position_cx
        assert sent[fill.client_order_id].sent_us <= fill.cause.time_us <= fill.told_us
        assert fill.inferred == (fill.cause.kind is CauseKind.TICKER) == ("trade" not in channels)
    assert market.result.position_cx == position_cx
    for order in market.orders:
        filled_cx = sum(fill.count_cx for fill in market.fills if fill.client_order_id == order.client_order_id)
        assert order.filled_cx == filled_cx <= order.placed_cx
