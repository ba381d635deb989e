"""KALSHIMM_HOME/kill.json: what must not trade. Whoever sends an order looks at it first; it needs no store.

    kill ──throw──► kills ◄── every trader, before each new order and four times a second
                      │   ◄── supervisor: pauses them in the database, too
    kill --release ───┴──► released ──► forgotten once the database says that they are paused (traders.killnotes)

A released kill stops nobody, and stays in the file until then: else whoever has not heard of it would resume them.
A file that cannot be read counts as a kill of everything: somebody wrote it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import msgspec
from msgspec.structs import replace

from kalshimm.errors import HomeNotWritable
from kalshimm.runtime.home import folder, write_private
from kalshimm.runtime.locks import FileLock
from traders.core.kills import ALL, Kill, Kind, Target, covering, with_kill, without

FILE = "kill.json"
VERSION = 1
LOCK_WITHIN_S = 2.0
NOBODY = "somebody"


class _Content(msgspec.Struct, frozen=True):
    kills: tuple[Kill, ...] = ()
    released: tuple[Kill, ...] = ()
    version: int = VERSION


class KillSwitch:
    """The kills of one home, read anew whenever the file has changed: a look costs some microseconds."""

    def __init__(self, home: Path) -> None:
        self._path = home / FILE
        self._seen: tuple[int, int, int] | None = None
        self._content = _Content()

    def kills(self) -> tuple[Kill, ...]:
        """Return what is killed now."""
        return self._look().kills

    def released(self) -> tuple[Kill, ...]:
        """Return what was killed and released, and of which the database may not know."""
        return self._look().released

    def covering(self, target: Target) -> Kill | None:
        """Return a kill that covers a trader, None without one."""
        return covering(self.kills(), target)

    def why(self, target: Target) -> str:
        """Return why nothing new of a trader may leave; empty when it may."""
        kill = self.covering(target)
        return kill.why if kill else ""

    def _look(self) -> _Content:
        try:
            status = self._path.stat()
            seen = status.st_mtime_ns, status.st_ino, status.st_size
            if seen != self._seen:
                self._content = _decoded(self._path.read_bytes(), status.st_mtime_ns // 1_000)
                self._seen = seen
        except FileNotFoundError:
            self._seen, self._content = None, _Content()
        except OSError as exc:  # of the moment: it is read again at the next look
            return _Content((_unreadable(exc.strerror or str(exc), 0),))
        return self._content


def throw(home: Path, kill: Kill) -> None:
    """Write a kill down.

    Raises:
        HomeNotWritable: It cannot be; traders do not know of it.
        NotReachable: Another command holds the file.
    """
    with _as_owner(home):
        _change(home, lambda content: replace(content, kills=with_kill(content.kills, kill)))


def release(home: Path, kind: Kind, key: str = "") -> tuple[Kill, ...]:
    """Take back a kill, or with that of everything all of them; return those that were taken back.

    Raises:
        HomeNotWritable, NotReachable: As above.
    """
    taken_back: list[Kill] = []

    def without_it(content: _Content) -> _Content:
        left = without(content.kills, kind, key)
        taken_back[:] = [kill for kill in content.kills if kill not in left]
        return replace(content, kills=left, released=(*content.released, *taken_back))

    with _as_owner(home):
        _change(home, without_it)
    return tuple(taken_back)


def forget_released(home: Path, known: Collection[Kill]) -> None:
    """Forget released kills that the database knows of.

    Raises:
        HomeNotWritable, NotReachable: As above.
    """
    _change(home, lambda content: replace(content, released=tuple(k for k in content.released if k not in known)))


def _change(home: Path, step: Callable[[_Content], _Content]) -> None:
    path = home / FILE
    with FileLock(folder(home, "run") / "kill.lock").held(within_s=LOCK_WITHIN_S):
        try:
            before = _decoded(path.read_bytes(), 0) if path.exists() else _Content()
            content = step(before)
            if content.kills or content.released:
                write_private(path, msgspec.json.format(msgspec.json.encode(content), indent=2), is_durable=True)
            else:
                path.unlink(missing_ok=True)
        except OSError as exc:
            raise HomeNotWritable(path, exc.strerror or str(exc)) from exc


@contextlib.contextmanager
def _as_owner(home: Path) -> Iterator[None]:
    """Write as the home's owner also where root kills: those who trade could not read what is root's."""
    owner = home.stat() if home.exists() and os.geteuid() == 0 else None
    if owner is None or owner.st_uid == 0:
        yield
        return
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def _decoded(text: bytes, at_us: int) -> _Content:
    try:
        content = msgspec.json.decode(text, type=_Content)
    except msgspec.MsgspecError as exc:
        return _Content((_unreadable(str(exc), at_us),))
    return content if content.version == VERSION else _Content((_unreadable(f"version {content.version}", at_us),))


def _unreadable(problem: str, at_us: int) -> Kill:
    return Kill(kind=ALL, by=f"{NOBODY} whose {FILE} cannot be read ({problem})", at_us=at_us)
