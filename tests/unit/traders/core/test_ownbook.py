"""Own orders are taken out of the book, in whatever order the book and the answers tell of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from markets.core.book import OrderBook
from markets.core.units import Side
from tests.unit.traders.core.ownmodel import START_US, STEPS, Trading
from traders.core.exposure import Unproven
from traders.core.orders import RestingQuote
from traders.core.ownbook import OwnBook
from traders.core.ownlevel import DOUBT_US, OneSided, Recent
from traders.core.paperfills import PRINT_WAIT_US

YES, NO = Side.YES, Side.NO
TOUCH, BEHIND = 4_000, 3_900
LEVEL = (YES, TOUCH)
ORIGIN = (7, 1, 1)


def is_ours(client_order_id: str) -> bool:
    return client_order_id.startswith("o")


class Told:
    """A book of others, and what is told of it and of our orders."""

    def __init__(self, yes: dict[int, int] | None = None) -> None:
        self.own = OwnBook(is_ours)
        self.book = OrderBook()
        self.now_us, self.seq = START_US, 0
        self.proven: dict[str, RestingQuote] = {}
        self.snapshot(yes or {TOUCH: 300, BEHIND: 500})

    def snapshot(self, yes: dict[int, int], *, origin: tuple[int, int, int] = ORIGIN, seq: int | None = None) -> bool:
        self.seq = self.seq + 1 if seq is None else seq
        self.book.replace(yes.items(), [(5_500, 200)])
        return self.own.on_snapshot(origin, self.seq, book=self.book, now_us=self.now_us)

    def changes(self, delta_cx: int, tag: str = "", *, side: Side = YES, price_cc: int = TOUCH) -> None:
        self.seq += 1
        self.book.apply(side, price_cc, delta_cx)
        self.own.on_delta(side, price_cc, delta_cx, tag or None, seq=self.seq, book=self.book, now_us=self.now_us)

    def prints(self, count_cx: int) -> None:
        self.own.on_print(YES, TOUCH, count_cx, now_us=self.now_us)

    def proves(self, *, may_cx: int = 0, leaving: bool = False, **remaining_cx: int) -> None:
        """Tell what is proven to rest of our orders, and what may besides, at the touch."""
        for key, left_cx in remaining_cx.items():
            self.proven[key] = RestingQuote(key, YES, TOUCH, left_cx)
        resting = tuple(quote for quote in self.proven.values() if quote.remaining_cx)
        unproven = (Unproven(YES, TOUCH, may_cx),) if may_cx else ()
        sides = frozenset({YES}) if leaving else frozenset()
        self.own.on_orders(resting, unproven, leaving=sides, now_us=self.now_us)

    def later(self, span_us: int) -> None:
        self.now_us += span_us

    @property
    def others_cx(self) -> int:
        return self.others().size_cx(*LEVEL)

    def others(self) -> OrderBook:
        return self.own.others(self.book, self.now_us)

    @property
    def is_uncertain(self) -> bool:
        return LEVEL in self.own.uncertain(self.now_us)

    def alerts(self) -> list[str]:
        """Return what is to be told, once the book goes on."""
        self.own.on_snapshot(ORIGIN, self.seq, book=self.book, now_us=self.now_us)
        return [alert.code for alert in self.own.take_alerts()]

    def rests(self, key: str = "o1", count_cx: int = 100) -> None:
        """Let an order rest that both streams have told."""
        self.changes(count_cx, key)
        self.proves(**{key: count_cx})


@pytest.fixture
def told() -> Told:
    return Told()


# --- without orders of ours -------------------------------------------------------------------------------------------


def test_without_own_orders_the_book_of_others_is_the_book(told: Told) -> None:
    told.changes(-50)
    told.prints(50)
    assert told.others() is told.book
    assert told.own.uncertain(told.now_us) == frozenset()


def test_it_is_the_book_itself_again_once_our_order_has_gone(told: Told) -> None:
    told.rests()
    assert told.others() is not told.book
    told.changes(-100, "o1")
    told.proves(o1=0)
    assert told.others() is told.book


def test_another_order_of_the_account_stays_others(told: Told) -> None:
    told.changes(100, "person")
    assert told.others() is told.book


def test_a_take_of_ours_takes_from_others(told: Told) -> None:
    told.changes(-100, "o9")
    assert told.others() is told.book
    assert told.others_cx == 200


# --- a create ---------------------------------------------------------------------------------------------------------


def test_a_create_is_taken_out_before_its_answer_comes(told: Told) -> None:
    told.changes(100, "o1")
    assert (told.book.size_cx(*LEVEL), told.others_cx) == (400, 300)


def test_a_create_is_not_taken_out_before_the_book_shows_it(told: Told) -> None:
    told.rests("o0")
    told.proves(o1=100)
    assert told.others_cx == 300
    told.changes(100, "o1")
    assert told.others_cx == 300


def test_a_create_at_a_new_price_is_not_looked_for_where_tags_have_not_told_of_it(told: Told) -> None:
    told.rests("o0")
    told.changes(-100, "o0")
    told.proves(o0=0)
    told.later(2 * DOUBT_US)
    assert told.others() is told.book
    told.proves(o1=100)
    assert (told.others_cx, told.own.is_exact(*LEVEL, told.now_us)) == (300, True)


@pytest.mark.parametrize("is_tag_first", [True, False])
def test_a_create_that_only_one_stream_has_told_is_uncertain(told: Told, is_tag_first: bool) -> None:
    tell = [lambda: told.changes(100, "o1"), lambda: told.proves(o1=100)]
    first, second = tell if is_tag_first else reversed(tell)
    first()
    assert told.is_uncertain
    second()
    assert not told.is_uncertain or not is_tag_first


def test_the_order_alone_at_its_price_is_not_the_best_of_others(told: Told) -> None:
    told.changes(100, "o1", price_cc=4_100)
    assert told.book.best_cc[YES] == 4_100
    assert told.others().best_cc[YES] == TOUCH


def test_a_create_that_nobody_ever_proves_counts_as_others_after_two_seconds(told: Told) -> None:
    assert DOUBT_US == 2_000_000
    told.changes(100, "o1")
    told.later(DOUBT_US - 1)
    assert (told.others_cx, told.is_uncertain, told.alerts()) == (300, True, [])
    told.later(1)
    assert (told.others_cx, told.is_uncertain, told.alerts()) == (400, False, ["OWN_BOOK"])
    told.later(DOUBT_US)
    assert (told.others_cx, told.alerts()) == (400, [])


def test_a_create_in_doubt_is_ours_as_long_as_it_may_rest_and_the_tags_say_so(told: Told) -> None:
    told.proves(may_cx=100)
    told.changes(100, "o1")
    told.later(30 * DOUBT_US)
    assert (told.others_cx, told.is_uncertain, told.alerts()) == (300, False, [])


def test_an_order_that_is_unknown_for_a_while_stays_taken_out(told: Told) -> None:
    told.rests()
    told.proves(o1=0, may_cx=100)
    told.later(2 * DOUBT_US)
    assert told.others_cx == 300
    told.proves(o1=100)
    assert told.others_cx == 300
    told.later(2 * DOUBT_US)
    assert (told.others_cx, told.alerts()) == (300, [])


def test_a_create_that_is_told_with_its_first_fill_is_whole_in_the_book_until_that_shows_it(told: Told) -> None:
    told.changes(100, "o1")
    told.proves(o1=60)
    assert (told.others_cx, told.alerts()) == (300, [])
    told.changes(-340)
    told.prints(340)
    assert (told.book.size_cx(*LEVEL), told.others_cx) == (60, 0)


# --- fills ------------------------------------------------------------------------------------------------------------


def test_a_fill_is_not_taken_for_others_leaving_before_it_is_told() -> None:
    told = Told({TOUCH: 50, BEHIND: 500})
    told.rests()
    told.changes(-50)  # those ahead of us
    told.changes(-40)
    told.prints(40)
    told.changes(30)  # somebody new
    assert (told.book.size_cx(*LEVEL), told.others_cx, told.is_uncertain) == (90, 30, True)
    told.proves(o1=60)
    assert told.others_cx == 30
    told.later(DOUBT_US)
    assert (told.others_cx, told.is_uncertain, told.alerts()) == (30, False, [])


def test_a_fill_that_is_told_before_the_book_shows_it_leaves_the_others_alone(told: Told) -> None:
    told.rests()
    told.changes(-300)
    told.proves(o1=60)
    assert told.others_cx == 0
    told.changes(-40)
    assert (told.book.size_cx(*LEVEL), told.others_cx) == (60, 0)
    told.later(DOUBT_US)
    assert (told.others_cx, told.is_uncertain) == (0, False)


def test_a_fill_of_all_of_it_leaves_the_others(told: Told) -> None:
    told.rests()
    told.changes(-300)
    told.changes(70)
    told.changes(-100)
    told.prints(100)
    told.proves(o1=0)
    assert told.others_cx == 70
    told.later(DOUBT_US)
    assert told.others() is told.book


def test_an_order_partly_filled_is_taken_out_with_what_remains(told: Told) -> None:
    told.rests()
    told.changes(-360)
    told.prints(360)
    told.proves(o1=40)
    told.later(DOUBT_US)
    assert (told.book.size_cx(*LEVEL), told.others_cx) == (40, 0)


def test_a_removal_of_more_than_stand_before_us_may_be_a_fill(told: Told) -> None:
    told.rests()
    told.changes(-340)
    assert (told.others_cx, told.is_uncertain) == (0, True)


def test_a_removal_among_those_before_us_is_theirs_at_once(told: Told) -> None:
    told.rests()
    told.changes(-200)
    assert (told.others_cx, told.is_uncertain) == (100, False)
    told.changes(-100)
    assert (told.others_cx, told.is_uncertain) == (0, False)


def test_a_removal_behind_the_touch_is_theirs_at_once() -> None:
    told = Told({TOUCH: 50, 4_100: 100})
    told.rests()
    told.changes(-50)
    told.changes(80)
    told.changes(-80)
    assert (told.others_cx, told.is_uncertain) == (0, False)


def test_a_removal_without_a_print_was_a_cancel() -> None:
    told = Told({TOUCH: 50, BEHIND: 500})
    told.rests()
    told.changes(-50)
    told.changes(80)
    told.changes(-30)
    told.later(PRINT_WAIT_US - 1)
    assert (told.others_cx, told.is_uncertain) == (80, True)
    told.later(1)
    assert (told.others_cx, told.is_uncertain) == (50, False)


def test_an_order_that_both_have_told_to_be_over_raises_no_doubt_about_another() -> None:
    told = Told({TOUCH: 50, BEHIND: 500})
    told.rests("o1")
    told.rests("o2")
    told.later(2 * DOUBT_US)
    told.changes(-50)
    told.changes(80)
    told.changes(-100, "o1")
    told.proves(o1=0)
    told.changes(-30)
    told.later(PRINT_WAIT_US)
    assert (told.others_cx, told.is_uncertain) == (50, False)


@pytest.mark.parametrize("is_print_first", [True, False])
def test_a_removal_with_a_print_waits_for_its_fill(is_print_first: bool) -> None:
    told = Told({TOUCH: 50, BEHIND: 500})
    told.rests()
    told.changes(-50)
    told.changes(80)
    tell = [lambda: told.prints(30), lambda: told.changes(-30)]
    for part in tell if is_print_first else reversed(tell):
        part()
    told.later(DOUBT_US - 1)
    assert (told.others_cx, told.is_uncertain) == (80, True)
    told.later(1)
    assert (told.others_cx, told.is_uncertain) == (50, False)


def test_a_fill_whose_print_was_lost_is_uncertain_once_it_is_told() -> None:
    told = Told({TOUCH: 50, BEHIND: 500})
    told.rests()
    told.changes(-50)
    told.changes(80)
    told.changes(-30)
    told.later(PRINT_WAIT_US)
    assert (told.others_cx, told.is_uncertain) == (50, False)
    told.proves(o1=70)
    assert told.is_uncertain
    told.later(DOUBT_US)
    assert (told.others_cx, told.is_uncertain, told.alerts()) == (80, False, [])


# --- cancels and decreases --------------------------------------------------------------------------------------------


def test_a_cancel_that_the_book_shows_first_leaves_the_others(told: Told) -> None:
    told.rests()
    told.changes(-100, "o1")
    assert (told.others_cx, told.is_uncertain) == (300, True)
    told.proves(o1=0)
    assert (told.others_cx, told.is_uncertain) == (300, False)


def test_a_cancel_that_is_told_first_leaves_the_others(told: Told) -> None:
    told.rests()
    told.proves(o1=0)
    assert (told.book.size_cx(*LEVEL), told.others_cx, told.is_uncertain) == (400, 300, True)
    told.changes(-100, "o1")
    assert (told.others_cx, told.is_uncertain) == (300, False)


def test_a_cancel_that_is_never_told_counts_as_proven_again_after_two_seconds(told: Told) -> None:
    told.rests()
    told.changes(-100, "o1")
    told.later(DOUBT_US)
    assert (told.others_cx, told.is_uncertain, told.alerts()) == (200, False, ["OWN_BOOK"])


@pytest.mark.parametrize("is_tag_first", [True, False])
def test_a_decrease_leaves_the_others_whichever_stream_is_first(told: Told, is_tag_first: bool) -> None:
    told.rests()
    tell = [lambda: told.changes(-30, "o1"), lambda: told.proves(o1=70)]
    for part in tell if is_tag_first else reversed(tell):
        part()
        assert told.others_cx == 300
    assert not told.is_uncertain


def test_what_left_without_a_tag_and_cannot_have_been_others_was_ours() -> None:
    told = Told({TOUCH: 300, 4_100: 100})
    told.rests()
    told.later(2 * DOUBT_US)
    told.changes(-300)
    told.changes(-100)  # it has expired, behind the touch
    assert (told.others_cx, told.is_uncertain) == (0, True), "nothing is shown, and 100 are proven"
    told.changes(70)
    assert (told.others_cx, told.is_uncertain) == (70, True)
    told.proves(o1=0)
    assert told.others_cx == 70
    told.later(DOUBT_US)
    assert (told.others_cx, told.is_uncertain, told.alerts()) == (70, False, [])


def test_an_order_that_another_of_ours_has_withdrawn_leaves_the_others(told: Told) -> None:
    told.rests()
    told.changes(-100, "o7")
    assert (told.others_cx, told.is_uncertain) == (300, True)
    told.proves(o1=0)
    told.later(DOUBT_US)
    assert (told.others_cx, told.is_uncertain, told.alerts()) == (300, False, [])


def test_two_orders_at_one_level_are_taken_out_together(told: Told) -> None:
    told.rests("o1")
    told.rests("o2", 50)
    assert (told.book.size_cx(*LEVEL), told.others_cx) == (450, 300)
    told.changes(-100, "o1")
    told.proves(o1=0)
    assert (told.others_cx, told.is_uncertain) == (300, False)
    told.changes(-300)
    told.changes(-20)
    told.proves(o2=30)
    assert (told.book.size_cx(*LEVEL), told.others_cx) == (30, 0)


# --- snapshots --------------------------------------------------------------------------------------------------------


def test_a_snapshot_that_repeats_what_is_known_changes_nothing(told: Told) -> None:
    told.rests()
    assert not told.snapshot({TOUCH: 400, BEHIND: 500}, seq=told.seq)
    assert (told.others_cx, told.is_uncertain) == (300, False)


def test_a_snapshot_of_another_connection_begins_anew(told: Told) -> None:
    told.rests()
    assert told.snapshot({TOUCH: 400, BEHIND: 500}, origin=(8, 1, 1), seq=told.seq)
    assert told.is_uncertain


def test_a_snapshot_that_contains_the_order_is_stripped_of_it(told: Told) -> None:
    told.rests()
    told.snapshot({TOUCH: 400, BEHIND: 500})
    assert (told.others_cx, told.is_uncertain) == (300, True)
    told.later(DOUBT_US)
    assert (told.others_cx, told.is_uncertain, told.alerts()) == (300, False, [])


def test_a_snapshot_from_before_the_order_is_uncertain_until_its_tag_comes(told: Told) -> None:
    told.proves(o1=100)
    told.snapshot({TOUCH: 300, BEHIND: 500})
    assert told.is_uncertain
    told.changes(100, "o1")
    assert (told.others_cx, told.own.is_exact(*LEVEL, told.now_us)) == (300, True)


def test_a_tag_after_a_snapshot_tells_of_its_own_order_alone(told: Told) -> None:
    told.rests("o1")
    told.proves(o2=100)
    told.snapshot({TOUCH: 400, BEHIND: 500})  # with the first, before the second
    told.changes(100, "o2")
    assert told.others_cx == 300
    told.later(DOUBT_US)
    assert (told.others_cx, told.is_uncertain, told.alerts()) == (300, False, [])


def test_a_snapshot_after_an_untold_cancel_hides_nobody_for_long(told: Told) -> None:
    told.rests()
    told.snapshot({TOUCH: 300, BEHIND: 500})  # our order is not in it
    assert told.is_uncertain
    told.proves(o1=0)
    told.later(DOUBT_US)
    assert (told.others_cx, told.is_uncertain, told.alerts()) == (300, False, [])


def test_nobody_knows_after_a_snapshot_who_stands_before_us(told: Told) -> None:
    told.rests()
    told.snapshot({TOUCH: 150, BEHIND: 500})
    told.later(DOUBT_US)
    assert (told.others_cx, told.is_uncertain) == (50, False)
    told.changes(-30)
    assert told.is_uncertain


def test_a_cancel_after_a_snapshot_shows_that_the_order_was_in_it(told: Told) -> None:
    told.rests()
    told.snapshot({TOUCH: 400, BEHIND: 500})
    told.changes(-100, "o1")
    told.proves(o1=0)
    assert (told.others_cx, told.is_uncertain) == (300, False)


def test_more_proven_than_shown_is_uncertain_for_two_seconds_and_told_once(told: Told) -> None:
    told.rests()
    told.snapshot({TOUCH: 60, BEHIND: 500})
    assert (told.others_cx, told.is_uncertain) == (0, True)
    told.later(DOUBT_US)
    assert (told.others_cx, told.is_uncertain, told.alerts()) == (0, False, ["OWN_BOOK"])
    told.later(DOUBT_US)
    told.changes(10)
    assert (told.others_cx, told.alerts()) == (0, [])


def test_nothing_is_told_of_what_happened_while_the_book_was_lost(told: Told) -> None:
    told.rests()
    told.proves(o1=0)  # the book is lost, and does not show it
    told.later(3 * DOUBT_US)
    told.others()
    told.snapshot({TOUCH: 300, BEHIND: 500})
    assert (told.others_cx, told.alerts()) == (300, [])


# --- a connection of another account ----------------------------------------------------------------------------------


def test_an_untagged_create_is_uncertain_from_the_book_until_it_is_told(told: Told) -> None:
    told.proves(may_cx=100)
    assert not told.is_uncertain
    told.changes(100)
    assert (told.others_cx, told.is_uncertain) == (300, True)
    told.proves(o1=100)
    assert told.others_cx == 300
    told.later(DOUBT_US)
    assert (told.others_cx, told.is_uncertain, told.alerts()) == (300, False, [])


def test_an_untagged_create_that_is_told_first_is_not_taken_out_before_it_is_shown(told: Told) -> None:
    told.proves(may_cx=100)
    told.proves(o1=100)
    assert told.others_cx == 300
    told.changes(100)
    assert told.others_cx == 300
    told.later(DOUBT_US)
    assert (told.others_cx, told.is_uncertain, told.alerts()) == (300, False, [])


def test_a_create_that_came_to_nothing_is_looked_for_no_longer_than_two_seconds(told: Told) -> None:
    told.proves(may_cx=100)
    told.proves()
    told.changes(100)  # it was placed and canceled, perhaps
    assert told.is_uncertain
    told.later(DOUBT_US)
    assert told.others() is told.book
    told.changes(50)
    assert (told.others_cx, told.is_uncertain) == (450, False)


def test_an_order_of_another_hand_is_not_taken_for_the_one_that_may_come(told: Told) -> None:
    told.proves(may_cx=100)
    told.changes(100, "person")
    assert (told.others_cx, told.is_uncertain) == (400, False)


def test_an_order_that_nobody_announced_is_taken_out_once_it_is_proven(told: Told) -> None:
    told.changes(100)
    assert told.others_cx == 400
    told.proves(o1=100)
    assert (told.others_cx, told.is_uncertain) == (300, True)
    told.later(DOUBT_US)
    assert (told.others_cx, told.is_uncertain, told.alerts()) == (300, False, [])


def rests_untagged(told: Told) -> None:
    told.proves(may_cx=100)
    told.changes(100)
    told.proves(o1=100)
    told.later(DOUBT_US)


def test_an_untagged_cancel_leaves_the_others_if_the_book_shows_it_first(told: Told) -> None:
    rests_untagged(told)
    told.proves(leaving=True)
    told.changes(-100)
    assert (told.others_cx, told.is_uncertain) == (300, True)
    told.proves(o1=0)
    assert told.others_cx == 300
    told.later(DOUBT_US)
    assert told.others() is told.book


def test_an_untagged_cancel_leaves_the_others_if_it_is_told_first(told: Told) -> None:
    rests_untagged(told)
    told.proves(o1=0)
    assert (told.book.size_cx(*LEVEL), told.others_cx) == (400, 300)
    told.changes(-100)
    assert told.others_cx == 300
    told.later(DOUBT_US)
    assert told.others() is told.book


def test_others_who_leave_are_seen_at_once_while_nothing_of_ours_is_on_its_way(told: Told) -> None:
    rests_untagged(told)
    told.changes(-200)
    assert (told.others_cx, told.is_uncertain) == (100, False)


def test_tags_that_stop_coming_are_not_waited_for(told: Told) -> None:
    told.rests("o1")
    told.changes(100)  # our next order, without a tag
    told.proves(o2=100)
    assert (told.others_cx, told.is_uncertain) == (400, True)
    told.later(DOUBT_US)
    assert (told.others_cx, told.alerts()) == (300, ["OWN_BOOK"])
    told.proves(may_cx=50)
    told.changes(50)
    assert (told.others_cx, told.is_uncertain) == (300, True)


# --- the copy ---------------------------------------------------------------------------------------------------------


def test_the_copy_follows_the_book_and_leaves_it_alone(told: Told) -> None:
    told.rests()
    before = told.others()
    told.changes(40, price_cc=4_200)
    told.changes(-500, price_cc=BEHIND)
    told.changes(25, side=NO, price_cc=5_600)
    others = told.others()
    assert others is before, "it is not built anew"
    assert others.levels == ({TOUCH: 300, 4_200: 40}, {5_500: 200, 5_600: 25})
    assert others.best_cc == [4_200, 5_600]
    assert told.book.levels[YES] == {TOUCH: 400, 4_200: 40}


def test_the_copy_is_not_of_a_book_before_the_snapshot(told: Told) -> None:
    told.rests()
    told.others()
    told.snapshot({TOUCH: 400, 3_800: 10})
    assert told.others().levels[YES] == {TOUCH: 300, 3_800: 10}


def test_a_level_that_only_we_hold_is_not_there(told: Told) -> None:
    told.changes(100, "o1", price_cc=4_100)
    assert 4_100 not in told.others().levels[YES]


# --- the touch --------------------------------------------------------------------------------------------------------


def test_the_touch_is_sure_while_others_stand_there_whatever_is_ours(told: Told) -> None:
    told.rests()
    told.changes(-300)
    told.changes(200)
    told.changes(-60)
    assert told.is_uncertain
    assert told.own.unsure_touch(told.now_us) == frozenset()


def test_the_touch_is_unsure_while_it_may_be_ours_alone() -> None:
    told = Told({TOUCH: 50, BEHIND: 500})
    told.rests()
    told.changes(-50)
    told.changes(40)
    told.changes(-40)  # they, or our fill
    assert told.others().best_cc[YES] == TOUCH
    assert told.own.unsure_touch(told.now_us) == {YES}
    told.later(PRINT_WAIT_US)
    assert told.others().best_cc[YES] == BEHIND
    assert told.own.unsure_touch(told.now_us) == frozenset()


def test_a_level_behind_the_touch_leaves_it_sure(told: Told) -> None:
    told.rests()
    told.snapshot({TOUCH: 60, 4_100: 10})
    assert told.is_uncertain
    assert told.own.unsure_touch(told.now_us) == frozenset()
    told.changes(-10, price_cc=4_100)
    assert told.own.unsure_touch(told.now_us) == {YES}


# --- what is counted for a while --------------------------------------------------------------------------------------


def test_what_is_noted_is_forgotten_after_its_span() -> None:
    recent = Recent(100)
    recent.note(0, 5)
    recent.note(60, 7)
    assert [recent.sum_cx(at) for at in (60, 99, 100, 159, 160)] == [12, 12, 7, 7, 0]


def test_the_oldest_is_taken_first() -> None:
    recent = Recent(100)
    recent.note(0, 5)
    recent.note(60, 7)
    assert recent.take(60, 6) == 6
    assert (recent.sum_cx(99), recent.next_end_us(99)) == (6, 160)
    assert recent.take(99, 10) == 6


def test_what_both_have_told_is_on_neither_side() -> None:
    changes = OneSided()
    changes.show(0, 5)
    changes.tell(1, 8)
    assert changes.shown_only_cx(1) == -3
    changes.show(2, 3)
    assert changes.shown_only_cx(2) == 0


# --- any order of anything --------------------------------------------------------------------------------------------


def best(levels: dict[tuple[Side, int], int], side: Side) -> int:
    return max((price_cc for one, price_cc in levels if one is side), default=0)


def look(trading: Trading) -> None:
    """What must be so at every moment."""
    if trading.exchange.is_cut:
        return  # there is no book to ask about
    others, shown, uncertain = trading.others(), trading.shown(), trading.uncertain()
    assert all(0 < size <= shown[level] for level, size in others.items())
    wrong = {level for level in others.keys() | trading.truth.keys() if others.get(level) != trading.truth.get(level)}
    assert wrong <= uncertain
    sure = frozenset(Side) - trading.own.unsure_touch(trading.now_us)
    assert [best(others, side) for side in sure] == [best(trading.truth, side) for side in sure]
    assert trading.own.take_alerts() == []


@pytest.mark.parametrize("is_tagged", [True, False])
@given(steps=STEPS)
@settings(max_examples=120, deadline=None)
def test_the_others_are_right_wherever_nothing_is_uncertain(is_tagged: bool, steps: list[tuple[str, int]]) -> None:
    trading = Trading(is_tagged=is_tagged)
    for kind, pick in steps:
        trading.step(kind, pick)
        look(trading)
    trading.catch_up()
    look(trading)
    trading.exchange.now_us += DOUBT_US
    assert trading.others() == trading.exchange.levels(only_others=True)
    assert trading.uncertain() == frozenset()


@pytest.mark.parametrize("is_tagged", [True, False])
@given(steps=STEPS)
@settings(max_examples=80, deadline=None)
def test_it_heals_by_itself_from_streams_that_were_too_late(is_tagged: bool, steps: list[tuple[str, int]]) -> None:
    trading = Trading(is_tagged=is_tagged)
    for kind, pick in steps:
        if kind == "wait":
            trading.exchange.now_us += pick * 100
            continue
        trading.step(kind, pick)
        if not trading.exchange.is_cut:
            shown = trading.shown()
            assert all(0 < size <= shown[level] for level, size in trading.others().items())
    trading.catch_up()
    trading.exchange.now_us += DOUBT_US
    assert trading.others() == trading.exchange.levels(only_others=True)
    assert trading.uncertain() == frozenset()
