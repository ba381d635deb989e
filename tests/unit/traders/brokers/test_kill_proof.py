"""When a kill may say confirmed: against an account whose answers are scripted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from feed.kalshi.clock import Offset
from feed.kalshi.errors import Forbidden, InvalidRequest, NotFound, Paused, RateLimited, RequestRefused, Unauthorized
from feed.kalshi.wire.orders import CancelOrder
from kalshimm.errors import OutcomeUnknown
from markets.core.orderids import Owner
from tests.fixtures.virtualtime import LoopClock
from traders.core.kills import Target
from traders.killing import Carrying, Leased, Outcome, Party

NOW_US = 1_795_000_000_000_000
SECOND_US = 1_000_000
OURS = Owner(77, 3, 1)
UNKNOWN = OutcomeUnknown("trigger", "the answer was HTTP 503")
GONE = NotFound(404, "not_found", "")


class Resting:
    def __init__(self, order_id: str, *, group: str = "", client_order_id: str = "") -> None:
        self.order_id, self.order_group_id, self.client_order_id = order_id, group, client_order_id
        self.ticker, self.exchange_index, self.subaccount = "M-1", 0, None


class Listed:
    unreadable: tuple[object, ...] = ()

    def __init__(self, items: Any) -> None:
        self.items = tuple(items)


class Always(Exception):
    """A step of a script that is never over."""

    def __init__(self, answer: Exception) -> None:
        super().__init__()
        self.answer = answer


def forever(exc: Exception) -> Exception:
    return Always(exc)


class Account:
    """An account, and every part of a client of it at once. What it lets read lags behind what is so."""

    def __init__(self, clock: LoopClock, *orders: Resting, lag_s: float = 0.0) -> None:
        self.clock, self.lag_us = clock, round(lag_s * SECOND_US)
        self.exchange = self.portfolio = self.groups_ = self
        self.history: list[tuple[int, list[Resting]]] = [(0, list(orders))]
        self.script: dict[str, list[Exception]] = {"cancel_all": [], "trigger": [], "cancel": [], "list": []}
        self.listed_groups: list[Any] = []
        self.asked: list[str] = []
        self.orders_, self.is_known = self, False

    @property
    def resting(self) -> list[Resting]:
        return self.history[-1][1]

    def becomes(self, orders: list[Resting]) -> None:
        self.history.append((self.clock.wall_us(), orders))

    async def _ask(self, what: str) -> None:
        self.asked.append(what)
        self.is_known = True
        if self.script.get(what):
            step = self.script[what][0]
            if isinstance(step, Always):
                raise step.answer
            raise self.script[what].pop(0)

    # what a client has

    def clock_offset(self) -> Offset | None:
        return Offset(0, 0) if self.is_known else None

    async def user_data_timestamp(self) -> Any:
        self.is_known = True
        return type("Stamp", (), {"as_of_us": self.clock.wall_us() - self.lag_us})

    async def cancel_all(self) -> None:
        await self._ask("cancel_all")
        self.becomes([])

    async def trigger(self, group_id: str, *, exchange_index: int, subaccount: int | None) -> None:
        await self._ask("trigger")
        self.becomes([order for order in self.resting if order.order_group_id != group_id])

    async def groups(self, *, subaccount: int | None = None) -> Listed:
        return Listed(self.listed_groups)

    async def cancel_many(self, batch: list[CancelOrder]) -> list[object]:
        await self._ask("cancel")
        names = {order.order_id for order in batch}
        self.becomes([order for order in self.resting if order.order_id not in names])
        return [object() for _ in batch]

    def all_orders(self, *, status: str) -> Any:
        account = self

        class Pages:
            async def all(self) -> Listed:
                await account._ask("list")
                shown_us = account.clock.wall_us() - account.lag_us
                return Listed(next(orders for at_us, orders in reversed(account.history) if at_us <= shown_us))

        return Pages()


class Client:
    """The shape of `Rest` over an account."""

    def __init__(self, account: Account) -> None:
        self.exchange, self.orders, self.groups = account, account, account
        self.portfolio = type("Portfolio", (), {"orders": staticmethod(account.all_orders)})
        self.clock_offset = account.clock_offset


def a_lease(number: int = 3) -> Leased:
    return Leased(Target(number, f"trader-{number}", "local", "E"), "local", "http://x", f"group-{number}", 0, None)


async def kill(
    account: Account, *, whole: bool = False, leases: tuple[Leased, ...] = (), within_s: float = 30, other: bool = False
) -> tuple[Outcome, list[str]]:
    said: list[str] = []
    numbers = None if whole else frozenset(one.target.trader for one in leases)
    party = Party("local", "local", "http://x", ("key",), whole, numbers, leases)
    client: Any = Client(account)
    carrying = Carrying(
        party, client, account.clock, installation=OURS.installation, has_other_key=other, say=said.append
    )
    return await carrying.run(within_s), said


async def test_C4_a_reading_from_before_the_kill_proves_nothing() -> None:
    clock = LoopClock(NOW_US)
    account = Account(clock, lag_s=5)
    account.becomes([Resting("late", client_order_id=OURS.client_order_id(1))])  # the readings do not show it yet
    outcome, _ = await kill(account, leases=(a_lease(),))
    assert (outcome.is_confirmed, outcome.canceled, account.resting) == (True, 1, [])
    assert outcome.confirmed_ms is not None
    assert outcome.confirmed_ms >= 5_000


@pytest.mark.parametrize(
    "refused", [Forbidden(403, "forbidden", ""), InvalidRequest(400, "bad", ""), Unauthorized(401, "no", "")]
)
async def test_G1_without_the_fence_nothing_is_confirmed_and_it_says_so_at_once(refused: RequestRefused) -> None:
    account = Account(LoopClock(NOW_US))
    account.script["trigger"] = [forever(refused)]
    began_s = asyncio.get_running_loop().time()
    outcome, _ = await kill(account, leases=(a_lease(),))
    assert (outcome.is_confirmed, outcome.resting, outcome.triggered) == (False, 0, 0)
    assert "order group of trader trader-3 is not triggered" in outcome.why
    assert asyncio.get_running_loop().time() - began_s < 2


async def test_F2_a_fence_that_is_refused_for_a_while_is_tried_until_it_stands() -> None:
    account = Account(LoopClock(NOW_US), Resting("o", group="group-3"))
    account.script["trigger"] = [Paused(409, "exchange_is_paused", ""), RateLimited(429, "", ""), UNKNOWN]
    account.script["cancel"] = [Paused(409, "exchange_is_paused", "")]
    outcome, _ = await kill(account, leases=(a_lease(),))
    assert (outcome.is_confirmed, outcome.triggered, account.resting) == (True, 1, [])


@pytest.mark.parametrize("answer", [Forbidden(403, "", ""), GONE, InvalidRequest(400, "", ""), forever(UNKNOWN)])
async def test_G1_a_cancel_all_that_does_not_work_holds_nothing_else_up(answer: Exception) -> None:
    account = Account(LoopClock(NOW_US), Resting("ours", group="group-3"), Resting("a person's"))
    account.script["cancel_all"] = [answer]
    outcome, _ = await kill(account, whole=True, leases=(a_lease(),))
    assert (outcome.is_confirmed, outcome.triggered, account.resting) == (True, 1, [])
    assert outcome.confirmed_ms is not None
    assert outcome.confirmed_ms < 1_000


async def test_a_group_that_is_gone_is_a_fence_and_one_of_another_shard_is_triggered_there() -> None:
    account = Account(LoopClock(NOW_US))
    account.script["trigger"] = [GONE]
    outcome, _ = await kill(account, leases=(a_lease(),))
    assert (outcome.is_confirmed, outcome.triggered, outcome.gone) == (True, 0, 1)
    account.script["trigger"] = [NotFound(404, "not_found", "")]
    account.listed_groups = [type("Group", (), {"id": "group-3", "exchange_index": 2})]
    outcome, _ = await kill(account, leases=(a_lease(),))
    assert (outcome.is_confirmed, outcome.triggered, outcome.gone) == (True, 1, 0)


async def test_only_what_is_in_scope_is_canceled() -> None:
    other = Owner(OURS.installation, 4, 1)
    orders = [
        Resting("old lease", client_order_id=OURS.client_order_id(1)), Resting("group", group="group-3"),
        Resting("another trader", client_order_id=other.client_order_id(1)), Resting("a person's"),
        Resting("another installation", client_order_id=Owner(78, 3, 1).client_order_id(1)),
    ]  # fmt: skip
    account = Account(LoopClock(NOW_US), *orders)
    outcome, _ = await kill(account, leases=(a_lease(),))
    assert outcome.is_confirmed
    assert [order.order_id for order in account.resting] == ["another trader", "a person's", "another installation"]


async def test_E4_without_an_answer_it_ends_with_the_time_and_says_what_is_in_the_way() -> None:
    account = Account(LoopClock(NOW_US), Resting("o", group="group-3"))
    for what in ("trigger", "list", "cancel"):
        account.script[what] = [forever(OutcomeUnknown(what, "no answer"))]
    outcome, said = await kill(account, leases=(a_lease(),), within_s=5)
    assert (outcome.is_confirmed, outcome.resting, "no answer" in outcome.why) == (False, None, True)
    assert said[-1] == "account local: the time is over"


async def test_C15_a_key_that_is_not_accepted_gives_way_to_another() -> None:
    account = Account(LoopClock(NOW_US))
    account.script["list"] = [forever(Unauthorized(401, "authentication_error", ""))]
    with pytest.raises(Unauthorized):
        await kill(account, whole=True, other=True)
    outcome, _ = await kill(account, whole=True, within_s=3)
    assert not outcome.is_confirmed


async def test_C4_answers_that_do_not_say_when_they_were_made_prove_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account(LoopClock(NOW_US), Resting("o", group="group-3"), lag_s=600)
    monkeypatch.setattr(account, "clock_offset", lambda: None)
    outcome, _ = await kill(account, leases=(a_lease(),), within_s=5)
    assert (outcome.is_confirmed, "do not say when they were made" in outcome.why) == (False, True)


@pytest.mark.parametrize("what", ["trigger", "cancel"])
async def test_C15_a_key_that_may_only_read_gives_way_to_another(what: str) -> None:
    account = Account(LoopClock(NOW_US), Resting("o", client_order_id=OURS.client_order_id(1)))
    account.script[what] = [forever(Forbidden(403, "forbidden", ""))]
    with pytest.raises(Forbidden):
        await kill(account, leases=(a_lease(),), other=True)


async def test_an_order_that_two_pages_list_is_canceled_once() -> None:
    order = Resting("o", client_order_id=OURS.client_order_id(1))
    account = Account(LoopClock(NOW_US), order, order)
    outcome, _ = await kill(account, leases=(a_lease(),))
    assert (outcome.is_confirmed, outcome.canceled) == (True, 1)


async def test_groups_of_traders_that_ended_are_triggered_only_where_the_account_lists_them() -> None:
    account = Account(LoopClock(NOW_US))
    ended = [replace(a_lease(number), is_living=False) for number in range(10, 40)]
    account.listed_groups = [type("Group", (), {"id": "group-11", "exchange_index": 0})]
    outcome, _ = await kill(account, leases=(a_lease(), *ended))
    assert (outcome.is_confirmed, outcome.triggered, outcome.gone) == (True, 2, 29)
    assert account.asked.count("trigger") == 2


async def test_a_fault_of_ours_is_not_taken_for_proof() -> None:
    account = Account(LoopClock(NOW_US), Resting("o", group="group-3"))
    account.script["trigger"] = [forever(RuntimeError("ours"))]
    account.script["cancel"] = [forever(UNKNOWN)]
    with pytest.raises(RuntimeError, match="ours"):
        await kill(account, leases=(a_lease(),), within_s=3)
