"""KALSHIMM_HOME/kill.json: what must not trade. Whoever sends an order looks at it first; it needs no store.

    kill ──throw──► kill.json ◄── every trader, before each new order and four times a second
                        ▲    ◄── supervisor: writes down in the database that they are paused
    kill --release ─────┘

A file that cannot be read counts as a kill of everything: somebody wrote it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from kalshimm.runtime.home import folder, write_private
from kalshimm.runtime.locks import FileLock
from traders.core.kills import ALL, Kill, Kind, Target, covering, with_kill, without

FILE = "kill.json"
VERSION = 1
LOCK_WITHIN_S = 2.0
NOBODY = "somebody"


class _Content(msgspec.Struct, frozen=True):
    kills: tuple[Kill, ...]
    version: int = VERSION


class KillSwitch:
    """The kills of one home, read anew whenever the file has changed: a look costs some microseconds."""

    def __init__(self, home: Path) -> None:
        self._path = home / FILE
        self._seen: tuple[int, int, int] | None = None
        self._kills: tuple[Kill, ...] = ()

    def kills(self) -> tuple[Kill, ...]:
        """Return what is killed now."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._seen, self._kills = None, ()
            return ()
        except OSError as exc:
            return (_unreadable(exc.strerror or str(exc), 0),)
        seen = status.st_mtime_ns, status.st_ino, status.st_size
        if seen != self._seen:
            self._kills = _read(self._path, status.st_mtime_ns // 1_000)
            self._seen = seen
        return self._kills

    def covering(self, target: Target) -> Kill | None:
        """Return a kill that covers a trader, None without one."""
        return covering(self.kills(), target)

    def why(self, target: Target) -> str:
        """Return why nothing new of a trader may leave; empty when it may."""
        kill = self.covering(target)
        return kill.why if kill else ""


def throw(home: Path, kill: Kill) -> None:
    """Write a kill down.

    Raises:
        HomeNotWritable: It cannot be; traders do not know of it.
        NotReachable: Another command holds the file.
    """
    with _changing(home) as change:
        change(lambda kills: with_kill(kills, kill))


def release(home: Path, kind: Kind, key: str = "") -> tuple[Kill, ...]:
    """Take back a kill, or with that of everything all of them; return those that were taken back.

    Raises:
        HomeNotWritable, NotReachable: As above.
    """
    before = KillSwitch(home).kills()
    with _changing(home) as change:
        after = change(lambda kills: without(kills, kind, key))
    return tuple(kill for kill in before if kill not in after)


Change = Callable[[Callable[[tuple[Kill, ...]], tuple[Kill, ...]]], tuple[Kill, ...]]


@contextlib.contextmanager
def _changing(home: Path) -> Iterator[Change]:
    path = home / FILE

    def change(how: Callable[[tuple[Kill, ...]], tuple[Kill, ...]]) -> tuple[Kill, ...]:
        kills = how(KillSwitch(home).kills())
        if kills:
            write_private(path, msgspec.json.format(msgspec.json.encode(_Content(kills)), indent=2), is_durable=True)
        else:
            path.unlink(missing_ok=True)
        return kills

    with FileLock(folder(home, "run") / "kill.lock").held(within_s=LOCK_WITHIN_S):
        yield change


def _read(path: Path, at_us: int) -> tuple[Kill, ...]:
    try:
        content = msgspec.json.decode(path.read_bytes(), type=_Content)
    except FileNotFoundError:
        return ()
    except OSError as exc:
        return (_unreadable(exc.strerror or str(exc), at_us),)
    except msgspec.MsgspecError as exc:
        return (_unreadable(str(exc), at_us),)
    return content.kills if content.version == VERSION else (_unreadable(f"version {content.version}", at_us),)


def _unreadable(problem: str, at_us: int) -> Kill:
    return Kill(kind=ALL, by=f"{NOBODY} whose {FILE} cannot be read ({problem})", at_us=at_us)
