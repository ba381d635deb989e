"""A world for questions of money: an exclusive, a nested and a plain event on two shards, members with subaccounts."""

from __future__ import annotations

from typing import Any

import msgspec
from exchangeworld import NOW_US, a_market

from feed.exchange.catalog import Event, Series
from feed.exchange.switches import Switches
from feed.exchange.trading.accounts import Account
from feed.exchange.world import World

EXCLUSIVE = ("KXEX-1-A", "KXEX-1-B", "KXEX-1-C")
NESTED = ("KXNEST-1-T70", "KXNEST-1-T80", "KXNEST-1-T90")
PLAIN = "KXPLAIN-1-A"
EVENTS = (
    ("KXEX-1", "MECNET", 0, EXCLUSIVE),
    ("KXNEST-1", "DIRECNET", 2, NESTED),
    ("KXPLAIN-1", "", 0, (PLAIN,)),
)


def a_money_world(**switches: Any) -> World:
    """Seven open markets of three events; the nested one lives on shard 2."""
    world = World(seed=1, now_us=NOW_US, switches=Switches(**switches))
    source = ("Somebody", "https://example.invalid/")
    for event_ticker, kind, shard, tickers in EVENTS:
        name = event_ticker.partition("-")[0]
        world.series[name] = Series(name, name, "Tests", (), "custom", source, exchange_index=shard)
        world.list_event(Event(event_ticker, name, name, "", kind, NOW_US, NOW_US, shard))
        for ticker in tickers:
            terms = msgspec.structs.replace(
                a_market(ticker, "linear_cent", NOW_US, shard), event_ticker=event_ticker, strike=_strike(ticker)
            )
            world.list_market(terms, judge=lambda: "no", determine_after_us=60_000_000)
    world.take()
    return world


def _strike(ticker: str) -> dict[str, Any]:
    strike = ticker.rpartition("-T")[2]
    return {"strike_type": "greater", "floor_strike": float(strike)} if strike.isdigit() else {}


def member(world: World, name: str, *, nets: bool = False, subaccounts: int = 0) -> Account:
    account = world.account(name)
    account.subaccounts[0].nets = nets
    for _ in range(subaccounts):
        account.open_subaccount(0)
    return account
