"""Whatever is wished, refused, lost and held back, in whatever order: what the sender promises holds."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from feed.kalshi.errors import HeldBack, NeverSent, NotFound, OrderRejected, RateLimited
from kalshimm.errors import OutcomeUnknown
from markets.core.units import Side
from tests.fixtures.virtualtime import VirtualLoop
from tests.unit.traders.brokers.sendingworld import SECOND_US, SendingWorld, sending
from traders.core.commands import DecreaseOrder, PlaceOrder, RenewOrder, TakeOrder
from traders.core.intents import Answered, Cancel, Held, Intent, Outcome, Sent

ENDS = {
    "accepted": None,
    "refused": OrderRejected(400, "invalid_price", ""),
    "missing": NotFound(404, "not_found", ""),
    "lost": OutcomeUnknown("ask", "the connection was cut"),
    "limited": RateLimited(429, "", ""),
    "held": HeldBack("ask", "BUDGET_SPENT", 0.3, 1),
    "away": NeverSent("nobody listens"),
}
VERBS = ("place", "place many", "take", "cancel", "cancel many", "decrease", "renew")


def ending(how: str, after_s: float) -> Callable[[], Awaitable[Any]]:
    async def step() -> None:
        await asyncio.sleep(after_s)
        if ENDS[how] is not None:
            raise ENDS[how]

    return step


class Checked:
    """A world in which each request is looked at as it reaches the venue."""

    def __init__(self, world: SendingWorld) -> None:
        self.world = world
        self.left: Counter[tuple[str, str]] = Counter()
        ask = world.venue._ask

        async def looked_at(verb: str, about: str, accepted: Callable[[], Any]) -> Any:
            if verb in ("place", "place many", "take"):
                for name in about.split():
                    self.left[verb, name] += 1
                    assert self.intent_line(name) < world.disk.durable, "it left before it was durable"
            return await ask(verb, about, accepted)

        world.venue._ask = looked_at

    def intent_line(self, client_order_id: str) -> int:
        lines = enumerate(self.world.disk.lines)
        return next(n for n, line in lines if isinstance(line, Intent) and line.client_order_id == client_order_id)

    def wishes(self, what: str, side: Side) -> None:
        world, resting = self.world, [one for one in self.world.live.resting() if one.side is side]
        commands = {
            "place": PlaceOrder(side, 4_000, 100),
            "take": TakeOrder(side, 6_000, 100),
            "decrease": resting and DecreaseOrder(resting[0].client_order_id, 50),
            "renew": resting and RenewOrder(resting[0].client_order_id, world.now_us + 60 * SECOND_US),
        }
        if what == "cancel":
            intents = world.live.cancel_all("stop", world.now_us)
        else:
            found = commands[what] and world.live.wish(commands[what], world.now_us)
            intents = [found] if found and not isinstance(found, Held) else []
        for intent in intents:
            world.disk.write(intent)
            world.sender.put(intent)

    def promises(self) -> None:
        lines = self.world.disk.lines
        wished = {line.number: line for line in lines if isinstance(line, Intent)}
        sent = Counter(line.number for line in lines if isinstance(line, Sent))
        answered = Counter(line.number for line in lines if isinstance(line, Answered))
        assert set(sent.values()) <= {1}
        assert answered.keys() == wished.keys()
        assert set(answered.values()) <= {1}
        assert set(self.left.values()) <= {1}, "a wish reached the venue twice"
        for number, outcome, _ in self.world.disk.answers():
            assert number in sent or outcome is Outcome.NOT_SENT
        orders = [number for number, line in wished.items() if not isinstance(line.wish, Cancel)]
        assert len(self.left) <= len([number for number in orders if number in sent])


STEPS = st.lists(
    st.tuples(
        st.sampled_from(("place", "place", "take", "cancel", "decrease", "renew")),
        st.sampled_from((Side.YES, Side.NO)),
        st.sampled_from(VERBS),
        st.sampled_from(sorted(ENDS)),
        st.sampled_from((0.0, 0.0, 0.1, 2.0)),
        st.sampled_from((0.0, 0.02, 0.5)),
    ),
    max_size=25,
)


@settings(max_examples=100)
@given(STEPS, st.sampled_from((0.0, 0.05, 0.4)), st.booleans())
def test_each_wish_leaves_once_at_most_after_it_is_durable_and_is_answered_once(
    steps: list[tuple[str, Side, str, str, float, float]], disk_s: float, is_given_up: bool
) -> None:
    async def history() -> None:
        if is_given_up:
            checked = await given_up(steps, disk_s)
        else:
            async with sending() as world:
                checked = Checked(world)
                await goes_through(checked, steps, disk_s)
        checked.promises()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(history())


async def goes_through(checked: Checked, steps: list[tuple[str, Side, str, str, float, float]], disk_s: float) -> None:
    checked.world.disk.delay_s = disk_s
    for what, side, verb, how, after_s, pause_s in steps:
        checked.world.venue.script(verb, ending(how, after_s))
        checked.wishes(what, side)
        await asyncio.sleep(pause_s)


async def given_up(steps: list[tuple[str, Side, str, str, float, float]], disk_s: float) -> Checked:
    """Cancel the sender in the middle of it."""
    world = SendingWorld()
    checked = Checked(world)
    running = asyncio.create_task(world.sender.run(world.stop))
    await asyncio.sleep(0)
    await goes_through(checked, steps, disk_s)
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    return checked
