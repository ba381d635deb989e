from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from markets.core.ordering import BookEvent, in_sequence
from markets.core.tape import Delta, Gap, Snapshot

MS = 1_000
SLACK_US = 50 * MS


def delta(at_ms: int, seq: int, *, conn: int = 1) -> Delta:
    return Delta(at_ms * MS, conn, seq, 0, 4_200, 100)


def snapshot(at_ms: int, seq: int, *, is_ours: bool = False, conn: int = 1) -> Snapshot:
    return Snapshot(at_ms * MS, conn, seq, (), (), is_ours)


def gap(at_ms: int, received: int = 0, *, conn: int | None = 1, reason: str = "cut", sid: int = 0) -> Gap:
    return Gap(at_ms * MS, conn, "", reason, 0, received, sid)


def ordered(*events: BookEvent) -> list[BookEvent]:
    by_time = sorted(events, key=lambda event: event.time_us)
    return [event for _, event in in_sequence(by_time, slack_us=SLACK_US)]


# Steps of the exchange's clock between the events of two connections, some of them back, less than the slack.
STEPS = st.lists(st.tuples(st.integers(1, 2), st.integers(-40, 90)), max_size=120)


@given(STEPS)
def test_each_connection_comes_in_the_order_of_its_numbers_and_stamps_never_step_back(
    steps: list[tuple[int, int]],
) -> None:
    reached, numbers, events = {1: 10_000, 2: 10_000}, {1: 0, 2: 0}, []
    for conn, step in steps:
        numbers[conn] += 1
        at_ms = max(reached[conn] + step, reached[conn] - 40)
        reached[conn] = max(reached[conn], at_ms)
        events.append(delta(at_ms, numbers[conn], conn=conn))
    by_time = sorted(events, key=lambda event: event.time_us)
    found = list(in_sequence(by_time, slack_us=SLACK_US))
    for conn, most in numbers.items():
        assert [event.seq for _, event in found if event.conn == conn] == list(range(1, most + 1))  # type: ignore[union-attr]
    assert all(a <= b for (a, _), (b, _) in pairwise(found))


def test_only_what_may_still_change_places_is_held() -> None:
    read = []

    def reading() -> list[Delta]:
        for number in range(1_000):
            read.append(number)
            yield delta(10 * number, number)  # type: ignore[misc]

    order = in_sequence(reading(), slack_us=SLACK_US)
    next(order)
    assert len(read) == 6  # 50 ms of them


def test_a_numbered_gap_goes_right_before_the_event_that_showed_it() -> None:
    events = [delta(1, 1), delta(2, 2), delta(3, 6), gap(5, received=6), delta(6, 7)]
    assert ordered(*events) == [events[0], events[1], events[3], events[2], events[4]]


def test_a_gap_that_another_market_showed_goes_between_the_numbers_around_it() -> None:
    events = [delta(1, 1), gap(3, received=6), delta(6, 7)]
    assert ordered(*events) == events


def test_a_gap_with_a_number_of_another_subscription_holds_nothing_up() -> None:
    events = [delta(1, 1), gap(3, received=90_000), delta(6, 2)]
    assert ordered(*events) == events


def test_a_subscription_that_counts_anew_comes_behind_the_end_of_the_one_before() -> None:
    events = [delta(1, 900), delta(2, 901), gap(3, sid=7), snapshot(4, 1), delta(5, 2)]
    assert ordered(*events) == events


def test_numbers_go_on_over_a_gap_that_ends_no_subscription() -> None:
    late, early, lost = delta(5, 900), delta(3, 901), gap(4)
    assert ordered(late, early, lost) == [late, early, lost]


def test_a_snapshot_of_our_own_follows_the_event_that_it_contains() -> None:
    events = [snapshot(1, 1), delta(2, 5), snapshot(2, 5, is_ours=True), delta(2, 6)]
    assert ordered(*reversed(events)) == events


def test_a_gap_of_a_whole_stream_goes_by_its_time() -> None:
    events = [delta(1, 1), gap(30, conn=None), delta(60, 2)]
    assert ordered(*events) == events
