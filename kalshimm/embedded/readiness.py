"""Whether a process of `up` has proved itself ready, each by its own kind of proof."""

from __future__ import annotations

import http.client
import os
from pathlib import Path

import redis
from redis.exceptions import RedisError

from kalshimm.embedded import ports
from kalshimm.embedded.processes import Choice, Part, Proof
from kalshimm.errors import NotReachable
from kalshimm.runtime.heartbeat import beat_key, read_beat
from kalshimm.runtime.process import ProcessIdentity
from traders import spawner

TIMEOUT_S = 1.0


def is_ready(part: Part, identity: ProcessIdentity, choice: Choice) -> bool:
    """Return whether `identity`, running as `part`, shows life now; a store or socket that fails means no."""
    if part.proof is Proof.BEAT:
        return _beats(part.name, identity)
    if part.proof is Proof.SOCKET:
        return _pings(choice.home, identity)
    if part.proof is Proof.PAGE:
        return _serves(choice.port)
    return True  # the line was read when it was started


def _beats(role: str, identity: ProcessIdentity) -> bool:
    """Return whether a beat of this role comes from this process or from its session."""
    try:
        with redis.Redis.from_url(os.environ["REDIS_URL"], socket_timeout=TIMEOUT_S) as client:
            values = {key: client.get(key) for key in client.scan_iter(match=beat_key(role, "*"), count=1_000)}
    except (RedisError, OSError):
        return False
    beats = [read_beat(key, value) for key, value in values.items() if value]
    return any(_session(beat.pid) == identity.pid for beat in beats if beat is not None)


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def _pings(home_folder: Path, identity: ProcessIdentity) -> bool:
    """Return whether the spawner that answers on this home's socket is this process."""
    try:
        return spawner.ask(home_folder, spawner.Request(ping=True)).get("pid") == identity.pid
    except NotReachable:
        return False


def _serves(port: int) -> bool:
    connection = http.client.HTTPConnection(ports.LOOPBACK, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
