"""Who is asking: key ring and signatures. Source: facts.md section 2.

Signed text is timestamp_ms + METHOD + path, without the query. RSA keys sign with PSS, SHA-256 and a salt of exactly
32 bytes (a verifier that guesses the salt would hide a client's bug); Ed25519 keys sign plainly.
"""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from kalshimm.errors import ConfigurationError, HomeNotWritable

WINDOW_MS = 10_000
RSA_SALT_BYTES = 32
KEY_FILE = "ed25519.pem"
KEY_HEADER = "KALSHI-ACCESS-KEY"

PublicKey = RSAPublicKey | Ed25519PublicKey


class Denied(msgspec.Struct, frozen=True):
    """Why a request is not authenticated; always HTTP 401."""

    code: str
    message: str
    details: str = ""

    def body(self) -> dict[str, Any]:
        error = {"code": self.code, "message": self.message}
        return {"error": {**error, "details": self.details} if self.details else error}


NO_SIGNATURE = Denied("signature_is_missing_from_headers", "signature is missing from headers")
EXPIRED = Denied("header_timestamp_expired", "header timestamp expired")
UNKNOWN_KEY = Denied("authentication_error", "authentication_error", "NOT_FOUND")
BAD_SIGNATURE = Denied("authentication_error", "authentication_error", "INCORRECT_API_KEY_SIGNATURE")


def read_public_key(pem: bytes) -> PublicKey:
    """Return the public key of a PEM.

    Raises:
        ValueError: No PEM, or neither RSA nor Ed25519.
    """
    try:
        key = serialization.load_pem_public_key(pem)
    except UnsupportedAlgorithm as exc:
        raise ValueError(str(exc)) from exc
    if not isinstance(key, RSAPublicKey | Ed25519PublicKey):
        raise ValueError("expected an RSA or Ed25519 public key")
    return key


def key_id_of(key: PublicKey) -> str:
    """Return the id of a key: a UUID that the key itself determines, so it survives restarts."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return str(uuid.uuid5(uuid.NAMESPACE_OID, der.hex()))


def own_key(folder: Path) -> tuple[Ed25519PublicKey, Path]:
    """Return this exchange's own client key, made on first use (folder 0700, file 0600).

    Raises:
        HomeNotWritable: The folder or the file cannot be made.
        ConfigurationError: The file is there and holds no Ed25519 key.
    """
    path = folder / KEY_FILE
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _write_key(path)
        pem = path.read_bytes()
    except OSError as exc:
        raise HomeNotWritable(folder, exc.strerror or str(exc)) from exc
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except ValueError as exc:
        raise ConfigurationError("--key-dir", f"{path} holds no private key; remove it to have one made") from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError("--key-dir", f"{path} holds no Ed25519 key; remove it to have one made")
    return key.public_key(), path


def _write_key(path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.touch(mode=0o600)
    path.write_bytes(pem)


class KeyRing:
    """Which key belongs to which account."""

    def __init__(self) -> None:
        self._keys: dict[str, tuple[PublicKey, str]] = {}

    def register(self, key: PublicKey, account: str) -> str:
        """Add a key of an account and return its id."""
        key_id = key_id_of(key)
        self._keys[key_id] = (key, account)
        return key_id

    def owner_of(self, key_id: str) -> str:
        """Return the account a key belongs to, whatever was signed with it; "" for a key nobody registered."""
        entry = self._keys.get(key_id)
        return entry[1] if entry else ""

    def authenticate(self, headers: Mapping[str, str], *, method: str, path: str, now_ms: int) -> str | Denied:
        """Return the account of a signed request, or why it is refused."""
        signature = headers.get("KALSHI-ACCESS-SIGNATURE")
        if not signature:
            return NO_SIGNATURE
        stamp = headers.get("KALSHI-ACCESS-TIMESTAMP", "")
        if not (stamp.isascii() and stamp.isdigit()) or abs(int(stamp) - now_ms) > WINDOW_MS:
            return EXPIRED
        entry = self._keys.get(headers.get(KEY_HEADER, ""))
        if entry is None:
            return UNKNOWN_KEY
        key, account = entry
        return account if _verifies(key, signature, f"{stamp}{method}{path}".encode()) else BAD_SIGNATURE


def _verifies(key: PublicKey, signature: str, text: bytes) -> bool:
    try:
        raw = base64.b64decode(signature, validate=True)
        if isinstance(key, Ed25519PublicKey):
            key.verify(raw, text)
        else:
            pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=RSA_SALT_BYTES)
            key.verify(raw, text, pss, hashes.SHA256())
    except (InvalidSignature, binascii.Error):
        return False
    return True
