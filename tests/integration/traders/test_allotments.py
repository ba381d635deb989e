"""What traders reserve of the limits above them, on a real database with as many connections as there are threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from feed.models import Settlement
from markets.models import Event, Market, Series
from tests.fixtures.stack import eventually
from traders import allotments
from traders.allotments import ReservationRefused, release, reserve
from traders.core.limits import Allotment
from traders.models import Allotment as AllotmentRow
from traders.models import Desired, Fill, Mode, Order, SeriesRule, StrategySet, Trader

DOLLAR = 1_000_000
pytestmark = pytest.mark.django_db(transaction=True)


def a_market(ticker: str, event: str) -> None:
    now = datetime.now(UTC)
    series, _ = Series.objects.get_or_create(ticker="KXA", defaults={"seen_at": now})
    Event.objects.get_or_create(ticker=event, defaults={"series": series, "seen_at": now})
    times = {"open_time": now - timedelta(hours=1), "close_time": now + timedelta(hours=1), "seen_at": now}
    Market.objects.create(ticker=ticker, event_id=event, status="active", price_ranges=[[0, 10_000, 100]], **times)


def a_trader(ticker: str, *, event: str = "KXA-1", mode: str = Mode.DRY_RUN, **changes: Any) -> Trader:
    if not Market.objects.filter(pk=ticker).exists():
        a_market(ticker, event)
    strategy, _ = StrategySet.objects.get_or_create(name="join-best")
    name = f"{ticker.lower()}-{Trader.objects.count()}"
    return Trader.objects.create(name=name, market_ticker=ticker, strategy=strategy, mode=mode, **changes)


def allotted(scope: str, key: str, dollars: int, *, mode: str = Mode.DRY_RUN) -> AllotmentRow:
    return AllotmentRow.objects.create(scope=scope, key=key, most_ud=dollars * DOLLAR, mode=mode)


def reserved(trader: Trader) -> int | None:
    trader.refresh_from_db()
    return trader.reserved_ud


def refusal(trader: Trader, worst_ud: int) -> ReservationRefused:
    with pytest.raises(ReservationRefused) as refused:
        reserve(trader.pk, worst_ud)
    return refused.value


def a_fill(trader: Trader, side: int, price_cc: int, count_cx: int) -> None:
    number = Fill.objects.count()
    Fill.objects.create(
        account="paper",
        order_id=f"o{number}",
        trade_id=f"t{number}",
        client_order_id=f"o{number}",
        trader=trader,
        ticker=trader.market_ticker,
        mode=trader.mode,
        side=side,
        price_cc=price_cc,
        count_cx=count_cx,
        is_taker=False,
        fee_ud=0,
        time=datetime.now(UTC),
    )


# What a start is told


def test_a_trader_is_told_what_others_have_reserved_of_each_scope() -> None:
    allotted("event", "KXA-1", 100)
    allotted("account", "paper", 500)
    allotted("fleet", "", 1_000)
    same_event, elsewhere, last = a_trader("A-1"), a_trader("B-1", event="KXA-2"), a_trader("A-2")
    assert reserve(same_event.pk, 30 * DOLLAR) == (
        Allotment("event KXA-1", 100 * DOLLAR, 0),
        Allotment("account paper", 500 * DOLLAR, 0),
        Allotment("the fleet", 1_000 * DOLLAR, 0),
    )
    reserve(elsewhere.pk, 40 * DOLLAR)
    assert [one.used_ud for one in reserve(last.pk, 5 * DOLLAR)] == [30 * DOLLAR, 70 * DOLLAR, 70 * DOLLAR]
    assert [reserved(trader) for trader in (same_event, elsewhere, last)] == [30 * DOLLAR, 40 * DOLLAR, 5 * DOLLAR]


def test_a_scope_without_an_allotment_has_no_limit_and_the_reservation_is_kept_all_the_same() -> None:
    trader, later = a_trader("A-1"), a_trader("A-2")
    assert reserve(trader.pk, 10**12) == ()
    allotted("fleet", "", 1)
    assert refusal(later, 1).figures["used_ud"] == 10**12


def test_a_new_reservation_takes_the_place_of_the_old_one() -> None:
    allotted("fleet", "", 100)
    trader = a_trader("A-1")
    reserve(trader.pk, 80 * DOLLAR)
    assert reserve(trader.pk, 100 * DOLLAR)[0].used_ud == 0
    assert reserved(trader) == 100 * DOLLAR


def test_dry_run_and_live_count_apart(settings: Any) -> None:
    settings.KALSHI_ENV = "demo"
    for mode, account in ((Mode.DRY_RUN, "paper"), (Mode.LIVE, "demo")):
        allotted("event", "KXA-1", 50, mode=mode)
        allotted("account", account, 60, mode=mode)
    paper, live = a_trader("A-1"), a_trader("A-1", mode=Mode.LIVE)
    reserve(paper.pk, 50 * DOLLAR)
    assert reserve(live.pk, 50 * DOLLAR) == (
        Allotment("event KXA-1", 50 * DOLLAR, 0),
        Allotment("account demo", 60 * DOLLAR, 0),
    )


# Refusals


def test_G10_a_refusal_names_scope_figures_and_what_would_do() -> None:
    allotted("event", "KXA-1", 100)
    allotted("fleet", "", 90)
    first, second = a_trader("A-1"), a_trader("A-2")
    reserve(first.pk, 70 * DOLLAR)
    refused = refusal(second, 60 * DOLLAR)
    assert (refused.code, refused.scope) == ("ALLOTMENT_EXCEEDED", "fleet")
    assert refused.figures == {
        "wanted_ud": 60 * DOLLAR,
        "used_ud": 70 * DOLLAR,
        "most_ud": 90 * DOLLAR,
        "fits_ud": 20 * DOLLAR,
    }
    assert str(refused) == (
        f"Trader {second.name} may lose $60.00, and of the $90.00 allotted to the fleet others have reserved $70.00: "
        "$20.00 would fit; lower its exposure_ud_most to 20000000, stop another trader, or raise the allotment."
    )
    assert reserve(second.pk, refused.figures["fits_ud"])


def test_a_refusal_leaves_what_was_reserved_before() -> None:
    allotted("fleet", "", 100)
    trader, other = a_trader("A-1"), a_trader("A-2")
    reserve(other.pk, 40 * DOLLAR)
    assert refusal(trader, 61 * DOLLAR).figures["fits_ud"] == 60 * DOLLAR
    assert reserved(trader) is None
    reserve(trader.pk, 60 * DOLLAR)
    refusal(trader, 61 * DOLLAR)
    assert reserved(trader) == 60 * DOLLAR


def test_an_allotment_of_nothing_allows_nothing() -> None:
    allotted("account", "paper", 0)
    assert refusal(a_trader("A-1"), 1).figures["fits_ud"] == 0


def test_a_lowered_allotment_refuses_until_enough_was_given_back() -> None:
    row = allotted("fleet", "", 100)
    trader, other = a_trader("A-1"), a_trader("A-2")
    reserve(other.pk, 80 * DOLLAR)
    AllotmentRow.objects.filter(pk=row.pk).update(most_ud=50 * DOLLAR)
    assert refusal(trader, DOLLAR).figures["fits_ud"] == 0
    release(other.pk)
    assert reserve(trader.pk, 50 * DOLLAR)


def test_a_market_that_nobody_knows_belongs_to_no_event() -> None:
    trader = a_trader("A-1")
    Trader.objects.filter(pk=trader.pk).update(market_ticker="GONE-1")
    assert refusal(trader, 1).code == "ALLOTMENT_UNKNOWN"


def test_what_a_running_trader_uses_is_unknown_rather_than_nothing() -> None:
    allotted("fleet", "", 100)
    a_trader("A-1", pid=4_242, state="quoting")  # of a version that knew no reservations
    assert refusal(a_trader("A-2"), 1).code == "ALLOTMENT_UNKNOWN"


# What is given back


def test_a_trader_that_holds_nothing_gives_all_of_it_back() -> None:
    trader = a_trader("A-1")
    reserve(trader.pk, 30 * DOLLAR)
    assert release(trader.pk) is None
    assert reserved(trader) is None


def test_I4_what_a_stopped_trader_holds_stays_reserved_until_its_market_has_paid() -> None:
    allotted("event", "KXA-1", 100)
    trader, other = a_trader("A-1"), a_trader("A-2")
    reserve(trader.pk, 90 * DOLLAR)
    a_fill(trader, 0, 4_000, 5_000)
    assert release(trader.pk) == 20 * DOLLAR
    assert refusal(other, 81 * DOLLAR).figures["used_ud"] == 20 * DOLLAR
    now = datetime.now(UTC)
    zero = {"yes_cost_ud": 0, "no_cx": 0, "no_cost_ud": 0, "revenue_ud": 0, "fee_ud": 0}
    of = {"account": "paper", "ticker": "A-1", "result": "no", "yes_cx": 5_000, "settled_at": now, "told_at": now}
    Settlement.objects.create(**of, **zero, subaccount=other.pk)
    assert release(trader.pk) == 20 * DOLLAR, "that was another trader's"
    Settlement.objects.create(**of, **zero, subaccount=trader.pk)
    assert release(trader.pk) is None


def test_I4_while_the_last_lines_are_not_stored_everything_stays_reserved() -> None:
    trader = a_trader("A-1")
    reserve(trader.pk, 30 * DOLLAR)
    now = datetime.now(UTC)
    order = Order.objects.create(
        account="paper", client_order_id="c", trader=trader, ticker="A-1", mode=trader.mode, side=0, price_cc=4_000,
        placed_cx=100, filled_cx=0, remaining_cx=100, status="resting", created_at=now, updated_at=now,
        journal_number=3,
    )  # fmt: skip
    assert release(trader.pk) == 30 * DOLLAR
    Order.objects.filter(pk=order.pk).update(status="canceled")
    assert release(trader.pk) is None


def test_a_living_trader_keeps_what_it_reserved() -> None:
    trader = a_trader("A-1")
    reserve(trader.pk, 30 * DOLLAR)
    Trader.objects.filter(pk=trader.pk).update(pid=4_242)
    assert release(trader.pk) == 30 * DOLLAR


def test_who_finds_no_room_takes_back_what_ended_traders_left() -> None:
    allotted("event", "KXA-1", 100)
    ended, paused, new = a_trader("A-1"), a_trader("A-2"), a_trader("A-3")
    reserve(ended.pk, 60 * DOLLAR)
    reserve(paused.pk, 30 * DOLLAR)
    Trader.objects.filter(pk=ended.pk).update(desired=Desired.STOPPED, state="stopped")
    Trader.objects.filter(pk=paused.pk).update(desired=Desired.PAUSED, state="stopped")
    assert reserve(new.pk, 70 * DOLLAR)[0].used_ud == 30 * DOLLAR
    assert (reserved(ended), reserved(paused)) == (None, 30 * DOLLAR)


# Two at once


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def in_its_own_connection(work: Callable[[], object]) -> object:
    try:
        return work()
    finally:
        connection.close()


def somebody_waits_for_us() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
        )
        (count,) = cursor.fetchone()
    return count > 0


def tried(trader: Trader, worst_ud: int) -> str:
    try:
        reserve(trader.pk, worst_ud)
    except ReservationRefused as refused:
        return refused.code
    return "reserved"


def test_I4_two_starts_at_once_never_both_fit_where_only_one_does() -> None:
    allotted("event", "KXA-1", 100)
    first, second = a_trader("A-1"), a_trader("A-2")
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            assert tried(first, 60 * DOLLAR) == "reserved"
            # While the first is not committed the second cannot see it, and must not go by what it sees.
            begun: Future[object] = pool.submit(in_its_own_connection, lambda: tried(second, 60 * DOLLAR))
            eventually(lambda: begun.done() or somebody_waits_for_us(), "the second has looked")
        assert begun.result(timeout=30) == "ALLOTMENT_EXCEEDED"
    assert (reserved(first), reserved(second)) == (60 * DOLLAR, None)


def test_I4_of_many_starts_at_once_just_as_many_fit_as_there_is_room(threads: ThreadPoolExecutor) -> None:
    rows = [allotted("event", "KXA-1", 100), allotted("account", "paper", 95), allotted("fleet", "", 1_000)]
    traders = [a_trader(f"A-{number}") for number in range(8)]
    together = threading.Barrier(len(traders), timeout=30)

    def start(trader: Trader) -> str:
        together.wait()
        return tried(trader, 30 * DOLLAR)

    begun = [threads.submit(in_its_own_connection, lambda trader=trader: start(trader)) for trader in traders]
    found = [future.result(timeout=60) for future in begun]
    assert sorted(found) == ["ALLOTMENT_EXCEEDED"] * 5 + ["reserved"] * 3
    assert [allotments.reserved_ud(row) for row in rows] == [90 * DOLLAR] * 3


def test_starts_under_allotments_in_common_do_not_wait_for_each_other_in_a_circle(threads: ThreadPoolExecutor) -> None:
    for event in ("KXA-1", "KXA-2"):
        allotted("event", event, 1_000)
    allotted("fleet", "", 1_000)
    allotted("account", "paper", 1_000)
    traders = [a_trader(f"A-{number}", event=f"KXA-{number % 2 + 1}") for number in range(8)]

    def start_often(trader: Trader) -> str:
        return " ".join({tried(trader, DOLLAR * (1 + number)) for number in range(10)})

    begun = [threads.submit(in_its_own_connection, lambda trader=trader: start_often(trader)) for trader in traders]
    assert {future.result(timeout=60) for future in begun} == {"reserved"}


# Rules


def test_I4_the_traders_of_a_series_rule_share_its_allotment() -> None:
    strategy = StrategySet.objects.create(name="join-best")
    rule = SeriesRule.objects.create(series_ticker="ROLL", strategy=strategy)
    allotted("rule", "ROLL", 50)
    first, second, stranger = a_trader("A-1", series_rule=rule), a_trader("A-2", series_rule=rule), a_trader("A-3")
    (told,) = reserve(first.pk, 30 * DOLLAR)
    assert (told.name, told.used_ud) == ("series rule ROLL", 0)
    found = refusal(second, 21 * DOLLAR)
    assert (found.scope, found.figures["fits_ud"]) == ("rule", 20 * DOLLAR)
    assert reserve(stranger.pk, 90 * DOLLAR) == (), "it is under no rule"
    reserve(second.pk, 20 * DOLLAR)
