"""Rows of live traders whose line to the store hangs, and brings late what it held."""

from __future__ import annotations

import pytest

from tests.faults.liverig import LiveCase, LiveOptions
from tests.faults.livetrader import Plan

pytestmark = pytest.mark.long

DEEP_CC = 100


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    return LiveOptions(quick_leases=True, traders=(Plan(),))


def test_D3_what_a_line_has_held_is_no_news_when_it_comes(live: LiveCase) -> None:
    """The answer to the trader's read is held with a feed entry in it, that was good when it was written."""
    live.trader.redis.black_hole()
    live.until(lambda: not live.resting(), "the feed is silent to it, and it pulls its quotes")
    live.rig.person("bid", DEEP_CC, 500, live.trader.ticker)
    live.wait(0.5)
    live.trader.redis.pass_all()
    live.until_quotes("it quotes again")
    live.judge()
