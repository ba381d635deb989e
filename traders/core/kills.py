"""What a kill covers: everything, an account, an event, or one trader.

A kill stands until a person releases it. While one covers a trader, nothing new of it leaves, whatever else is asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

Kind = Literal["all", "account", "event", "trader"]
ALL: Final = "all"
ACCOUNT: Final = "account"
EVENT: Final = "event"
TRADER: Final = "trader"


class Target(msgspec.Struct, frozen=True):
    """A trader, by all that a kill may name it by.

    Attributes:
        account: `paper` for a dry-run trader.
        event: Ticker of its market's event; empty while nobody knows it.
    """

    trader: int
    name: str
    account: str
    event: str = ""


class Kill(msgspec.Struct, frozen=True, kw_only=True):
    """One kill.

    Attributes:
        key: Account, ticker of the event, or name or number of the trader; empty for all.
        by: Who asked for it.
    """

    kind: Kind
    key: str = ""
    by: str
    at_us: int

    def covers(self, target: Target) -> bool:
        match self.kind:
            case "all":
                return True
            case "account":
                return self.key == target.account
            case "event":
                return self.key == target.event
            case "trader":
                return self.key in (target.name, str(target.trader))

    @property
    def what(self) -> str:
        return "everything" if self.kind == ALL else f"{self.kind} {self.key}"

    @property
    def release_command(self) -> str:
        """Return what takes it back."""
        scope = "" if self.kind == ALL else f" --{self.kind} {self.key}"
        return f"manage.py kill --release{scope}"

    @property
    def why(self) -> str:
        """Return why nothing new may leave."""
        return f"{self.what} was killed by {self.by}"


def covering(kills: Iterable[Kill], target: Target) -> Kill | None:
    """Return the first kill that covers a trader, None without one."""
    return next((kill for kill in kills if kill.covers(target)), None)


def with_kill(kills: Iterable[Kill], kill: Kill) -> tuple[Kill, ...]:
    """Return the kills with another; of two of the same the first stays, which says since when nothing may leave."""
    before = tuple(kills)
    return before if any((one.kind, one.key) == (kill.kind, kill.key) for one in before) else (*before, kill)


def without(kills: Iterable[Kill], kind: Kind, key: str = "") -> tuple[Kill, ...]:
    """Return the kills that stand once one is released: all of them go with that of everything."""
    return () if kind == ALL else tuple(one for one in kills if (one.kind, one.key) != (kind, key))
