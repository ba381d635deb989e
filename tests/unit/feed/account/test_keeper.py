"""What the keeper of an account does with the ends of its channels."""

from __future__ import annotations

import itertools
import json

import pytest
import redis.asyncio as redis_async
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from feed.account.keeper import SLOWER_AGAIN_S, Keeper
from feed.kalshi.environments import resolve
from feed.kalshi.signing import Signer
from feed.link import Link
from kalshimm.runtime.clock import ManualClock


class Desk:
    """A keeper whose commands are answered at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock, self.subscribed, self.sids = ManualClock(), list[str](), itertools.count(1)
        monkeypatch.setattr(Link, "send", lambda _link, frames: self._answer(frames))
        signer = Signer("local", "key", Ed25519PrivateKey.generate())
        environment = resolve("local", "http://127.0.0.1:1/trade-api/v2", "ws://127.0.0.1:1/trade-api/ws/v2")
        self.keeper = Keeper(
            "local", environment=environment, signer=signer, client=redis_async.Redis(), clock=self.clock
        )  # fmt: skip
        self.keeper.link_opened()

    def _answer(self, frames: list[bytes]) -> None:
        for command in map(json.loads, frames):
            (channel,) = command["params"]["channels"]
            self.subscribed.append(channel)
            msg = {"channel": channel, "sid": next(self.sids)}
            frame = {"id": command["id"], "type": "subscribed", "msg": msg}
            self.keeper.receive([json.dumps(frame).encode()], self.clock.wall_us())

    def end(self, channel: str) -> None:
        """End the newest subscription of a channel."""
        sid = max(number for number, of in enumerate(self.subscribed, 1) if of == channel)
        error = {"type": "error", "sid": sid, "msg": {"code": 10, "msg": "Channel error"}}
        self.keeper.receive([json.dumps(error).encode()], self.clock.wall_us())

    def damage(self) -> None:
        """Tell of a fill that cannot be read."""
        self.keeper.receive([b'{"type":"fill","sid":1,"msg":{}}'], self.clock.wall_us())

    def take_due(self) -> bool:
        """Whether the fills are to be read now; they are then as if read."""
        is_due = self.keeper._due["fills"] <= self.clock.monotonic()
        if is_due:
            self.keeper._due["fills"] = float("inf")
        return is_due

    async def look(self, *, after_s: float) -> None:
        self.clock.advance_us(round(after_s * 1_000_000))
        await self.keeper._look()


async def test_B10_a_channel_that_ends_is_subscribed_anew_at_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch)
    assert desk.keeper.health.state == "live"
    desk.end("fill")
    assert desk.keeper.health.state == "polling"
    await desk.look(after_s=0.25)
    assert desk.subscribed[4:] == ["fill"]
    assert desk.keeper.health.state == "live"


async def test_B10_a_channel_that_ends_again_and_again_is_not_asked_for_without_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk(monkeypatch)
    for _ in range(2):
        desk.end("fill")
        await desk.look(after_s=0.25)
    assert desk.subscribed[4:] == ["fill"], "once at the next look, not again before a while"
    await desk.look(after_s=SLOWER_AGAIN_S)
    assert desk.subscribed[4:] == ["fill", "fill"]


async def test_many_holes_are_asked_about_at_once_and_then_together(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch)
    desk.take_due()
    due = []
    for _ in range(30):
        desk.damage()
        due.append(desk.take_due())
        desk.clock.advance_us(100_000)
    assert due[0]
    assert sum(due) == 3, "in three seconds"
    desk.damage()
    assert desk.take_due()
