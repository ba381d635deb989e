"""Where traders' processes come from: start, list, adopt, signal. The supervisor knows no other way to them.

    Launcher ◄── SpawnerLauncher     processes of this machine, forked by the spawner

The second one is to be a cluster's, one pod a trader: its `instance` is what the start file calls so, and what fences
two of them is the order group, not the launcher. No scheduler of our own stands behind this.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import NamedTuple, Protocol

from kalshimm.errors import KalshimmError
from kalshimm.runtime.clock import Clock
from kalshimm.runtime.heartbeat import Pulse
from kalshimm.runtime.process import ProcessIdentity
from traders import spawner
from traders.processes import living, send_signal


class Began(NamedTuple):
    """A trader's process runs."""

    pid: int


class EndedAtOnce(NamedTuple):
    """It was started and ended before it said who it is: a crash."""

    reason: str


class NotBegun(NamedTuple):
    """Nothing was started; trying again is safe."""

    reason: str


class Launcher(Protocol):
    """What can run traders. Calls may take as long as an answer does: make them outside the event loop."""

    def running(self) -> dict[int, ProcessIdentity]:
        """Return every process of a trader that lives, by trader, whoever started it and however long ago."""
        ...

    def start(self, trader: int) -> Began | EndedAtOnce | NotBegun:
        """Start the process of a trader whose start file is written.

        Raises:
            NotReachable: Nobody answers; nothing is known of a process.
        """
        ...

    def signal(self, process: ProcessIdentity, number: signal.Signals) -> bool:
        """Signal exactly this process; False when it has ended."""
        ...

    def pulse(self) -> Pulse | None:
        """Return the launcher's own beat, to be shown on its behalf; None when it does not answer."""
        ...


class SpawnerLauncher:
    """Processes of this machine.

    Raises what `spawner.ask` raises.
    """

    def __init__(self, home: Path, clock: Clock) -> None:
        self._home, self._clock = home, clock

    def running(self) -> dict[int, ProcessIdentity]:
        return living(self._home)

    def start(self, trader: int) -> Began | EndedAtOnce | NotBegun:
        answer = spawner.ask(self._home, spawner.Request(spawn=trader))
        if "error" in answer:
            return NotBegun(str(answer["error"]))
        if "ended" in answer:
            return EndedAtOnce(str(answer["ended"]))
        return Began(int(answer["pid"]))

    def signal(self, process: ProcessIdentity, number: signal.Signals) -> bool:
        return send_signal(process, number)

    def pulse(self) -> Pulse | None:
        """Return the spawner's beat, written on its behalf: it opens no connection but its own socket.

        The answer comes from the spawner's only loop, so it proves what a beat proves.
        """
        try:
            answer = spawner.ask(self._home, spawner.Request(ping=True))
        except KalshimmError:
            return None
        identity = ProcessIdentity.of(int(answer["pid"]))
        if identity is None:
            return None
        pulse = Pulse(role="spawner", name="main", clock=self._clock)
        pulse.identity, pulse.state, pulse.loops = identity, "running", int(answer["answered"])
        pulse.counters = {"spawned": int(answer["spawned"])}
        return pulse
