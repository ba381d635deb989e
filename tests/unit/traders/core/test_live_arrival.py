"""B15, C11: whatever order messages and answers arrive in, and however often, the same is known in the end."""

from __future__ import annotations

import random
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from feed.schema import AccountFill, AccountOrder
from tests.unit.traders.core.livevenue import Venue
from tests.unit.traders.core.liveworld import GROUP, OWNER, TICKER, YES
from traders.core.commands import PlaceOrder
from traders.core.intents import Answered, Intent
from traders.core.liveorders import LiveOrders
from traders.core.orders import Fill

HAPPENINGS = st.lists(st.sampled_from(["fill", "fill", "less", "cancel", "wait"]), max_size=8)


def what_comes_of_an_order(happenings: list[str], now_us: int) -> tuple[LiveOrders, list[Any]]:
    """Return live orders that sent one, and every message and answer about it as they were made."""
    live, venue = LiveOrders(OWNER, TICKER, group_id=GROUP), Venue(now_us)
    intent = live.wish(PlaceOrder(YES, 4_000, 10), now_us)
    assert isinstance(intent, Intent)
    live.send(intent.number, now_us)
    answer = venue.carry_out(intent, GROUP)
    (order,) = venue.orders.values()
    for happening in happenings:
        venue.now_us += 1_000
        if order.status != "resting":
            break
        if happening == "fill":
            venue.fill(order, 1)
        elif happening == "less":
            venue.reduce(order, max(1, order.live_cx - 2))
        elif happening == "cancel":
            venue.cancel(order, "by hand")
    return live, [answer, *venue.messages]


def deliver(live: LiveOrders, messages: list[Any], now_us: int) -> tuple[Any, ...]:
    """Return what is known in the end."""
    for message in messages:
        if isinstance(message, Answered):
            live.answered(message)
        elif isinstance(message, AccountOrder):
            live.on_order(message, now_us)
        elif isinstance(message, AccountFill):
            live.on_fill(message, now_us)
    told = live.take()
    fills = sorted(event.trade_id for event in told if isinstance(event, Fill))
    orders = [event for event in told if not isinstance(event, Fill)]
    quotes = [(quote.remaining_cx, quote.price_cc) for quote in live.resting()]
    return quotes, live.unproven(), live.unsettled(), fills, orders[-1]


@settings(max_examples=150)
@given(HAPPENINGS, st.randoms(use_true_random=False), st.booleans())
def test_B15_the_order_of_arrival_means_nothing(
    happenings: list[str], chance: random.Random, is_nameless: bool
) -> None:
    now_us = 1_790_000_000_000_000
    live, messages = what_comes_of_an_order(happenings, now_us)
    expected = deliver(live, messages, now_us)
    live, messages = what_comes_of_an_order(happenings, now_us)
    if is_nameless:  # but for the answer nothing says whose it is
        messages[1:] = [msgspec.structs.replace(message, client_order_id="") for message in messages[1:]]
    messages += chance.sample(messages, chance.randrange(len(messages) + 1))
    chance.shuffle(messages)
    assert deliver(live, messages, now_us) == expected
