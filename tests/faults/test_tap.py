"""The tap itself: what it says it does to a line, it does."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults.log import FaultLog
from tests.faults.tap import Tap, wait_until

DEADLINE_S = 5.0


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        try:
            while data := self.request.recv(65_536):
                self.server.heard += data  # type: ignore[attr-defined]
                self.request.sendall(data)
        except ConnectionError:
            return  # cut by the tap


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    heard = b""


@pytest.fixture
def echo() -> Iterator[_Server]:
    with _Server(("127.0.0.1", 0), _Echo) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def tap(echo: _Server) -> Iterator[Tap]:
    tap = Tap("echo", "127.0.0.1", echo.server_address[1], FaultLog())
    yield tap
    tap.close()


@pytest.fixture
def client(tap: Tap) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", tap.port), DEADLINE_S) as client:
        client.settimeout(DEADLINE_S)
        yield client


def said(client: socket.socket, data: bytes) -> bytes:
    client.sendall(data)
    return received(client, len(data))


def received(client: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count and (more := client.recv(count - len(got))):
        got += more
    return got


def is_silent(client: socket.socket) -> bool:
    client.settimeout(0.2)
    try:
        client.recv(1)
    except TimeoutError:
        return True
    finally:
        client.settimeout(DEADLINE_S)
    return False


def is_reset(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_it_passes_everything_on(client: socket.socket) -> None:
    data = bytes(range(256)) * 2_000
    threading.Thread(target=client.sendall, args=(data,)).start()
    assert received(client, len(data)) == data


def test_a_black_hole_keeps_tcp_up_and_what_it_held_goes_on_afterwards(client: socket.socket, tap: Tap) -> None:
    assert said(client, b"one") == b"one"
    tap.black_hole()
    client.sendall(b"two")
    assert is_silent(client)
    tap.pass_all()
    assert received(client, 3) == b"two"
    assert tap.log.of("black hole")


def test_a_dropped_direction_loses_its_bytes(client: socket.socket, tap: Tap, echo: _Server) -> None:
    assert said(client, b"one") == b"one"
    tap.drop("down")
    client.sendall(b"two")
    wait_until(lambda: echo.heard == b"onetwo", "the server hears it")
    assert is_silent(client)
    tap.pass_all()
    assert said(client, b"three") == b"three"


def test_it_cuts_after_so_many_bytes(client: socket.socket, tap: Tap) -> None:
    assert said(client, b"one") == b"one"
    tap.cut_after(4, "down")
    client.sendall(b"abcdefgh")
    assert received(client, 4) == b"abcd"
    assert is_reset(client)
    assert tap.log.of("cut down")


def test_it_resets_open_connections_and_passes_new_ones(client: socket.socket, tap: Tap) -> None:
    assert said(client, b"one") == b"one"
    tap.reset()
    assert is_reset(client)
    with socket.create_connection(("127.0.0.1", tap.port), DEADLINE_S) as again:
        assert said(again, b"two") == b"two"


def test_it_refuses_new_connections(tap: Tap) -> None:
    tap.refuse()
    try:
        with socket.create_connection(("127.0.0.1", tap.port), DEADLINE_S) as client:
            assert is_reset(client)
    except OSError:
        pass  # as early as that
    assert tap.accepted == 1


def test_an_answer_is_lost_though_the_command_was_done(client: socket.socket, tap: Tap, echo: _Server) -> None:
    assert said(client, b"GET") == b"GET"
    tap.lose_answer_to(b"XADD")
    client.sendall(b"XADD 1")
    assert is_reset(client)
    assert echo.heard == b"GETXADD 1"
    assert not tap.is_armed
    assert tap.log.of("answer dropped")


def test_it_delays_and_throttles(client: socket.socket, tap: Tap) -> None:
    tap.delay(0.1)
    before = time.monotonic()
    assert said(client, b"one") == b"one"
    assert time.monotonic() - before >= 0.2  # there and back: a lower bound is no race
    tap.throttle(20_000)
    before = time.monotonic()
    assert said(client, b"x" * 4_000) == b"x" * 4_000
    assert time.monotonic() - before >= 0.1
