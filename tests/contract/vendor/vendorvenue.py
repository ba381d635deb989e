"""The vendor's own client, its world, and the control port beside it."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import kalshi_python_sync as vendor

from feed.exchange.catalog import Event, Series, Terms
from feed.exchange.server import Ready
from feed.exchange.world import World
from kalshimm.runtime.clock import SystemClock

HOUR_US = 3_600_000_000
WITHIN_S = 10.0
A, B = "KXTEST-26-A", "KXTEST-26-B"


def a_world() -> World:
    """One mutually exclusive event of two empty markets, on the default shard."""
    now = SystemClock().wall_us()
    world = World(seed=1, now_us=now)
    world.series["KXTEST"] = Series(
        "KXTEST", "Test", "Tests", ("Unit",), "custom", ("Somebody", "https://example.invalid/")
    )
    world.list_event(Event("KXTEST-26", "KXTEST", "Which one?", "", "MECNET", now + HOUR_US, now))
    for ticker, structure in ((A, "linear_cent"), (B, "tapered_deci_cent")):
        terms = Terms(
            ticker=ticker, market_id=f"id-of-{ticker}", event_ticker="KXTEST-26", title="This one?",
            yes_sub_title="Yes", no_sub_title="No", rules_primary="If so.", rules_secondary="", created_us=now,
            open_us=now, close_us=now + HOUR_US, expected_expiration_us=now + HOUR_US,
            latest_expiration_us=now + 2 * HOUR_US, settlement_timer_s=1, structure=structure,
        )  # fmt: skip
        world.list_market(terms, judge=lambda: "yes", determine_after_us=60_000_000)
    return world


class Venue:
    """A running exchange, the vendor's client of it, and its control port."""

    def __init__(self, ready: Ready) -> None:
        self.ready = ready
        configuration = vendor.Configuration(host=ready.rest)
        configuration.api_key_id = ready.key_id
        configuration.private_key_pem = Path(ready.private_key_path).read_text()
        self.client = vendor.KalshiClient(configuration)

    def control(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            self.ready.control + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=WITHIN_S) as answer:
            return json.load(answer)

    def outsider(self, side: str, price: str, count: str, ticker: str = A, **changes: Any) -> Any:
        body = {
            "ticker": ticker, "side": side, "price": price, "count": count,
            "time_in_force": "good_till_canceled", "self_trade_prevention_type": "maker", **changes,
        }  # fmt: skip
        return self.control("POST", "/orders", body)

    def order(self, side: str, price: str, count: str = "10.00", ticker: str = A, **changes: Any) -> Any:
        wanted = {"time_in_force": "good_till_canceled", "self_trade_prevention_type": "maker", "exchange_index": 0}
        return self.client.create_order_v2(ticker=ticker, side=side, price=price, count=count, **(wanted | changes))
