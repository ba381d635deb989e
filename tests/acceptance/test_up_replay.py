"""A recording instead of seeded markets: a paper trader quotes on it, in its books and on the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.page import opened
from tests.fixtures.stack import Stack, eventually

pytestmark = pytest.mark.recorded
RESTING = """
    SELECT t.name, t.market_ticker FROM traders_trader t JOIN traders_order o ON o.trader_id = t.id
    WHERE t.mode = 'dry-run' AND t.state = 'quoting' AND o.status = 'resting'
    GROUP BY t.name, t.market_ticker HAVING count(DISTINCT o.side) = 2
"""


@pytest.fixture(scope="module")
def stack(recorded: Path) -> Iterator[Stack]:
    # The second one begins with minutes left until its market closes.
    recording = sorted((recorded / "ws_l2_kxbtc15m").glob("*.ndjson.zst"))[1]
    running = Stack()
    try:
        running.start_detached("--replay", str(recording))
        yield running
    finally:
        running.close()


def test_a_paper_trader_quotes_both_sides_of_a_recorded_market(stack: Stack) -> None:
    found: list[tuple[str, str]] = []
    eventually(lambda: found.extend(stack.rows(RESTING)) or found, "a trader rests on both sides", within_s=60.0)
    name, ticker = found[0]
    assert ticker.startswith("KXBTC15M-")
    with opened(stack) as page:
        assert page.shows(name)
