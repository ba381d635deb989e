from __future__ import annotations

import os
import signal
import socket
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import psutil
import psycopg
import pytest
import redis

from kalshimm.embedded import postgres, stores, valkey
from kalshimm.errors import ConfigurationError, HomeNotWritable, NotReachable
from kalshimm.runtime import home
from kalshimm.runtime.home import StoreAddresses


def answers(addresses: StoreAddresses) -> bool:
    try:
        with psycopg.connect(addresses.database_url) as database, redis.Redis.from_url(addresses.redis_url) as client:
            return database.execute("SELECT 1").fetchone() == (1,) and client.ping()
    except (psycopg.OperationalError, redis.ConnectionError):
        return False


def postmaster(path: Path) -> psutil.Process:
    return psutil.Process(int((postgres.of(path).data / "postmaster.pid").read_text().split()[0]))


def valkey_process(addresses: StoreAddresses) -> psutil.Process:
    with redis.Redis.from_url(addresses.redis_url) as client:
        return psutil.Process(client.info("server")["process_id"])


def test_it_starts_both_stores_and_stops_them(a_home: Path) -> None:
    with stores.used(a_home, durable=False) as in_use:
        assert in_use.started == ("postgres", "valkey")
        assert answers(in_use.addresses)
        assert home.running_stores(a_home) == in_use.addresses
    assert not answers(in_use.addresses)
    assert home.running_stores(a_home) is None


def test_it_starts_nothing_that_is_given(a_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:p@db.example/x")
    with stores.used(a_home, durable=False) as in_use:
        assert in_use.started == ("valkey",)
        assert in_use.addresses.database_url == "postgresql://u:p@db.example/x"
    monkeypatch.setenv("REDIS_URL", "redis://cache.example/0")
    with stores.used(a_home) as in_use:
        assert (in_use.started, in_use.embedded) == ((), ())
        assert in_use.addresses.redis_url == "redis://cache.example/0"


def test_it_keeps_data_from_one_start_to_the_next(a_home: Path) -> None:
    with stores.used(a_home) as in_use:
        with psycopg.connect(in_use.addresses.database_url) as database:
            database.execute("CREATE TABLE kept AS SELECT 7 AS figure")
        with redis.Redis.from_url(in_use.addresses.redis_url) as client:
            client.set("kept", 7)
    with stores.used(a_home) as in_use:
        with psycopg.connect(in_use.addresses.database_url) as database:
            assert database.execute("SELECT figure FROM kept").fetchone() == (7,)
        with redis.Redis.from_url(in_use.addresses.redis_url) as client:
            assert client.get("kept") == b"7"


def test_the_last_user_stops_what_the_first_one_started(a_home: Path) -> None:
    first = stores.ensure(a_home, durable=False)
    second = stores.ensure(a_home, durable=False)
    assert second.started == ()
    first.release()
    assert answers(second.addresses)
    second.release()
    assert not answers(second.addresses)


def test_a_command_leaves_the_stores_of_an_up_running(a_home: Path) -> None:
    ups = stores.ensure(a_home, lasting=True, durable=False)
    stores.ensure(a_home, durable=False).release()
    assert answers(ups.addresses)
    ups.release()
    assert not answers(ups.addresses)


def test_a_command_leaves_the_stores_of_a_killed_up_running(a_home: Path) -> None:
    killed = stores.ensure(a_home, lasting=True, durable=False)
    assert killed._users is not None
    killed._users.release()  # as the kernel does
    stores.ensure(a_home, durable=False).release()
    assert answers(killed.addresses)


def test_it_finds_stores_that_an_earlier_process_left(a_home: Path) -> None:
    left = stores.ensure(a_home, lasting=True, durable=False)
    again = stores.ensure(a_home, lasting=True, durable=False)
    assert again.started == ()
    assert again.addresses == left.addresses


def test_killed_stores_come_back_at_their_address_with_their_data(a_home: Path) -> None:
    before = stores.ensure(a_home, lasting=True)
    with redis.Redis.from_url(before.addresses.redis_url) as client:
        client.set("kept", 7)
        client.execute_command("WAITAOF", 1, 0, 5_000)
    for process in (postmaster(a_home), valkey_process(before.addresses)):
        process.send_signal(signal.SIGKILL)
    after = stores.ensure(a_home, lasting=True)
    assert after.started == ("postgres", "valkey")
    assert after.addresses == before.addresses
    with redis.Redis.from_url(after.addresses.redis_url) as client:
        assert client.get("kept") == b"7"


def test_a_lock_file_that_names_somebody_elses_process_keeps_nobody_out(a_home: Path) -> None:
    with stores.used(a_home, durable=False):
        lock_file = (postgres.of(a_home).data / "postmaster.pid").read_bytes()
    left = postgres.of(a_home).data / "postmaster.pid"
    left.write_bytes(b"\n".join([str(os.getpid()).encode(), *lock_file.split(b"\n")[1:]]))
    with stores.used(a_home, durable=False) as in_use:
        assert answers(in_use.addresses)


def test_two_homes_run_side_by_side(new_home: Callable[[], Path]) -> None:
    one, other = (stores.ensure(new_home(), durable=False) for _ in range(2))
    assert one.addresses.database_url != other.addresses.database_url
    assert answers(one.addresses)
    assert answers(other.addresses)
    one.release()
    assert answers(other.addresses)
    other.release()


def test_it_shows_no_password_to_other_users(a_home: Path) -> None:
    with stores.used(a_home, durable=False) as in_use:
        passwords = [psycopg.conninfo.conninfo_to_dict(in_use.addresses.database_url)["password"]]
        passwords.append(redis.connection.parse_url(in_use.addresses.redis_url)["password"])
        for process in (postmaster(a_home), valkey_process(in_use.addresses)):
            assert not any(password in " ".join(process.cmdline()) for password in passwords)
        for path in (home.stores_file(a_home), a_home / "valkey" / "valkey.conf", a_home / "postgres" / "password"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_listens_on_this_machine_only(a_home: Path) -> None:
    with stores.used(a_home, durable=False) as in_use:
        assert stat.S_IMODE((a_home / "valkey" / "socket").stat().st_mode) == 0o700
        for process in (postmaster(a_home), valkey_process(in_use.addresses)):
            listening = [c.laddr.ip for c in process.net_connections() if c.status == psutil.CONN_LISTEN]
            assert set(listening) == {"127.0.0.1"}


def test_a_home_whose_path_is_too_long_for_a_socket_file_has_a_port(a_home: Path) -> None:
    deep = a_home / ("x" * 100)
    with stores.used(deep, durable=False) as in_use:
        assert in_use.addresses.redis_url.startswith("redis://")
        assert answers(in_use.addresses)
    with stores.used(a_home / "it's 100%", durable=False) as in_use:
        assert in_use.addresses.redis_url.startswith("unix://")
        assert answers(in_use.addresses)


def test_a_home_that_takes_no_socket_file_has_a_port(a_home: Path) -> None:
    (a_home / "valkey" / "socket").mkdir(parents=True)
    with stores.used(a_home, durable=False) as in_use:
        assert in_use.addresses.redis_url.startswith("redis://")
        assert answers(in_use.addresses)


def test_it_works_under_a_private_parent_folder(a_home: Path) -> None:
    a_home.chmod(0o700)
    inner = a_home / "inner"
    try:
        with stores.used(inner, durable=False) as in_use:
            assert answers(in_use.addresses)
        assert stat.S_IMODE(a_home.stat().st_mode) == 0o700
        assert stat.S_IMODE(inner.stat().st_mode) == 0o700
    finally:
        postgres.purge(inner)


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's data lies in the home and goes with it")
def test_it_keeps_the_data_of_a_removed_home_out_of_the_way(a_home: Path) -> None:
    with stores.used(a_home, durable=False) as in_use, psycopg.connect(in_use.addresses.database_url) as database:
        database.execute("CREATE TABLE of_the_removed_home ()")
    (a_home / "postgres" / "password").unlink()
    with stores.used(a_home, durable=False) as in_use, psycopg.connect(in_use.addresses.database_url) as database:
        assert database.execute("SELECT to_regclass('of_the_removed_home')").fetchone() == (None,)
    assert list(postgres.of(a_home).state.glob("data-of-removed-home-*"))


def test_a_home_that_cannot_be_made_is_one_sentence(tmp_path: Path, no_given_stores: None) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HomeNotWritable, match="choose a folder that belongs to you"):
        stores.ensure(tmp_path / "file" / "home")


def test_a_platform_without_servers_is_one_sentence(a_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kalshimm.embedded.binaries.wheel_install", lambda: None)
    monkeypatch.setattr("kalshimm.embedded.binaries._on_this_machine", list)
    with pytest.raises(NotReachable, match="install PostgreSQL or set DATABASE_URL"):
        stores.ensure(a_home)
    monkeypatch.setattr("kalshimm.embedded.binaries._valkey_of_wheel", lambda: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NotReachable, match="install one or set REDIS_URL"):
        valkey.start(a_home)


def test_a_failed_start_leaves_nothing_running(a_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kalshimm.embedded.binaries._valkey_of_wheel", lambda: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NotReachable):
        stores.ensure(a_home, durable=False)
    assert not postgres.lives(a_home)


def test_data_of_another_major_version_is_one_sentence(a_home: Path) -> None:
    with stores.used(a_home, durable=False):
        pass
    (postgres.of(a_home).data / "PG_VERSION").write_text("12\n")
    with pytest.raises(NotReachable, match=r"is of PostgreSQL 12, but PostgreSQL \d+ was found"):
        stores.ensure(a_home)


def test_a_killed_store_is_started_once_however_many_look_after_it(a_home: Path) -> None:
    before = stores.ensure(a_home, lasting=True, durable=False)
    valkey_process(before.addresses).kill()
    with ThreadPoolExecutor() as pool:
        revived = pool.submit(stores.revive, a_home, ["valkey"], before.addresses)
        others = pool.submit(stores.ensure, a_home, durable=False)
        revived.result()
        assert others.result().addresses.redis_url == before.addresses.redis_url
    living = [p.pid for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == str(a_home / "valkey")]
    assert living == [valkey_process(before.addresses).pid]


def test_a_store_known_by_its_socket_file_comes_back_whoever_has_its_port(
    a_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = stores.ensure(a_home, lasting=True, durable=False)
    monkeypatch.setattr("kalshimm.embedded.ports.LINGERS_S", 0.1)
    process = valkey_process(running.addresses)
    (port,) = [c.laddr.port for c in process.net_connections() if c.status == psutil.CONN_LISTEN]
    process.kill()
    process.wait()
    with socket.create_server(("127.0.0.1", port)):
        stores.revive(a_home, ["valkey"], running.addresses)
    assert answers(running.addresses)


def test_a_store_that_comes_back_elsewhere_is_not_taken_for_well(a_home: Path) -> None:
    running = stores.ensure(a_home, lasting=True, durable=False)
    elsewhere = msgspec.structs.replace(running.addresses, redis_url="redis://:x@127.0.0.1:1/0")
    with pytest.raises(NotReachable, match="elsewhere than where its users look"):
        stores.revive(a_home, ["valkey"], elsewhere)


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("REDIS_URL", "redis://:hidden@127.0.0.1:1/0?no_such_option=1"),
        ("REDIS_URL", "redis://:hidden@127.0.0.1:1/0?socket_timeout=long"),
        ("DATABASE_URL", "postgresql://u:hidden%zz@127.0.0.1:1/x"),
    ],
)
def test_a_given_address_that_makes_no_sense_is_a_wrong_setting(
    a_home: Path, monkeypatch: pytest.MonkeyPatch, variable: str, url: str
) -> None:
    monkeypatch.setenv(variable, url)
    with pytest.raises(ConfigurationError, match=f"^{variable}: ") as caught:
        stores.ensure(a_home, lasting=True)
    assert "hidden" not in str(caught.value)
