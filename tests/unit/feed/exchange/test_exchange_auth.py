"""Signatures: what Kalshi accepts, and nothing else."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from feed.exchange import auth
from feed.exchange.auth import BAD_SIGNATURE, EXPIRED, NO_SIGNATURE, UNKNOWN_KEY, Denied, KeyRing

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
    """Return the account that asks, or why it is refused."""
    who = ring.authenticate(sent, method="GET", path=path, now_ms=NOW_MS)
    return who if isinstance(who, Denied) else who.account


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
    for stamp in ("soon", "", "-1", "٣", "9" * 5_000):
        assert ask(ring, headers("x", signature, stamp=stamp)) is EXPIRED


@pytest.mark.parametrize("signature", ["***", "é", "AA", "AAAA="], ids=["marks", "accent", "short", "padding"])
def test_a_signature_that_is_not_base64_is_just_wrong(signature: str) -> None:
    ring, key = KeyRing(), Ed25519PrivateKey.generate()
    key_id = ring.register(key.public_key(), "us")
    assert ask(ring, headers(key_id, b"") | {"KALSHI-ACCESS-SIGNATURE": signature}) is BAD_SIGNATURE


def test_the_window_is_a_switch() -> None:
    ring, key = KeyRing(window_ms=30_000), Ed25519PrivateKey.generate()
    key_id, stamp = ring.register(key.public_key(), "us"), str(NOW_MS - 30_000)
    assert ask(ring, headers(key_id, key.sign(f"{stamp}GET{PATH}".encode()), stamp)) == "us"


def test_a_removed_key_is_unknown() -> None:
    ring, key = KeyRing(), Ed25519PrivateKey.generate()
    key_id = ring.register(key.public_key(), "us")
    ring.remove(key_id)
    assert ask(ring, headers(key_id, key.sign(f"{NOW_MS}GET{PATH}".encode()))) is UNKNOWN_KEY
    assert ring.of("us") == []


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
