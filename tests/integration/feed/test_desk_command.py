"""`manage.py desk` knows which orders of the account this installation made."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from feed.kalshi.environments import resolve
from feed.kalshi.rest import Rest
from feed.kalshi.signing import Signer
from feed.kalshi.wire.orders import PlaceOrder
from feed.schema import FIELD, AccountOrder, account_stream, decode_account
from kalshimm.runtime.clock import SystemClock
from kalshimm.runtime.home import installation_number
from markets.core.orderids import Owner
from markets.core.units import Side
from tests.fixtures.stack import ROOT, eventually

if TYPE_CHECKING:
    from conftest import LocalExchange

STOP_WITHIN_S = 30.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def desk(exchange: LocalExchange, home: Path, redis_url: str, redis_client: redis.Redis) -> Iterator[None]:
    installation_number(home)
    with (home / "desk.out").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), "desk"],
            env=os.environ | exchange.settings | {"KALSHIMM_HOME": str(home), "REDIS_URL": redis_url},
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
        )
    yield
    process.terminate()
    process.wait(STOP_WITHIN_S)


async def place(exchange: LocalExchange, client_order_ids: list[str]) -> None:
    ready = exchange.ready
    signer = Signer.from_file("local", ready["key_id"], Path(ready["private_key_path"]))
    async with Rest(resolve("local", ready["rest"], ready["ws"]), signer, SystemClock()) as rest:
        market = (await rest.markets.markets(status="open").all()).items[0]
        for client_order_id in client_order_ids:
            order = PlaceOrder(
                ticker=market.ticker, client_order_id=client_order_id, side=Side.YES, count_cx=100, yes_price_cc=100,
                exchange_index=market.exchange_index or 0, post_only=True,
            )  # fmt: skip
            await rest.orders.place(order)


def test_C18_orders_with_our_number_are_ours_and_all_others_are_external(
    desk: None, exchange: LocalExchange, home: Path, redis_client: redis.Redis
) -> None:
    number = installation_number(home)
    ours, others = (Owner(one, 7, 1).client_order_id(1) for one in (number, number ^ 1))
    asyncio.run(place(exchange, [ours, others, "by-hand"]))

    def told() -> dict[str, bool]:
        entries = [decode_account(fields[FIELD]) for _, fields in redis_client.xrange(account_stream("local"))]
        orders = [one for entry in entries for one in entry.updates if isinstance(one, AccountOrder)]
        return {order.client_order_id: order.is_external for order in orders}

    eventually(lambda: {ours, others, "by-hand"} <= told().keys(), "the desk tells of all of them")
    assert [told()[name] for name in (ours, others, "by-hand")] == [False, True, True]
