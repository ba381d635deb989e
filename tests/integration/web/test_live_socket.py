from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import redis
from channels.auth import AuthMiddlewareStack
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.conf import settings as django_settings
from django.contrib.auth.models import AnonymousUser, User
from django.test import Client
from django.urls import path
from pytest_django import Settings

from feed.consumers import CLOSE_LOGGED_OUT, CLOSE_TOO_SLOW, TopicConsumer
from feed.hub import Fragments, Hub
from feed.relay import TOPIC_OVERVIEW, group, watch_key
from kalshimm.asgi import application
from tests.fixtures import fleet
from traders.fragments import FRAGMENTS, OverviewSource

DEADLINE_S = 10.0
pytestmark = pytest.mark.django_db(transaction=True)


class Counting:
    """A source whose one fragment counts the renderings."""

    def __init__(self, client: object) -> None:
        self.turns = 0

    async def fragments(self) -> Fragments:
        self.turns += 1
        return {"n": f'<b id="n">{self.turns}</b>', "same": '<b id="same">same</b>'}


@asynccontextmanager
async def opened(communicator: WebsocketCommunicator) -> AsyncIterator[WebsocketCommunicator]:
    is_open, _ = await communicator.connect(timeout=DEADLINE_S)
    assert is_open
    try:
        yield communicator
    finally:
        await communicator.disconnect()


async def message(socket: WebsocketCommunicator) -> str:
    """Return the next message, and say that it was shown."""
    text: str = await socket.receive_from(timeout=DEADLINE_S)
    await socket.send_to("shown")
    return text


async def message_with(socket: WebsocketCommunicator, words: str) -> str:
    async with asyncio.timeout(DEADLINE_S):
        while words not in (text := await message(socket)):
            pass
    return text


async def close_code(socket: WebsocketCommunicator) -> int:
    """Return the code the server closes with, whatever it sends before."""
    while (output := await socket.receive_output(timeout=DEADLINE_S))["type"] != "websocket.close":
        pass
    code: int = output["code"]
    return code


def a_socket(user: User | AnonymousUser, hub: Hub, **options: float) -> WebsocketCommunicator:
    """A socket past the login middleware."""
    app = URLRouter([path("ws", TopicConsumer.as_asgi(hub=hub, **options))])
    socket = WebsocketCommunicator(app, "/ws")
    socket.scope["user"] = user
    return socket


def overview_socket(cookies: str, origin: str = "http://localhost") -> WebsocketCommunicator:
    headers = [(b"origin", origin.encode()), (b"cookie", cookies.encode()), (b"host", b"localhost")]
    return WebsocketCommunicator(application, "/ws/overview", headers=headers)


@pytest.fixture
def cookies(operator: User, client: Client) -> str:
    client.force_login(operator)
    name = django_settings.SESSION_COOKIE_NAME
    return f"{name}={client.cookies[name].value}"


async def test_a_new_page_gets_every_fragment(cookies: str, redis_client: redis.Redis) -> None:
    async with opened(overview_socket(cookies)) as socket:
        text = await message(socket)
        for name in FRAGMENTS:
            assert f'id="{name}"' in text
        assert text.count('hx-swap-oob="morph"') == len(FRAGMENTS)


async def test_a_changed_beat_reaches_the_page(cookies: str, redis_client: redis.Redis) -> None:
    traders = await database_sync_to_async(fleet.seed)()
    fleet.write_beats(redis_client, fleet.trader_beat(traders[0], position_cx=8_500))
    async with opened(overview_socket(cookies)) as socket:
        await message_with(socket, "+85")
        fleet.write_beats(redis_client, fleet.trader_beat(traders[0], position_cx=9_900))
        await message_with(socket, "+99")


async def test_a_stranger_is_closed_with_a_code_that_says_so(redis_client: redis.Redis) -> None:
    async with opened(overview_socket("")) as socket:
        assert await close_code(socket) == CLOSE_LOGGED_OUT


async def test_another_site_cannot_open_a_socket(cookies: str) -> None:
    is_open, _ = await overview_socket(cookies, origin="http://evil.example").connect(timeout=DEADLINE_S)
    assert not is_open


async def test_a_page_is_cut_off_after_its_logout(cookies: str, client: Client, redis_client: redis.Redis) -> None:
    consumer = TopicConsumer.as_asgi(hub=Hub("t", Counting), session_every_s=0.05)
    app = AuthMiddlewareStack(URLRouter([path("ws", consumer)]))
    async with opened(WebsocketCommunicator(app, "/ws", headers=[(b"cookie", cookies.encode())])) as socket:
        await message_with(socket, '<b id="n">2</b>')  # looked at more than once, and still in
        await database_sync_to_async(client.logout)()
        assert await close_code(socket) == CLOSE_LOGGED_OUT


async def test_a_page_that_takes_nothing_is_cut_off(operator: User, redis_client: redis.Redis) -> None:
    async with opened(a_socket(operator, Hub("t", Counting), take_max_s=0.05)) as socket:
        assert await close_code(socket) == CLOSE_TOO_SLOW


async def test_a_slow_page_gets_the_newest_instead_of_a_queue(operator: User, redis_client: redis.Redis) -> None:
    hub = Hub("t", Counting)
    async with opened(a_socket(operator, hub)) as slow, opened(a_socket(operator, hub)) as quick:
        await slow.receive_from(timeout=DEADLINE_S)
        await message_with(quick, '<b id="n">3</b>')
        await slow.send_to("shown")
        assert '<b id="n">3</b>' in await message(slow)


async def test_only_what_changed_is_sent_again(operator: User, redis_client: redis.Redis) -> None:
    async with opened(a_socket(operator, Hub("t", Counting))) as socket:
        assert "same" in await message(socket)
        assert "same" not in await message(socket)


async def test_the_relay_s_word_wakes_the_hub(
    operator: User, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feed.hub.AT_LEAST_EVERY_S", 3_600.0)
    async with opened(a_socket(operator, Hub(TOPIC_OVERVIEW, Counting))) as socket:
        await message_with(socket, '<b id="n">1</b>')
        layer = get_channel_layer()
        changed = {"type": "topic.changed", "topic": TOPIC_OVERVIEW, "version": 1}

        async def say_until_heard() -> None:
            while True:  # the hub may not listen yet
                await layer.group_send(group(TOPIC_OVERVIEW), changed)
                await asyncio.sleep(0.05)

        saying = asyncio.create_task(say_until_heard())
        try:
            await message_with(socket, '<b id="n">2</b>')
        finally:
            saying.cancel()


async def test_the_hub_tells_the_relay_that_somebody_watches(operator: User, redis_client: redis.Redis) -> None:
    async with opened(a_socket(operator, Hub(TOPIC_OVERVIEW, Counting))) as socket:
        await message(socket)
        assert redis_client.exists(watch_key(TOPIC_OVERVIEW))


async def test_with_redis_away_the_page_says_so_and_goes_on(operator: User, settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    async with opened(a_socket(operator, Hub(TOPIC_OVERVIEW, OverviewSource))) as socket:
        await message_with(socket, "Redis does not answer")


async def test_a_silent_trader_keeps_its_last_figures_greyed(
    cookies: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("traders.overview.BEAT_STALE_MS", 200)
    traders = await database_sync_to_async(fleet.seed)()
    fleet.write_beats(redis_client, fleet.trader_beat(traders[0], position_cx=8_500))
    async with opened(overview_socket(cookies)) as socket:
        await message_with(socket, "+85")
        redis_client.flushall()
        text = await message_with(socket, "no beat any more")
        row = text.partition(f'id="tr-{traders[0].pk}"')[2].partition("</tr>")[0]
        assert "stale" in row
        assert "+85" in row


@pytest.mark.parametrize("turns", range(8))
async def test_the_last_page_to_leave_stops_the_hub_whatever_comes_at_that_moment(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    monkeypatch.setattr("feed.hub.AT_MOST_EVERY_S", 0.0)
    hub = Hub("t", Counting)
    slot = hub.join()
    task = hub._task
    assert task is not None
    await slot.take()
    hub._changed.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    hub.leave(slot)
    _, pending = await asyncio.wait([task], timeout=DEADLINE_S)
    assert not pending


async def test_a_page_that_comes_while_the_hub_is_ending_is_served_by_one_hub(redis_client: redis.Redis) -> None:
    hub = Hub("t", Counting)
    first = hub.join()
    await first.take()
    hub.leave(first)
    second = hub.join()
    task = hub._task
    await asyncio.wait_for(second.take(), DEADLINE_S)
    assert len([t for t in asyncio.all_tasks() if t.get_name() == "hub t"]) == 1
    hub.leave(second)
    assert task is not None
    await asyncio.wait_for(task, DEADLINE_S)


async def test_a_page_that_comes_while_the_hub_cleans_up_is_served_by_another(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaning, may_end = asyncio.Event(), asyncio.Event()

    async def end_slowly(task: asyncio.Task[None]) -> None:
        cleaning.set()
        await may_end.wait()
        task.cancel()

    hub = Hub("t", Counting)
    first = hub.join()
    await first.take()
    monkeypatch.setattr("feed.hub._end", end_slowly)
    hub.leave(first)
    await asyncio.wait_for(cleaning.wait(), DEADLINE_S)
    second = hub.join()
    await asyncio.wait_for(second.take(), DEADLINE_S)
    may_end.set()
    task = hub._task
    hub.leave(second)
    assert task is not None
    await asyncio.wait_for(task, DEADLINE_S)
