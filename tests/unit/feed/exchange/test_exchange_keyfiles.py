"""The exchange's own keys on disk: private, lasting, in the venue's forms."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization

from feed.exchange import keyfiles
from feed.exchange.keyfiles import INDEX, OWNER, SECOND, open_keys
from kalshimm.errors import ConfigurationError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home") / "keys"
    open_keys(folder)
    return folder


def test_keys_are_private_and_the_same_at_the_next_start(folder: Path) -> None:
    first, second = open_keys(folder), open_keys(folder)
    assert [key.key_id for _, key in first] == [key.key_id for _, key in second]
    assert len({key.key_id for _, key in first}) == len(keyfiles.PLANS)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_each_key_is_in_the_form_the_venue_hands_out(folder: Path) -> None:
    assert (folder / "rsa.pem").read_bytes().startswith(b"-----BEGIN RSA PRIVATE KEY-----")
    assert (folder / "ed25519.pem").read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")


def test_the_announced_key_comes_first_and_the_index_names_all(folder: Path) -> None:
    opened = open_keys(folder)
    assert opened[0][0].name == "ed25519.pem"
    rows = {row["file"]: row for row in msgspec.json.decode((folder / INDEX).read_bytes())}
    assert {file: (row["account"], row["scopes"]) for file, row in rows.items()} == {
        "ed25519.pem": (OWNER, ["read", "write"]),
        "rsa.pem": (OWNER, ["read", "write"]),
        "read.pem": (OWNER, ["read"]),
        "second.pem": (SECOND, ["read", "write"]),
    }
    assert {row["key_id"] for row in rows.values()} == {key.key_id for _, key in opened}


@pytest.mark.parametrize("content", [b"nonsense", b"", "other type", "with a password"])
def test_a_key_file_with_something_else_in_it_is_named(tmp_path: Path, content: bytes | str) -> None:
    if content == "other type":
        content = keyfiles.pem_of(keyfiles.generate("rsa"))
    elif content == "with a password":
        content = keyfiles.generate("ed25519").private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    (tmp_path / "ed25519.pem").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"ed25519\.pem .* remove it"):
        open_keys(tmp_path)
