"""One change of one book, from the exchange to the table and to the page; and a rolling market's handover."""

from __future__ import annotations

import json
import re
import time
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from markets.core.units import format_price, parse_price
from tests.fixtures.page import PAGE_DEADLINE_S, Page, opened
from tests.fixtures.stack import Stack, eventually

ODD_COUNT = "137.13"  # no flow of the scenario has this size, so wherever it shows, it is ours
ODD_CX = 13_713
MIN_SPREAD_CC = 200
FLEET_QUOTES_S = 40.0


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    running = Stack()
    try:
        running.start_detached("--scenario", "brisk")
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def page(stack: Stack) -> Iterator[Page]:
    with opened(stack) as page:
        yield page


def exchange_of(stack: Stack) -> dict[str, str]:
    return json.loads(stack.part("exchange").line)


def get(address: str) -> Any:
    with urllib.request.urlopen(address) as answer:
        return json.loads(answer.read())


def a_gap_to_bid_in(stack: Stack) -> tuple[str, int] | None:
    """Return a lasting market that a trader quotes and a price one cent above its best bid, if the spread has room."""
    told = exchange_of(stack)
    query = "SELECT market_ticker FROM traders_trader WHERE series_rule_id IS NULL AND state = 'quoting'"
    for (ticker,) in stack.rows(query):
        market = get(f"{told['rest']}/markets/{ticker}")["market"]
        bid, ask = parse_price(market["yes_bid_dollars"]), parse_price(market["yes_ask_dollars"])
        if 1_000 <= bid <= 8_000 and ask - bid >= MIN_SPREAD_CC:
            return ticker, bid + 100
    return None


def place_as_outsider(stack: Stack, ticker: str, price_cc: int) -> None:
    body = {
        "ticker": ticker,
        "side": "bid",
        "count": ODD_COUNT,
        "price": format_price(price_cc),
        "time_in_force": "good_till_canceled",
        "self_trade_prevention_type": "maker",
        "client_order_id": str(uuid.uuid4()),
    }
    request = urllib.request.Request(
        f"{exchange_of(stack)['control']}/orders",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 201


def figures_of(html: str, trader: int) -> str:
    """Return what a push shows of a trader's prices, sizes and queue places: nothing that moves by time alone."""
    row = re.search(rf'<tr id="tr-{trader}".*?</tr>', html, re.DOTALL)
    cells = re.findall(r'<span class="(?:ord|two num)">.*?</td>', row[0], re.DOTALL) if row else []
    return "".join(cells)


def test_the_fleet_quotes_and_its_numbers_move(stack: Stack, page: Page) -> None:
    # A rolling trader holds its quotes back in the last seconds of its market, so it is not asked at every moment.
    lasting = "SELECT id, name FROM traders_trader WHERE mode = 'dry-run' AND series_rule_id IS NULL"
    idle = (
        f"SELECT name FROM ({lasting}) t WHERE NOT EXISTS ("
        "SELECT 1 FROM traders_order o WHERE o.trader_id = t.id AND o.status = 'resting')"
    )
    deadline = time.monotonic() + FLEET_QUOTES_S
    while idlers := stack.rows(idle):
        assert time.monotonic() < deadline, f"no order of theirs rests: {idlers}"
        page.next()
    traders = dict(stack.rows(lasting))
    assert len(traders) >= 6
    first: dict[int, str] = {}
    moved: set[int] = set()
    while len(first) < len(traders) or not moved:
        assert time.monotonic() < deadline, f"quotes shown: {first}; none moved" if first else "no quote is shown"
        html = page.next()
        for trader in traders:
            figures = figures_of(html, trader)
            if "¢" in figures and first.setdefault(trader, figures) != figures:
                moved.add(trader)


def test_one_book_change_reaches_the_table_and_the_page(stack: Stack, page: Page) -> None:
    deadline = time.monotonic() + 60
    seen = False
    while not seen:
        assert time.monotonic() < deadline, f"no trader ever stood behind the {ODD_COUNT} contracts on the page"
        found = a_gap_to_bid_in(stack)
        if found is None:
            page.next()
            continue
        ticker, price_cc = found
        place_as_outsider(stack, ticker, price_cc)
        # The trader joins the new best bid behind these contracts. Somebody may take them first: then once more.
        seen = page.shows(f"≈{ODD_COUNT}", within_s=8)
    deltas = (
        "SELECT d.price_cc, d.side FROM markets_book_delta d JOIN markets_marketkey m ON m.id = d.market"
        " WHERE m.ticker = %s AND d.delta_cx = %s"
    )
    # The page is told by the trader, the tables by the writer: either may be the first.
    eventually(lambda: (price_cc, 0) in stack.rows(deltas, ticker, ODD_CX), "the change is in the table")
    orders = "SELECT price_cc FROM traders_order WHERE ticker = %s AND side = 0 AND mode = 'dry-run'"
    eventually(lambda: (price_cc,) in stack.rows(orders, ticker), "so is the trader's order behind it")


def test_a_rolling_market_closes_and_its_successor_appears(stack: Stack, page: Page) -> None:
    query = "SELECT name FROM traders_trader WHERE series_rule_id IS NOT NULL AND state = 'quoting' ORDER BY id DESC"
    deadline = time.monotonic() + PAGE_DEADLINE_S
    while not (quoting := stack.rows(query)):
        assert time.monotonic() < deadline, "no trader on the rolling series"
        page.next()
    first = quoting[0][0]
    assert page.shows(first)
    deadline = time.monotonic() + 45
    while not (successors := [name for (name,) in stack.rows(query) if name > first]):
        assert time.monotonic() < deadline, f"nobody came after {first}"
        page.next()
    assert page.shows(successors[0])
    ended = "SELECT 1 FROM traders_trader WHERE name = %s AND state = 'stopped' AND state_reason = 'market closed'"
    while not stack.rows(ended, first):
        assert time.monotonic() < deadline, f"{first} goes on after its market has closed"
        page.next()
