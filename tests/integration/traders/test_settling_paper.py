"""What a market paid, booked for traders whose processes have ended: files, stream, writer and rows are real."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
from traderworld import HandMadeMarket, Watcher, Workers

from feed.models import Settlement
from feed.schema import (
    FIELD,
    JOURNAL,
    VERSION,
    FillState,
    JournalBody,
    JournalEntry,
    OrderState,
    SettledState,
    StateChange,
    decode_journal,
)
from feed.sinks.journal import JournalSink
from kalshimm.celery import app
from kalshimm.ops.models import AuditRow
from kalshimm.runtime.clock import SystemClock
from kalshimm.runtime.home import write_private
from kalshimm.runtime.locks import exclusive
from markets.core.units import Side
from markets.models import Event, Market, Series
from tests.fixtures.stack import eventually
from tests.integration.feed.writerbench import Bench
from traders import fleet, settling_paper, tasks
from traders.allotments import release
from traders.core.inventory import Inventory
from traders.journal import Checkpoint, Journal, load_checkpoint, read_records
from traders.models import DecisionRow, Desired, Fill, Order, StrategySet, Trader
from traders.processes import trader_folder

YES, NO = Side.YES, Side.NO
NOW = datetime(2027, 1, 4, 15, tzinfo=UTC)
NOW_US = int(NOW.timestamp()) * 1_000_000
FEE_UD = 17_100
HELD = {
    "long yes": [(YES, 4_000, 400), (YES, 4_500, 100)],
    "long no": [(NO, 5_800, 400), (YES, 4_100, 50)],
    "flat": [(YES, 4_000, 400), (NO, 5_800, 400)],
    "never traded": [],
}
RESULTS = {"yes": 1_000_000, "no": 0, "scalar": 370_000}

pytestmark = pytest.mark.django_db(transaction=True)


# A world after the close


def a_market(ticker: str = "PAPER-1", **changes: Any) -> Market:
    series, _ = Series.objects.get_or_create(ticker="PAPER", defaults={"seen_at": NOW})
    event, _ = Event.objects.get_or_create(ticker="PAPER-E", defaults={"series": series, "seen_at": NOW})
    values = {
        "ticker": ticker,
        "event": event,
        "status": "closed",
        "open_time": NOW - timedelta(days=1),
        "close_time": NOW,
        "price_ranges": [[0, 10_000, 100]],
        "seen_at": NOW,
    }
    return Market.objects.create(**values | changes)


def pays(result: str, value_ud: int | None = None, *, status: str = "finalized", ticker: str = "PAPER-1") -> None:
    market = Market.objects.filter(pk=ticker) if Market.objects.filter(pk=ticker).exists() else None
    changes = {
        "status": status,
        "result": result,
        "settlement_value_ud": value_ud,
        "settlement_time": NOW + timedelta(minutes=5) if status == "finalized" else None,
    }
    if market is None:
        a_market(ticker, **changes)
    else:
        market.update(**changes)


def a_trader(name: str = "paper-1", ticker: str = "PAPER-1", **changes: Any) -> Trader:
    strategy, _ = StrategySet.objects.get_or_create(name="join-best")
    values = {
        "desired": Desired.STOPPED,
        "state": "stopped",
        "state_reason": "market closed",
        "reserved_ud": 30_000_000,
    }
    return Trader.objects.create(name=name, market_ticker=ticker, strategy=strategy, **values | changes)


@dataclass
class World:
    """A home, a stream, a writer that stores what lies on it, and what the minute's task does."""

    home: Path
    redis_url: str
    database_url: str
    client: redis.Redis
    heard: dict[bytes, JournalEntry] = field(default_factory=dict)

    def left_behind(self, trader: Trader, bodies: Sequence[JournalBody], *, is_sent: bool = True) -> None:
        """Leave what a process would: its journal in the folder, and sent and stored unless it was cut short."""
        path = trader_folder(self.home, trader.pk)
        journal = Journal(path / "journal", first_number=0)
        for number, body in enumerate(bodies, start=1):
            line = JournalEntry(VERSION, trader.pk, number, NOW_US + number, "paper", "dry-run", "PAPER-1", body)
            journal.append(line)
            if is_sent:
                self.client.xadd(JOURNAL, {FIELD: msgspec.msgpack.encode(line)})
        journal.close()
        write_private(path / "checkpoint.json", msgspec.json.encode(Checkpoint()))
        self.store()

    def store(self) -> None:
        async def drain() -> None:
            bench = Bench(self.redis_url, self.database_url)
            await bench.drain(JournalSink())
            await bench.client.aclose()

        self._hear()  # what is stored is taken off the stream
        asyncio.run(drain())

    def settle(self, redis_url: str = "") -> list[str]:
        return settling_paper.settle_due(self.home, redis_url or self.redis_url, SystemClock())

    def settle_and_store(self) -> list[str]:
        booked = self.settle()
        self.store()
        return booked

    def _hear(self) -> None:
        self.heard |= {entry: decode_journal(fields[FIELD]) for entry, fields in self.client.xrange(JOURNAL)}

    def told(self) -> list[SettledState]:
        """Return every settlement that was put on the stream."""
        self._hear()
        return [line.body for line in self.heard.values() if isinstance(line.body, SettledState)]

    def kept(self, trader: Trader) -> Checkpoint:
        kept = load_checkpoint(trader_folder(self.home, trader.pk) / "checkpoint.json")
        assert kept is not None
        return kept


@pytest.fixture
def world(home: Path, redis_url: str, database_url: str, redis_client: redis.Redis) -> World:
    return World(home, redis_url, database_url, redis_client)


def lines(fills: Sequence[tuple[Side, int, int]], *, fee_ud: int | None = FEE_UD) -> list[JournalBody]:
    """Return a journal of fills, as a process that ended well leaves it."""
    bodies: list[JournalBody] = []
    position_cx = 0
    for number, (side, price_cc, count_cx) in enumerate(fills):
        position_cx += count_cx if side is YES else -count_cx
        name = f"c{number}"
        bodies.append(FillState(name, name, f"t{number}", side, price_cc, count_cx, False, fee_ud, position_cx, False))
        bodies.append(OrderState(name, name, side, price_cc, count_cx, count_cx, 0, "filled", ""))
    return [*bodies, StateChange("stopped", "market closed")]


def result_of(fills: Sequence[tuple[Side, int, int]], value_ud: int) -> tuple[int, int, int]:
    """Return position, payout and result, reckoned anew: each contract's worth less its price, nothing netted."""
    position_cx = sum(count_cx if side is YES else -count_cx for side, _, count_cx in fills)
    result = Fraction(0)
    for side, price_cc, count_cx in fills:
        worth_ud = value_ud if side is YES else 1_000_000 - value_ud
        result += Fraction(count_cx, 100) * worth_ud - price_cc * count_cx - FEE_UD
    payout = Fraction(abs(position_cx), 100) * (value_ud if position_cx > 0 else 1_000_000 - value_ud)
    assert result.denominator == payout.denominator == 1
    return position_cx, int(payout), int(result)


# Every result and every position


@pytest.mark.parametrize("held", list(HELD))
@pytest.mark.parametrize("result", list(RESULTS))
def test_F7_a_paper_position_leaves_through_settlement_with_payout_less_cost_and_fees(
    world: World, result: str, held: str
) -> None:
    fills, value_ud = HELD[held], RESULTS[result]
    position_cx, paid_ud, result_ud = result_of(fills, value_ud)
    trader = a_trader()
    world.left_behind(trader, lines(fills))
    pays(result, value_ud)
    assert world.settle_and_store() == ["paper-1"]

    (line,) = world.told()
    assert (line.result, line.value_cc, line.position_cx) == (result, value_ud // 100, position_cx)
    assert (line.paid_ud, line.fee_ud, line.cash_ud) == (paid_ud, 0, result_ud)
    assert line.settled_us == NOW_US + 300_000_000

    inventory = world.kept(trader).inventory
    assert (inventory.position_cx, inventory.position.cost_ud, inventory.cash_ud) == (0, 0, result_ud)
    assert inventory.position.realized_ud - inventory.position.fees_ud == result_ud

    row = Settlement.objects.get()
    assert (row.account, row.ticker, row.subaccount, row.result) == ("paper", "PAPER-1", trader.pk, result)
    assert (row.yes_cx, row.no_cx) == (max(0, position_cx), max(0, -position_cx))
    assert (row.yes_cost_ud + row.no_cost_ud, row.revenue_ud) == (line.cost_ud, paid_ud)
    assert (row.fee_ud, row.value_cc, row.settled_at) == (
        FEE_UD * len(fills),
        value_ud // 100,
        NOW + timedelta(minutes=5),
    )

    decision = DecisionRow.objects.get(kind="settled")
    assert (decision.trader, decision.reason) == (trader.pk, line.reason)
    assert (decision.figures["cash_ud"], decision.figures["paid_ud"]) == (result_ud, paid_ud)
    trader.refresh_from_db()
    assert trader.state_reason == f"market closed; {line.reason}"
    audit = AuditRow.objects.get(action="trader.settled")
    assert (audit.subject, audit.detail["cash_ud"]) == ("paper-1", result_ud)


@pytest.mark.parametrize(
    ("held", "result", "said"),
    [
        ("long yes", "yes", "settled yes: 5 Yes contracts paid $5.00, result +$2.92"),
        ("long no", "yes", "settled yes: 3.5 No contracts paid $0.00, result −$2.06"),
        ("long no", "scalar", "settled at 37¢: 3.5 No contracts paid $2.20, result +$0.15"),
        ("flat", "no", "settled no: nothing was held, result +$0.05"),
        ("never traded", "no", "settled no: nothing was traded"),
    ],
)
def test_F7_the_trader_says_how_it_ended(world: World, held: str, result: str, said: str) -> None:
    trader = a_trader()
    world.left_behind(trader, lines(HELD[held]))
    pays(result, RESULTS[result])
    world.settle()
    trader.refresh_from_db()
    assert trader.state_reason == f"market closed; {said}"


def test_F7_a_scalar_payout_finer_than_the_balance_leaves_a_rounding_fee(world: World) -> None:
    trader = a_trader()
    world.left_behind(trader, lines([(YES, 4_000, 1)], fee_ud=0))
    pays("scalar", 333_300)
    world.settle_and_store()
    (line,) = world.told()
    assert (line.paid_ud, line.fee_ud, line.cash_ud) == (3_333, 33, 3_300 - 4_000)
    assert world.kept(trader).inventory.cash_ud == -700


def test_F7_a_value_finer_than_a_price_is_paid_as_it_is(world: World) -> None:
    trader = a_trader()
    world.left_behind(trader, lines([(YES, 4_000, 300)], fee_ud=0))
    pays("scalar", 333_333)
    world.settle_and_store()
    (line,) = world.told()
    assert (line.value_cc, line.paid_ud, line.fee_ud) == (3_333, 999_999, 99)
    assert world.kept(trader).inventory.cash_ud == 999_900 - 1_200_000


def test_an_unknown_fee_is_said_and_not_taken_for_none(world: World) -> None:
    trader = a_trader()
    world.left_behind(trader, lines(HELD["long yes"], fee_ud=None))
    pays("yes")
    world.settle()
    trader.refresh_from_db()
    assert trader.state_reason.endswith("result +$2.95, before fees that are not known")


# When, and how often


def test_F7_nothing_is_paid_before_the_result_stands_and_an_amended_one_counts(world: World) -> None:
    trader = a_trader()
    world.left_behind(trader, lines(HELD["long yes"]))
    for result, status in (("", "closed"), ("yes", "determined"), ("yes", "disputed"), ("no", "amended")):
        pays(result, None if not result else RESULTS[result], status=status)
        assert world.settle() == []
    assert world.kept(trader).inventory == Inventory(), "its files are left alone"
    pays("no", 0)
    assert world.settle_and_store() == ["paper-1"]
    assert [(line.result, line.paid_ud) for line in world.told()] == [("no", 0)]


def test_F7_a_settlement_is_booked_once_however_often_it_is_looked_for(world: World) -> None:
    trader = a_trader()
    world.left_behind(trader, lines(HELD["long yes"]))
    pays("yes")
    booked = [world.settle(), world.settle()]  # the writer has not stored it meanwhile
    world.store()
    booked += [world.settle_and_store(), world.settle_and_store()]
    assert booked == [["paper-1"], [], [], []]
    assert len({line.reason for line in world.told()}) == 1
    assert (Settlement.objects.count(), DecisionRow.objects.filter(kind="settled").count()) == (1, 1)
    assert AuditRow.objects.filter(action="trader.settled").count() == 1
    assert world.kept(trader).inventory.cash_ud == result_of(HELD["long yes"], 1_000_000)[2]


def test_D1_what_redis_did_not_take_stands_in_the_file_and_is_sent_by_the_next_run(
    world: World, free_port: int
) -> None:
    trader = a_trader()
    world.left_behind(trader, lines(HELD["long no"]))
    pays("no")
    assert world.settle(f"redis://127.0.0.1:{free_port}/0") == ["paper-1"]
    assert world.told() == []
    assert world.kept(trader).inventory.position_cx == 0
    assert world.settle_and_store() == []
    assert Settlement.objects.get().revenue_ud == 3_500_000


def test_F7_each_trader_of_a_market_is_paid_for_itself(world: World) -> None:
    for name, held in (("paper-1", "long yes"), ("paper-2", "long no"), ("paper-3", "flat")):
        trader = a_trader(name)
        world.left_behind(trader, lines([(side, price, count) for side, price, count in HELD[held]]))
        Fill.objects.all().delete()  # their made-up ids are alike; the files are what counts
    pays("yes")
    assert world.settle_and_store() == ["paper-1", "paper-2", "paper-3"]
    assert list(Settlement.objects.order_by("subaccount").values_list("revenue_ud", flat=True)) == [5_000_000, 0, 0]


def test_F7_a_trader_that_stops_later_is_paid_though_another_of_its_market_was(world: World) -> None:
    pays("yes")
    world.left_behind(a_trader("paper-1"), lines(HELD["long yes"]))
    later = a_trader("paper-2", state="draining")
    assert world.settle_and_store() == ["paper-1"]
    Trader.objects.filter(pk=later.pk).update(state="stopped")
    assert world.settle_and_store() == ["paper-2"]


def test_a_trader_that_a_person_stopped_before_the_close_is_paid_too(world: World) -> None:
    trader = a_trader(state_reason="asked to stop")
    world.left_behind(trader, lines(HELD["long yes"]))
    pays("yes")
    assert world.settle() == ["paper-1"]


@pytest.mark.parametrize("changes", [{"state": "quoting"}, {"pid": 4_242}, {"desired": "running"}, {"mode": "live"}])
def test_what_trades_or_is_not_on_paper_is_left_alone(world: World, changes: dict[str, Any]) -> None:
    a_trader(**changes)
    pays("yes")
    assert world.settle() == []


def test_a_process_that_lives_all_the_same_is_waited_for(world: World) -> None:
    trader = a_trader()
    world.left_behind(trader, lines(HELD["long yes"]))
    pays("yes")
    with exclusive(trader_folder(world.home, trader.pk) / "lock", what="its process"):
        assert world.settle() == []
    assert world.settle() == ["paper-1"]


def test_a_result_without_its_value_is_said_and_holds_up_no_other(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    a_trader("paper-1", "PAPER-1")
    pays("scalar", None, ticker="PAPER-1")
    a_trader("paper-2", "PAPER-2")
    pays("yes", None, ticker="PAPER-2")
    with caplog.at_level(logging.WARNING):
        assert world.settle() == ["paper-2"]
    assert "trader paper-1 is not settled: a scalar result needs a value" in caplog.text
    pays("scalar", 500_000, ticker="PAPER-1")
    assert world.settle() == ["paper-1"]


@pytest.mark.parametrize("content", [b"{", b'{"version": 99}'])
def test_a_checkpoint_that_is_none_is_said_and_holds_up_no_other(
    world: World, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    broken = a_trader("paper-1")
    world.left_behind(broken, lines(HELD["long yes"]))
    path = trader_folder(world.home, broken.pk) / "checkpoint.json"
    path.write_bytes(content)
    a_trader("paper-2")
    pays("yes")
    with caplog.at_level(logging.WARNING):
        assert world.settle() == ["paper-2"]
    assert "trader paper-1 is not settled" in caplog.text
    assert path.read_bytes() == content, "it is left for a person to look at"
    path.unlink()
    assert world.settle() == ["paper-1"]


# What crashes leave


def test_F7_orders_that_a_crash_left_open_are_over_before_the_market_pays(world: World) -> None:
    trader = a_trader()
    resting = OrderState("r", "r", NO, 5_900, 300, 0, 300, "resting", "")
    world.left_behind(trader, [*lines(HELD["long yes"])[:-1], resting])
    assert Order.objects.get(client_order_id="r").status == "resting"
    pays("yes")
    world.settle_and_store()
    order = Order.objects.get(client_order_id="r")
    assert (order.status, order.remaining_cx, order.reason) == ("canceled", 0, "market closed")
    assert world.kept(trader).open_orders == ()


def test_A1_fills_that_a_crash_kept_from_the_database_are_stored_and_paid(world: World) -> None:
    trader = a_trader()
    world.left_behind(trader, lines(HELD["long yes"])[:-1], is_sent=False)
    assert not Fill.objects.exists()
    pays("yes")
    world.settle_and_store()
    assert Fill.objects.count() == 2
    assert Settlement.objects.get().revenue_ud == 5_000_000


def test_D9_a_trader_whose_folder_is_gone_is_paid_by_what_the_database_knows(world: World) -> None:
    trader = a_trader()
    world.left_behind(trader, lines(HELD["long yes"]))
    shutil.rmtree(trader_folder(world.home, trader.pk))
    pays("yes")
    world.settle_and_store()
    assert Settlement.objects.get().revenue_ud == 5_000_000
    assert DecisionRow.objects.get(kind="settled").number == len(lines(HELD["long yes"])) + 1


def test_D9_files_that_have_fallen_behind_the_database_give_way_to_it(world: World) -> None:
    trader = a_trader()
    world.left_behind(trader, lines(HELD["long yes"]))
    journal = trader_folder(world.home, trader.pk) / "journal"
    older = Journal(journal.with_name("older"), first_number=0)
    for entry in read_records(journal.read_bytes())[0][:2]:
        older.append(entry)
    older.close()
    journal.with_name("older").replace(journal)
    pays("yes")
    world.settle_and_store()
    assert Settlement.objects.get().revenue_ud == 5_000_000
    assert world.kept(trader).number == len(lines(HELD["long yes"])) + 1


def test_what_is_stored_already_is_not_sent_again(world: World) -> None:
    world.left_behind(a_trader(), lines(HELD["long yes"]))
    pays("yes")
    sent = len(world.heard)
    world.settle()
    assert len(world.told()) == 1
    assert len(world.heard) == sent + 1


def test_the_journal_gives_the_settlement_back_from_any_checkpoint(world: World) -> None:
    trader = a_trader()
    world.left_behind(trader, lines(HELD["long no"]))
    pays("scalar", 333_333)
    world.settle()
    path = trader_folder(world.home, trader.pk)
    journal = Journal(path / "journal", first_number=0)
    entries = journal.entries()
    journal.close()
    expected = world.kept(trader)
    for number in range(len(entries) + 1):
        assert Checkpoint().after_all(entries[:number]).after_all(entries) == expected


def test_what_it_reserved_is_free_once_it_is_settled(world: World) -> None:
    trader = a_trader()
    world.left_behind(trader, lines(HELD["long yes"]))
    assert release(trader.pk) == 4 * 400_000 + 450_000, "what it holds may still be lost"
    pays("no")
    world.settle()
    trader.refresh_from_db()
    assert trader.reserved_ud is None
    world.store()
    assert release(trader.pk) is None


# As it runs


def test_celery_looks_each_minute(world: World, settings: Any) -> None:
    (entry,) = [one for one in app.conf.beat_schedule.values() if one["task"] == tasks.settle_paper_traders.name]
    assert entry["schedule"] == 60
    settings.KALSHIMM_HOME, settings.REDIS_URL = world.home, world.redis_url
    world.left_behind(a_trader(), lines(HELD["long yes"]))
    pays("yes")
    tasks.settle_paper_traders()
    assert [line.paid_ud for line in world.told()] == [5_000_000]


def test_F7_a_trader_is_filled_sees_its_market_close_and_is_paid(
    world: World, workers_with_database: Workers, market: HandMadeMarket, watcher: Watcher
) -> None:
    market.start()
    workers_with_database.spawner()
    workers_with_database.start("supervisor")
    now = datetime.now(UTC)
    a_market("HAND-1", status="active", close_time=now + timedelta(hours=1), open_time=now - timedelta(hours=1))
    trader = a_trader("hand-1", "HAND-1", desired=Desired.RUNNING)
    eventually(lambda: watcher.is_quoting(trader.pk), "the trader quotes")
    market.print("t1", 3_900, 400, NO)
    eventually(lambda: (view := watcher.view(trader.pk)) and view.position_cx == 400, "it is filled")
    Market.objects.filter(pk="HAND-1").update(close_time=datetime.now(UTC))
    eventually(lambda: Trader.objects.filter(pk=trader.pk, state="stopped", pid=None).exists(), "its market has closed")
    pays("yes", None, ticker="HAND-1")
    world.store()
    assert settling_paper.settle_due(workers_with_database.home, world.redis_url, SystemClock()) == ["hand-1"]
    world.store()
    assert Settlement.objects.get().revenue_ud == 4_000_000
    trader.refresh_from_db()
    assert trader.state_reason.startswith("market closed; settled yes: 4 Yes contracts paid $4.00, result +$2.40")


def test_D9_the_database_knows_what_a_settled_trader_came_to(world: World) -> None:
    trader = a_trader()
    world.left_behind(trader, lines([(Side.YES, 4_000, 200)]))
    pays("yes", 1_000_000)
    world.settle_and_store()
    checkpoint = load_checkpoint(trader_folder(world.home, trader.pk) / "checkpoint.json")
    assert checkpoint is not None

    stored = fleet.read_stored(trader.pk).inventory

    assert (stored.position_cx, stored.cash_ud) == (0, 200 * 6_000 - FEE_UD)
    assert stored.cash_ud == checkpoint.inventory.cash_ud
