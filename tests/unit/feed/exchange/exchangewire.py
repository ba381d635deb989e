"""One connection to a small world, without a socket."""

from __future__ import annotations

from typing import Any

import msgspec
from exchangeworld import NOW_US

from feed.exchange.faults.plan import FaultPlan
from feed.exchange.stream.commands import Commander
from feed.exchange.stream.hub import Hub
from feed.exchange.stream.subscriptions import Session
from feed.exchange.world import World


class Wire:
    """Says commands and reads what waits."""

    def __init__(self, world: World, hub: Hub, account: str = "us", subaccount: int | None = None) -> None:
        self.world, self.hub = world, hub
        self.session: Session = hub.open(account, subaccount)
        self._commander = Commander(world, hub, FaultPlan(seed=1))

    def say(self, text: str | dict[str, Any]) -> list[dict[str, Any]]:
        self.hub.publish(self.world.take(), wall_ms=NOW_US // 1_000)
        self._commander.handle(self.session, text if isinstance(text, str) else msgspec.json.encode(text).decode())
        return self.read()

    def read(self) -> list[dict[str, Any]]:
        self.hub.publish(self.world.take(), wall_ms=NOW_US // 1_000)
        return [msgspec.json.decode(frame) for frame in self.session.take()]

    def subscribe(self, *channels: str, **params: Any) -> list[dict[str, Any]]:
        return self.say({"id": 1, "cmd": "subscribe", "params": {"channels": list(channels), **params}})

    def update(self, action: str, command_id: int = 2, **params: Any) -> list[dict[str, Any]]:
        return self.say({"id": command_id, "cmd": "update_subscription", "params": {"action": action, **params}})


def words(frames: list[dict[str, Any]]) -> list[tuple[str, int | None, int | None]]:
    return [(frame["type"], frame.get("sid"), frame.get("seq")) for frame in frames]


def code(frames: list[dict[str, Any]]) -> int:
    (answer,) = frames
    assert answer["type"] == "error"
    return int(answer["msg"]["code"])
