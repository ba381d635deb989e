"""A trader's folder and its process: who runs, who ran, how it ended. Needs no Django.

traders/<id>/  start.json       what to do, written by the supervisor before each start
               lock             held as long as the process lives: one process a trader
               process.json     who runs (boot, pid, start time, instance), written before anything is done
               exit.json        how it ended, the last thing a process writes; missing after a crash
               journal          numbered record (traders.journal)
               checkpoint.json  what the compacted journal amounted to
               log              output
"""

from __future__ import annotations

import logging
import os
import select
import signal
import time
from pathlib import Path
from typing import TypeVar

import msgspec
import psutil

from kalshimm.runtime.home import folder, write_private
from kalshimm.runtime.locks import FileLock
from kalshimm.runtime.process import ProcessIdentity

logger = logging.getLogger(__name__)

Kind = TypeVar("Kind")


class Running(msgspec.Struct, frozen=True):
    """The process that holds a trader's lock; `instance` is the token of the start it belongs to."""

    identity: ProcessIdentity
    instance: str


class Ended(msgspec.Struct, frozen=True):
    """How a process ended by itself: exit code, last state word, why."""

    identity: ProcessIdentity
    instance: str
    code: int
    state: str
    reason: str


def trader_folder(home: Path, trader: int) -> Path:
    return folder(home, "traders", str(trader))


def write_running(path: Path, running: Running) -> None:
    write_private(path / "process.json", msgspec.json.encode(running))


def write_ended(path: Path, ended: Ended) -> None:
    write_private(path / "exit.json", msgspec.json.encode(ended))


def read_running(path: Path) -> Running | None:
    """Return who holds or last held this trader, or None when nobody ever did."""
    return _read(path / "process.json", Running)


def read_ended(path: Path) -> Ended | None:
    """Return how the trader's last process ended, or None when it left no word."""
    return _read(path / "exit.json", Ended)


def _read(path: Path, kind: type[Kind]) -> Kind | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as exc:
        logger.warning("%s cannot be read: %s", path, exc, extra={"action": "bad_process_file"})
        return None


def forget(path: Path) -> bool:
    """Remove the traces of an ended process; False when a process holds the trader's lock, for then they are its own.

    Removed without the lock, the word of a process that has just begun would be lost, and nobody would find it again.
    """
    lock = FileLock(path / "lock")
    if not lock.try_acquire():
        return False
    try:
        for name in ("process.json", "exit.json"):
            (path / name).unlink(missing_ok=True)
    finally:
        lock.release()
    return True


def living(home: Path) -> dict[int, ProcessIdentity]:
    """Return every living trader process of a home, by trader id."""
    found: dict[int, ProcessIdentity] = {}
    for path in home.glob("traders/*/process.json"):
        running = read_running(path.parent)
        if running and running.identity.lives() and path.parent.name.isdigit():
            found[int(path.parent.name)] = running.identity
    return found


def send_signal(identity: ProcessIdentity, number: signal.Signals) -> bool:
    """Signal exactly this process; False when it has ended (its pid may be a stranger's by now)."""
    try:
        descriptor = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return False
    except (AttributeError, OSError):
        # No pid handles on this platform: the check and the signal are then two steps.
        return identity.lives() and _kill(identity.pid, number)
    try:
        # The handle pins the process, so what is checked now is what gets the signal.
        if not identity.lives():
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def _kill(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def stop_all(home: Path, timeout_s: float) -> list[int]:
    """Ask every living trader of a home to stop, kill what has not within `timeout_s`, return the killed pids."""
    asked = [identity for identity in living(home).values() if send_signal(identity, signal.SIGTERM)]
    wait_ended(asked, timeout_s)
    killed = [identity for identity in asked if identity.lives() and send_signal(identity, signal.SIGKILL)]
    wait_ended(killed, timeout_s)
    return [identity.pid for identity in killed]


def wait_ended(identities: list[ProcessIdentity], timeout_s: float) -> None:
    """Wait until all have ended, at most `timeout_s`; a zombie that nobody has reaped has ended."""
    if not hasattr(os, "pidfd_open"):
        psutil.wait_procs([psutil.Process(i.pid) for i in identities if i.lives()], timeout=timeout_s)
        return
    deadline = time.monotonic() + timeout_s
    for identity in identities:
        _wait_one(identity, max(0.0, deadline - time.monotonic()))


def _wait_one(identity: ProcessIdentity, timeout_s: float) -> None:
    try:
        descriptor = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return
    try:
        if identity.lives():
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            poll.poll(timeout_s * 1_000)
    finally:
        os.close(descriptor)
