"""What a trader goes by, strategies and limits, as it is told: at its start, and again when they change while it runs.

A running trader goes over to others where nothing outside of it has to change with them:

    strategies, guards, tolerances     on the fly; what rests stays where it is still wanted, or as good as that
    limits that let it lose no more    likewise
    limits that let it lose more       a new start: what it may lose is reserved then
    larger orders, or more, when live  a new start: its order group at the exchange is made for what there was
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from traders.core.decision import Rules, parse_limits
from traders.core.lifetimes import group_limit_cx
from traders.core.pipeline import StrategyChoices
from traders.core.risk import reserve_ud


class TraderParams(msgspec.Struct, frozen=True):
    """As people write them, unchecked."""

    strategies: StrategyChoices
    limits: Any = {}

    @property
    def digest(self) -> int:
        """A number by which two are compared across processes, never 0."""
        digest = hashlib.blake2b(msgspec.json.encode(self, order="sorted"), digest_size=7)
        return int.from_bytes(digest.digest(), "big") + 1

    def rules(self) -> Rules:
        """Return them checked.

        Raises:
            NoStrategies, ParamsError: One is unknown or does not fit; the message names it.
        """
        return Rules(self.strategies.parse(), parse_limits(self.limits))

    def unlike(self, other: TraderParams) -> tuple[str, ...]:
        """Return the parts in which two differ."""
        parts = self.strategies.__struct_fields__
        found = [part for part in parts if getattr(self.strategies, part) != getattr(other.strategies, part)]
        return (*found, *(["limits"] if self.limits != other.limits else []))


class _Told(msgspec.Struct, frozen=True):
    params: TraderParams
    digest: int


def encode_params(params: TraderParams) -> bytes:
    return msgspec.msgpack.encode(_Told(params, params.digest))


def read_params(body: bytes) -> TraderParams:
    """Return parameters that another process tells, unchecked.

    Raises:
        msgspec.MsgspecError: They are not of our shape.
        ValueError: They are not those that were sent, or another version reads them otherwise.
    """
    told = msgspec.msgpack.decode(body, type=_Told)
    if told.params.digest != told.digest:
        raise ValueError(f"its digest is {told.params.digest}, and {told.digest} was sent")
    return told.params


def why_restart(running: Rules, wanted: Rules, *, is_live: bool) -> str:
    """Return why a running trader cannot go over to other rules; empty when it can."""
    if reserve_ud(wanted.limits) > reserve_ud(running.limits):
        return "its limits let it lose more than it has reserved"
    if is_live and _group_cx(wanted) > _group_cx(running):
        return "its order group is for smaller orders, or for fewer"
    return ""


def _group_cx(rules: Rules) -> int:
    return group_limit_cx(rules.limits, orders_a_side=rules.strategies.tolerances.orders_a_side)
