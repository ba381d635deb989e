from __future__ import annotations

import io
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import call_command
from django.db import DatabaseError

from feed import keycheck, keyring
from feed.kalshi.errors import BadKey, Disconnected
from feed.kalshi.transport import Connection
from feed.keycheck import KeyRefused
from feed.keys import DamagedVault, NoSuchKey, Vault, VaultError, open_key
from feed.models import ExchangeKey
from kalshimm.errors import ConfigurationError
from kalshimm.ops.models import AuditRow

if TYPE_CHECKING:  # running that file once more would start its stores once more
    from tests.conftest import Manage
    from tests.integration.feed.conftest import LocalExchange

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def home(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("KALSHIMM_MASTER_KEY", "KALSHIMM_MASTER_KEY_FILE", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    settings.KALSHIMM_HOME = tmp_path / "home"
    return tmp_path / "home"


@pytest.fixture
def here(settings: Any, exchange: LocalExchange) -> LocalExchange:
    """The local exchange, as this installation's own."""
    settings.KALSHI_ENV = "local"
    settings.KALSHI_REST_URL, settings.KALSHI_WS_URL = exchange.ready["rest"], exchange.ready["ws"]
    return exchange


def key_of(exchange: LocalExchange, file: str) -> tuple[str, str]:
    """Return the id and the path of one of the exchange's own keys."""
    folder = Path(exchange.ready["private_key_path"]).parent
    listed = json.loads((folder / "keys.json").read_text())
    return next(key["key_id"] for key in listed if key["file"] == file), str(folder / file)


def a_pem(path: Path) -> Path:
    forms = serialization.PrivateFormat
    key = Ed25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, forms.PKCS8, serialization.NoEncryption()))
    return path


def run(*argv: str) -> str:
    out = io.StringIO()
    call_command("keys", *argv, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def run_json(*argv: str) -> Any:
    text = run(*argv, "--json")
    assert text.count("\n") == 1, "one document on one line"
    return json.loads(text)


def add(name: str, key_id: str, pem: str | Path, *, environment: str = "local") -> Any:
    return run_json("add", name, "--environment", environment, "--key-id", key_id, "--pem", str(pem))


def actions() -> list[str]:
    return list(AuditRow.objects.order_by("id").values_list("action", flat=True))


def test_a_key_is_added_and_then_tested_at_the_exchange(home: Path, here: LocalExchange) -> None:
    key_id, pem = key_of(here, "ed25519.pem")
    added = add("hot", key_id, pem)["key"]
    wanted = {"name": "hot", "account": "local", "environment": "local", "key_id": key_id, "scopes": []}
    assert wanted.items() <= added.items()
    assert (added["can_read"], added["can_trade"], added["tested_at"], added["problem"]) == (None, None, None, "")
    tested = run_json("test", "hot")["key"]
    assert (tested["scopes"], tested["can_read"], tested["can_trade"]) == (["read", "write"], True, True)
    row = ExchangeKey.objects.get()
    assert (row.scopes, row.tested_at is None, row.fingerprint) == (["read", "write"], False, tested["fingerprint"])
    assert Vault(home).find("hot").may_trade
    assert open_key(home, "hot").key_id == key_id
    assert actions() == ["key.added", "key.tested"]
    assert AuditRow.objects.filter(subject="hot", actor__startswith="cli:").count() == 2


@pytest.mark.parametrize("file", ["rsa.pem", "read.pem"])
def test_every_kind_of_key_is_told_what_it_may(here: LocalExchange, file: str) -> None:
    key_id, pem = key_of(here, file)
    add("one", key_id, pem)
    tested = run_json("test", "one")["key"]
    assert (tested["can_read"], tested["can_trade"]) == (True, file == "rsa.pem")
    assert "may read" in run("test", "one")


def test_the_list_says_what_a_person_needs(here: LocalExchange) -> None:
    assert run("list") == ""
    assert run_json("list") == {"keys": []}
    key_id, pem = key_of(here, "read.pem")
    add("cold", key_id, pem)
    run("test", "cold")
    heads, line = run("list").splitlines()
    assert heads.split() == ["name", "account", "environment", "key_id", "read", "trade", "tested_at", "problem"]
    assert line.split()[:6] == ["cold", "local", "local", key_id, "yes", "no"]


def test_the_master_key_that_lies_beside_is_told_and_the_clear_file_too(tmp_path: Path, home: Path) -> None:
    told = io.StringIO()
    argv = ("add", "hot", "--environment", "demo", "--key-id", "i", "--pem", str(a_pem(tmp_path / "k.pem")))
    call_command("keys", *argv, stdout=io.StringIO(), stderr=told)
    assert f"{home / 'master_key'} lies beside the keys that it opens" in told.getvalue()
    assert f"{tmp_path / 'k.pem'} still holds the key in clear text" in told.getvalue()


@pytest.mark.django_db(transaction=True)
def test_a_key_may_come_through_standard_input(home: Path, tmp_path: Path, manage: Manage, database_url: str) -> None:
    """By the real command line: the private half stands in no argument."""
    pem = a_pem(tmp_path / "k.pem")
    argv = ("keys", "add", "hot", "--environment", "demo", "--key-id", "i", "--pem", "-", "--json")
    with pem.open("rb") as given:
        done = manage(*argv, env={"KALSHIMM_HOME": str(home), "DATABASE_URL": database_url}, stdin=given)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["key"]["name"] == "hot"
    assert "clear text" not in done.stderr
    assert open_key(home, "hot").key_id == "i"
    assert ExchangeKey.objects.get().name == "hot"


@pytest.mark.parametrize("wrong", ["taken", "no key", "no file", "name", "id"])
def test_what_cannot_be_added_changes_nothing(tmp_path: Path, home: Path, wrong: str) -> None:
    add("hot", "first", a_pem(tmp_path / "first.pem"), environment="demo")
    before = (home / "keys" / "index.json").read_bytes(), sorted((home / "keys").glob("*.key")), actions()
    pem = a_pem(tmp_path / "k.pem")
    if wrong == "no key":
        pem.write_text("canary-secret")
    if wrong == "no file":
        pem.unlink()
    name, key_id = {"taken": "hot", "name": "Not Good"}.get(wrong, "cold"), "a b" if wrong == "id" else "second"
    with pytest.raises((VaultError, BadKey)) as caught:
        add(name, key_id, pem, environment="demo")
    assert "canary" not in str(caught.value)
    assert (home / "keys" / "index.json").read_bytes() == before[0]
    assert (sorted((home / "keys").glob("*.key")), actions()) == before[1:]
    assert ExchangeKey.objects.count() == 1


def test_a_database_that_does_not_take_it_leaves_the_vault_as_it_was(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: Any, **_detail: Any) -> None:
        raise DatabaseError("no")

    monkeypatch.setattr(keyring, "audit", refuse)
    with pytest.raises(DatabaseError):
        add("hot", "i", a_pem(tmp_path / "k.pem"), environment="demo")
    assert Vault(home).entries() == ()
    assert list((home / "keys").glob("*.key")) == []
    assert not ExchangeKey.objects.exists()


def test_a_vault_that_cannot_be_written_leaves_no_row(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: Any, **_options: Any) -> None:
        raise VaultError("changed meanwhile")

    monkeypatch.setattr(Vault, "keep", refuse)
    with pytest.raises(VaultError):
        add("hot", "i", a_pem(tmp_path / "k.pem"), environment="demo")
    assert list((home / "keys").glob("*.key")) == []
    assert not ExchangeKey.objects.exists()
    assert actions() == []


def test_C15_a_key_that_the_exchange_does_not_know_is_not_noted_as_tested(tmp_path: Path, here: LocalExchange) -> None:
    add("hot", "11111111-2222-3333-4444-555555555555", a_pem(tmp_path / "k.pem"))
    with pytest.raises(KeyRefused, match="does not let key"):
        run("test", "hot")
    assert ExchangeKey.objects.get().tested_at is None
    assert actions() == ["key.added"]


def test_G2_a_local_key_that_is_called_a_production_key_asks_nobody_here(here: LocalExchange, settings: Any) -> None:
    """Where a key says it belongs to, there alone it is used; an address of another environment is refused."""
    key_id, pem = key_of(here, "ed25519.pem")
    add("hot", key_id, pem, environment="prod")
    settings.KALSHI_ENV = "prod"  # with the address of the local exchange, as copied settings would have it
    with pytest.raises(ConfigurationError, match="no address of KALSHI_ENV=prod"):
        run("test", "hot")
    assert ExchangeKey.objects.get().tested_at is None


def test_a_local_key_needs_the_address_of_a_local_exchange(tmp_path: Path, settings: Any) -> None:
    settings.KALSHI_ENV, settings.KALSHI_REST_URL, settings.KALSHI_WS_URL = "demo", "", ""
    add("hot", "i", a_pem(tmp_path / "k.pem"))
    with pytest.raises(ConfigurationError, match="KALSHI_REST_URL"):
        run("test", "hot")


def test_an_exchange_that_does_not_answer_is_another_matter(
    tmp_path: Path, settings: Any, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keycheck, "CONNECTION", Connection(deadline_s=0.1))
    settings.KALSHI_ENV, settings.KALSHI_REST_URL = "local", f"http://127.0.0.1:{free_port}/trade-api/v2"
    settings.KALSHI_WS_URL = f"ws://127.0.0.1:{free_port}/"
    add("hot", "i", a_pem(tmp_path / "k.pem"))
    with pytest.raises(Disconnected) as caught:
        run("test", "hot")
    assert caught.value.exit_code == 3


def test_an_unknown_name_is_refused(home: Path) -> None:
    for argv in (("test", "hot"), ("rotate", "hot", "--key-id", "i", "--pem", "/dev/null")):
        with pytest.raises(NoSuchKey):
            run(*argv)


# Rotation


def test_a_rotated_key_is_another_and_the_old_file_goes(home: Path, here: LocalExchange) -> None:
    old_id, old_pem = key_of(here, "read.pem")
    add("hot", old_id, old_pem)
    before = Vault(home).find("hot")
    new_id, new_pem = key_of(here, "ed25519.pem")
    rotated = run_json("rotate", "hot", "--key-id", new_id, "--pem", new_pem)["key"]
    assert (rotated["key_id"], rotated["can_trade"], rotated["problem"]) == (new_id, True, "")
    assert open_key(home, "hot").key_id == new_id
    assert not Vault(home).is_there(before)
    assert len(list((home / "keys").glob("*.key"))) == 1
    detail = AuditRow.objects.get(action="key.rotated").detail
    assert (detail["key_id"], detail["was"]["key_id"]) == (new_id, old_id)
    assert ExchangeKey.objects.get().fingerprint == rotated["fingerprint"]


def test_a_rotation_to_a_key_that_is_not_let_in_keeps_the_old_one(
    tmp_path: Path, home: Path, here: LocalExchange
) -> None:
    key_id, pem = key_of(here, "ed25519.pem")
    add("hot", key_id, pem)
    before = Vault(home).find("hot")
    with pytest.raises(KeyRefused):
        run("rotate", "hot", "--key-id", key_id, "--pem", str(a_pem(tmp_path / "k.pem")))
    assert Vault(home).find("hot") == before
    assert open_key(home, "hot").key_id == key_id
    assert len(list((home / "keys").glob("*.key"))) == 1
    assert actions() == ["key.added"]


def test_a_damaged_key_is_given_anew(home: Path, here: LocalExchange) -> None:
    key_id, pem = key_of(here, "ed25519.pem")
    add("hot", key_id, pem)
    (home / "keys" / Vault(home).find("hot").file).write_bytes(b"scrap")
    with pytest.raises(DamagedVault, match="keys rotate hot"):
        run("test", "hot")
    run("rotate", "hot", "--key-id", key_id, "--pem", pem)
    assert open_key(home, "hot").key_id == key_id


# Vault and database drift apart


def test_a_row_that_was_lost_comes_back_with_the_next_test(here: LocalExchange) -> None:
    key_id, pem = key_of(here, "ed25519.pem")
    add("hot", key_id, pem)
    ExchangeKey.objects.all().delete()
    assert run_json("list")["keys"][0]["problem"] == "the database does not know it: test it"
    assert run_json("test", "hot")["key"]["problem"] == ""
    assert ExchangeKey.objects.get().key_id == key_id


def test_a_vault_that_was_lost_shows_and_can_be_filled_again(home: Path, here: LocalExchange) -> None:
    key_id, pem = key_of(here, "ed25519.pem")
    add("hot", key_id, pem)
    run("test", "hot")
    shutil.rmtree(home / "keys")
    (row,) = run_json("list")["keys"]
    assert (row["problem"], row["can_trade"]) == ("not in this vault: add it again", None)
    assert add("hot", key_id, pem)["key"]["problem"] == ""
    assert ExchangeKey.objects.get().tested_at is None


# No secret leaks


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG):
        yield caplog


def test_I8_G8_no_word_of_a_key_gets_anywhere(
    home: Path,
    here: LocalExchange,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    everything_logged: pytest.LogCaptureFixture,
) -> None:
    key_id, pem = key_of(here, "ed25519.pem")
    words = [line for line in Path(pem).read_text().splitlines() if not line.startswith("-----")]
    master = ""
    for argv in (
        ("add", "hot", "--environment", "local", "--key-id", key_id, "--pem", pem),
        ("test", "hot"),
        ("list", "--json"),
        ("rotate", "hot", "--key-id", key_id, "--pem", pem),
    ):
        call_command("keys", *argv)
        master = (home / "master_key").read_text().strip()
    out, err = capfd.readouterr()
    assert "hot" in out
    rows = repr([*AuditRow.objects.values(), *ExchangeKey.objects.values()])
    for secret in (*words, master):
        assert secret not in out + err + rows + everything_logged.text
        held = [path for path in home.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
        assert held == ([home / "master_key"] if secret == master else [])
