"""The fence before the local exchange: what a takeover pulls, what it believes, and when it lets nothing start."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from liveground import OWNER_ACCOUNT, TICKER, Ground, LeapingClock, an_id, ground

from feed.exchange.faults.script import Answer, AnyFault, ApplyThenAnswer, ApplyThenDrop, Cut, Drop
from feed.exchange.ledger import RequestLine
from feed.exchange.trading.ledger import Kind
from feed.kalshi.errors import RequestRefused
from feed.kalshi.rest import Rest
from kalshimm.errors import KalshimmError
from markets.core.orderids import Owner
from traders.core.settling import MARGIN_US
from traders.takeover import WITHIN_S, Fence, LaterLease, Lease, Pulled, TakeoverFailed, pull, pull_former, take_over

TRIGGERS = "/portfolio/order_groups/*/trigger"
CREATES = "/portfolio/order_groups/create"
CANCELS = "/portfolio/events/orders/*"


@pytest.fixture(scope="module")
def key_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture
def clock() -> LeapingClock:
    return LeapingClock()


@pytest.fixture
async def venue(key_dir: Path, clock: LeapingClock) -> AsyncIterator[Ground]:
    async with ground(key_dir, clock) as started:
        yield started


def a_lease(*groups: str, epoch: int = 3, limit_cx: int = 4_000) -> Lease:
    return Lease(
        owner=Owner(12, 7, epoch), environment="local", account="local", ticker=TICKER, exchange_index=0,
        groups=groups, limit_cx=limit_cx,
    )  # fmt: skip


async def taken_over(venue: Ground, lease: Lease) -> Fence:
    assert isinstance(venue.clock, LeapingClock)
    return await take_over(venue.rest, lease, clock=venue.clock, sleep=venue.clock.sleep)


async def pulled(venue: Ground, lease: Lease) -> Pulled:
    assert isinstance(venue.clock, LeapingClock)
    return await pull(venue.rest, lease, clock=venue.clock, sleep=venue.clock.sleep)


async def test_the_first_lease_triggers_nothing_and_gets_its_group(venue: Ground) -> None:
    fence = await taken_over(venue, a_lease(epoch=1))
    assert venue.groups() == {fence.group_id: False}
    assert venue.writes() == ["POST /portfolio/order_groups/create"]
    assert (fence.pulled.triggered, fence.pulled.canceled, fence.strays) == ((), (), ())
    (group,) = (await venue.rest.groups.groups()).items
    assert (group.contracts_limit_cx, group.exchange_index) == (4_000, 0)


async def test_A1_what_rests_of_the_old_lease_is_gone_before_the_new_group_is_there(venue: Ground) -> None:
    old = await venue.group()
    for counter in range(3):
        await venue.place(an_id(2, counter), old, yes_price_cc=4_000 - 100 * counter)
    after = venue.last_line()
    fence = await taken_over(venue, a_lease(old))
    assert venue.resting() == []
    assert venue.groups() == {old: True, fence.group_id: False}
    assert fence.pulled.triggered == (old,)
    writes = [f"PUT /portfolio/order_groups/{old}/trigger", "POST /portfolio/order_groups/create"]
    assert venue.writes(after) == writes, "one request takes all of them off"


async def test_A4_a_thawed_owner_is_refused_by_its_triggered_group(venue: Ground) -> None:
    old = await venue.group()
    await taken_over(venue, a_lease(old))
    with pytest.raises(RequestRefused):
        await venue.place(an_id(2, 1), old)
    assert venue.orders() == {}


class SlowClock:
    """Another clock, seen from four seconds ago."""

    def __init__(self, clock: LeapingClock) -> None:
        self._clock = clock

    def wall_us(self) -> int:
        return self._clock.wall_us() - 4_000_000

    def monotonic(self) -> float:
        return self._clock.monotonic()


@pytest.mark.parametrize("is_slow", [False, True], ids=["clocks agree", "ours is slow"])
async def test_E1_nothing_is_believed_before_reads_are_newer_than_the_trigger_and_its_margin(
    venue: Ground, clock: LeapingClock, is_slow: bool
) -> None:
    ours = SlowClock(clock) if is_slow else clock
    old = await venue.group()
    await venue.place(an_id(2, 1), old)
    async with Rest(venue.environment, venue.signer, ours) as rest:
        fence = await take_over(rest, a_lease(old), clock=ours, sleep=clock.sleep)
    lines = venue.exchange.ledger.after(0, kind="request")
    (triggered,) = [line for line in lines if isinstance(line, RequestLine) and "/trigger" in line.path]
    assert fence.pulled.as_of_us > triggered.at_us + MARGIN_US


async def test_C4_reads_that_lag_are_waited_for_and_an_old_listing_cancels_nothing(
    key_dir: Path, clock: LeapingClock
) -> None:
    async with ground(key_dir, clock, read_lag_ms=20_000) as venue:
        old = await venue.group()
        await venue.place(an_id(2, 1), old)
        clock.leapt_s += 10  # the listing does not even show the order yet
        fence = await taken_over(venue, a_lease(old))
        assert venue.resting() == []
        assert fence.pulled.canceled == (), "it was not taken for resting because an old picture shows it"
        assert clock.leapt_s > 10 + 20


async def test_C4_reads_that_never_come_up_let_nothing_start(key_dir: Path, clock: LeapingClock) -> None:
    async with ground(key_dir, clock, read_lag_ms=120_000) as venue:
        old = await venue.group()
        with pytest.raises(TakeoverFailed, match="too old"):
            await taken_over(venue, a_lease(old))
        assert venue.groups() == {old: True}, "no new group"


@pytest.mark.parametrize("epoch", [1, 2])
async def test_a_stray_of_an_earlier_lease_in_another_group_is_canceled_and_that_group_fenced(
    venue: Ground, epoch: int
) -> None:
    """With every store gone the order's own name says whose it is."""
    old, forgotten = await venue.group(), await venue.group()
    stray = await venue.place(an_id(epoch, 9), forgotten)
    bare = await venue.place(an_id(epoch, 10))
    fence = await taken_over(venue, a_lease(old))
    assert venue.resting() == []
    assert set(fence.pulled.triggered) == {old, forgotten}
    assert bare.order_id in fence.pulled.canceled
    with pytest.raises(RequestRefused):
        await venue.place(an_id(epoch, 11), forgotten)
    assert stray.order_id not in fence.pulled.canceled, "its group took it off"


async def test_C18_nobody_elses_order_is_touched(venue: Ground) -> None:
    persons_group = await venue.group()
    others = ["by-hand-1", an_id(2, 1, trader=8), an_id(2, 1, installation=13)]
    for number, name in enumerate(others):
        await venue.place(name, persons_group if name == "by-hand-1" else None, yes_price_cc=3_000 + 100 * number)
    fence = await taken_over(venue, a_lease())
    assert venue.resting() == others
    assert venue.groups() == {persons_group: False, fence.group_id: False}


async def test_orders_of_a_later_lease_let_nothing_start(venue: Ground) -> None:
    await venue.place(an_id(5, 1))
    with pytest.raises(LaterLease) as refused:
        await taken_over(venue, a_lease(epoch=3))
    assert refused.value.found == 5
    assert venue.resting() == [an_id(5, 1)], "whoever holds that lease may be at work"
    assert venue.writes() == ["POST /portfolio/events/orders"]


async def test_a_pull_takes_off_the_orders_of_every_lease(venue: Ground) -> None:
    group = await venue.group()
    for epoch in (1, 3, 4):
        await venue.place(an_id(epoch, 1), group if epoch == 3 else None, yes_price_cc=3_000 + 100 * epoch)
    done = await pulled(venue, a_lease(group, epoch=3))
    assert venue.resting() == []
    assert (done.triggered, len(done.canceled)) == ((group,), 2)
    assert venue.groups() == {group: True}, "no group is made"


@pytest.mark.parametrize(
    "fault",
    [
        ApplyThenDrop(path=TRIGGERS),
        ApplyThenAnswer(path=TRIGGERS, status=503),
        Cut(path=TRIGGERS),
        Drop(path=TRIGGERS, times=3),
        Answer(path=TRIGGERS, status=429, text='{"error":"too many requests"}'),
    ],
    ids=["answer lost", "503", "cut", "never applied", "too many"],
)
async def test_C1_C6_a_trigger_of_unknown_outcome_is_repeated_until_it_is_known(venue: Ground, fault: AnyFault) -> None:
    old = await venue.group()
    await venue.place(an_id(2, 1), old)
    venue.arm(fault)
    fence = await taken_over(venue, a_lease(old))
    assert venue.exchange.faults.applied, "the fault was at work"
    assert (venue.resting(), fence.pulled.triggered) == ([], (old,))
    assert venue.writes().count(f"PUT /portfolio/order_groups/{old}/trigger") >= 2


async def test_a_trigger_that_never_comes_through_lets_nothing_start(venue: Ground, clock: LeapingClock) -> None:
    old = await venue.group()
    await venue.place(an_id(2, 1), old)
    venue.arm(Drop(path=TRIGGERS, times=None))
    began_s = clock.monotonic()
    with pytest.raises(TakeoverFailed, match="could not be triggered") as failed:
        await taken_over(venue, a_lease(old))
    assert isinstance(failed.value, KalshimmError)
    assert clock.monotonic() - began_s <= WITHIN_S
    assert list(venue.groups()) == [old]


async def test_a_group_that_is_gone_counts_as_fenced(venue: Ground) -> None:
    old = await venue.group()
    await venue.rest.groups.delete(old, exchange_index=0)
    fence = await taken_over(venue, a_lease(old, "never-was"))
    assert (fence.pulled.triggered, fence.pulled.gone) == ((), (old, "never-was"))


async def test_a_group_on_another_shard_is_not_taken_for_gone(venue: Ground) -> None:
    elsewhere = (await venue.rest.groups.create(1_000, exchange_index=1)).order_group_id
    fence = await taken_over(venue, a_lease(elsewhere))
    assert fence.pulled.triggered == (elsewhere,)
    assert venue.groups()[elsewhere] is True


@pytest.mark.parametrize(
    "fault",
    [ApplyThenDrop(path=CREATES), ApplyThenAnswer(path=CREATES, status=500), Cut(path=CREATES)],
    ids=["answer lost", "500", "cut"],
)
async def test_C1_a_group_of_unknown_outcome_is_not_used_but_noted(venue: Ground, fault: AnyFault) -> None:
    """Nothing in a listing says whose a group is."""
    old = await venue.group(4_000)  # alike, and there before
    venue.arm(fault)
    fence = await taken_over(venue, a_lease(old))
    assert len(venue.groups()) == 3
    (stray,) = fence.strays
    assert stray not in (old, fence.group_id)


async def test_C2_a_group_that_was_never_made_leaves_no_stray(venue: Ground) -> None:
    venue.arm(Drop(path=CREATES))
    fence = await taken_over(venue, a_lease())
    assert (list(venue.groups()), fence.strays) == ([fence.group_id], ())


async def test_C1_what_an_unanswered_create_left_is_told_also_when_the_takeover_fails(venue: Ground) -> None:
    venue.arm(ApplyThenDrop(path=CREATES), Answer(path=CREATES, status=403, times=None))
    with pytest.raises(TakeoverFailed) as failed:
        await taken_over(venue, a_lease())
    assert list(failed.value.strays) == list(venue.groups())


@pytest.mark.parametrize(
    "fault",
    [
        Drop(path=CANCELS, method="DELETE"),
        ApplyThenDrop(path=CANCELS, method="DELETE"),
        Answer(path=CANCELS, status=409),
    ],
    ids=["never applied", "answer lost", "refused once"],
)
async def test_C13_a_cancel_counts_once_a_later_look_finds_nothing(venue: Ground, fault: AnyFault) -> None:
    await venue.place(an_id(2, 1))
    venue.arm(fault)
    await taken_over(venue, a_lease())
    assert venue.exchange.faults.applied
    assert venue.resting() == []


async def test_F2_while_the_exchange_takes_no_cancels_nothing_starts(venue: Ground) -> None:
    await venue.place(an_id(2, 1))
    venue.arm(
        Answer(path=CANCELS, method="DELETE", status=409, text='{"error":{"code":"exchange_is_paused"}}', times=None)
    )
    with pytest.raises(TakeoverFailed, match="could not be canceled"):
        await taken_over(venue, a_lease())
    assert venue.groups() == {}


@pytest.mark.parametrize(
    "path", ["/exchange/user_data_timestamp", "/portfolio/orders", "/portfolio/order_groups"], ids=str
)
async def test_C5_a_read_that_fails_proves_nothing_and_lets_nothing_start(venue: Ground, path: str) -> None:
    venue.arm(Answer(method="GET", path=path, status=500, times=None))
    with pytest.raises(TakeoverFailed):
        await taken_over(venue, a_lease())
    assert venue.writes() == []


async def test_C5_a_resting_order_that_cannot_be_read_may_be_ours(venue: Ground) -> None:
    body = f'{{"orders":[{{"order_id":"x","client_order_id":"{an_id(2, 1)}"}}],"cursor":""}}'
    venue.arm(Answer(method="GET", path="/portfolio/orders", status=200, text=body, times=None))
    with pytest.raises(TakeoverFailed, match="cannot be read"):
        await taken_over(venue, a_lease())


async def test_an_unreadable_order_of_somebody_else_is_in_nobodys_way(venue: Ground) -> None:
    body = '{"orders":[{"order_id":"x","client_order_id":"by-hand"},{"order_id":"y"}],"cursor":""}'
    venue.arm(Answer(method="GET", path="/portfolio/orders", status=200, text=body, times=None))
    fence = await taken_over(venue, a_lease())
    assert fence.group_id


async def test_a_key_that_may_not_write_lets_nothing_start(venue: Ground) -> None:
    venue.arm(Answer(method="PUT", path=TRIGGERS, status=403, text='{"error":{"code":"forbidden"}}', times=None))
    old = await venue.group()
    with pytest.raises(TakeoverFailed, match="403"):
        await taken_over(venue, a_lease(old))
    assert venue.groups() == {old: False}


async def test_I2_a_pull_of_former_leases_leaves_the_running_one_alone(venue: Ground) -> None:
    running, former = await venue.group(), await venue.group()
    await venue.place(an_id(3, 1), running)
    await venue.place(an_id(2, 1), former, yes_price_cc=3_900)
    await venue.place(an_id(1, 7), yes_price_cc=3_800)
    await venue.place(an_id(2, 2), running, yes_price_cc=3_700)  # whoever did that: the group is in use
    await venue.place("by-hand", yes_price_cc=3_600)
    assert isinstance(venue.clock, LeapingClock)
    lease = a_lease(running, epoch=3)
    result = await pull_former(venue.rest, lease, clock=venue.clock, sleep=venue.clock.sleep)
    assert sorted(venue.resting()) == sorted([an_id(3, 1), "by-hand"])
    assert venue.groups() == {running: False, former: True}
    assert (result.triggered, len(result.canceled)) == ((former,), 2)


async def test_I2_a_pull_finds_the_group_of_an_order_in_another_subaccount(venue: Ground) -> None:
    """Orders that nobody watches are pulled for the account as a whole; a write without a number means the primary."""
    account = venue.exchange.world.account(OWNER_ACCOUNT)
    opened = account.open_subaccount(0)
    assert opened is not None
    number = opened.number
    account.post(Kind.DEPOSIT, 100_000_000, (0, number), at_us=venue.exchange.world.now_us)
    group = (await venue.rest.groups.create(100_000, exchange_index=0, subaccount=number)).order_group_id
    await venue.place(an_id(2, 1), group, subaccount=number)
    pulled = await pull(venue.rest, a_lease(epoch=3), clock=venue.clock, sleep=venue.clock.sleep)
    assert (venue.resting(), venue.groups()) == ([], {group: True})
    assert pulled.triggered == (group,)
