"""Whether a process of `up` has proved itself ready, each by its own kind of proof."""

from __future__ import annotations

import http.client
import os
import socket
from pathlib import Path
from typing import Any

import msgspec
import redis
from redis.exceptions import RedisError

from kalshimm.embedded import ports
from kalshimm.embedded.processes import Choice, Part, Proof
from kalshimm.runtime.heartbeat import beat_key, decode_beat
from kalshimm.runtime.process import ProcessIdentity

TIMEOUT_S = 1.0
ANSWER_BYTES = 4_096


def is_ready(part: Part, identity: ProcessIdentity, choice: Choice) -> bool:
    """Return whether `identity`, running as `part`, shows life now; a store or socket that fails means no."""
    if part.proof is Proof.BEAT:
        return _beats(part.name, identity)
    if part.proof is Proof.SOCKET:
        return _pings(choice.home / "run" / "spawner.sock", identity)
    if part.proof is Proof.PAGE:
        return _serves(choice.port)
    return True  # the line was read when it was started


def _beats(role: str, identity: ProcessIdentity) -> bool:
    """Return whether a beat of this role comes from this process or from its session."""
    try:
        with redis.Redis.from_url(os.environ["REDIS_URL"], socket_timeout=TIMEOUT_S) as client:
            values = [client.get(key) for key in client.scan_iter(match=beat_key(role, "*"), count=1_000)]
    except (RedisError, OSError):
        return False
    return any(_session(decode_beat(value).pid) == identity.pid for value in values if value)


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def _pings(path: Path, identity: ProcessIdentity) -> bool:
    """Return whether the spawner that answers on its socket is this process."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(TIMEOUT_S)
        try:
            client.connect(str(path))
            client.sendall(b'{"ping": true}\n')
            answer = msgspec.json.decode(client.recv(ANSWER_BYTES), type=dict[str, Any])
        except (OSError, msgspec.DecodeError):
            return False
    return answer.get("pid") == identity.pid


def _serves(port: int) -> bool:
    connection = http.client.HTTPConnection(ports.LOOPBACK, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
