"""The account desk before the local exchange and a real Valkey: what is on the stream equals the exchange's ledger."""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
import redis
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from feed import schema
from feed.account.polls import Periods
from feed.desk import NOBODY, Desk
from feed.exchange.catalog import Event, Series, Terms
from feed.exchange.faults.script import Answer, Fail, Inject
from feed.exchange.happenings import Happening, Private
from feed.exchange.ledger import RequestLine
from feed.exchange.server import LocalExchange, Ready, serve
from feed.exchange.trading.accounts import Order
from feed.exchange.trading.ledger import Kind
from feed.exchange.world import World
from feed.kalshi.environments import resolve
from feed.kalshi.errors import RequestRefused
from feed.kalshi.rest import Rest
from feed.kalshi.signing import Signer
from feed.kalshi.wire.orders import AmendOrder, CancelOrder, DecreaseOrder, Placed, PlaceOrder
from kalshimm.runtime.clock import SystemClock
from kalshimm.runtime.heartbeat import Beat, beat_key, decode_beat
from markets.core.units import DOLLAR_UD, Side, format_count, format_price

T = TypeVar("T")
DEADLINE_S = 20.0
STOP_WITHIN_S = 5.0
HOUR_US = 3_600_000_000
TICKER = "KXTEST-A"
ACCOUNT = "local"
OWNER = "owner"
BRISK = Periods(orders=0.2, fills=0.4, positions=0.4, queue=0.2, balances=0.2, groups=0.4)
RARE = Periods(orders=3_600, fills=3_600, positions=3_600, queue=3_600, balances=3_600, groups=3_600)


class Truth:
    """An account as a newcomer reads it off the stream: back to a whole entry, then on."""

    def __init__(self, client: redis.Redis, account: str = ACCOUNT) -> None:
        entries = [
            schema.decode_account(fields[schema.FIELD]) for _, fields in client.xrange(schema.account_stream(account))
        ]
        self.entries = entries
        self.orders: dict[str, schema.AccountOrder] = {}
        self.positions: dict[str, int] = {}
        self.queue: dict[str, int] = {}
        self.balance: int | None = None
        self.health: schema.AccountHealth | None = None
        self.settlements: list[schema.AccountSettlement] = []
        self.differences: list[schema.AccountDifference] = []
        self.fills = [u for entry in entries for u in entry.updates if isinstance(u, schema.AccountFill)]
        wholes = [number for number, entry in enumerate(entries) if entry.is_whole]
        for entry in entries[wholes[-1] if wholes else 0 :]:
            if entry.is_whole:
                self.orders, self.positions = {}, {}
            for update in entry.updates:
                self._take_in(update)
        self.settlements = [u for e in entries for u in e.updates if isinstance(u, schema.AccountSettlement)]
        self.differences = [u for e in entries for u in e.updates if isinstance(u, schema.AccountDifference)]

    def _take_in(self, update: schema.AccountUpdate) -> None:
        match update:
            case schema.AccountOrder():
                self.orders[update.order_id] = update
                if update.is_complete:
                    del self.orders[update.order_id]
            case schema.AccountPosition():
                self.positions[update.ticker] = update.position_cx
            case schema.AccountQueue():
                self.queue = dict(update.ahead)
            case schema.AccountBalance():
                self.balance = update.total_ud
            case schema.AccountHealth():
                self.health = update

    @property
    def fill_ids(self) -> set[tuple[str, str]]:
        return {(fill.order_id, fill.trade_id) for fill in self.fills}


def an_order(side: Side, yes_price_cc: int, count_cx: int, *, prefix: str = "ours-") -> PlaceOrder:
    return PlaceOrder(
        ticker=TICKER,
        client_order_id=f"{prefix}{uuid.uuid4()}",
        side=side,
        count_cx=count_cx,
        yes_price_cc=yes_price_cc,
        exchange_index=0,
    )


def a_cancel(order_id: str) -> CancelOrder:
    return CancelOrder(order_id=order_id, market_ticker=TICKER, exchange_index=0)


def facts(fills: Iterable[Any]) -> set[tuple[object, ...]]:
    """What the ledger and the stream must say alike of each fill."""
    return {(f.order_id, f.trade_id, f.side, f.yes_price_cc, f.count_cx, f.is_taker, f.fee_ud) for f in fills}


class Stage:
    """An exchange with one market, the desk beside it, the owner's own client and somebody outside."""

    def __init__(self, exchange: LocalExchange, address: Ready, rest: Rest, client: redis.Redis) -> None:
        self.exchange, self.rest, self.redis = exchange, rest, client
        self._control = address.control

    @property
    def truth(self) -> Truth:
        return Truth(self.redis)

    async def place(self, side: Side, yes_price_cc: int, count_cx: int, *, prefix: str = "ours-") -> Placed:
        return await self.rest.orders.place(an_order(side, yes_price_cc, count_cx, prefix=prefix))

    async def cancel(self, order_id: str) -> None:
        await self.rest.orders.cancel(a_cancel(order_id))

    async def outsider(self, side: Side, yes_price_cc: int, count_cx: int, *, account: str = "outsider") -> None:
        body = {
            "ticker": TICKER, "side": side.book_side, "price": format_price(yes_price_cc),
            "count": format_count(count_cx), "time_in_force": "good_till_canceled",
            "self_trade_prevention_type": "taker_at_cross", "client_order_id": str(uuid.uuid4()),
        }  # fmt: skip
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{self._control}/orders", params={"account": account}, json=body) as answer,
        ):
            assert answer.status == 201, await answer.text()

    def equals_ledger(self) -> bool:
        account, truth = self.exchange.world.account(OWNER), self.truth
        resting = {
            order.order_id: (order.yes_price_cc, order.fill_cx, order.remaining_cx)
            for order in account.orders.values()
            if order.status == "resting"
        }
        seen = {o.order_id: (o.yes_price_cc, o.filled_cx, o.remaining_cx) for o in truth.orders.values()}
        held = {p.ticker: p.position_cx for p in account.positions.values() if p.position_cx}
        return (
            seen == resting
            and facts(truth.fills) == facts(account.fills)
            and {ticker: cx for ticker, cx in truth.positions.items() if cx} == held
            and truth.balance == sum(account.cash_ud.values())
        )

    def is_live(self) -> bool:
        health = self.truth.health
        return health is not None and health.state == "live"

    async def until(self, what: Callable[[], T | bool | None], why: str) -> T:
        """Wait until `what` gives something, looking each 20 ms."""
        give_up = time.monotonic() + DEADLINE_S
        while not (found := what()):
            assert time.monotonic() < give_up, f"never: {why}: {self.truth.entries[-3:]}"
            await asyncio.sleep(0.02)
        return found  # type: ignore[return-value]

    def through(self, change: Callable[[list[Happening]], list[Happening]]) -> None:
        """Let every message to the clients pass through `change`; what the ledger holds is untouched."""
        hub = self.exchange.hub
        publish = hub.publish
        hub.publish = lambda happenings, *, wall_ms: publish(change(happenings), wall_ms=wall_ms)  # type: ignore[method-assign]

    def balances_asked(self) -> list[RequestLine]:
        """Return the requests for the cash of all subaccounts."""
        lines = self.exchange.ledger.after(0, kind="request")
        return [one for one in lines if isinstance(one, RequestLine) and one.path.endswith("/subaccounts/balances")]

    def beat(self, account: str = ACCOUNT) -> Beat | None:
        value = self.redis.get(beat_key("desk", account))
        return decode_beat(value) if value else None


def a_world() -> World:
    now_us = SystemClock().wall_us()
    world = World(seed=1, now_us=now_us)
    world.series["KXTEST"] = Series("KXTEST", "T", "Tests", ("Unit",), "custom", ("S", "https://example.invalid/"))
    world.list_event(Event("KXTEST", "KXTEST", "Test?", "", "MECNET", now_us, now_us))
    terms = Terms(
        ticker=TICKER, market_id="id-of-A", event_ticker="KXTEST", title="Test?", yes_sub_title="Yes",
        no_sub_title="No", rules_primary="If so.", rules_secondary="", created_us=now_us, open_us=now_us,
        close_us=now_us + HOUR_US, expected_expiration_us=now_us + HOUR_US, latest_expiration_us=now_us + 2 * HOUR_US,
        settlement_timer_s=0, structure="linear_cent",
    )  # fmt: skip
    world.list_market(terms, judge=lambda: "yes", determine_after_us=0)
    return world


async def staged(
    redis_client: redis.Redis,
    redis_url: str,
    key_dir: Path,
    *,
    periods: Periods,
    adapter: str = "picows",
    pinned: int | None = None,
    refuses: str | None = None,
    others: Callable[[LocalExchange], dict[str, Callable[[], Signer]]] | None = None,
) -> AsyncIterator[Stage]:
    """Run an exchange and a desk.

    Args:
        others: Further accounts of the desk.
        pinned: Everything is done with a key of this subaccount.
        refuses: A path that the exchange does not let be read from the beginning; the desk is then not live.
    """
    exchange, stop, clock = LocalExchange(a_world()), asyncio.Event(), SystemClock()
    if refuses is not None:
        away = Answer(method="GET", path=refuses, status=404, text="{}", times=None)
        exchange.faults.add([away], now_us=exchange.world.now_us)
    ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
    server = asyncio.create_task(serve(exchange, stop, port=0, key_dir=key_dir, announce=ready.set_result))
    address = await asyncio.wait_for(ready, STOP_WITHIN_S)
    environment = resolve("local", address.rest, address.ws)
    signer = Signer.from_file("local", address.key_id, Path(address.private_key_path))
    if pinned is not None:
        signer = a_pinned_signer(exchange, pinned)
    desk = Desk(
        environment=environment, accounts={ACCOUNT: lambda: signer} | (others(exchange) if others else {}),
        redis_url=redis_url, clock=clock, periods=periods, adapter=adapter,
        is_ours=lambda client_order_id: client_order_id.startswith("ours-"),
    )  # fmt: skip
    leave = asyncio.Event()
    running = asyncio.create_task(desk.run(leave))
    async with Rest(environment, signer, clock) as rest:
        stage = Stage(exchange, address, rest, redis_client)
        await stage.until(lambda: running.done() or stage.is_live() or refuses, "the desk is live")
        yield stage
    leave.set()
    await asyncio.wait_for(running, STOP_WITHIN_S)
    stop.set()
    await asyncio.wait_for(server, STOP_WITHIN_S)


def a_pinned_signer(exchange: LocalExchange, subaccount: int) -> Signer:
    owner = exchange.world.account(OWNER)
    while subaccount not in owner.subaccounts:
        owner.open_subaccount(0)
    owner.post(Kind.DEPOSIT, 100 * DOLLAR_UD, (0, subaccount), at_us=exchange.world.now_us)
    key = Ed25519PrivateKey.generate()
    return Signer("local", exchange.keys.register(key.public_key(), OWNER, subaccount=subaccount), key)


@pytest.fixture(params=["picows", "websockets"])
async def stage(
    request: pytest.FixtureRequest, redis_client: redis.Redis, redis_url: str, tmp_path: Path
) -> AsyncIterator[Stage]:
    async for started in staged(redis_client, redis_url, tmp_path / "keys", periods=BRISK, adapter=request.param):
        yield started


@pytest.fixture
async def quick(redis_client: redis.Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """With one of the two adapters."""
    async for started in staged(redis_client, redis_url, tmp_path / "keys", periods=BRISK):
        yield started


@pytest.fixture
async def channel_only(redis_client: redis.Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """With polls at the start and when something does not fit, never by the clock."""
    async for started in staged(redis_client, redis_url, tmp_path / "keys", periods=RARE):
        yield started


async def trade(stage: Stage) -> None:
    """A little of everything: rest, be filled in part, take, amend, cancel, be filled whole."""
    first = await stage.place(Side.YES, 4_200, 1_000)
    second = await stage.place(Side.NO, 5_500, 800)
    await stage.outsider(Side.NO, 4_200, 300)
    await stage.outsider(Side.YES, 5_500, 800)
    await stage.outsider(Side.NO, 5_000, 250)
    await stage.place(Side.YES, 5_000, 400)
    third = await stage.place(Side.YES, 4_000, 500)
    await stage.rest.orders.amend(
        third.order_id, AmendOrder(ticker=TICKER, side=Side.YES, yes_price_cc=3_900, count_cx=700, exchange_index=0)
    )
    await stage.cancel(first.order_id)
    assert second.remaining_count_cx == 800


async def test_the_stream_equals_the_ledger(stage: Stage) -> None:
    await trade(stage)
    await stage.until(stage.equals_ledger, "stream and ledger are equal")
    assert len(stage.truth.fills) == len(stage.truth.fill_ids), "each fill is told once"
    assert not stage.truth.differences


async def test_the_channel_alone_keeps_orders_and_fills(channel_only: Stage) -> None:
    stage = channel_only
    placed = await stage.place(Side.YES, 4_200, 1_000)
    await stage.outsider(Side.NO, 4_200, 300)
    order = await stage.until(
        lambda: (o := stage.truth.orders.get(placed.order_id)) is not None and o.filled_cx == 300 and o, "filled"
    )
    assert (order.remaining_cx, order.is_external) == (700, False)
    assert stage.truth.positions == {TICKER: 300} or await stage.until(
        lambda: stage.truth.positions == {TICKER: 300}, "position"
    )
    (fill,) = stage.truth.fills
    assert (fill.side, fill.yes_price_cc, fill.count_cx, fill.is_external) == (Side.YES, 4_200, 300, False)


async def test_B16_a_silent_private_channel_is_found_by_polling(quick: Stage, caplog: pytest.LogCaptureFixture) -> None:
    lost: list[Happening] = []

    def lose(happenings: list[Happening]) -> list[Happening]:
        lost.extend(h for h in happenings if isinstance(h, Private))
        return [h for h in happenings if not isinstance(h, Private)]

    quick.through(lose)
    with caplog.at_level(logging.ERROR):
        await trade(quick)
        await quick.until(quick.equals_ledger, "polls bring the stream to the ledger")
        await quick.until(
            lambda: {difference.kind for difference in quick.truth.differences} == {"order", "fill"}, "both are told"
        )
    alerts = {getattr(record, "alert", "") for record in caplog.records}
    assert "ACCOUNT_DIFFERENCE" in alerts
    assert lost, "messages were lost"


async def test_B15_repeated_and_late_frames_change_nothing(quick: Stage) -> None:
    waiting: list[Happening] = []

    def disturb(happenings: list[Happening]) -> list[Happening]:
        """Fills twice and before all else, every other order update one round late."""
        fills = [h for h in happenings if isinstance(h, Private) and h.channel == "fill"]
        orders = [h for h in happenings if isinstance(h, Private) and h.channel == "user_orders"]
        rest = [h for h in happenings if h not in fills and h not in orders]
        late, waiting[:] = list(waiting), orders[::2]
        return [*fills, *fills, *rest, *orders[1::2], *late]

    quick.through(disturb)
    await trade(quick)
    await quick.until(quick.equals_ledger, "stream and ledger are equal")
    assert len({(f.order_id, f.trade_id, f.client_order_id) for f in quick.truth.fills}) == len(quick.truth.fills)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_any_mix_of_operations_over_a_bad_channel_ends_equal_to_the_ledger(quick: Stage, seed: int) -> None:
    chance = random.Random(seed)

    def disturb(happenings: list[Happening]) -> list[Happening]:
        """Lose a fifth of the private messages, send a fifth twice, and all of one moment in any order."""
        private = [h for h in happenings if isinstance(h, Private) and chance.random() >= 0.2]
        private += [h for h in private if chance.random() < 0.2]
        chance.shuffle(private)
        return [*(h for h in happenings if not isinstance(h, Private)), *private]

    quick.through(disturb)
    for _ in range(40):
        await operate(quick, chance)
    await quick.until(quick.equals_ledger, "stream and ledger are equal")
    assert quick.exchange.world.account(OWNER).fills, "something was traded"


async def operate(stage: Stage, chance: random.Random) -> None:
    """Do one thing that an owner, or somebody else, may do."""
    orders = stage.exchange.world.account(OWNER).orders.values()
    resting = [order for order in orders if order.status == "resting"]
    side, price_cc, count_cx = chance.choice(list(Side)), 100 * chance.randrange(40, 60), 100 * chance.randrange(1, 9)
    once = ["cancel", "amend", "decrease", "batch", "cancel many", "group", "sweep"]
    what = chance.choice(["place", "place", "outsider", "outsider", *once])
    try:
        if what == "place":
            await stage.place(side, price_cc, count_cx)
        elif what == "outsider":
            await stage.outsider(side, price_cc, count_cx)
        elif what == "cancel" and resting:
            await stage.cancel(chance.choice(resting).order_id)
        elif what == "amend" and resting:
            await amend(stage, chance.choice(resting), price_cc, count_cx)
        elif what == "decrease" and resting:
            await decrease(stage, chance.choice(resting))
        elif what == "batch":
            await stage.rest.orders.place_all([an_order(side, price_cc + 100 * n, count_cx) for n in range(3)])
        elif what == "cancel many" and resting:
            some = chance.sample(resting, min(3, len(resting)))
            await stage.rest.orders.cancel_many([a_cancel(order.order_id) for order in some])
        elif what == "group":
            await fill_and_trigger_a_group(stage, side, price_cc, count_cx)
        elif what == "sweep" and chance.random() < 0.3:
            await stage.rest.orders.cancel_all()
    except RequestRefused:
        return  # an amend that would meet our own order, and the like: the ledger has it as it is


async def amend(stage: Stage, order: Order, yes_price_cc: int, rest_cx: int) -> None:
    wish = AmendOrder(
        ticker=TICKER, side=order.side, yes_price_cc=yes_price_cc, count_cx=order.fill_cx + rest_cx, exchange_index=0
    )
    await stage.rest.orders.amend(order.order_id, wish)


async def decrease(stage: Stage, order: Order) -> None:
    wish = DecreaseOrder(reduce_to_cx=order.remaining_cx // 2, market_ticker=TICKER, exchange_index=0)
    await stage.rest.orders.decrease(order.order_id, wish)


async def fill_and_trigger_a_group(stage: Stage, side: Side, yes_price_cc: int, count_cx: int) -> None:
    group = await stage.rest.groups.create(100, exchange_index=0)
    order = replace(an_order(side, yes_price_cc, count_cx), order_group_id=group.order_group_id)
    await stage.rest.orders.place(order)
    await stage.outsider(side.other, yes_price_cc, count_cx)  # most often past the limit of one contract
    await stage.rest.groups.delete(group.order_group_id, exchange_index=0)


@pytest.fixture
async def pinned(redis_client: redis.Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """With a key that is pinned to subaccount 2."""
    async for started in staged(redis_client, redis_url, tmp_path / "keys", periods=BRISK, pinned=2):
        yield started


async def test_a_key_pinned_to_a_subaccount_shows_that_one(pinned: Stage) -> None:
    await pinned.place(Side.YES, 4_200, 1_000)
    await pinned.outsider(Side.NO, 4_200, 300)
    held = await pinned.until(lambda: pinned.truth.positions.get(TICKER), "the position is known")
    await pinned.until(lambda: len(pinned.truth.fills) == 1, "its fill too")
    asked = len(pinned.balances_asked())
    await pinned.until(lambda: len(pinned.balances_asked()) > asked + 2, "the cash of all subaccounts is read again")
    (order,) = pinned.truth.orders.values()
    assert (held, order.subaccount, order.remaining_cx) == (300, 2, 700)
    assert pinned.is_live()
    assert not pinned.truth.differences


async def test_C18_orders_of_a_person_are_shown_as_external(quick: Stage) -> None:
    placed = await quick.place(Side.YES, 3_000, 100, prefix="by-hand-")
    order = await quick.until(lambda: quick.truth.orders.get(placed.order_id), "shown")
    assert order.is_external
    assert quick.exchange.world.account(OWNER).orders[placed.order_id].status == "resting", "never touched"


async def test_C5_reads_that_fail_take_nothing_away(quick: Stage) -> None:
    placed = await quick.place(Side.YES, 3_000, 100)
    await quick.until(lambda: placed.order_id in quick.truth.orders, "shown")
    now_us = quick.exchange.world.now_us
    refused = Answer(method="GET", path="/portfolio/orders", status=404, text="{}", times=None)
    quick.exchange.faults.add([refused], now_us=now_us)
    await quick.until(lambda: (h := quick.truth.health) is not None and h.state == "blind", "said to be blind")
    assert placed.order_id in quick.truth.orders
    quick.exchange.faults.remove()
    await quick.until(quick.is_live, "live again")
    assert quick.equals_ledger() or await quick.until(quick.equals_ledger, "and equal")


@pytest.fixture
async def without_positions(redis_client: redis.Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """With positions that cannot be read from the beginning."""
    keys = tmp_path / "keys"
    async for started in staged(redis_client, redis_url, keys, periods=BRISK, refuses="/portfolio/positions"):
        yield started


async def test_a_desk_that_has_not_read_each_list_once_says_of_nothing_that_it_is_over(
    without_positions: Stage,
) -> None:
    """A whole entry ends what it leaves out: positions that nobody could read yet are unknown, not flat."""
    stage = without_positions
    placed = await stage.place(Side.YES, 4_200, 1_000)
    await stage.outsider(Side.NO, 4_200, 300)
    await stage.until(lambda: placed.order_id in stage.truth.orders and stage.truth.fills, "orders and fills are told")
    await stage.until(lambda: (h := stage.truth.health) is not None and h.state == "blind", "said to be blind")
    assert not any(entry.is_whole for entry in stage.truth.entries)
    stage.exchange.faults.remove()
    whole = await stage.until(lambda: next((e for e in stage.truth.entries if e.is_whole), None), "a whole entry")
    assert [u.position_cx for u in whole.updates if isinstance(u, schema.AccountPosition)] == [300]


async def test_B1_what_happened_during_a_cut_is_read_afterwards(quick: Stage) -> None:
    """After a cut the state is asked again: what took place meanwhile is there, and is no difference."""
    await quick.exchange.sockets.close_all()
    await trade(quick)
    await quick.until(quick.equals_ledger, "stream and ledger are equal")
    await quick.until(quick.is_live, "live again")


NAMELESS_END = '{"type":"error","msg":{"code":25,"msg":"Subscription buffer overflow"}}'


@pytest.mark.parametrize(
    "fault", [Fail(type="user_order", code=10), Fail(type="fill", code=25), Inject(type="fill", text=NAMELESS_END)]
)
async def test_B10_a_private_channel_that_ends_is_subscribed_anew_and_read_up(
    quick: Stage, fault: Fail | Inject
) -> None:
    quick.exchange.faults.add([fault], now_us=quick.exchange.world.now_us)
    await trade(quick)
    await quick.until(quick.equals_ledger, "stream and ledger are equal")
    await quick.until(quick.is_live, "live again")
    assert quick.exchange.faults.applied, "the channel ended"
    quick.exchange.faults.remove()
    placed = await quick.place(Side.YES, 3_000, 100)
    await quick.until(lambda: placed.order_id in quick.truth.orders, "told")


async def test_F7_a_settled_market_pays_and_leaves_the_positions(quick: Stage) -> None:
    await quick.place(Side.YES, 4_200, 300)
    await quick.outsider(Side.NO, 4_200, 300)
    await quick.until(lambda: quick.truth.positions.get(TICKER) == 300, "held")
    quick.exchange.world.life.close_early(quick.exchange.world.markets[TICKER])
    await quick.until(lambda: quick.truth.settlements, "settled")
    (settlement,) = quick.truth.settlements
    assert (settlement.ticker, settlement.result, settlement.revenue_ud) == (TICKER, "yes", 3_000_000)
    await quick.until(lambda: quick.truth.positions.get(TICKER, 0) == 0, "flat")
    await quick.until(quick.equals_ledger, "and equal")


async def test_queue_positions_and_limits_are_read(quick: Stage) -> None:
    await quick.outsider(Side.YES, 3_000, 500)
    placed = await quick.place(Side.YES, 3_000, 100)
    await quick.until(lambda: quick.truth.queue.get(placed.order_id) == 500, "500 hundredths ahead")
    health = quick.truth.health
    assert health is not None
    assert health.user_data_us is not None


async def test_F11_order_groups_are_told_by_channel_and_list(quick: Stage) -> None:
    created = await quick.rest.groups.create(500, exchange_index=0)

    def group() -> schema.AccountGroup | None:
        entries = [u for e in quick.truth.entries for u in e.updates if isinstance(u, schema.AccountGroup)]
        return entries[-1] if entries else None

    await quick.until(
        lambda: (g := group()) is not None and (g.group_id, g.limit_cx) == (created.order_group_id, 500), "made"
    )
    await quick.rest.groups.trigger(created.order_group_id, exchange_index=0)
    await quick.until(lambda: (g := group()) is not None and g.is_triggered, "triggered")


async def test_it_beats_with_its_state(quick: Stage) -> None:
    beat = await quick.until(lambda: (b := quick.beat()) is not None and b.state == "live" and b, "a beat")
    assert beat.counters["differences"] == 0


async def test_without_an_account_it_idles_beats_and_says_so(redis_client: redis.Redis, redis_url: str) -> None:
    environment = resolve("local", "http://127.0.0.1:1/trade-api/v2", "ws://127.0.0.1:1/trade-api/ws/v2")
    desk, stop = Desk(environment=environment, accounts={}, redis_url=redis_url, clock=SystemClock()), asyncio.Event()
    running = asyncio.create_task(desk.run(stop))
    give_up = time.monotonic() + DEADLINE_S
    while (value := redis_client.get(beat_key("desk", "local"))) is None:
        assert time.monotonic() < give_up
        await asyncio.sleep(0.02)
    beat = decode_beat(value)
    assert (beat.state, beat.last_event) == ("idle", NOBODY)
    stop.set()
    await asyncio.wait_for(running, STOP_WITHIN_S)
    assert redis_client.get(beat_key("desk", "local")) is None
