"""WebSocket subscriptions: one sequence per sid, a bounded number of waiting frames. No socket is touched here.

A `Session` is one connection; a `Subscription` one sid of it.

    subscription ──frames──► session.outbox (bounded per subscription) ──► the socket's writer
                 overflow: error 25, the subscription is dead

Facts: asyncapi.yaml and facts.md section 12.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from feed.exchange.stream.bodies import encode
from feed.exchange.stream.channels import SEQUENCED

if TYPE_CHECKING:
    from feed.exchange.stream.hub import Hub

BUFFER_FRAMES = 50_000  # per subscription: some seconds of a full exchange for a client that does not read
NO_LIMIT = 1 << 62


class Subscription:
    """One sid. `tickers` is None where the subscription takes every market."""

    def __init__(
        self,
        session: Session,
        sid: int,
        channel: str,
        tickers: set[str] | None,
        *,
        use_yes_price: bool,
        lists_tickers: bool,
    ) -> None:
        self.session = session
        self.sid = sid
        self.channel = channel
        self.tickers = tickers
        self.use_yes_price = use_yes_price
        self.lists_tickers = lists_tickers
        self.is_dead = False
        self.waiting = 0  # frames in the outbox
        self.last_seq = 0
        self._has_seq = channel in SEQUENCED
        self._heads: dict[str, bytes] = {}

    def has_form(self, channel: str, *, use_yes_price: bool) -> bool:
        """Return whether it gives a channel in that price convention, which only books have."""
        return self.channel == channel and (channel != "orderbook_delta" or self.use_yes_price == use_yes_price)

    def next_seq(self) -> int:
        self.last_seq += 1
        return self.last_seq

    def send(self, kind: str, tail: bytes) -> None:
        """Queue one message; `tail` is what follows the sequence number, made by `Hub.tail`.

        This runs for every event and subscriber: the head is kept, the rest is shared.
        """
        if self.is_dead:
            return
        if self.waiting >= BUFFER_FRAMES:
            self.session.kill(self, 25, "Subscription buffer overflow")
            return
        head = self._heads.get(kind) or self._head(kind)
        if self._has_seq:
            self.last_seq += 1
            frame = b"%b%d%b" % (head, self.last_seq, tail)
        else:
            frame = head + tail
        self.waiting += 1
        self.session.queue(self, frame)

    def answer(self, kind: str, tail: bytes, *, command_id: int, takes_seq: bool = True) -> None:
        """Queue a data message that answers a command and carries its id."""
        if self.is_dead:
            return
        if self.waiting >= BUFFER_FRAMES:
            self.session.kill(self, 25, "Subscription buffer overflow")
            return
        seq = self.next_seq() if takes_seq else self.last_seq
        named = {"id": command_id} if command_id else {}
        head = encode({**named, "type": kind, "sid": self.sid, "seq": seq})
        self.waiting += 1
        self.session.queue(self, head[:-1] + tail)

    def _head(self, kind: str) -> bytes:
        head = encode({"type": kind, "sid": self.sid})[:-1]
        self._heads[kind] = head + b',"seq":' if self._has_seq else head
        return self._heads[kind]


class Session:
    """One connection of one account: its subscriptions and the frames that wait to be written.

    `subaccount` is the one its key is pinned to: then it hears of no other. None is all of them.
    """

    def __init__(self, hub: Hub, account: str, subaccount: int | None = None) -> None:
        self.hub = hub
        self.account = account
        self.subaccount = subaccount
        self.subscriptions: dict[int, Subscription] = {}
        self.outbox: deque[tuple[Subscription | None, bytes]] = deque()
        self.commands_left = 0.0
        self.commanded_us = 0
        self._last_sid = 0

    def add(self, channel: str, tickers: set[str] | None, *, use_yes_price: bool, lists_tickers: bool) -> Subscription:
        self._last_sid += 1
        subscription = Subscription(
            self, self._last_sid, channel, tickers, use_yes_price=use_yes_price, lists_tickers=lists_tickers
        )
        self.subscriptions[subscription.sid] = subscription
        self.hub.index(subscription)
        return subscription

    def remove(self, subscription: Subscription) -> None:
        del self.subscriptions[subscription.sid]
        self.hub.forget(subscription)

    def owns(self, account: str, subaccount: int) -> bool:
        """Return whether what an account's subaccount does is this connection's own."""
        return account == self.account and self.subaccount in (None, subaccount)

    def kill(self, subscription: Subscription, code: int, problem: str) -> None:
        """End a subscription with a terminal error (10 or 25); what still waits of it is not sent."""
        subscription.is_dead = True
        self.remove(subscription)
        body = {"code": code, "msg": problem}
        self.reply({"type": "error", "sid": subscription.sid, "seq": subscription.next_seq(), "msg": body})

    def queue(self, subscription: Subscription | None, frame: bytes) -> None:
        self.outbox.append((subscription, frame))
        self.hub.awake.add(self)

    def reply(self, message: dict[str, Any]) -> None:
        """Queue an answer to a command."""
        body = message.pop("msg", None)
        tail = self.hub.tail(encode(body)) if body is not None else self.hub.stamp() + b"}"
        self.queue(None, encode(message)[:-1] + tail)

    def take(self, limit_bytes: int = NO_LIMIT) -> list[bytes]:
        """Return waiting frames, oldest first, until they come to `limit_bytes`, and forget them."""
        outbox, frames, size = self.outbox, [], 0
        while outbox and size < limit_bytes:
            subscription, frame = outbox.popleft()
            if subscription is not None:
                subscription.waiting -= 1
                if subscription.is_dead:
                    continue
            frames.append(frame)
            size += len(frame)
        return frames
