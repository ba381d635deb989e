from __future__ import annotations

import asyncio
import errno
import time
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio as redis_async
from traderworld import HandMadeMarket, Watcher

from feed.schema import (
    ACK,
    FIELD,
    VERSION,
    CommandAnswer,
    Control,
    FillState,
    JournalEntry,
    OrderState,
    control_stream,
    encode,
)
from kalshimm.runtime.clock import SystemClock
from kalshimm.runtime.heartbeat import beat_key
from kalshimm.runtime.resp import Pipe
from kalshimm.runtime.worker import Stop
from markets.core.grid import PriceRange
from markets.core.units import Side
from traders.core.facts import MarketFacts, encode_facts
from traders.core.inventory import Inventory
from traders.core.pipeline import Choice, StrategyChoices
from traders.journal import (
    Checkpoint,
    Journal,
    JournalHole,
    JournalLost,
    load_checkpoint,
    read_records,
    record,
    save_checkpoint,
)
from traders.process import TraderProcess
from traders.processes import trader_folder
from traders.start import Start

HOUR_US = 3_600_000_000

HELD = Inventory().after(Side.YES, 4_000, 100, fee_ud=0).after(Side.YES, 4_000, 200, fee_ud=0)


def facts_of(*, closes_in_us: int) -> MarketFacts:
    return MarketFacts((PriceRange(0, 10_000, 100),), time.time_ns() // 1_000 + closes_in_us)


def a_start(redis_url: str, **changes: Any) -> Start:
    values: dict[str, Any] = {
        "trader": 1,
        "name": "hand-1",
        "instance": "instance",
        "ticker": "HAND-1",
        "mode": "dry-run",
        "account": "paper",
        "strategies": StrategyChoices(Choice("join_best")),
        "limits": {},
        "facts": facts_of(closes_in_us=HOUR_US),
        "redis_url": redis_url,
    }
    return Start(**values | changes)


class LosesCancels(redis_async.Redis):
    """A client that swallows a cancel, as redis-py does on Python 3.11 when the answer comes in the same moment."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().execute_command(*args, **options)
        except asyncio.CancelledError:
            return None


class HangsUntilCanceled(redis_async.Redis):
    """A client that from some moment on answers nothing, and takes each cancel for an answer."""

    is_silent = False
    has_asked = False

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        if not self.is_silent:
            return await super().execute_command(*args, **options)
        self.has_asked = True
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.is_silent = False
        return None


class Running:
    """A trader inside the test's own event loop."""

    def __init__(self, start: Start, home: Path, client: redis_async.Redis) -> None:
        self.client, self._pipe = client, Pipe(start.redis_url)
        self.process = TraderProcess(
            start, trader_folder(home, start.trader), client=client, pipe=self._pipe, clock=SystemClock()
        )
        self._stop = Stop()
        self._task = asyncio.create_task(self.process.run(self._stop))

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(20):
            while not condition():
                assert not self._task.done(), self._task
                await asyncio.sleep(0.02)

    async def end(self) -> str:
        self._stop.set()
        return await self.ended()

    async def ended(self) -> str:
        async with asyncio.timeout(20):
            reason = await self._task
        self._pipe.close()
        await self.client.aclose()
        return reason


async def test_it_ends_even_when_the_redis_client_swallows_the_cancel(
    home: Path, redis_url: str, market: HandMadeMarket, watcher: Watcher
) -> None:
    market.start()
    running = Running(a_start(redis_url), home, LosesCancels.from_url(redis_url))
    await running.until(lambda: watcher.is_quoting(1))
    assert await running.end() == "asked to stop"


async def test_when_a_task_fails_it_ends_whole_even_when_the_redis_client_swallows_the_cancel(
    home: Path, redis_url: str, market: HandMadeMarket, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would beat on, with nobody left to decide, and its quotes would rest."""
    market.start()
    client = HangsUntilCanceled.from_url(redis_url)
    running = Running(a_start(redis_url), home, client)
    await running.until(lambda: watcher.is_quoting(1))
    client.is_silent = True
    await running.until(lambda: client.has_asked)
    monkeypatch.setattr(running.process.engine, "is_closed", lambda _now: 1 // 0)
    with pytest.raises(ExceptionGroup):
        await running.ended()
    await client.aclose()


async def test_commands_are_done_or_refused_with_the_reason(
    home: Path, redis_url: str, redis_client: redis.Redis, market: HandMadeMarket, watcher: Watcher
) -> None:
    market.start()
    running = Running(a_start(redis_url), home, redis_async.Redis.from_url(redis_url))
    await running.until(lambda: watcher.is_quoting(1))
    soon_us, past_us = time.time_ns() // 1_000 + HOUR_US, 1
    for command_id, verb, expires_us in (
        ("c1", "pause", soon_us),
        ("c2", "resume", past_us),
        ("c3", "stop", soon_us),
    ):
        control = Control(VERSION, command_id, verb, "somebody", expires_us)
        redis_client.xadd(control_stream("1"), {FIELD: encode(control)})

    def answers() -> list[CommandAnswer]:
        told = {entry.number: entry.body for entry in watcher.journal(1)}  # what nobody has stored is told again
        return [body for _, body in sorted(told.items()) if isinstance(body, CommandAnswer)]

    await running.until(lambda: len(answers()) == 3)
    assert await running.end() == "asked to stop"
    assert [(answer.command_id, answer.is_done, answer.reason) for answer in answers()] == [
        ("c1", True, ""),
        ("c2", False, "expired"),
        ("c3", False, "unknown command 'stop'"),
    ]
    assert redis_client.get(beat_key("trader", "1")) is None


async def test_F6_F8_F9_it_goes_by_the_facts_of_its_market_that_it_is_told(
    home: Path, redis_url: str, redis_client: redis.Redis, market: HandMadeMarket, watcher: Watcher
) -> None:
    market.start()
    running = Running(a_start(redis_url), home, redis_async.Redis.from_url(redis_url))
    await running.until(lambda: watcher.is_quoting(1))
    over = facts_of(closes_in_us=-1)
    for command_id, body in (("c1", b"no facts"), ("c2", encode_facts(over))):
        control = Control(VERSION, command_id, "market", "somebody", time.time_ns() // 1_000 + HOUR_US, body)
        redis_client.xadd(control_stream("1"), {FIELD: encode(control)})
    assert await running.ended() == "market closed"
    answers = [entry.body for entry in watcher.journal(1) if isinstance(entry.body, CommandAnswer)]
    assert [(answer.command_id, answer.is_done) for answer in answers] == [("c1", False), ("c2", True)]
    assert "its body cannot be used" in answers[0].reason


async def test_what_the_writer_has_not_acknowledged_is_sent_again_after_a_restart(
    home: Path, redis_url: str, redis_client: redis.Redis, market: HandMadeMarket, watcher: Watcher
) -> None:
    market.start()
    first = Running(a_start(redis_url), home, redis_async.Redis.from_url(redis_url))
    await first.until(lambda: watcher.is_quoting(1))
    await first.end()
    last = watcher.journal(1)[-1].number
    redis_client.delete("kmm:journal")
    redis_client.hset(ACK, "1", str(last - 3))
    second = Running(a_start(redis_url), home, redis_async.Redis.from_url(redis_url))
    await second.until(lambda: len(watcher.journal(1)) >= 4)
    assert [entry.number for entry in watcher.journal(1)][:4] == [last - 2, last - 1, last, last + 1]
    await second.end()


async def test_with_its_folder_gone_it_goes_on_from_what_the_database_knew(
    home: Path, redis_url: str, market: HandMadeMarket, watcher: Watcher
) -> None:
    market.start()
    start = a_start(redis_url, stored=Checkpoint(500, HELD))
    running = Running(start, home, redis_async.Redis.from_url(redis_url))
    await running.until(lambda: watcher.is_quoting(1))
    view = watcher.view(1)
    assert view is not None
    assert (view.position_cx, view.fills, view.trading_ud) == (300, 2, 0)
    await running.end()
    assert watcher.journal(1)[0].number == 501


async def test_files_older_than_the_database_give_way_to_what_it_knows(
    home: Path, redis_url: str, redis_client: redis.Redis, market: HandMadeMarket, watcher: Watcher
) -> None:
    """Else its next lines would carry numbers that the writer has stored already, and be acknowledged away unsent."""
    market.start()
    before = Running(a_start(redis_url), home, redis_async.Redis.from_url(redis_url))
    await before.until(lambda: watcher.is_quoting(1))
    await before.end()
    redis_client.delete("kmm:journal")
    redis_client.hset(ACK, "1", "500")
    rested = OrderState("c", "c", 0, 4_000, 100, 0, 100, "resting", "")
    stored = Checkpoint(500, HELD, (rested,))
    after = Running(a_start(redis_url, stored=stored), home, redis_async.Redis.from_url(redis_url))
    await after.until(lambda: watcher.is_quoting(1))
    kept = load_checkpoint(trader_folder(home, 1) / "checkpoint.json")
    assert kept is not None
    assert kept.number >= 500, "written before the first new line: a crash must not fall back to the old files"
    view = watcher.view(1)
    assert view is not None
    assert (view.position_cx, view.fills) == (300, 2)
    await after.end()
    first = watcher.journal(1)[0]
    assert first.number == 501
    assert isinstance(first.body, OrderState)
    assert (first.body.client_order_id, first.body.status) == ("c", "canceled")


async def test_a_checkpoint_of_before_gives_way_to_the_database_and_newer_lines_count_on(
    home: Path, redis_url: str, market: HandMadeMarket, watcher: Watcher
) -> None:
    """The file's lines need not begin with the first: whoever went by them alone would forget what came before."""
    market.start()
    folder = trader_folder(home, 1)
    journal = Journal(folder / "journal", first_number=499)
    for number, count_cx in ((500, 300), (501, 50)):
        fill = FillState("c", "c", f"t{number}", 0, 4_000, count_cx, False, 0, count_cx, False)
        journal.append(JournalEntry(VERSION, 1, number, 1, "paper", "dry-run", "HAND-1", fill))
    journal.close()
    (folder / "checkpoint.json").write_bytes(b'{"number":499,"version":1}')
    running = Running(a_start(redis_url, stored=Checkpoint(500, HELD)), home, redis_async.Redis.from_url(redis_url))
    await running.until(lambda: watcher.is_quoting(1))
    view = watcher.view(1)
    assert view is not None
    assert (view.position_cx, view.fills) == (350, 3)
    await running.end()


def lines_left(home: Path, *numbers: int) -> None:
    """Leave a journal with fills of 100 in these lines, as an earlier process would."""
    folder = trader_folder(home, 1)
    for number in numbers:
        fill = FillState("c", "c", f"t{number}", 0, 4_000, 100, False, 0, 100, False)
        line = JournalEntry(VERSION, 1, number, 1, "paper", "dry-run", "HAND-1", fill)
        with (folder / "journal").open("ab") as file:
            file.write(record(line))


async def test_with_a_hole_in_its_journal_it_goes_on_from_the_database_where_that_has_the_lines(
    home: Path, redis_url: str, market: HandMadeMarket, watcher: Watcher
) -> None:
    market.start()
    lines_left(home, 1, 2, 500, 501)
    two = Inventory().after(Side.YES, 4_000, 100, fee_ud=0).after(Side.YES, 4_000, 100, fee_ud=0)
    save_checkpoint(trader_folder(home, 1) / "checkpoint.json", Checkpoint(2, two))
    running = Running(a_start(redis_url, stored=Checkpoint(499, HELD)), home, redis_async.Redis.from_url(redis_url))
    await running.until(lambda: watcher.is_quoting(1))
    view = watcher.view(1)
    assert view is not None
    assert (view.position_cx, view.fills) == (500, 4)
    await running.end()
    assert [line.number for line in watcher.journal(1)[:3]] == [500, 501, 502]


async def test_with_a_hole_that_nothing_fills_it_does_not_begin(
    home: Path, redis_url: str, market: HandMadeMarket
) -> None:
    market.start()
    lines_left(home, 1, 2, 5)
    with pytest.raises(JournalHole, match="lines 3 to 4 are"):
        Running(a_start(redis_url), home, redis_async.Redis.from_url(redis_url))


async def test_E3_a_disk_that_refuses_its_journal_ends_it_and_nothing_rests(
    home: Path, redis_url: str, market: HandMadeMarket, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    market.start()
    running = Running(a_start(redis_url), home, redis_async.Redis.from_url(redis_url))
    await running.until(lambda: watcher.is_quoting(1))
    refusals = iter([OSError(errno.EIO, "input/output error")])

    def refuses(_descriptor: int) -> None:
        for error in refusals:  # once: the next try would be called a success
            raise error

    monkeypatch.setattr("traders.journal._to_disk", refuses)
    with pytest.raises(ExceptionGroup) as ended:
        await running.ended()
    await running.client.aclose()
    assert ended.group_contains(JournalLost, match="input/output error")
    left = read_records((trader_folder(home, 1) / "journal").read_bytes())[0]
    orders = {body.client_order_id: body.status for line in left if isinstance(body := line.body, OrderState)}
    assert set(orders.values()) == {"canceled"}


async def test_its_last_checkpoint_holds_everything_and_no_order(
    home: Path, redis_url: str, market: HandMadeMarket, watcher: Watcher
) -> None:
    market.start()
    running = Running(a_start(redis_url), home, redis_async.Redis.from_url(redis_url))
    await running.until(lambda: watcher.is_quoting(1))
    await running.end()
    kept = load_checkpoint(trader_folder(home, 1) / "checkpoint.json")
    assert kept is not None
    assert kept.open_orders == ()
    assert kept.number == watcher.journal(1)[-1].number
    canceled = [b for e in watcher.journal(1) if isinstance(b := e.body, OrderState) and b.status == "canceled"]
    assert {body.reason for body in canceled} == {"asked to stop"}


async def test_a_newcomer_finds_the_book_behind_many_deltas(
    home: Path, redis_url: str, market: HandMadeMarket, watcher: Watcher
) -> None:
    market.start()
    market.deltas(500)
    running = Running(a_start(redis_url), home, redis_async.Redis.from_url(redis_url))
    await running.until(lambda: watcher.is_quoting(1))
    assert running.process.engine.view.book.size_cx(0, 4_000) == 30_000 + 500
    await running.end()


async def test_a_gap_in_the_stream_cancels_until_a_fresh_snapshot(
    home: Path, redis_url: str, market: HandMadeMarket, watcher: Watcher
) -> None:
    market.start()
    running = Running(a_start(redis_url), home, redis_async.Redis.from_url(redis_url))
    await running.until(lambda: watcher.is_quoting(1))
    market.generation = 2
    await running.until(lambda: (v := watcher.view(1)) and not v.quotes and "no good book" in v.why)
    market.snapshot()
    await running.until(lambda: watcher.is_quoting(1))
    await running.end()
