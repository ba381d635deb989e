"""How many events a second the local exchange gives to four subscribers over 500 markets, and how fast an order is.

The storm scenario is played faster than one core can follow, so the exchange is busy all the time; an event counts
once when all four have read it, and is divided by the processor time of the exchange: one core, whatever else runs.
Everything is in that time: the crowd, matching, encoding, four envelopes, the sockets. Meanwhile the subscribers check
every sequence number. The reference is the least that could be done: encoding the same messages once, typed, by
msgspec, with the exchange standing still.

Orders are timed one by one against an exchange with the demo scenario: signed create, answer, signed cancel, answer.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from statistics import median
from typing import Any

import aiohttp
import msgspec

from kalshimm.bench import venue
from kalshimm.bench.report import Bench, Effort, Goal, Progress, Round
from kalshimm.bench.subscribers import Subscriber, subscribed
from kalshimm.bench.venue import Venue
from kalshimm.errors import KalshimmError
from kalshimm.runtime.clock import SystemClock

MARKETS = 500
SUBSCRIBERS = 4
OVERLOAD = "20"  # times the storm: more than one core can do
WARM_UP_S = 1.0
REFERENCE_PART = 0.2  # of a round's seconds
ORDERS_A_ROUND = 50
ROOMY_TIER = "prestige"  # its write bucket holds far more than a run needs
ORDERS = "/portfolio/events/orders"


class _Body(msgspec.Struct, omit_defaults=True):
    """What a delta, a trade or a ticker says."""

    market_ticker: str
    market_id: str = ""
    price_dollars: str = ""
    delta_fp: str = ""
    side: str = ""
    ts: str | int = ""
    ts_ms: int = 0
    time: str = ""
    trade_id: str = ""
    yes_price_dollars: str = ""
    no_price_dollars: str = ""
    count_fp: str = ""
    taker_outcome_side: str = ""
    taker_book_side: str = ""
    taker_side: str = ""
    yes_bid_dollars: str = ""
    yes_ask_dollars: str = ""
    yes_bid_size_fp: str = ""
    yes_ask_size_fp: str = ""
    last_trade_size_fp: str = ""
    volume_fp: str = ""
    open_interest_fp: str = ""
    dollar_volume: int = 0
    dollar_open_interest: int = 0


class _Message(msgspec.Struct, omit_defaults=True):
    """A delta, trade or ticker with its envelope."""

    type: str
    sid: int
    msg: _Body
    seq: int | None = None
    sending_ts_ms: int | None = None


class ExchangeBench(Bench):
    """The bench named `exchange`."""

    name = "exchange"
    about = f"events per second to {SUBSCRIBERS} subscribers over {MARKETS} markets, and order round trips"
    unit = f"events per CPU second of the exchange, each read by {SUBSCRIBERS} subscribers over {MARKETS} markets"
    reference = "the same messages encoded once by msgspec from typed structs, per CPU second"
    goal = Goal(floor=3_000, aim=10_000)

    async def run(self, effort: Effort, progress: Progress) -> list[Round]:
        """Measure events against encoding round by round, then time orders."""
        events: list[Round] = []
        async with venue.running("--scenario", "storm", "--speed", OVERLOAD) as exchange:
            tickers = await _tickers(exchange)
            async with subscribed(exchange, tickers, SUBSCRIBERS) as subscribers:
                await asyncio.sleep(min(WARM_UP_S, effort.seconds))
                for number in range(1, effort.rounds + 1):
                    events.append(await _events_round(exchange, subscribers, effort.seconds))
                    progress(f"round {number}: {events[-1].figure:,.0f} events per CPU second")
        async with venue.running("--scenario", "demo", "--tier", ROOMY_TIER) as exchange:
            orders = await _order_round_trips(exchange, effort)
            progress(f"orders: {median(orders):.2f} ms create and cancel, p50")
        return [
            msgspec.structs.replace(one, more={**one.more, "order_round_trip_p50_ms": round(trip, 3)})
            for one, trip in zip(events, orders, strict=True)
        ]


async def _tickers(exchange: Venue) -> list[str]:
    """Return 500 open markets.

    Raises:
        KalshimmError: There are fewer.
    """
    async with aiohttp.ClientSession() as http, http.get(f"{exchange.rest}/markets?status=open&limit=1000") as answer:
        listed = [market["ticker"] for market in (await answer.json())["markets"]]
    if len(listed) < MARKETS:
        raise KalshimmError(f"The bench needs {MARKETS} open markets; the exchange lists {len(listed)}.")
    return listed[:MARKETS]


async def _events_round(exchange: Venue, subscribers: list[Subscriber], seconds: float) -> Round:
    before, cpu_s, wall_s = [s.events for s in subscribers], exchange.cpu_s(), time.perf_counter()
    await asyncio.sleep(seconds)
    # Read together: what a subscriber has not read by now does not count.
    after, cpu_s, wall_s = [s.events for s in subscribers], exchange.cpu_s() - cpu_s, time.perf_counter() - wall_s
    for subscriber in subscribers:
        subscriber.check()
    events = min(b - a for a, b in zip(before, after, strict=True))
    with exchange.paused():
        against = _encoded_per_cpu_s(subscribers[0].sample, seconds * REFERENCE_PART)
    more = {"events_per_wall_s": round(events / wall_s, 1), "exchange_cpus": round(cpu_s / wall_s, 3)}
    return Round(figure=round(events / max(cpu_s, 1e-9), 1), against=round(against, 1), more=more)


def _encoded_per_cpu_s(frames: list[bytes], seconds: float) -> float:
    messages = [msgspec.json.decode(frame, type=_Message) for frame in frames]
    encode = msgspec.json.Encoder().encode
    done, start_s = 0, time.process_time()
    while (spent_s := time.process_time() - start_s) < seconds or not done:
        for message in messages:
            encode(message)
        done += len(messages)
    return done / max(spent_s, 1e-9)


async def _order_round_trips(exchange: Venue, effort: Effort) -> list[float]:
    """Return the median milliseconds of a create and its cancel, for each round."""
    tickers = await _open_in_shard_zero(exchange)
    medians = []
    async with aiohttp.ClientSession() as http:
        for _ in range(effort.rounds):
            trips = [await _round_trip(exchange, http, tickers[0]) for _ in range(ORDERS_A_ROUND)]
            medians.append(median(trips))
    return medians


async def _open_in_shard_zero(exchange: Venue) -> list[str]:
    async with aiohttp.ClientSession() as http, http.get(f"{exchange.rest}/markets?status=open&limit=1000") as answer:
        return [m["ticker"] for m in (await answer.json())["markets"] if m["exchange_index"] == 0]


async def _round_trip(exchange: Venue, http: aiohttp.ClientSession, ticker: str) -> float:
    body = {
        "ticker": ticker, "client_order_id": str(uuid.uuid4()), "side": "bid", "count": "1.00", "price": "0.0100",
        "time_in_force": "good_till_canceled", "self_trade_prevention_type": "taker_at_cross",
    }  # fmt: skip
    start_s = time.perf_counter()
    created = await _signed(exchange, http, "POST", ORDERS, body)
    await _signed(exchange, http, "DELETE", f"{ORDERS}/{created['order_id']}?market_ticker={ticker}", None)
    return (time.perf_counter() - start_s) * 1_000


async def _signed(exchange: Venue, http: aiohttp.ClientSession, method: str, path: str, body: Any) -> Any:
    url = exchange.rest + path
    headers = exchange.signer.headers(method, url, wall_ms=SystemClock().wall_us() // 1_000)
    async with http.request(method, url, json=body, headers=headers) as answer:
        if answer.status not in (200, 201):
            raise KalshimmError(f"The exchange answered {method} {path} with {answer.status}: {await answer.text()}")
        return await answer.json()
