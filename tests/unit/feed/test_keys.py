from __future__ import annotations

import base64
import secrets
import stat
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from feed import keys
from feed.kalshi.errors import BadKey, WrongEnvironment
from feed.kalshi.wire.kinds import Secret
from feed.keys import (
    DamagedVault,
    KeyEntry,
    NoMasterKey,
    NoSuchKey,
    Vault,
    VaultError,
    WrongMasterKey,
    open_key,
    reading_key,
    trading_key,
)
from kalshimm.errors import HomeNotWritable

URL = "http://127.0.0.1:1/trade-api/v2/portfolio/balance"


def pem_of(key: Ed25519PrivateKey | RSAPrivateKey) -> str:
    forms = serialization.PrivateFormat
    return key.private_bytes(serialization.Encoding.PEM, forms.PKCS8, serialization.NoEncryption()).decode()


def a_pem() -> str:
    return pem_of(Ed25519PrivateKey.generate())


def kept(home: Path, name: str = "hot", pem: str | None = None, **changes: Any) -> KeyEntry:
    """Put a key into the vault."""
    told = {"account": "local", "environment": "local", "key_id": f"id-of-{name}"} | changes
    scopes = told.pop("scopes", ())
    sealed = Vault(home).seal(name=name, pem=Secret(pem or a_pem()), **told)
    entry = msgspec.structs.replace(sealed, scopes=scopes)
    Vault(home).keep(entry, instead_of=None)
    return entry


def index_of(home: Path) -> Any:
    return msgspec.json.decode((home / "keys" / "index.json").read_bytes())


def write_index(home: Path, **changes: Any) -> None:
    """Alter the only key of the index."""
    index = index_of(home)
    index["keys"][0] |= changes
    (home / "keys" / "index.json").write_bytes(msgspec.json.encode(index))


@pytest.fixture(autouse=True)
def no_master_key_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KALSHIMM_MASTER_KEY", "KALSHIMM_MASTER_KEY_FILE", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)


def test_the_vault_needs_no_django() -> None:
    code = "import feed.keys, sys; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(keys.__file__).parents[1], check=False).returncode == 0


@pytest.mark.parametrize("key", [Ed25519PrivateKey.generate(), generate_private_key(65_537, 2_048)])
def test_a_key_comes_out_as_it_went_in(tmp_path: Path, key: Ed25519PrivateKey | RSAPrivateKey) -> None:
    entry = kept(tmp_path, pem=pem_of(key))
    signer = open_key(tmp_path, "hot")
    assert (signer.environment, signer.key_id, signer.fingerprint()) == ("local", "id-of-hot", entry.fingerprint)
    assert signer.headers("GET", URL, wall_ms=1)["KALSHI-ACCESS-KEY"] == "id-of-hot"


def test_G2_an_opened_key_signs_for_its_own_environment_alone(tmp_path: Path) -> None:
    kept(tmp_path, environment="demo", account="demo")
    with pytest.raises(WrongEnvironment):
        open_key(tmp_path, "hot").headers("GET", "https://external-api.kalshi.com/trade-api/v2/x", wall_ms=1)


def test_only_its_owner_reads_what_lies_there(tmp_path: Path) -> None:
    kept(tmp_path / "home")
    assert stat.S_IMODE((tmp_path / "home" / "keys").stat().st_mode) == 0o700
    files = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert {path.name for path in files} > {"index.json", "master_key"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_I8_no_file_of_the_home_but_the_master_key_tells_of_the_key(tmp_path: Path) -> None:
    pem = a_pem()
    kept(tmp_path, pem=pem)
    body = "".join(pem.splitlines()[1:-1])
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        held = path.read_bytes()
        assert body[:20].encode() not in held
        assert base64.b64decode(body)[-32:] not in held
    assert set(index_of(tmp_path)["keys"][0]) == set(KeyEntry.__struct_fields__)


def test_the_same_key_is_never_encrypted_alike(tmp_path: Path) -> None:
    pem = a_pem()
    kept(tmp_path / "one", pem=pem)
    master = (tmp_path / "one" / "master_key").read_bytes()
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "master_key").write_bytes(master)
    kept(tmp_path / "two", pem=pem)
    one, two = (next((tmp_path / home / "keys").glob("*.key")).read_bytes() for home in ("one", "two"))
    assert one[:27] != two[:27]
    assert one[27:] != two[27:]


@pytest.mark.parametrize(
    ("field", "value"), [("name", "cold"), ("environment", "prod"), ("account", "other"), ("key_id", "id-of-another")]
)
def test_G2_a_key_whose_entry_was_altered_does_not_open(tmp_path: Path, field: str, value: str) -> None:
    kept(tmp_path)
    write_index(tmp_path, **{field: value})
    with pytest.raises(DamagedVault, match=r"damaged or altered.*keys rotate"):
        open_key(tmp_path, value if field == "name" else "hot")


def test_a_key_does_not_open_in_the_place_of_another(tmp_path: Path) -> None:
    one, two = kept(tmp_path, "one"), kept(tmp_path, "two")
    folder = tmp_path / "keys"
    (folder / one.file).write_bytes((folder / two.file).read_bytes())
    with pytest.raises(DamagedVault):
        open_key(tmp_path, "one")


@pytest.mark.parametrize("at", [0, 16, 30, -1])
def test_a_file_with_one_bit_turned_does_not_open(tmp_path: Path, at: int) -> None:
    path = tmp_path / "keys" / kept(tmp_path).file
    held = bytearray(path.read_bytes())
    held[at] ^= 1
    path.write_bytes(bytes(held))
    with pytest.raises(DamagedVault, match="damaged or altered"):
        open_key(tmp_path, "hot")


@pytest.mark.parametrize("length", [0, 5, 20, 27, 60])
def test_a_file_that_was_cut_does_not_open(tmp_path: Path, length: int) -> None:
    path = tmp_path / "keys" / kept(tmp_path).file
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DamagedVault, match="damaged or altered"):
        open_key(tmp_path, "hot")


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    entry = kept(tmp_path)
    (tmp_path / "keys" / entry.file).unlink()
    with pytest.raises(DamagedVault, match=rf"{entry.file} cannot be read .*keys rotate hot"):
        open_key(tmp_path, "hot")
    assert not Vault(tmp_path).is_there(entry)


@pytest.mark.parametrize("content", [b"", b"{", b'{"keys": 1}', b'{"keys": [], "version": 9}'])
def test_an_index_that_cannot_be_read_says_so(tmp_path: Path, content: bytes) -> None:
    kept(tmp_path)
    (tmp_path / "keys" / "index.json").write_bytes(content)
    with pytest.raises(DamagedVault, match=r"index\.json"):
        open_key(tmp_path, "hot")


def test_an_entry_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "keys" / kept(tmp_path).file
    path.rename(tmp_path / "elsewhere.key")
    write_index(tmp_path, file="../elsewhere.key")
    with pytest.raises(DamagedVault, match="cannot be read"):
        open_key(tmp_path, "hot")


def test_an_unknown_name_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoSuchKey, match=r"no key hot.*keys list.*keys add"):
        open_key(tmp_path, "hot")


# The master key


def a_master() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def test_the_first_key_makes_a_master_key_that_lies_beside(tmp_path: Path) -> None:
    kept(tmp_path)
    assert Vault(tmp_path).master_lies_beside() == tmp_path / "master_key"


def test_a_master_key_that_another_made_at_the_same_moment_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, made_by_another = Vault._master, a_master()

    def look_just_before_it(vault: Vault) -> object:
        found = look(vault)
        if found is None:
            (tmp_path / "master_key").write_text(made_by_another)
        return found

    monkeypatch.setattr(Vault, "_master", look_just_before_it)
    kept(tmp_path)
    assert (tmp_path / "master_key").read_text() == made_by_another
    assert open_key(tmp_path, "hot").key_id == "id-of-hot"


@pytest.mark.parametrize("form", ["base64", "hex"])
def test_a_master_key_comes_from_the_file_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    raw = secrets.token_bytes(32)
    (tmp_path / "master").write_text((raw.hex() if form == "hex" else base64.b64encode(raw).decode()) + "\n")
    monkeypatch.setenv("KALSHIMM_MASTER_KEY_FILE", str(tmp_path / "master"))
    kept(tmp_path / "home")
    assert open_key(tmp_path / "home", "hot").key_id == "id-of-hot"
    assert not (tmp_path / "home" / "master_key").exists()
    assert Vault(tmp_path / "home").master_lies_beside() is None


def test_the_sources_of_the_master_key_have_an_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, right = tmp_path / "home", a_master()
    (tmp_path / "handed").mkdir()
    credential, beside, named = tmp_path / "handed" / "kalshimm-master-key", home / "master_key", tmp_path / "named"
    monkeypatch.setenv("KALSHIMM_MASTER_KEY", right)
    kept(home)
    beside.write_text(a_master())
    assert open_key(home, "hot"), "the variable goes before the file in the home"
    credential.write_text(right)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "handed"))
    monkeypatch.setenv("KALSHIMM_MASTER_KEY", a_master())
    assert open_key(home, "hot"), "what systemd hands over goes before the variable"
    named.write_text(right)
    monkeypatch.setenv("KALSHIMM_MASTER_KEY_FILE", str(named))
    credential.write_text(a_master())
    assert open_key(home, "hot"), "the file that is named goes before all"


def test_credentials_of_others_are_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    kept(tmp_path / "home")
    assert open_key(tmp_path / "home", "hot")


def test_a_wrong_master_key_is_told_from_a_damaged_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(tmp_path)
    monkeypatch.setenv("KALSHIMM_MASTER_KEY", a_master())
    with pytest.raises(WrongMasterKey, match=r"another master key .*KALSHIMM_MASTER_KEY_FILE"):
        open_key(tmp_path, "hot")


def test_a_second_key_is_not_encrypted_with_another_master_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(tmp_path)
    monkeypatch.setenv("KALSHIMM_MASTER_KEY", a_master())
    with pytest.raises(WrongMasterKey):
        kept(tmp_path, "second")
    assert [entry.name for entry in Vault(tmp_path).entries()] == ["hot"]


@pytest.mark.parametrize("work", [lambda home: open_key(home, "hot"), lambda home: kept(home, "second")])
def test_a_lost_master_key_is_not_made_anew(tmp_path: Path, work: Callable[[Path], object]) -> None:
    kept(tmp_path)
    (tmp_path / "master_key").unlink()
    with pytest.raises(NoMasterKey, match="KALSHIMM_MASTER_KEY_FILE"):
        work(tmp_path)
    assert not (tmp_path / "master_key").exists()


def test_a_named_file_that_is_missing_does_not_fall_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(tmp_path)
    monkeypatch.setenv("KALSHIMM_MASTER_KEY_FILE", str(tmp_path / "nowhere"))
    with pytest.raises(NoMasterKey, match="nowhere cannot be read"):
        open_key(tmp_path, "hot")


@pytest.mark.parametrize("nonsense", ["correct horse", "QUFB", "ab" * 31, "é" * 40, "=" * 44])
def test_I8_a_master_key_that_is_none_is_refused_without_showing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nonsense: str
) -> None:
    monkeypatch.setenv("KALSHIMM_MASTER_KEY", nonsense)
    with pytest.raises(NoMasterKey, match="openssl rand -base64 32") as caught:
        kept(tmp_path)
    assert nonsense not in with_locals(caught.value)


# What may be kept


def test_a_key_is_kept_once(tmp_path: Path) -> None:
    pem = a_pem()
    kept(tmp_path, pem=pem)
    with pytest.raises(VaultError, match="already, as hot"):
        kept(tmp_path, "second", pem=pem)


def test_a_name_is_given_once(tmp_path: Path) -> None:
    first = kept(tmp_path)
    with pytest.raises(VaultError, match="there already"):
        kept(tmp_path)
    assert Vault(tmp_path).entries() == (first,)


def test_a_change_that_does_not_know_the_last_one_is_refused(tmp_path: Path) -> None:
    entry = kept(tmp_path)
    tested = msgspec.structs.replace(entry, scopes=("read",))
    Vault(tmp_path).keep(tested, instead_of=entry)
    with pytest.raises(VaultError, match="changed meanwhile"):
        Vault(tmp_path).keep(msgspec.structs.replace(entry, scopes=("write",)), instead_of=entry)
    assert Vault(tmp_path).find("hot").scopes == ("read",)


def test_what_the_index_names_is_not_discarded(tmp_path: Path) -> None:
    vault, entry = Vault(tmp_path), kept(tmp_path)
    vault.discard(entry)
    assert vault.is_there(entry)
    sealed = vault.seal(name="hot", account="local", environment="local", key_id="new", pem=Secret(a_pem()))
    assert vault.is_there(sealed)
    vault.discard(sealed)
    assert not vault.is_there(sealed)
    assert open_key(tmp_path, "hot").key_id == "id-of-hot"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"name": "Hot"}, "name"),
        ({"name": "../x"}, "name"),
        ({"account": "a b"}, "account"),
        ({"key_id": "a\nb"}, "id"),
    ],
)
def test_words_that_do_not_fit_are_refused(tmp_path: Path, changes: dict[str, str], named: str) -> None:
    with pytest.raises(VaultError, match=named):
        kept(tmp_path, **changes)
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize(
    ("scopes", "may_read", "may_trade"),
    [
        ((), None, None),
        (("read",), True, False),
        (("read", "write"), True, True),
        (("read", "write::trade"), True, True),
        (("write::trade",), False, False),
        (("read", "write::transfer"), True, False),
        (("read::portfolio_balance",), False, False),
    ],
)
def test_scopes_tell_what_a_key_may(
    tmp_path: Path, scopes: tuple[str, ...], may_read: bool | None, may_trade: bool | None
) -> None:
    entry = kept(tmp_path, scopes=scopes)
    assert (entry.may_read, entry.may_trade) == (may_read, may_trade)


def test_the_trading_key_is_one_of_its_account_that_is_known_to_trade(tmp_path: Path) -> None:
    full = ("read", "write")
    kept(tmp_path, "a-untested")
    kept(tmp_path, "b-reads", scopes=("read",))
    kept(tmp_path, "c-other", account="other", scopes=full)
    kept(tmp_path, "d-demo", account="demo", environment="demo", scopes=full)
    assert trading_key(tmp_path, environment="local", account="local") is None
    trades = kept(tmp_path, "e-trades", scopes=full)
    assert trading_key(tmp_path, environment="local", account="local") == trades
    (tmp_path / "keys" / trades.file).unlink()
    assert trading_key(tmp_path, environment="local", account="local") is None


def test_the_reading_key_may_do_as_little_as_there_is(tmp_path: Path) -> None:
    def found() -> str:
        entry = reading_key(tmp_path, environment="local", account="local")
        return entry.name if entry else ""

    kept(tmp_path, "a-other", account="other", scopes=("read",))
    kept(tmp_path, "b-writes", scopes=("write",))
    assert found() == ""
    for name, scopes in (("z-untested", ()), ("y-trades", ("read", "write")), ("x-reads", ("read",))):
        kept(tmp_path, name, scopes=scopes)
        assert found() == name


@pytest.mark.parametrize(("account", "environment"), [("mine", "prod"), ("local", "demo"), ("prod", "demo")])
def test_an_account_has_one_environment(tmp_path: Path, account: str, environment: str) -> None:
    kept(tmp_path, "first", account="mine", environment="demo")
    with pytest.raises(VaultError, match=f"Account {account} is of .* give that of {environment} another name"):
        kept(tmp_path, "second", account=account, environment=environment)
    with pytest.raises(VaultError, match="dry-run"):
        kept(tmp_path, "second", account="paper")
    assert kept(tmp_path, "second", account="mine", environment="demo")
    assert len(Vault(tmp_path).entries()) == 2


# No secret leaks


def with_locals(error: BaseException) -> str:
    """Return what a curious tool would show: each error of the chain, with the local variables of our frames."""
    shown = ""
    chain: BaseException | None = error
    while chain is not None:
        frames = traceback.StackSummary.extract(traceback.walk_tb(chain.__traceback__), capture_locals=True)
        ours = [frame for frame in frames if "/feed/" in frame.filename and "/tests/" not in frame.filename]
        assert ours or chain is not error
        shown += "".join(str(frame.locals) for frame in ours) + str(chain)
        chain = chain.__cause__ or chain.__context__
    return shown


@pytest.mark.parametrize(
    "canary", ["canary-secret", "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n"]
)
def test_I8_what_is_no_key_is_refused_without_showing_it(tmp_path: Path, canary: str) -> None:
    with pytest.raises(BadKey, match="no unencrypted private key") as caught:
        Vault(tmp_path).seal(name="hot", account="a", environment="local", key_id="i", pem=Secret(canary))
    assert "canary" not in with_locals(caught.value)


@pytest.mark.parametrize("fault", ["name", "same", "disk", "master"])
def test_I8_a_refusal_does_not_show_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    pem = a_pem()
    kept(tmp_path, pem=pem if fault == "same" else None)
    if fault == "master":
        monkeypatch.setenv("KALSHIMM_MASTER_KEY", a_master())
    if fault == "disk":
        monkeypatch.setattr(keys, "write_private", _full)
    with pytest.raises((VaultError, HomeNotWritable)) as caught:
        kept(tmp_path, "Bad Name" if fault == "name" else "second", pem=pem)
    body = pem.splitlines()[1]
    assert body not in with_locals(caught.value)
    assert body not in caplog.text


def _full(path: Path, _content: bytes, **_options: object) -> None:
    raise HomeNotWritable(path, "No space left on device")


def test_I8_an_opened_key_shows_itself_in_no_way(tmp_path: Path) -> None:
    pem = a_pem()
    kept(tmp_path, pem=pem)
    signer = open_key(tmp_path, "hot")
    assert "hot" in repr(Vault(tmp_path).entries())
    for shown in (repr(signer), str(signer), repr(vars(signer)), repr(Vault(tmp_path).entries())):
        assert pem.splitlines()[1] not in shown
