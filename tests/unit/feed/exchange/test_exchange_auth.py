"""Signatures: what Kalshi accepts, and nothing else."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from feed.exchange import auth
from feed.exchange.auth import BAD_SIGNATURE, EXPIRED, NO_SIGNATURE, UNKNOWN_KEY, Denied, KeyRing
from kalshimm.errors import ConfigurationError

NOW_MS = 1_795_337_400_123
PATH = "/trade-api/v2/portfolio/balance"


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


def headers(key_id: str, signature: bytes, stamp: str = str(NOW_MS)) -> dict[str, str]:
    return {
        "KALSHI-ACCESS-KEY": key_id,
        "KALSHI-ACCESS-TIMESTAMP": stamp,
        "KALSHI-ACCESS-SIGNATURE": base64.b64encode(signature).decode(),
    }


def ask(ring: KeyRing, sent: dict[str, str], path: str = PATH) -> str | Denied:
    return ring.authenticate(sent, method="GET", path=path, now_ms=NOW_MS)


def pss(key: rsa.RSAPrivateKey, text: bytes, salt: int) -> bytes:
    return key.sign(text, padding.PSS(padding.MGF1(hashes.SHA256()), salt), hashes.SHA256())


def test_an_ed25519_signature_over_time_method_and_path_is_accepted() -> None:
    ring, key = KeyRing(), Ed25519PrivateKey.generate()
    key_id = ring.register(key.public_key(), "us")
    assert ask(ring, headers(key_id, key.sign(f"{NOW_MS}GET{PATH}".encode()))) == "us"
    assert ask(ring, headers(key_id, key.sign(f"{NOW_MS}GET{PATH}?limit=1".encode()))) is BAD_SIGNATURE
    assert ask(ring, headers(key_id, key.sign(f"{NOW_MS}POST{PATH}".encode()))) is BAD_SIGNATURE


def test_an_rsa_signature_needs_a_salt_of_32_bytes(rsa_key: rsa.RSAPrivateKey) -> None:
    ring = KeyRing()
    key_id = ring.register(rsa_key.public_key(), "us")
    text = f"{NOW_MS}GET{PATH}".encode()
    assert ask(ring, headers(key_id, pss(rsa_key, text, 32))) == "us"
    assert ask(ring, headers(key_id, pss(rsa_key, text, 222))) is BAD_SIGNATURE


@pytest.mark.parametrize(
    ("offset_ms", "accepted"), [(-10_000, True), (10_000, True), (-10_001, False), (10_001, False)]
)
def test_the_clock_may_be_ten_seconds_off(offset_ms: int, accepted: bool) -> None:
    ring, key = KeyRing(), Ed25519PrivateKey.generate()
    key_id, stamp = ring.register(key.public_key(), "us"), str(NOW_MS + offset_ms)
    answer = ask(ring, headers(key_id, key.sign(f"{stamp}GET{PATH}".encode()), stamp))
    assert answer == ("us" if accepted else EXPIRED)


def test_missing_and_foreign_parts_have_their_own_words() -> None:
    ring, key = KeyRing(), Ed25519PrivateKey.generate()
    signature = key.sign(f"{NOW_MS}GET{PATH}".encode())
    assert ask(ring, {}) is NO_SIGNATURE
    assert ask(ring, headers("00000000-0000-0000-0000-000000000000", signature)) is UNKNOWN_KEY
    assert ask(ring, headers("x", signature, stamp="soon")) is EXPIRED


def test_a_signature_that_is_not_base64_is_just_wrong() -> None:
    ring, key = KeyRing(), Ed25519PrivateKey.generate()
    key_id = ring.register(key.public_key(), "us")
    assert ask(ring, headers(key_id, b"") | {"KALSHI-ACCESS-SIGNATURE": "***"}) is BAD_SIGNATURE


def test_the_own_key_is_private_and_the_same_at_the_next_start(tmp_path: Path) -> None:
    first, path = auth.own_key(tmp_path / "keys")
    second, _ = auth.own_key(tmp_path / "keys")
    assert auth.key_id_of(first) == auth.key_id_of(second)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_key_file_with_something_else_in_it_is_named(tmp_path: Path) -> None:
    (tmp_path / auth.KEY_FILE).write_text("nonsense")
    with pytest.raises(ConfigurationError, match="remove it"):
        auth.own_key(tmp_path)


def test_only_rsa_and_ed25519_keys_are_read() -> None:
    pem = (
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(ValueError, match="RSA or Ed25519"):
        auth.read_public_key(pem)
    with pytest.raises(ValueError, match="PEM"):
        auth.read_public_key(b"nonsense")
