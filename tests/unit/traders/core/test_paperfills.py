"""How removals and prints of one trade are matched, whichever comes first and whatever our order saw of them."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from markets.core.book import OrderBook
from markets.core.units import Side
from traders.core.paperfills import PRINT_WAIT_US, PaperQueue

LEVEL = (Side.YES, 4_000)
BETTER = (Side.YES, 4_100)


class Level:
    """One level of 300 with a paper queue, and times in microseconds."""

    def __init__(self, *, ahead_bps: int | None = 0) -> None:
        self.book = OrderBook()
        self.book.replace([(4_000, 300), (3_900, 500)], [(5_800, 200)])
        self.queue = PaperQueue(ahead_bps=ahead_bps)

    def join(self, at_us: int, *, level: tuple[Side, int] = LEVEL, count_cx: int = 100) -> None:
        level_cx, better_cx = self.book.size_cx(*level), self.book.better_cx(*level)
        self.queue.join("ours", level, count_cx, level_cx=level_cx, better_cx=better_cx, time_us=at_us)

    def adds(self, count_cx: int, at_us: int) -> None:
        self.book.apply(*LEVEL, count_cx)
        self.queue.on_delta(LEVEL, count_cx, book=self.book, time_us=at_us)

    def removes(self, count_cx: int, at_us: int) -> None:
        self.book.apply(*LEVEL, -count_cx)
        self.queue.on_delta(LEVEL, -count_cx, book=self.book, time_us=at_us)

    def prints(self, count_cx: int, at_us: int) -> list[int]:
        return [hit.count_cx for hit in self.queue.on_print(LEVEL, count_cx, time_us=at_us)]

    @property
    def ahead_cx(self) -> int:
        return self.queue.orders["ours"].place.ahead_cx


def test_a_print_whose_removal_was_seen_before_we_came_does_not_move_us() -> None:
    level = Level()
    level.removes(100, at_us=1_000)
    level.join(1_000)
    assert level.prints(100, at_us=1_001) == []
    assert level.ahead_cx == 200


def test_a_print_whose_removal_was_seen_before_we_came_does_not_fill_us_through_its_price() -> None:
    level = Level()
    level.removes(100, at_us=1_000)
    level.join(1_000, level=BETTER)
    assert level.prints(100, at_us=1_001) == []
    assert level.prints(30, at_us=1_002) == [30]


def test_a_removal_whose_print_was_told_before_we_came_takes_it_off_the_front() -> None:
    level = Level()
    level.prints(100, at_us=1_000)
    level.join(1_000)
    assert level.ahead_cx == 300, "the book still shows what has traded"
    level.removes(100, at_us=1_001)
    assert level.ahead_cx == 200
    level.queue.settle(1_001 + PRINT_WAIT_US)
    assert level.ahead_cx == 200


def test_a_print_of_the_moment_we_came_cannot_fill_us_and_takes_off_the_front_what_leaves_later() -> None:
    level = Level()
    level.join(1_000)
    assert level.prints(100, at_us=1_000) == []
    level.removes(100, at_us=1_001)
    assert level.ahead_cx == 200
    other = Level()
    other.join(1_000)
    other.removes(100, at_us=1_000)
    assert other.prints(100, at_us=1_000) == []
    assert other.ahead_cx == 200


def test_a_cancel_that_was_seen_before_we_came_does_not_move_us() -> None:
    level = Level(ahead_bps=10_000)
    level.removes(100, at_us=1_000)
    level.join(1_001)
    level.queue.settle(1_000 + PRINT_WAIT_US)
    assert level.ahead_cx == 200


def test_a_removal_waits_a_quarter_of_a_second_for_its_print() -> None:
    level = Level()
    level.join(1_000)
    level.removes(200, at_us=1_100)
    level.queue.settle(1_100 + 249_999)
    assert level.ahead_cx == 300
    level.queue.settle(1_100 + 250_000)
    assert level.ahead_cx == 100


def test_a_print_explains_the_oldest_removal_and_what_is_left_of_it_is_a_cancel() -> None:
    level = Level(ahead_bps=10_000)
    level.join(1_000)
    level.removes(50, at_us=1_100)
    level.removes(50, at_us=1_200)
    level.prints(70, at_us=1_200)
    assert level.ahead_cx == 230
    level.queue.settle(1_200 + PRINT_WAIT_US)
    assert level.ahead_cx == 200


def test_a_cancel_pro_rata_goes_by_the_level_without_what_traded() -> None:
    level = Level(ahead_bps=None)
    level.join(1_000)
    level.adds(300, at_us=1_050)
    level.removes(200, at_us=1_100)  # 100 of it traded: 200 ahead and 300 behind are left for the cancel of 100
    level.prints(100, at_us=1_100)
    level.queue.settle(1_100 + PRINT_WAIT_US)
    assert level.ahead_cx == 200 - 100 * 200 // 500


@pytest.mark.parametrize(("pulled_cx", "ahead_cx"), [(120, 370), (70, 420), (50, 490), (200, 290)])
def test_a_cancel_of_a_known_order_was_ahead_of_us_if_that_one_was(pulled_cx: int, ahead_cx: int) -> None:
    level = Level(ahead_bps=None)
    level.queue.on_snapshot((1, 1, 1), book=level.book)
    level.adds(120, at_us=1_000)
    level.adds(70, at_us=1_000)
    level.join(1_000)
    level.adds(50, at_us=1_001)
    level.removes(pulled_cx, at_us=1_002)  # of nobody's size: of those 300 who stood there first
    level.queue.settle(1_002 + PRINT_WAIT_US)
    assert level.ahead_cx == ahead_cx


def test_what_left_before_a_trade_that_is_told_was_no_trade() -> None:
    level = Level(ahead_bps=10_000)
    level.join(1_000)
    level.removes(250, at_us=1_100)
    level.removes(50, at_us=1_200)
    assert level.prints(50, at_us=1_200) == []
    assert level.ahead_cx == 0, "nobody has to wait for the print of the 250 any more"
    assert level.prints(10, at_us=1_201) == [10]


def test_of_several_removals_a_print_explains_the_one_of_its_size() -> None:
    level = Level(ahead_bps=0)
    level.join(1_000)
    level.adds(500, at_us=1_001)
    level.removes(70, at_us=1_100)
    level.removes(40, at_us=1_100)
    level.prints(40, at_us=1_100)
    assert level.ahead_cx == 260, "the 70 were canceled behind us"


def test_a_print_that_we_came_in_the_middle_of_leaves_no_more_ahead_than_the_book_shows() -> None:
    level = Level()
    level.removes(1, at_us=1_000)
    level.join(1_000, count_cx=1)
    level.prints(2, at_us=1_001)
    level.removes(1, at_us=1_001)
    assert level.ahead_cx == 298


@given(
    st.sampled_from([None, 0, 3_000, 10_000]),
    st.lists(
        st.tuples(
            st.sampled_from(["adds", "removes", "prints", "joins", "settles"]),
            st.integers(1, 300),
            st.integers(0, 400_000),
        ),
        max_size=30,
    ),
)
@example(
    None,
    [
        ("joins", 1, 0), ("adds", 1, 0), ("removes", 253, 0), ("adds", 2, 0), ("removes", 50, 53),
        ("prints", 49, 249_947), ("adds", 1, 44), ("joins", 4, 5), ("settles", 1, 250_090),
    ],
)  # fmt: skip
@settings(max_examples=200)
def test_no_more_is_ahead_than_the_level_shows_or_waits_or_was_displaced(
    ahead_bps: int | None, steps: list[tuple[str, int, int]]
) -> None:
    level, now_us, waiting = Level(ahead_bps=ahead_bps), 1_000, []
    for kind, count_cx, after_us in steps:
        now_us += after_us
        level.queue.settle(now_us)
        waiting = [(at_us, gone_cx) for at_us, gone_cx in waiting if now_us - at_us < PRINT_WAIT_US]
        if kind == "adds":
            level.adds(count_cx, now_us)
        elif kind == "removes" and (gone_cx := min(count_cx, level.book.size_cx(*LEVEL))):
            level.removes(gone_cx, now_us)
            waiting.append((now_us, gone_cx))
        elif kind == "prints":
            level.prints(count_cx, now_us)
        elif kind == "joins" and not level.queue.orders:
            level.join(now_us, count_cx=count_cx)
        if level.queue.orders:
            most_cx = level.book.size_cx(*LEVEL) + sum(gone for _, gone in waiting) + level.queue.displaced_cx(LEVEL)
            assert 0 <= level.ahead_cx <= most_cx
            if not level.queue.orders["ours"].remaining_cx:
                level.queue.leave("ours")
