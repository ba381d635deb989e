"""The link against a real WebSocket server."""

from __future__ import annotations

import asyncio

import pytest
from websockets.asyncio.server import ServerConnection, serve

from feed.kalshi.environments import Environment
from feed.link import Link, Receive
from kalshimm.runtime.clock import SystemClock

DEADLINE_S = 10.0


class Failing:
    """An owner that cannot take in what comes."""

    link: Link

    def link_opened(self) -> Receive:
        self.link.send([b"{}"])

        def receive(turn: list[bytes], received_us: int) -> None:
            raise LookupError(f"{len(turn)} frame nobody expected")

        return receive

    def link_closed(self, reason: str) -> None:
        raise AssertionError(f"it ends with the error, not with {reason!r}")


async def talk(connection: ServerConnection) -> None:
    await connection.send(await connection.recv())
    await connection.wait_closed()


@pytest.mark.parametrize("adapter", ["picows", "websockets"])
async def test_a_turn_that_fails_ends_the_link_with_its_error(adapter: str) -> None:
    async with serve(talk, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        owner = Failing()
        link = owner.link = Link(
            owner, what="feed", alert="FEED_DOWN", environment=Environment("local", "", url), signer=None,
            clock=SystemClock(), adapter=adapter,
        )  # fmt: skip
        with pytest.raises(LookupError, match="nobody expected"):
            async with asyncio.timeout(DEADLINE_S):
                await link.run(asyncio.Event())
