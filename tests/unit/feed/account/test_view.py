"""The account view: one truth out of a channel that may be silent, late or repeat itself, and polls that lag."""

from __future__ import annotations

import dataclasses
import random

import msgspec
import pytest
from accountworld import MS, OURS, START_US, Frame, Ledger, Reads, a_fill, a_position, an_order, as_read, is_ours, poll
from hypothesis import given, settings
from hypothesis import strategies as st

from feed import schema
from feed.account.suspects import GRACE_US
from feed.account.view import AccountView, Wanted
from markets.core.units import Side

LATER_US = START_US + 1_000_000


@pytest.fixture
def view() -> AccountView:
    return AccountView(is_ours)


def fills_told(view: AccountView) -> list[schema.AccountFill]:
    return [update for update in view.take() if isinstance(update, schema.AccountFill)]


def orders_told(view: AccountView) -> list[schema.AccountOrder]:
    return [update for update in view.take() if isinstance(update, schema.AccountOrder)]


# ---- fills ----------------------------------------------------------------------------------------------------------


def test_B15_a_fill_is_booked_once_however_often_and_by_whom_it_is_told(view: AccountView) -> None:
    view.on_order(an_order())
    view.on_fill(a_fill())
    view.on_fill(a_fill())
    view.on_polled_fills([a_fill(client_order_id="", is_external=None)], LATER_US)
    assert len(fills_told(view)) == 1
    assert view.orders["o-1"].filled_cx == 300
    assert view.orders["o-1"].remaining_cx == 700


def test_B16_fills_that_a_poll_finds_are_told_in_the_order_in_which_they_traded(view: AccountView) -> None:
    newest_first = [("t-3", 7), ("t-2", 5), ("t-1", 5), ("t-0", 2)]
    found = [a_fill(trade_id=trade, time_us=START_US + after * MS) for trade, after in newest_first]
    view.on_polled_fills(found, LATER_US)
    assert [fill.trade_id for fill in fills_told(view)] == ["t-0", "t-1", "t-2", "t-3"]


def test_B15_two_orders_of_ours_may_share_a_trade(view: AccountView) -> None:
    view.on_fill(a_fill(order_id="o-1"))
    view.on_fill(a_fill(order_id="o-2", side=Side.NO))
    assert len(fills_told(view)) == 2


def test_B15_a_fill_before_its_order_is_booked_and_named_afterwards(view: AccountView) -> None:
    view.on_polled_fills([a_fill(client_order_id="", is_external=None)], LATER_US)
    (first,) = fills_told(view)
    assert (first.client_order_id, first.is_external) == ("", None)
    assert view.wanted().order_ids == {"o-1"}
    view.on_order(an_order())
    (named,) = fills_told(view)
    assert (named.client_order_id, named.is_external) == (f"{OURS}o-1", False)
    assert view.orders["o-1"].filled_cx == 300
    assert not view.wanted().order_ids


def test_B15_a_final_state_waits_for_its_fills(view: AccountView) -> None:
    view.on_order(an_order())
    view.on_fill(a_fill("t-1", count_cx=300))
    view.on_order(an_order(status="canceled", filled_cx=1_000, remaining_cx=0, time_us=START_US + 9 * MS))
    assert not view.orders["o-1"].is_complete
    assert view.wanted().fills
    view.on_fill(a_fill("t-2", count_cx=700, time_us=START_US + 8 * MS))
    assert view.orders["o-1"].is_complete
    assert not view.wanted().fills


# ---- orders ---------------------------------------------------------------------------------------------------------


def test_B15_an_older_order_message_changes_nothing(view: AccountView) -> None:
    view.on_order(an_order(remaining_cx=400, initial_cx=400, time_us=START_US + 5 * MS))
    view.take()
    view.on_order(an_order())
    assert not view.take()
    view.on_order(an_order(status="canceled", remaining_cx=0, time_us=START_US + 6 * MS))
    view.on_order(an_order(remaining_cx=400, time_us=START_US + 7 * MS))
    assert view.orders["o-1"].status == "canceled"


def test_C4_a_missing_order_is_not_believed_gone_while_reads_are_older_than_it(view: AccountView) -> None:
    view.on_order(an_order(time_us=START_US + 5 * MS))
    view.on_resting_orders([], START_US + 4 * MS, LATER_US)
    assert not view.wanted()
    view.on_resting_orders([], START_US + 6 * MS, LATER_US)
    assert view.wanted() == Wanted(order_ids=frozenset({"o-1"}))
    assert view.orders["o-1"].status == "resting", "a miss is only asked about"


def test_C4_an_order_that_no_read_finds_is_gone_only_past_its_newest_sign_of_life(view: AccountView) -> None:
    view.on_order(an_order(time_us=START_US + 5 * MS))
    view.on_order_not_found("o-1", START_US + 5 * MS)
    assert view.orders["o-1"].status == "resting"
    view.on_order_not_found("o-1", START_US + 6 * MS)
    assert (view.orders["o-1"].status, view.orders["o-1"].remaining_cx) == ("gone", 0)
    view.on_order(an_order(time_us=START_US + 5 * MS))
    assert view.orders["o-1"].status == "resting", "the venue's word beats our own conclusion"


def test_a_read_that_shows_the_end_of_a_missed_order_ends_it(view: AccountView) -> None:
    view.on_order(an_order())
    view.on_resting_orders([], START_US + MS, LATER_US)
    view.on_polled_order(an_order(status="canceled", remaining_cx=0, time_us=START_US + MS), LATER_US)
    assert view.orders["o-1"].is_complete
    assert not view.wanted()


def test_C18_an_order_of_a_person_is_told_apart_and_kept(view: AccountView) -> None:
    view.on_order(an_order("o-7", client_order_id="by hand"))
    view.on_resting_orders([an_order("o-8", client_order_id="")], START_US + MS, LATER_US)
    assert [order.is_external for order in orders_told(view)] == [True, True]
    view.on_fill(a_fill(order_id="o-8", client_order_id=""))
    assert fills_told(view)[0].is_external is True


def test_C19_an_unknown_status_word_counts_as_open(view: AccountView) -> None:
    view.on_order(an_order(status="brand_new"))
    assert not view.orders["o-1"].is_complete
    assert view.whole()


# ---- positions ------------------------------------------------------------------------------------------------------


def shown(view: AccountView) -> dict[str, int]:
    return {position.ticker: position.position_cx for position in view.positions.all()}


def test_a_position_is_unknown_until_the_venues_list(view: AccountView) -> None:
    view.on_fill(a_fill(time_us=START_US + 5 * MS))
    assert shown(view) == {}
    assert view.wanted().positions
    view.on_positions([(a_position(700), START_US)], 0, START_US + MS)
    assert shown(view) == {"M-1": 1_000}


def test_C18_a_fill_in_a_market_that_the_list_left_out_is_a_position_at_once(view: AccountView) -> None:
    view.on_positions([], 0, START_US)
    view.take()
    view.on_fill(a_fill(time_us=START_US + 5 * MS))
    told = [update for update in view.take() if isinstance(update, schema.AccountPosition)]
    assert [(one.position_cx, one.is_agreed) for one in told] == [(300, True)]
    assert shown(view) == {"M-1": 300}, "who begins now takes what is left out for flat"
    view.on_position("M-1", 0, 300, START_US + 6 * MS)
    assert not view.wanted().positions
    view.on_positions([], 0, START_US + 9 * MS)
    assert shown(view) == {"M-1": 0}


def test_a_word_of_the_channel_about_a_market_that_the_list_left_out_disputes_it(view: AccountView) -> None:
    view.on_positions([], 0, START_US)
    view.on_position("M-1", 0, 300, START_US + 5 * MS)
    (position,) = view.positions.all()
    assert (position.position_cx, position.is_agreed) == (0, False)
    assert view.wanted().positions


def test_C4_a_list_older_than_a_fill_takes_nothing_from_the_position(view: AccountView) -> None:
    view.on_positions([(a_position(100), START_US)], 0, START_US)
    view.on_fill(a_fill(time_us=START_US + 5 * MS))
    view.on_positions([(a_position(100), START_US)], 0, START_US + 4 * MS)
    assert shown(view) == {"M-1": 400}
    view.on_positions([], 0, START_US + 4 * MS)
    assert shown(view) == {"M-1": 400}, "flat is not believed"
    view.on_positions([(a_position(400), START_US + 5 * MS)], 0, START_US + 6 * MS)
    assert shown(view) == {"M-1": 400}


def test_a_fill_that_comes_late_is_not_counted_twice(view: AccountView) -> None:
    view.on_positions([(a_position(300), START_US + 5 * MS)], 0, START_US + 6 * MS)
    view.on_fill(a_fill(time_us=START_US + 5 * MS))
    assert shown(view) == {"M-1": 300}


def test_a_row_that_holds_more_than_our_fills_asks_for_fills_at_once(view: AccountView) -> None:
    view.on_positions([(a_position(0), START_US)], 0, START_US)
    view.on_positions([(a_position(300), START_US + 5 * MS)], 0, START_US + 6 * MS)
    assert view.wanted().fills
    view.on_polled_fills([a_fill(time_us=START_US + 5 * MS)], LATER_US)
    assert not view.wanted().fills


def test_the_channels_word_disputes_a_position_until_a_newer_list(view: AccountView) -> None:
    view.on_positions([(a_position(0), START_US)], 0, START_US)
    view.take()
    view.on_position("M-1", 0, 300, START_US + 5 * MS)
    (disputed,) = view.take()
    assert isinstance(disputed, schema.AccountPosition)
    assert (disputed.position_cx, disputed.is_agreed) == (0, False)
    assert view.wanted().positions
    view.on_positions([(a_position(0), START_US)], 0, START_US + 4 * MS)
    assert view.wanted().positions, "that list is older than the word"
    view.on_fill(a_fill(time_us=START_US + 5 * MS))
    assert not view.wanted().positions
    assert shown(view) == {"M-1": 300}


def test_F7_a_settled_market_leaves_the_positions_and_is_told_once(view: AccountView) -> None:
    view.on_positions([(a_position(300), START_US)], 0, START_US)
    view.take()
    paid = schema.AccountSettlement("M-1", "yes", 300, 1_260_000, 0, 0, 3_000_000, 0, 10_000, START_US + 9 * MS)
    view.on_settlements([paid])
    view.on_settlements([paid])
    told = view.take()
    assert [type(update) for update in told] == [schema.AccountSettlement, schema.AccountPosition]
    assert shown(view) == {"M-1": 0}
    view.on_positions([], 0, START_US + 8 * MS)
    view.on_positions([(a_position(300), START_US)], 0, START_US + 8 * MS)
    assert shown(view) == {"M-1": 0}, "an older list brings nothing back"


def test_F7_two_subaccounts_that_a_market_pays_at_one_moment_are_both_told(view: AccountView) -> None:
    first = schema.AccountSettlement("M-1", "yes", 300, 1_260_000, 0, 0, 3_000_000, 0, 10_000, START_US)
    second = msgspec.structs.replace(first, yes_cx=200, yes_cost_ud=840_000, revenue_ud=2_000_000)
    view.on_settlements([first, second])
    view.on_settlements([second, first])
    assert view.take() == [first, second]


def test_F7_two_subaccounts_paid_alike_are_two_settlements(view: AccountView) -> None:
    paid = schema.AccountSettlement("M-1", "yes", 300, 1_260_000, 0, 0, 3_000_000, 0, 10_000, START_US + 9 * MS)
    other = msgspec.structs.replace(paid, subaccount=2)
    view.on_settlements([paid])
    view.on_settlements([other])
    assert [update for update in view.take() if isinstance(update, schema.AccountSettlement)] == [paid, other]


# ---- differences ----------------------------------------------------------------------------------------------------


def test_B16_what_only_a_poll_tells_is_a_difference_after_a_moment(view: AccountView) -> None:
    view.channel_opened(START_US)
    view.on_resting_orders([an_order(time_us=START_US + MS)], LATER_US, LATER_US)
    view.on_polled_fills([a_fill(time_us=START_US + 5 * MS)], LATER_US)
    assert not view.tick(LATER_US + GRACE_US - 1)
    found = view.tick(LATER_US + GRACE_US)
    assert sorted((difference.kind, difference.subject) for difference in found) == [
        ("fill", "o-1/t-1"),
        ("order", "o-1"),
    ]
    assert not view.tick(LATER_US + 9 * GRACE_US), "told once"


def test_a_poll_that_is_faster_than_the_channel_is_no_difference(view: AccountView) -> None:
    view.channel_opened(START_US)
    view.on_resting_orders([an_order(time_us=START_US + MS)], LATER_US, LATER_US)
    view.on_polled_fills([a_fill(time_us=START_US + 5 * MS)], LATER_US)
    view.on_order(an_order(time_us=START_US + MS))
    view.on_fill(a_fill(time_us=START_US + 5 * MS))
    assert not view.tick(LATER_US + GRACE_US)


def test_a_poll_that_knows_the_same_moment_better_is_no_difference_and_no_news(view: AccountView) -> None:
    """Channels tell milliseconds, reads microseconds."""
    view.channel_opened(START_US)
    view.on_order(an_order(time_us=START_US + 5 * MS))
    view.take()
    view.on_resting_orders([an_order(time_us=START_US + 5 * MS + 603)], LATER_US, LATER_US)
    assert view.take() == []
    assert not view.tick(LATER_US + GRACE_US)
    view.on_resting_orders([an_order(time_us=START_US + 6 * MS, remaining_cx=900)], LATER_US, LATER_US)
    assert [difference.kind for difference in view.tick(LATER_US + GRACE_US)] == ["order"]


def test_what_happened_before_the_channel_was_there_is_no_difference(view: AccountView) -> None:
    view.channel_opened(START_US + 9 * MS)
    view.on_resting_orders([an_order(time_us=START_US + MS)], LATER_US, LATER_US)
    view.channel_closed()
    view.on_polled_fills([a_fill(time_us=START_US + 50 * MS)], LATER_US)
    assert not view.tick(LATER_US + GRACE_US)


# ---- groups, queue, balance -----------------------------------------------------------------------------------------


def test_F11_a_triggered_group_keeps_its_limit_and_is_told(view: AccountView) -> None:
    view.on_groups([schema.AccountGroup("g", "listed", 10_000, None, 2)])
    view.on_group(schema.AccountGroup("g", "triggered", None, True, None))
    triggered = schema.AccountGroup("g", "triggered", 10_000, True, 2)
    assert view.groups["g"] == triggered
    view.on_groups([schema.AccountGroup("g", "listed", 10_000, None, 2)])
    assert view.groups["g"] == triggered, "a list says nothing of triggers"
    view.take()
    view.on_groups([])
    assert view.take() == [schema.AccountGroup("g", "deleted", 10_000, True, 2)]
    assert not view.groups


def test_F11_whether_a_group_triggered_is_unknown_once_the_channel_was_gone(view: AccountView) -> None:
    view.on_group(schema.AccountGroup("g", "created", 10_000, False, 0))
    view.on_group(schema.AccountGroup("h", "triggered", 10_000, True, 0))
    view.channel_closed()
    assert [view.groups[name].is_triggered for name in ("g", "h")] == [None, True]


def test_only_changes_of_queue_and_balance_are_told(view: AccountView) -> None:
    balance = schema.AccountBalance(5_000_000, [(0, 5_000_000)])
    for as_of_us in (1, 2):
        view.on_queue([("o-2", 0), ("o-1", 500)], as_of_us)
        view.on_balance(balance)
    assert view.take() == [schema.AccountQueue([("o-1", 500), ("o-2", 0)], 1), balance]


# ---- everything at once ---------------------------------------------------------------------------------------------

TICKERS = st.sampled_from(["M-1", "M-2"])
COUNTS = st.lists(st.integers(1, 600), min_size=1, max_size=3)
SIDES = st.sampled_from(Side)
ORDER_IDS = st.integers(0, 5).map(lambda n: f"o-{n}")
OPERATIONS = st.one_of(
    st.builds(lambda t, s, e: lambda led: led.place(t, s, is_external=e), TICKERS, SIDES, st.booleans()),
    st.builds(lambda o, c: lambda led: led.fill(o, c), ORDER_IDS, COUNTS),
    st.builds(lambda o: lambda led: led.cancel(o), ORDER_IDS),
    st.builds(lambda o, c: lambda led: led.amend(o, c), ORDER_IDS, st.integers(1, 2_000)),
    st.builds(lambda t: lambda led: led.settle(t), TICKERS),
)  # fmt: skip


@settings(max_examples=200)
@given(
    operations=st.lists(OPERATIONS, max_size=25),
    seed=st.integers(0, 2**32),
    lost=st.sampled_from([0.0, 0.3, 1.0]),
    repeated=st.sampled_from([0.0, 0.3]),
    polls=st.integers(0, 8),
    is_shuffled=st.booleans(),
)
def test_any_mix_of_frames_and_polls_ends_equal_to_the_ledger(
    operations: list[object], seed: int, lost: float, repeated: float, polls: int, is_shuffled: bool
) -> None:
    """Frames lost, repeated and in any order, polls of any age between them: two rounds of fresh polls settle it."""
    chance, ledger, moments = random.Random(seed), Ledger(), [Ledger().reads()]
    for operation in operations:
        operation(ledger)  # type: ignore[operator]
        moments.append(ledger.reads())
    frames = [frame for frame in ledger.frames if chance.random() >= lost]
    frames += [frame for frame in frames if chance.random() < repeated]
    if is_shuffled:
        chance.shuffle(frames)
    view = AccountView(is_ours)
    for _ in range(polls):
        frames.insert(chance.randrange(len(frames) + 1), a_poll(chance, moments))
    for frame in frames:
        frame(view)
    ledger.now_us += 1_000 * MS
    for _ in range(2):
        poll(view, ledger.reads())
    assert not view.wanted(), view.wanted()
    assert_equal(view, ledger)


def a_poll(chance: random.Random, moments: list[Reads]) -> Frame:
    """A read at some moment that claims to be as fresh as some earlier one: reads may show more than they promise."""
    shown_at = chance.randrange(len(moments))
    promised = moments[chance.randrange(shown_at + 1)].as_of_us
    reads = dataclasses.replace(moments[shown_at], as_of_us=promised)
    what = chance.choice(["all", "orders", "fills", "positions"])
    return lambda view: poll(view, reads, what=what)


def assert_equal(view: AccountView, ledger: Ledger) -> None:
    fills = {(fill.order_id, fill.trade_id): fill for fill in ledger.fills}
    assert {(f.order_id, f.trade_id): f for f in view.fills.all()} == fills
    assert len(view.fills.all()) == len(ledger.fills)
    seen = {order_id: as_read(order) for order_id, order in view.orders.items()}
    for order_id, order in ledger.orders.items():
        must_be_known = order.status == "resting" or order.filled_cx
        if order_id in seen or must_be_known:
            is_complete = order.status != "resting"
            assert seen[order_id] == msgspec.structs.replace(as_read(order), is_complete=is_complete)
    assert not set(seen) - set(ledger.orders)
    held = {ticker: position_cx for ticker, (position_cx, _) in ledger.positions.items() if position_cx}
    assert {ticker: position_cx for ticker, position_cx in shown(view).items() if position_cx} == held
    assert all(position.is_agreed for position in view.positions.all())
