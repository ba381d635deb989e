from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from feed.kalshi.errors import BadKey
from feed.kalshi.signing import KEY_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, Signer

URL = "https://example.test/trade-api/v2/portfolio/events/orders?x=1"
TEXT = b"1795337400123POST/trade-api/v2/portfolio/events/orders"


def save(key: PrivateKeyTypes, path: Path, form: serialization.PrivateFormat) -> Path:
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return path


def sign(path: Path) -> bytes:
    headers = Signer.from_file("local", "id", path).headers("post", URL, wall_ms=1_795_337_400_123)
    assert (headers[KEY_HEADER], headers[TIMESTAMP_HEADER]) == ("id", "1795337400123")
    return base64.b64decode(headers[SIGNATURE_HEADER])


@pytest.mark.parametrize("form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
def test_rsa_signs_pss_with_a_salt_as_long_as_the_digest(tmp_path: Path, form: serialization.PrivateFormat) -> None:
    key = rsa.generate_private_key(65_537, 2_048)
    signature = sign(save(key, tmp_path / "key.pem", form))
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), salt_length=32)
    key.public_key().verify(signature, TEXT, pss, hashes.SHA256())
    with pytest.raises(InvalidSignature):
        key.public_key().verify(signature, TEXT + b"?x=1", pss, hashes.SHA256())


def test_ed25519_signs_the_same_text_plainly(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    signature = sign(save(key, tmp_path / "key.pem", serialization.PrivateFormat.PKCS8))
    key.public_key().verify(signature, TEXT)
    assert len(signature) == 64


def test_another_kind_of_key_is_refused_by_name(tmp_path: Path) -> None:
    path = save(ec.generate_private_key(ec.SECP256R1()), tmp_path / "key.pem", serialization.PrivateFormat.PKCS8)
    with pytest.raises(BadKey, match="RSA and Ed25519"):
        Signer.from_file("local", "id", path)


def test_a_file_without_a_key_is_refused_without_showing_it(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("canary-secret")
    with pytest.raises(BadKey) as caught:
        Signer.from_file("local", "id", path)
    assert "canary-secret" not in str(caught.value)


def test_a_signer_shows_only_its_id(tmp_path: Path) -> None:
    path = save(Ed25519PrivateKey.generate(), tmp_path / "key.pem", serialization.PrivateFormat.PKCS8)
    assert repr(Signer.from_file("local", "id", path)) == "Signer(local, id)"


def test_a_key_is_taken_from_text_as_from_a_file(tmp_path: Path) -> None:
    path = save(Ed25519PrivateKey.generate(), tmp_path / "key.pem", serialization.PrivateFormat.PKCS8)
    signer = Signer.from_pem("local", "id", path.read_bytes())
    assert signer.headers("GET", URL, wall_ms=1) == Signer.from_file("local", "id", path).headers("GET", URL, wall_ms=1)
    with pytest.raises(BadKey, match=r"^The vault holds no"):
        Signer.from_pem("local", "id", b"nonsense", source="The vault")


def test_a_fingerprint_tells_keys_apart_and_is_that_of_the_public_half(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    public = key.public_key().public_bytes(serialization.Encoding.DER, form)
    assert Signer("local", "id", key).fingerprint() == hashlib.sha256(public).hexdigest()
    assert Signer("local", "id", Ed25519PrivateKey.generate()).fingerprint() != Signer("local", "id", key).fingerprint()
