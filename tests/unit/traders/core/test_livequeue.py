"""Where live orders stand in their queues: from what happens, and from what the venue says."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markets.core.book import OrderBook
from markets.core.units import Side
from tests.unit.traders.core.ownmodel import START_US, STEPS, Answer, BookNews, Trading
from traders.core.livequeue import KEPT_US, LiveQueue, Place
from traders.core.orders import RestingQuote
from traders.core.paperfills import PRINT_WAIT_US

YES = Side.YES
LEVEL, BETTER = (YES, 4_000), (YES, 4_100)


class Queue:
    """A level of 300 others, and what is told of it; ours are never in this book."""

    def __init__(self, *, includes_better: bool | None = False, ahead_bps: int | None = None) -> None:
        self.queue = LiveQueue(lambda one: one.startswith("o"), ahead_bps=ahead_bps, includes_better=includes_better)
        self.others = OrderBook()
        self.others.replace([(4_000, 300), (3_900, 500)], [(5_500, 200)])
        self.now_us = START_US
        self.resting: dict[str, RestingQuote] = {}

    def arrives(self, key: str = "o1", count_cx: int = 100, *, is_exact: bool = True) -> None:
        self.delta(count_cx, key, is_exact=is_exact)
        self.proves(key, count_cx)

    def proves(self, key: str = "o1", count_cx: int = 100) -> None:
        self.resting[key] = RestingQuote(key, *LEVEL, count_cx)
        self.queue.on_orders([one for one in self.resting.values() if one.remaining_cx], others=self.others)

    def changes(self, delta_cx: int, level: tuple[Side, int] = LEVEL) -> None:
        self.others.apply(*level, delta_cx)
        self.delta(delta_cx, level=level)

    def delta(self, delta_cx: int, tag: str = "", *, level: tuple[Side, int] = LEVEL, is_exact: bool = True) -> None:
        self.now_us += 1
        self.queue.on_delta(*level, delta_cx, tag or None, others=self.others, is_exact=is_exact, time_us=self.now_us)

    def prints(self, count_cx: int) -> None:
        self.queue.on_print(*LEVEL, count_cx, time_us=self.now_us)

    def settles(self) -> None:
        self.now_us += PRINT_WAIT_US
        self.queue.settle(self.now_us)

    def reads(self, ahead_cx: int, *, ago_us: int = 0, key: str = "o1") -> None:
        self.now_us += 1
        self.queue.settle(self.now_us)
        self.queue.on_positions({key: ahead_cx}, self.now_us - ago_us, others=self.others)

    def place(self, key: str = "o1") -> Place:
        return next(place for place in self.queue.places(self.others) if place.client_order_id == key)

    @property
    def seen(self) -> tuple[int, bool]:
        place = self.place()
        return place.ahead_cx, place.is_estimate


@pytest.fixture
def level() -> Queue:
    return Queue()


# --- arriving ---------------------------------------------------------------------------------------------------------


def test_an_order_stands_behind_what_others_showed_when_it_came(level: Queue) -> None:
    level.changes(50, BETTER)
    level.arrives()
    level.changes(80)
    place = level.place()
    assert (place.ahead_cx, place.buffer_cx, place.is_estimate) == (300, 350, False)
    assert (place.side, place.price_cc, place.placed_cx, place.remaining_cx) == (YES, 4_000, 100, 100)


def test_an_order_without_a_tag_stands_where_it_was_proven_by_estimate(level: Queue) -> None:
    level.proves()
    assert level.seen == (300, True)


def test_a_tag_that_comes_after_the_proof_sets_the_place_right(level: Queue) -> None:
    level.proves()
    level.changes(60)
    level.delta(100, "o1")
    assert level.seen == (360, False)


def test_a_place_taken_in_an_uncertain_level_is_an_estimate(level: Queue) -> None:
    level.arrives(is_exact=False)
    assert level.seen == (300, True)


def test_what_was_placed_is_remembered_while_less_remains(level: Queue) -> None:
    level.arrives()
    level.proves(count_cx=60)
    place = level.place()
    assert (place.placed_cx, place.remaining_cx) == (100, 60)


def test_an_order_that_is_not_proven_to_rest_is_not_shown(level: Queue) -> None:
    level.delta(100, "o1")
    assert level.queue.places(level.others) == ()
    level.proves()
    level.proves(count_cx=0)
    assert level.queue.places(level.others) == ()


def test_an_order_that_is_proven_again_kept_its_place(level: Queue) -> None:
    level.arrives()
    level.changes(70)
    level.proves(count_cx=0)
    level.proves()
    assert level.place().ahead_cx == 300


def test_an_order_of_another_hand_is_one_of_the_others(level: Queue) -> None:
    level.arrives()
    level.others.apply(*LEVEL, 40)
    level.delta(40, "person")
    assert level.seen == (300, False)


def test_resting_quotes_are_told_what_is_ahead(level: Queue) -> None:
    level.arrives()
    quotes = (level.resting["o1"], RestingQuote("o9", *LEVEL, 10))
    assert [quote.ahead_cx for quote in level.queue.placed(quotes)] == [300, None]


# --- trades and cancels -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_print_first", [True, False])
def test_a_trade_uses_up_what_is_ahead(level: Queue, is_print_first: bool) -> None:
    level.arrives()
    tell = [lambda: level.prints(120), lambda: level.changes(-120)]
    for part in tell if is_print_first else reversed(tell):
        part()
    assert level.seen == (180, False)
    level.settles()
    assert level.seen == (180, False)


def test_a_removal_may_yet_be_anything_until_its_print_is_late(level: Queue) -> None:
    level.arrives()
    level.changes(100)
    level.changes(-100)
    assert level.seen == (300, True)
    level.settles()
    assert level.seen == (225, True), "300 of 400 were ahead"


@pytest.mark.parametrize(("ahead_bps", "ahead_cx"), [(0, 300), (10_000, 200), (2_500, 275)])
def test_the_part_of_a_cancel_ahead_may_be_set(ahead_bps: int, ahead_cx: int) -> None:
    level = Queue(ahead_bps=ahead_bps)
    level.arrives()
    level.changes(100)
    level.changes(-100)
    level.settles()
    assert level.place().ahead_cx == ahead_cx


def test_a_cancel_where_nobody_stands_behind_was_ahead(level: Queue) -> None:
    level.arrives()
    level.changes(-100)
    level.settles()
    assert level.seen == (200, False)


def test_a_cancel_in_an_uncertain_level_leaves_an_estimate(level: Queue) -> None:
    level.arrives()
    level.others.apply(*LEVEL, -100)
    level.delta(-100, is_exact=False)
    level.settles()
    assert level.seen == (200, True)


def test_a_print_that_nothing_followed_explains_no_later_removal(level: Queue) -> None:
    level.arrives()
    level.changes(100)
    level.prints(100)
    level.settles()
    level.changes(-100)
    level.settles()
    assert level.place().ahead_cx == 225


def test_a_removal_behind_the_touch_does_not_wait_for_a_print(level: Queue) -> None:
    level.changes(50, BETTER)
    level.arrives()
    level.changes(-100)
    assert level.seen == (200, False)


def test_no_more_is_ahead_than_others_show(level: Queue) -> None:
    level.arrives()
    level.others.apply(*LEVEL, -200)
    level.changes(-60)
    level.settles()
    assert level.seen == (40, True)


def test_a_print_whose_removal_came_before_the_order_does_not_move_it(level: Queue) -> None:
    level.changes(-100)
    level.arrives()
    level.prints(100)
    level.changes(50)
    level.changes(-50)
    level.settles()
    assert level.place().ahead_cx == 160, "the removal of 50 was no trade, but a cancel: 200 of 250 were ahead"


def test_our_own_cancel_moves_nobody(level: Queue) -> None:
    level.arrives("o1")
    level.arrives("o2")
    level.delta(-100, "o1")
    level.proves("o1", 0)
    level.settles()
    assert level.place("o2").ahead_cx == 300


def test_an_order_that_has_gone_takes_nothing_of_a_trade(level: Queue) -> None:
    level.arrives("o1")
    level.changes(80)
    level.arrives("o2")
    level.proves("o1", 0)
    level.changes(-340)
    level.prints(340)
    assert level.place("o2").ahead_cx == 40


def test_a_trade_that_reaches_us_leaves_less_for_those_behind(level: Queue) -> None:
    level.arrives("o1")
    level.changes(80)
    level.arrives("o2")
    assert level.place("o2").ahead_cx == 380
    level.others.apply(*LEVEL, -300)
    level.delta(-400)
    level.prints(400)
    assert level.place("o1").ahead_cx == 0
    place = level.place("o2")
    assert (place.ahead_cx, place.is_estimate) == (80, True)


def test_a_fill_says_that_nobody_is_ahead_any_more(level: Queue) -> None:
    level.proves()
    level.queue.on_fill("o1")
    assert level.seen == (0, False)
    level.reads(120)
    level.changes(-100)
    level.settles()
    assert level.seen == (0, False)


def test_a_book_begun_anew_makes_an_estimate_of_every_place(level: Queue) -> None:
    level.arrives()
    level.others.replace([(4_000, 120)], [])
    level.queue.on_snapshot(others=level.others, time_us=level.now_us)
    assert level.seen == (120, True)


# --- the venue's word -------------------------------------------------------------------------------------------------


def test_a_queue_position_sets_the_place_right(level: Queue) -> None:
    level.proves()
    level.reads(140)
    assert level.seen == (140, False)


def test_what_came_after_a_queue_position_is_applied_on_top(level: Queue) -> None:
    level.arrives()
    level.changes(-40)
    level.prints(40)
    level.now_us += 1_000
    level.changes(-60)
    level.prints(60)
    level.reads(250, ago_us=500)
    assert level.seen == (190, True), "the reading may show the trade of 60 already"
    level.reads(180)
    assert level.seen == (180, False)


def test_what_a_queue_position_contains_is_not_applied_again(level: Queue) -> None:
    level.arrives()
    level.changes(-40)
    level.reads(230)
    level.prints(40)
    level.settles()
    assert level.seen == (230, False)


def test_an_older_queue_position_than_the_last_one_is_nothing_new(level: Queue) -> None:
    level.arrives()
    level.now_us += 1_000
    level.reads(200)
    level.reads(280, ago_us=10)
    assert level.place().ahead_cx == 200


def test_a_queue_position_from_before_the_book_was_begun_anew_is_not_used(level: Queue) -> None:
    level.arrives()
    level.now_us += 1_000
    level.queue.on_snapshot(others=level.others, time_us=level.now_us)
    level.reads(200, ago_us=500)
    assert level.seen == (300, True)


def test_a_removal_that_a_queue_position_may_contain_leaves_an_estimate_also_once_it_is_settled(level: Queue) -> None:
    level.arrives()
    level.now_us += 1_000
    level.changes(-60)
    level.reads(300, ago_us=500)
    level.settles()
    assert level.seen == (240, True)


@pytest.mark.parametrize("ago_us", [10, KEPT_US])
def test_a_queue_position_from_before_we_can_know_what_followed_is_not_used(level: Queue, ago_us: int) -> None:
    level.now_us += 2 * KEPT_US if ago_us == KEPT_US else 0
    level.arrives()
    level.now_us += KEPT_US if ago_us == KEPT_US else 0
    level.reads(100, ago_us=ago_us)
    assert level.place().ahead_cx == 300


def test_a_queue_position_counts_our_own_that_stand_before(level: Queue) -> None:
    level.arrives("o1")
    level.arrives("o2", 50)
    level.reads(380, key="o2")
    place = level.place("o2")
    assert (place.ahead_cx, place.is_estimate) == (280, True)


def test_a_queue_position_larger_than_the_level_is_an_estimate(level: Queue) -> None:
    level.proves()
    level.reads(340)
    assert level.seen == (300, True)


def test_a_setting_that_is_not_known_leaves_an_estimate_behind_better_levels() -> None:
    level = Queue(includes_better=None)
    level.changes(50, BETTER)
    level.arrives()
    level.reads(140)
    assert level.seen == (140, True)


def test_a_reading_that_contradicts_the_setting_is_told_once() -> None:
    level = Queue(includes_better=False)
    level.changes(50, BETTER)
    level.arrives()
    level.reads(330)  # more than can stand there, so it includes the 50
    assert level.seen == (280, True)
    level.reads(320)
    assert [alert.code for alert in level.queue.take_alerts()] == ["QUEUE_READING"]


# --- any order of anything --------------------------------------------------------------------------------------------


class Queued(Trading):
    """Trading that also keeps account of its places."""

    def __init__(self, *, is_tagged: bool) -> None:
        super().__init__(is_tagged=is_tagged)
        self.queue = LiveQueue(includes_better=False)
        self.filled: set[str] = set()
        self.readings: list[tuple[int, dict[str, int]]] = []
        self.known_us = 0  # the newest moment that a queue position has told of
        self.read, self.heard = self.on_news, self.on_answer

    def book_of_others(self) -> OrderBook:
        return self.own.others(self.book, self.now_us)

    def on_news(self, news: BookNews) -> None:
        others = self.book_of_others()
        if news.level is None:
            self.queue.on_snapshot(others=others, time_us=news.at_us)
        elif news.kind == "print":
            self.queue.on_print(*news.level, news.count_cx, time_us=news.at_us)
        else:
            is_exact = self.own.is_exact(*news.level, self.now_us)
            self.queue.on_delta(
                *news.level, news.count_cx, news.tag or None, others=others, is_exact=is_exact, time_us=news.at_us
            )
        self.queue.on_orders(self.resting(), others=others)

    def on_answer(self, answer: Answer) -> None:
        if answer.filled_cx:
            self.queue.on_fill(answer.client_order_id)
            self.filled.add(answer.client_order_id)
        self.queue.on_orders(self.resting(), others=self.book_of_others())

    def reads(self) -> None:
        """Let the venue be asked for the queue positions."""
        positions: dict[str, int] = {}
        for queue in self.exchange.queues.values():
            for at, one in enumerate(queue):
                if one.owner:
                    positions[one.owner] = sum(before.count_cx for before in queue[:at])
        self.readings.append((self.now_us, positions))

    def told(self) -> None:
        """Let the oldest reading be told."""
        if self.readings:
            self.known_us, positions = self.readings.pop(0)
            self.queue.on_positions(positions, self.known_us, others=self.book_of_others())

    def look(self) -> None:
        """What is not called an estimate is so, at the moment that the book has come to."""
        coming = self.exchange.book
        if self.exchange.is_cut or (coming and coming[0].at_us <= max(self.read_us, self.known_us)):
            return
        for place in self.queue.places(self.book_of_others()):
            assert place.ahead_cx >= 0
            is_there = place.client_order_id in self.ahead and place.client_order_id not in self.filled
            if is_there and not place.is_estimate:
                assert place.ahead_cx == self.ahead[place.client_order_id]


READS = st.lists(st.sampled_from(["", "", "", "", "reads", "told"]), min_size=60, max_size=60)


@pytest.mark.parametrize("is_tagged", [True, False])
@given(steps=STEPS, reads=READS)
@settings(max_examples=120, deadline=None)
def test_a_place_that_is_not_called_an_estimate_is_right(
    is_tagged: bool, steps: list[tuple[str, int]], reads: list[str]
) -> None:
    trading = Queued(is_tagged=is_tagged)
    for (kind, pick), read in zip(steps, reads, strict=False):
        trading.step(kind, pick)
        if read:
            getattr(trading, read)()
        trading.look()


@given(st.lists(st.integers(-80, 80).filter(bool), max_size=20))
@settings(max_examples=80, deadline=None)
def test_no_more_is_ahead_than_ever_stood_there_and_it_never_grows(changes: list[int]) -> None:
    level = Queue()
    level.arrives()
    before_cx = 300
    for change_cx in changes:
        level.changes(max(change_cx, -level.others.size_cx(*LEVEL)) or 1)
        level.settles()
        ahead_cx = level.place().ahead_cx
        assert 0 <= ahead_cx <= min(before_cx, level.others.size_cx(*LEVEL))
        before_cx = ahead_cx
