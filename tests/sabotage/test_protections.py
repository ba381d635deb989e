"""Switch one protection off, and a named test turns red: else the test, or the protection, is for show.

    sequence check     Session._sequence: numbers that do not follow are a gap
    book generation    Session._gap: books of before a gap are told apart; FeedView: the reader compares
    store generation   streams.generation: a store that began anew is another store
    watermark          watermark.write: what is stored is known in the transaction that stores it
    dedupe key         FeedView._is_repeated; copying._insert_missing: what comes twice counts once
    allotments         allotments._locked: one start at a time looks at them; _shared: what others reserved counts

Each named test runs twice here, in this process: with everything intact, and with the one function replaced.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from feed.kalshi.events import Gap
from feed.kalshi.session import Session, Subscription
from tests.integration.feed.writerbench import Bench
from traders.core.limits import Allotment

ROOT = Path(__file__).resolve().parents[2]
RED = (AssertionError, ValueError, IndexError)  # what a test says when the world is not as it claims
SWITCHED = [pytest.param(False, id="intact"), pytest.param(True, id="switched off")]


@dataclass(frozen=True)
class Protection:
    """A function that protects, what stands in for it, and the test that must notice."""

    name: str
    target: str
    replacement: Callable[..., Any]
    file: str
    test: str

    def named_test(self) -> Callable[..., Any]:
        spec = importlib.util.spec_from_file_location(f"sabotaged_{Path(self.file).stem}", ROOT / self.file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found: Callable[..., Any] = getattr(module, self.test)
        return found


def every_number_follows(session: Session, sid: int, seq: int | None, channel: str) -> bool:
    subscription = session.subscriptions.setdefault(sid, Subscription(sid, channel))
    subscription.seq = seq
    return True


def gap_of_the_same_generation(_session: Session, subscription: Subscription, expected: int, received: int) -> Gap:
    markets = frozenset(subscription.markets)
    return Gap(subscription.sid, subscription.channel, expected, received, markets)


async def one_generation_for_ever(_client: object, _key: str) -> str:
    return "the one and only"


async def forget_the_watermark(*_arguments: object) -> None:
    return


async def leave_the_batch_out(*_arguments: object) -> int:
    return 0


def no_row_is_locked(rows: Any, **_options: object) -> Any:
    return rows


def nobody_else_has_reserved(row: Any, _trader: object) -> Allotment:
    return Allotment(str(row), row.most_ud, 0)


PURE = [
    Protection(
        "sequence check",
        "feed.kalshi.session.Session._sequence",
        every_number_follows,
        "tests/unit/feed/test_books.py",
        "test_B4_a_gap_spoils_every_market_of_the_subscription_until_its_own_snapshot",
    ),
    Protection(
        "book generation of the gateway",
        "feed.kalshi.session.Session._gap",
        gap_of_the_same_generation,
        "tests/unit/feed/test_books.py",
        "test_B4_a_gap_spoils_every_market_of_the_subscription_until_its_own_snapshot",
    ),
    Protection(
        "book generation of a reader",
        "traders.feedview.FeedView._why_feed_distrusted",
        lambda _view, _feed, _age_s: "",
        "tests/unit/traders/test_feedview.py",
        "test_a_new_generation_of_its_subscription_invalidates_a_book",
    ),
    Protection(
        "dedupe key of a reader",
        "traders.feedview.FeedView._is_repeated",
        lambda _view, _event: False,
        "tests/unit/traders/test_feedview.py",
        "test_D5_a_delta_that_comes_twice_counts_once",
    ),
]

STORED = [
    Protection(
        "store generation",
        "kalshimm.runtime.streams.generation",
        one_generation_for_ever,
        "tests/integration/feed/test_writer.py",
        "test_D2_a_store_that_began_anew_is_read_from_its_start_with_a_gap_row",
    ),
    Protection(
        "watermark",
        "feed.writer.watermark.write",
        forget_the_watermark,
        "tests/integration/feed/test_writer.py",
        "test_D6_a_stream_that_was_deleted_is_read_from_its_new_start_with_a_gap_row",
    ),
    Protection(
        "dedupe key of the tables",
        "kalshimm.runtime.copying._insert_missing",
        leave_the_batch_out,
        "tests/integration/feed/test_writer.py",
        "test_D14_the_same_rows_again_add_nothing",
    ),
]

TWO_STARTS = "test_I4_two_starts_at_once_never_both_fit_where_only_one_does"
RESERVED = [
    Protection(
        "row lock of allotments",
        "django.db.models.query.QuerySet.select_for_update",
        no_row_is_locked,
        "tests/integration/traders/test_allotments.py",
        TWO_STARTS,
    ),
    Protection(
        "what others have reserved",
        "traders.allotments._shared",
        nobody_else_has_reserved,
        "tests/integration/traders/test_allotments.py",
        TWO_STARTS,
    ),
]


def is_noticed(protection: Protection, *, is_off: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    named_test = protection.named_test()
    if not is_off:
        named_test()
        return
    monkeypatch.setattr(protection.target, protection.replacement)
    with pytest.raises(RED):
        named_test()


@pytest.mark.parametrize("is_off", SWITCHED)
@pytest.mark.parametrize("protection", PURE, ids=lambda p: p.name)
def test_a_protection_that_is_off_is_noticed(
    protection: Protection, is_off: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_noticed(protection, is_off=is_off, monkeypatch=monkeypatch)


@pytest.mark.parametrize("is_off", SWITCHED)
@pytest.mark.parametrize("protection", STORED, ids=lambda p: p.name)
async def test_a_protection_of_what_is_stored_that_is_off_is_noticed(
    protection: Protection,
    is_off: bool,
    monkeypatch: pytest.MonkeyPatch,
    redis_client: redis.Redis,
    redis_url: str,
    database_url: str,
) -> None:
    named_test, bench = protection.named_test(), Bench(redis_url, database_url)
    if not is_off:
        await named_test(bench, redis_client)
    else:
        monkeypatch.setattr(protection.target, protection.replacement)
        with pytest.raises(RED):
            await named_test(bench, redis_client)
    await bench.client.aclose()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_off", SWITCHED)
@pytest.mark.parametrize("protection", RESERVED, ids=lambda p: p.name)
def test_a_protection_of_what_is_reserved_that_is_off_is_noticed(
    protection: Protection, is_off: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_noticed(protection, is_off=is_off, monkeypatch=monkeypatch)
