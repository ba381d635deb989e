"""Twenty markets of a rolling series, one after the other, each traded live by what one rule makes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from rollingfleet import SERIES, RollingFleet, a_live_rule, most_at_once
from traderworld import Workers

from feed.exchange.trading.ledger import Kind
from tests.fixtures.stack import eventually
from traders import rulegrants, ruleresults, takeover
from traders.models import Fill, Order, SeriesRule, Trader
from traders.processes import living

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.long, pytest.mark.timeout(300)]

ROLLOVERS = 20
MARKETS = 1 + ROLLOVERS
AT_ONCE = 2


@pytest.fixture
def rolling(
    workers_with_database: Workers, redis_url: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RollingFleet]:
    for name in ("KALSHIMM_MASTER_KEY", "KALSHIMM_MASTER_KEY_FILE", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(takeover, "MARGIN_US", 100_000)  # how long it is waited for is test_takeover's matter
    settings.KALSHIMM_HOME, settings.KALSHIMM_LIVE = workers_with_database.home, True
    made = RollingFleet(workers_with_database, redis_url, settings)
    yield made
    made.close()


def test_twenty_rollovers_leave_no_orphan_no_overlap_and_the_exchanges_own_result(rolling: RollingFleet) -> None:
    rule = a_live_rule(most=AT_ONCE, lead_s=3, close_buffer_s=1)
    rulegrants.create_rule_grant(rule, actor="test", confirm_series=SERIES.ticker)
    rulegrants.start_rule(rule, actor="test")
    eventually(lambda: SeriesRule.objects.filter(standing="going", state_reason="").exists(), "it goes")
    while len(rolling.traders_by_market()) < MARKETS:  # of a market that was over too soon for a quote nothing is shown
        rolling.turn()
        rule.refresh_from_db()
        assert rule.state_reason == "", "nothing keeps it from going on"
    SeriesRule.objects.update(is_active=False)
    while Trader.objects.filter(archived_at=None).exists():
        rolling.turn()
    traders = list(Trader.objects.order_by("pk"))
    assert len(traders) == len({trader.market_ticker for trader in traders}) >= MARKETS
    assert most_at_once(traders) <= AT_ONCE
    assert rolling.resting() == []
    assert not Order.objects.filter(status="resting").exists()
    assert living(rolling.fleet.home) == {}
    own = {trader.market_ticker: {trader.pk} for trader in traders}
    by_market = rolling.traders_by_market()
    assert by_market == {ticker: own[ticker] for ticker in by_market}, "one trader in each market, its own"
    (row,) = ruleresults.rows()
    print(row)
    traded_ud = rolling.traded_ud()
    assert (row["traders"], row["archived"], row["running"], row["unpaid"]) == (len(traders), len(traders), 0, 0)
    assert row["fills"] == rolling.fills() == Fill.objects.count()
    assert row["fills"] > ROLLOVERS
    assert row["fees_ud"] == -traded_ud[Kind.FEE] > 0
    assert row["result_ud"] == sum(traded_ud.values())
