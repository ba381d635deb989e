"""`manage.py kill --drill`: a whole kill against a local exchange of its own, timed; the installation is not touched.

An account with a budget of ten writes a second has 200 orders at rest, some of them in a live trader's order group.
Then everything is killed as the command does it: file, cancel-all, triggers, proof.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

import aiohttp
import msgspec

from feed.kalshi.environments import Environment
from feed.kalshi.rest import Rest
from feed.kalshi.signing import Signer
from feed.kalshi.wire.kinds import Secret
from feed.kalshi.wire.orders import PlaceOrder
from feed.keys import Vault
from kalshimm.bench.rig import NO_DATABASE, Child, Exchange, Rig
from kalshimm.errors import EXIT_OUTCOME_UNKNOWN, KalshimmError
from kalshimm.runtime.clock import SystemClock
from kalshimm.runtime.home import folder, installation_number
from markets.core.orderids import Owner
from markets.core.units import Side
from traders import killswitch
from traders.core.kills import ALL, Kill
from traders.killing import carry_out, plan

ORDERS, OURS = 200, 5
LOW_CC = 100  # far from the touch of any market
TRADER, EPOCH = 1, 1
GROUP_LIMIT_CX = 100_000
WITHIN_S = 30.0
ACCOUNT = ENVIRONMENT = KEY = "local"
OWNER = "owner"
NO_REDIS = "redis://127.0.0.1:1/0"


class Drilled(msgspec.Struct, frozen=True):
    """What came of it; times from the moment of asking."""

    orders: int
    written_ms: float
    confirmed_ms: float | None
    resting: int | None
    why: str


def main(*, as_json: bool) -> int:
    """Run the drill and tell what it took; return the exit code."""
    drilled = asyncio.run(drill(lambda text: print(text, file=sys.stderr)))  # noqa: T201 - its progress
    if as_json:
        sys.stdout.write(msgspec.json.encode({"drill": msgspec.to_builtins(drilled)}).decode() + "\n")
    elif drilled.confirmed_ms is not None:
        sys.stdout.write(
            f"Drill: {drilled.orders} orders; nothing new leaves after {drilled.written_ms:.0f} ms, none rests after "
            f"{drilled.confirmed_ms:.0f} ms by the exchange's word\n"
        )
    else:
        sys.stdout.write(f"Drill: not confirmed, {drilled.resting} of {drilled.orders} orders rest: {drilled.why}\n")
    return EXIT_OUTCOME_UNKNOWN if drilled.confirmed_ms is None else 0


class DrillGround(NamedTuple):
    """A home with keys and start files, and the exchange that they name."""

    own: Rig
    exchange: Child
    venue: Exchange


async def drill(say: Callable[[str], None], *, orders: int = ORDERS) -> Drilled:
    """Kill so many orders at an exchange of its own, and return how long it took."""
    async with ground(say, orders=orders) as made:
        return await _killed(made, orders, say)


@contextlib.asynccontextmanager
async def ground(say: Callable[[str], None], *, orders: int = ORDERS) -> AsyncIterator[DrillGround]:
    """Run an exchange with so many orders at rest, and a home whose keys and start files name them; no store at all."""
    with tempfile.TemporaryDirectory(prefix="kalshimm-drill-") as name:
        own = Rig(Path(name), NO_REDIS, NO_DATABASE)
        async with own.exchange("--scenario", "truth", "--tier", "basic") as (exchange, venue):
            say(f"a local exchange runs; placing {orders} orders")
            await _prepare(own, venue, await asyncio.to_thread(Path(venue.private_key_path).read_bytes), orders)
            yield DrillGround(own, exchange, venue)


async def _prepare(own: Rig, venue: Exchange, pem: bytes, orders: int) -> None:
    vault = Vault(own.home)
    sealed = vault.seal(
        name=KEY, account=ACCOUNT, environment=ENVIRONMENT, key_id=venue.key_id, pem=Secret(pem.decode())
    )
    vault.keep(msgspec.structs.replace(sealed, scopes=("read", "write")), instead_of=None)
    body = {
        "side": "bid", "price": f"0.{LOW_CC:04}", "count": "1.00",
        "time_in_force": "good_till_canceled", "self_trade_prevention_type": "taker_at_cross",
    }  # fmt: skip
    async with aiohttp.ClientSession(raise_for_status=True) as control:
        async with control.get(f"{venue.control}/state") as answer:
            body["ticker"] = ticker = min((await answer.json())["markets"])
        for _ in range(orders - OURS):
            await control.post(f"{venue.control}/orders?account={OWNER}", json=body)
    signer = Signer.from_pem(ENVIRONMENT, venue.key_id, pem, source="The drill's key")
    async with Rest(Environment(ENVIRONMENT, venue.rest, ""), signer, SystemClock()) as rest:
        group = (await rest.groups.create(GROUP_LIMIT_CX, exchange_index=0)).order_group_id
        trader = Owner(installation_number(own.home), TRADER, EPOCH)
        await rest.orders.place_all(
            [
                PlaceOrder(
                    ticker=ticker, client_order_id=trader.client_order_id(number), side=Side.YES, count_cx=100,
                    yes_price_cc=LOW_CC, exchange_index=0, order_group_id=group,
                )
                for number in range(OURS)
            ]
        )  # fmt: skip
    live = {"environment": ENVIRONMENT, "rest_url": venue.rest, "group_id": group, "exchange_index": 0}
    start = {"trader": TRADER, "name": "drilled", "account": ACCOUNT, "live": live, "instance": secrets.token_hex(8)}
    (folder(own.home, "traders", str(TRADER)) / "start.json").write_bytes(msgspec.json.encode(start))


async def _killed(made: DrillGround, orders: int, say: Callable[[str], None]) -> Drilled:
    clock, own = SystemClock(), made.own
    began_s = clock.monotonic()
    kill = Kill(kind=ALL, by="drill", at_us=clock.wall_us())
    killswitch.throw(own.home, kill)
    written_ms = (clock.monotonic() - began_s) * 1_000
    planned = plan(own.home, kill, ours_only=False)
    if planned.impossible or len(planned.parties) != 1:
        raise KalshimmError(f"The drill has not the one account it made: {planned}.")
    outcome = await carry_out(own.home, planned.parties[0], clock, within_s=WITHIN_S, say=say)
    made.exchange.require_alive()
    took_ms = round((clock.monotonic() - began_s) * 1_000, 1)
    confirmed_ms = took_ms if outcome.is_confirmed else None
    return Drilled(orders, round(written_ms, 1), confirmed_ms, outcome.resting, outcome.why)
