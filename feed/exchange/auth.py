"""Who is asking: key ring and signatures. Source: facts.md section 2.

Signed text is timestamp_ms + METHOD + path, without the query. RSA keys sign with PSS, SHA-256 and a salt of exactly
32 bytes (a verifier that guesses the salt would hide a client's bug); Ed25519 keys sign plainly.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

KEY_HEADER = "KALSHI-ACCESS-KEY"
RSA_SALT_BYTES = 32
STAMP_DIGITS_MAX = 16  # milliseconds have 13 digits; Python refuses to read absurdly long ones

SCOPES = (
    "read",
    "write",
    "read::block_trade_accept",
    "read::portfolio_balance",
    "write::trade",
    "write::transfer",
    "write::fcm_risk",
    "write::block_trade_accept",
)
FULL_ACCESS = ("read", "write")

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


class ApiKey(msgspec.Struct, frozen=True):
    """A registered public key and what it may do; `subaccount` pins it to that one."""

    key_id: str
    account: str
    public: PublicKey
    name: str = ""
    scopes: tuple[str, ...] = FULL_ACCESS
    subaccount: int | None = None

    def may(self, scopes: tuple[str, ...]) -> bool:
        """Return whether the key has any of the scopes."""
        return any(scope in self.scopes for scope in scopes)


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


class KeyRing:
    """Which key belongs to which account, in the order of registration."""

    def __init__(self, *, window_ms: int = 10_000) -> None:
        self._window_ms = window_ms
        self._keys: dict[str, ApiKey] = {}

    def register(
        self,
        key: PublicKey,
        account: str,
        *,
        name: str = "",
        scopes: tuple[str, ...] = FULL_ACCESS,
        subaccount: int | None = None,
    ) -> str:
        """Add a key of an account and return its id; a key registered again takes its new terms."""
        key_id = key_id_of(key)
        self._keys[key_id] = ApiKey(key_id, account, key, name, scopes, subaccount)
        return key_id

    def of(self, account: str) -> list[ApiKey]:
        return [key for key in self._keys.values() if key.account == account]

    def get(self, key_id: str) -> ApiKey | None:
        return self._keys.get(key_id)

    def owner_of(self, key_id: str) -> str:
        """Return the account a key belongs to, whatever was signed with it; "" for a key nobody registered."""
        key = self._keys.get(key_id)
        return key.account if key else ""

    def remove(self, key_id: str) -> None:
        """Forget a key: whoever signs with it from now on is unknown."""
        del self._keys[key_id]

    def authenticate(self, headers: Mapping[str, str], *, method: str, path: str, now_ms: int) -> ApiKey | Denied:
        """Return the key of a signed request, or why it is refused."""
        signature = headers.get("KALSHI-ACCESS-SIGNATURE")
        if not signature:
            return NO_SIGNATURE
        stamp = headers.get("KALSHI-ACCESS-TIMESTAMP", "")
        if not _is_stamp(stamp) or abs(int(stamp) - now_ms) > self._window_ms:
            return EXPIRED
        key = self._keys.get(headers.get(KEY_HEADER, ""))
        if key is None:
            return UNKNOWN_KEY
        return key if _verifies(key.public, signature, f"{stamp}{method}{path}".encode()) else BAD_SIGNATURE


def _is_stamp(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= STAMP_DIGITS_MAX


def _verifies(key: PublicKey, signature: str, text: bytes) -> bool:
    try:
        raw = base64.b64decode(signature, validate=True)
        if isinstance(key, Ed25519PublicKey):
            key.verify(raw, text)
        else:
            pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=RSA_SALT_BYTES)
            key.verify(raw, text, pss, hashes.SHA256())
    except (InvalidSignature, ValueError):  # the second: not base64
        return False
    return True
