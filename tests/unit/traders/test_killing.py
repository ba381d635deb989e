"""Who a kill means, by the files of a home alone."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from feed.kalshi.wire.kinds import Secret
from feed.keys import Vault
from kalshimm.errors import KalshimmError
from traders.core.kills import ACCOUNT, ALL, EVENT, TRADER, Kill, Kind
from traders.killcommand import parsed, run
from traders.killing import plan
from traders.killswitch import KillSwitch

NOBODY = "http://127.0.0.1:1/trade-api/v2"


@pytest.fixture(autouse=True)
def no_master_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KALSHIMM_MASTER_KEY", "KALSHIMM_MASTER_KEY_FILE", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def rest(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where the local exchange of these traders listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/trade-api/v2"
        monkeypatch.setitem(LIVE, "rest_url", url)
        yield url


LIVE: dict[str, Any] = {"environment": "local", "rest_url": NOBODY, "exchange_index": 0}


def a_key(
    home: Path, environment: str = "local", *, account: str = "local", scopes: tuple[str, ...] = ("write", "read")
) -> None:
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    vault = Vault(home)
    name = f"key-{len(vault.entries())}"
    sealed = vault.seal(name=name, account=account, environment=environment, key_id="i", pem=Secret(pem))
    vault.keep(msgspec.structs.replace(sealed, scopes=scopes), instead_of=None)


def a_start(home: Path, trader: int, *, event: str = "E", is_live: bool = True, **other: Any) -> None:
    live = LIVE | {"group_id": f"group-{trader}"}
    start = {
        "trader": trader, "name": f"trader-{trader}", "account": "local" if is_live else "paper", "event": event,
        "live": live if is_live else None, "version": 99,
    }  # fmt: skip
    path = home / "traders" / str(trader)
    path.mkdir(parents=True)
    (path / "start.json").write_bytes(msgspec.json.encode(start | other))


def a_kill(kind: Kind, key: str = "") -> Kill:
    return Kill(kind=kind, key=key, by="cli:tester", at_us=1)


def test_a_trader_is_meant_with_its_group_whatever_the_version_of_its_start_file(tmp_path: Path, rest: str) -> None:
    a_key(tmp_path)
    a_start(tmp_path, 1)
    a_start(tmp_path, 2, event="F")
    a_start(tmp_path, 3, is_live=False)
    for kill in (a_kill(TRADER, "trader-1"), a_kill(EVENT, "E")):
        planned = plan(tmp_path, kill, ours_only=False)
        (party,), impossible = planned.parties, planned.impossible
        assert ([one.group_id for one in party.leased], party.traders, impossible) == (["group-1"], frozenset({1}), [])
        assert (party.is_whole, party.rest_url, party.account) == (False, rest, "local")


@pytest.mark.parametrize("kill", [a_kill(ALL), a_kill(ACCOUNT, "local")])
def test_an_account_is_meant_as_a_whole_unless_others_are_spared(tmp_path: Path, kill: Kill) -> None:
    a_key(tmp_path)
    a_start(tmp_path, 1)
    a_start(tmp_path, 2)
    for ours_only in (False, True):
        (party,) = plan(tmp_path, kill, ours_only=ours_only).parties
        assert (party.is_whole, party.traders, len(party.leased)) == (not ours_only, None, 2)


def test_an_account_with_a_key_that_may_trade_is_meant_without_any_trader(tmp_path: Path) -> None:
    a_key(tmp_path, "demo", account="demo")
    a_key(tmp_path, "demo", account="untested", scopes=())
    a_key(tmp_path, "prod", account="prod", scopes=("read",))
    planned = plan(tmp_path, a_kill(ALL), ours_only=False)
    assert ([one.account for one in planned.parties], planned.impossible) == (["demo", "untested"], [])
    assert planned.parties[0].rest_url.endswith("kalshi.co/trade-api/v2")
    assert plan(tmp_path, a_kill(EVENT, "E"), ours_only=False) == ([], [], [], False)


def test_the_keys_of_an_account_are_tried_one_after_the_other_those_that_trade_first(tmp_path: Path) -> None:
    a_key(tmp_path, "demo", account="demo", scopes=())
    a_key(tmp_path, "demo", account="demo")
    (party,) = plan(tmp_path, a_kill(ALL), ours_only=False).parties
    assert party.keys == ("key-1", "key-0")


def test_a_local_exchange_that_does_not_run_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_key(tmp_path)
    planned = plan(tmp_path, a_kill(ALL), ours_only=False)
    assert (planned.parties, planned.impossible, len(planned.left_out)) == ([], [], 1)
    a_start(tmp_path, 1)
    assert len(plan(tmp_path, a_kill(ALL), ours_only=False).parties) == 1
    monkeypatch.setitem(LIVE, "rest_url", NOBODY)
    (tmp_path / "traders" / "1" / "start.json").unlink()
    (tmp_path / "traders" / "1").rmdir()
    a_start(tmp_path, 1)
    assert len(plan(tmp_path, a_kill(ALL), ours_only=False).left_out) == 1


def test_without_a_key_the_account_is_named_as_not_confirmed(tmp_path: Path) -> None:
    a_start(tmp_path, 1)
    (outcome,) = plan(tmp_path, a_kill(ALL), ours_only=False).impossible
    assert (outcome.is_confirmed, "cancel at the exchange" in outcome.why) == (False, True)
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "index.json").write_text("{")
    (outcome,) = plan(tmp_path, a_kill(ALL), ours_only=False).impossible
    assert (outcome.account, "is damaged" in outcome.why) == ("local", True)


def test_a_start_file_that_cannot_be_read_hides_no_other_and_leaves_a_kill_unconfirmed(tmp_path: Path) -> None:
    a_key(tmp_path)
    a_start(tmp_path, 1)
    a_start(tmp_path, 2)
    (tmp_path / "traders" / "2" / "start.json").write_text("{")
    for kill, ours_only in ((a_kill(ALL), False), (a_kill(ALL), True), (a_kill(EVENT, "E"), False)):
        planned = plan(tmp_path, kill, ours_only=ours_only)
        assert [one.target.trader for one in planned.parties[0].leased] == [1]
        assert ["2/start.json cannot be read" in one.why for one in planned.impossible] == [True]


def killed(home: Path, *argv: str) -> int:
    return run(parsed(argv), home)


@pytest.mark.parametrize("scope", [("--trader", "trader-7"), ("--event", "G"), ("--account", "mine")])
def test_G10_a_name_that_means_nobody_is_said(
    tmp_path: Path, scope: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    a_start(tmp_path, 1, is_live=False)
    assert killed(tmp_path, *scope, "--json") == 1
    said = capsys.readouterr()
    assert "look at the name" in said.err
    assert msgspec.json.decode(said.out)["confirmed"] is None, "nobody was asked"
    assert killed(tmp_path, "--trader", "trader-1") == 0, "a paper trader is somebody"
    assert "no exchange was asked" in capsys.readouterr().out
    assert killed(tmp_path, "--release") == 0
    assert KillSwitch(tmp_path).kills() == ()


@pytest.mark.parametrize(
    "argv",
    [
        ("--account", ""),
        ("--release", "--trader", " "),
        ("--dril",),
        ("--d",),
        ("--drill", "--release"),
        ("--drill", "--event", "E"),
        ("--all", "--event", "E"),
    ],
)
def test_G10_a_word_too_few_or_half_a_word_kills_nothing(argv: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as left:
        parsed(argv)
    assert left.value.code == 2


def test_a_home_without_an_installation_is_refused_and_nothing_is_written_there(tmp_path: Path) -> None:
    for argv in ((), ("--release",)):
        with pytest.raises(KalshimmError, match=r"holds no installation.*KALSHIMM_HOME"):
            killed(tmp_path / "elsewhere", *argv)
    assert not (tmp_path / "elsewhere").exists()


def test_E3_a_kill_goes_on_when_nobody_can_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_start(tmp_path, 1, is_live=False)

    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "no space left")

    with monkeypatch.context() as broken:
        broken.setattr("sys.stderr", Full())
        assert killed(tmp_path) == 0
    assert KillSwitch(tmp_path).kills()
