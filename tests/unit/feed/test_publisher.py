from __future__ import annotations

from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

from feed import publisher, schema
from feed.books import Books, Taken
from feed.kalshi.session import Session
from feed.publisher import ROWS_AN_ENTRY, Publisher, tape_commands


class Store:
    """Takes pipelines and keeps their commands; refuses them while it is away."""

    def __init__(self) -> None:
        self.is_away = False
        self.taken: list[tuple[Any, ...]] = []

    def pipeline(self, *, transaction: bool) -> Store:
        assert not transaction
        self._queued: list[tuple[Any, ...]] = []
        return self

    def execute_command(self, *command: Any) -> None:
        self._queued.append(command)

    async def execute(self) -> None:
        if self.is_away:
            raise RedisConnectionError("gone")
        self.taken += self._queued


def what_gathered(*, rows: int = 0, leased: str = "", gone: str = "", events: str = "") -> Taken:
    deltas: list[schema.TapeRow] = [schema.DeltaRow(1, 0, "M-1", n, 0, 4_200, 1) for n in range(rows)]
    happened: list[schema.BookEvent] = [schema.BookStatus(1, False, "x")]
    return Taken(
        rows=deltas,
        events={events: happened} if events else {},
        changed=set(),
        snapshots_wanted=[],
        leased={leased} - {""},
        gone={gone} - {""},
        is_feed_changed=False,
    )


BOOKS = Books(7, Session())


def test_rows_are_packed_into_entries() -> None:
    rows = what_gathered(rows=2 * ROWS_AN_ENTRY + 1).rows
    sizes = [len(schema.decode_tape(command[-1]).rows) for command in tape_commands("t", 7, rows)]
    assert sizes == [ROWS_AN_ENTRY, ROWS_AN_ENTRY, 1]


async def test_D1_what_could_not_be_sent_goes_first_next_time() -> None:
    store = Store()
    sending = Publisher(store)  # type: ignore[arg-type]
    store.is_away = True
    sending.add(BOOKS, what_gathered(rows=1))
    assert not await sending.send()
    store.is_away = False
    sending.add(BOOKS, what_gathered(events="M-1"))
    assert await sending.send()
    assert [command[1] for command in store.taken] == [schema.TAPE, schema.book_stream("M-1")]
    assert sending.lost == 0


async def test_D4_an_overflow_keeps_the_newest_tape_and_no_part_of_a_book(monkeypatch: Any) -> None:
    monkeypatch.setattr(publisher, "BACKLOG_COMMANDS", 3)
    store = Store()
    sending = Publisher(store)  # type: ignore[arg-type]
    store.is_away = True
    for number in range(5):
        sending.add(BOOKS, what_gathered(rows=number + 1, events="M-1"))
    await sending.send()
    store.is_away = False
    await sending.send()
    assert [command[1] for command in store.taken] == [schema.TAPE] * 3
    assert [len(schema.decode_tape(command[-1]).rows) for command in store.taken] == [3, 4, 5]
    assert sending.lost == 7


async def test_a_market_that_went_and_came_back_keeps_its_stream() -> None:
    store = Store()
    sending = Publisher(store)  # type: ignore[arg-type]
    sending.add(BOOKS, what_gathered(leased="M-1", gone="M-1", events="M-1"))
    await sending.send()
    assert [command[0] for command in store.taken] == ["PERSIST", "XADD"]
