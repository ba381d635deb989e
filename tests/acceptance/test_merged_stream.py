"""The recordings as 200 markets at once, through the local exchange, the real gateway and the real writer: the
gateway's books, the stored rows and the books rebuilt from them against what the exchange says it sent."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from feed import schema
from markets.core.book import OrderBook
from markets.queries import book_at
from tests.faults.checker import judge
from tests.faults.rig import Options, Rig
from tests.faults.tables import Tables
from tests.faults.truth import Levels

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MARKETS, WATCHED = 200, 20
SPEED = 12.0
MESSAGES = 40_000
WITHIN_S = 120.0
MOMENTS_A_MARKET = 5
SETTLED_US = 1_000_000

Sides = tuple[Levels, Levels]
Place = tuple[int, int, str]  # connection, sid, market


@pytest.fixture
def merged(tmp_path: Path, database_url: str, recorded: Path) -> Iterator[Rig]:
    replay = tuple(map(str, sorted((recorded / "ws_l2_kxbtc15m").glob("*.zst"))))
    rig = Rig(tmp_path, database_url, Options(replay=replay, markets=MARKETS, speed=SPEED, tickers=WATCHED))
    yield rig
    rig.close()


def want_all(rig: Rig) -> list[str]:
    tickers = sorted(rig.control("GET", "/state")["markets"])
    until_s = time.time() + WITHIN_S
    rig.redis.zadd(schema.INTEREST, {schema.interest_member(ticker, "all"): until_s for ticker in tickers})
    return tickers


def wait(rig: Rig, count: int) -> float:
    """Let the exchange send `count` messages; return how many a second it sent."""
    began_s = time.monotonic()
    while len(rig.truth.messages) < count:
        assert time.monotonic() - began_s < WITHIN_S, f"only {len(rig.truth.messages)} messages came"
        rig.fetch_truth()
        time.sleep(0.5)
    return len(rig.truth.messages) / ((rig.truth.messages[-1].at_us - rig.truth.messages[0].at_us) / 1_000_000)


def streamed(rig: Rig, ticker: str) -> tuple[schema.BookSnapshot, int, OrderBook] | None:
    """Return the gateway's book as its stream tells it: the last snapshot, the last number, the levels."""
    events = [
        event
        for _, fields in rig.redis.xrange(schema.book_stream(ticker))  # type: ignore[union-attr]
        for event in schema.decode_book(fields[schema.FIELD]).events
    ]
    wholes = [at for at, event in enumerate(events) if isinstance(event, schema.BookSnapshot)]
    if not wholes:
        return None
    whole, book = events[wholes[-1]], OrderBook()
    assert isinstance(whole, schema.BookSnapshot)
    book.replace(whole.yes, whole.no)
    seq = whole.seq
    for event in events[wholes[-1] :]:
        if isinstance(event, schema.BookDelta):
            book.apply(event.side, event.price_cc, event.delta_cx)
            seq = event.seq
    return whole, seq, book


def moments(rig: Rig, chance: random.Random) -> Iterator[tuple[str, int, Sides]]:
    """Yield random moments of each market, with the exchange's own book by then."""
    happened: dict[Place, list[tuple[int, int]]] = defaultdict(list)
    for message in rig.truth.messages:
        if message.key is not None and message.key[0] in ("snapshot", "delta"):
            place = (message.connection, message.sid, message.key[1])
            happened[place].append((message.key[3], message.key[2]))
    for place, stamped in happened.items():
        books, whole_us = rig.truth.books(*place), stamped[0][0]
        for at_us, _ in chance.sample(stamped, min(MOMENTS_A_MARKET, len(stamped))):
            if at_us < whole_us:
                continue  # a change stamped before the first snapshot: history has no book by then
            _, seq = next(one for one in reversed(stamped) if one[0] <= at_us)
            yield place[2], at_us, books[seq]


@pytest.mark.recorded
@pytest.mark.long
@pytest.mark.timeout(300)
def test_200_merged_markets_give_the_same_books_three_ways(merged: Rig) -> None:
    tickers = want_all(merged)
    assert len(tickers) >= MARKETS  # one more while one rolls into its successor
    per_s = wait(merged, MESSAGES)
    late_s = max((m.at_us - m.key[3]) / 1e6 for m in merged.truth.messages if m.key is not None and m.key[0] == "delta")
    print(f"{per_s:,.0f} messages a second from the exchange, up to {late_s:.1f} s late")
    until, give_up = merged.truth.last_number, time.monotonic() + WITHIN_S
    while True:
        merged.fetch_truth()
        tables, sights = Tables(merged.database_url), list(merged.watch.sights)
        merged.fetch_truth()
        verdict = judge(merged.truth, tables, sights, after=0, until=until)
        if not verdict.problems or time.monotonic() > give_up:
            break
    assert not verdict.problems, "\n".join(verdict.problems[:5])
    assert len(verdict.stored) > MESSAGES * 0.9
    assert len(verdict.sights) > WATCHED
    books = {ticker: found for ticker in tickers if (found := streamed(merged, ticker)) is not None}
    merged.fetch_truth()
    connection = merged.truth.messages[-1].connection
    for ticker, (whole, seq, book) in books.items():
        assert book.levels == merged.truth.books(connection, whole.sid, ticker)[seq], ticker
    assert len(books) >= MARKETS
    compared = 0
    stored_us = next(m.at_us for m in merged.truth.messages if m.number == until) - SETTLED_US
    for ticker, at_us, sides in moments(merged, random.Random(4)):
        if at_us > stored_us:
            continue  # more of that moment may be on its way
        found = book_at(ticker, EPOCH + timedelta(microseconds=at_us))
        assert found.book is not None
        assert found.book.levels == sides, (ticker, at_us, found.reason)
        compared += 1
    assert compared > MARKETS
