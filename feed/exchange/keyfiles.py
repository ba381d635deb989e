"""The exchange's own clients' keys on disk, made on first start: folder 0700, files 0600.

    ed25519.pem   account owner, full access: the one the exchange announces
    rsa.pem       account owner, full access
    read.pem      account owner, scope read: what a gateway or a desk should use
    second.pem    account second, full access
    keys.json     id, account, scopes and file of each

RSA keys are PKCS#1, Ed25519 keys PKCS#8, as the venue hands them out (facts.md 2.1).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from feed.exchange.auth import FULL_ACCESS, ApiKey, key_id_of
from kalshimm.errors import ConfigurationError, HomeNotWritable

OWNER, SECOND = "owner", "second"
RSA_BITS = 2_048
INDEX = "keys.json"

KeyType = Literal["rsa", "ed25519"]
PrivateKey = RSAPrivateKey | Ed25519PrivateKey
WORDS = {"rsa": "RSA", "ed25519": "Ed25519"}


class Plan(msgspec.Struct, frozen=True):
    """One key file and whose it is."""

    file: str
    key_type: KeyType
    account: str
    scopes: tuple[str, ...] = FULL_ACCESS


ANNOUNCED = Plan("ed25519.pem", "ed25519", OWNER)
PLANS = (
    ANNOUNCED,
    Plan("rsa.pem", "rsa", OWNER),
    Plan("read.pem", "ed25519", OWNER, ("read",)),
    Plan("second.pem", "ed25519", SECOND),
)


def generate(key_type: KeyType) -> PrivateKey:
    if key_type == "rsa":
        return generate_private_key(public_exponent=65_537, key_size=RSA_BITS)
    return Ed25519PrivateKey.generate()


def pem_of(key: PrivateKey) -> bytes:
    """Return a private key as the venue hands it out."""
    forms = serialization.PrivateFormat
    form = forms.TraditionalOpenSSL if _type_of(key) == "rsa" else forms.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def open_keys(folder: Path) -> list[tuple[Path, ApiKey]]:
    """Return every own key with its file, made where missing; the announced one first.

    Raises:
        HomeNotWritable: The folder or a file cannot be made.
        ConfigurationError: A file is there and does not hold the key it should.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        opened = [(folder / plan.file, _open(folder / plan.file, plan)) for plan in PLANS]
        _write(folder / INDEX, msgspec.json.format(msgspec.json.encode([_entry(p, k) for p, k in opened])))
    except OSError as exc:
        raise HomeNotWritable(folder, exc.strerror or str(exc)) from exc
    return opened


def _open(path: Path, plan: Plan) -> ApiKey:
    if not path.exists():
        _write(path, pem_of(generate(plan.key_type)))
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as exc:  # the second: a file with a password
        raise ConfigurationError("--key-dir", f"{path} holds no private key; remove it to have one made") from exc
    if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey) or _type_of(key) != plan.key_type:
        word = WORDS[plan.key_type]
        raise ConfigurationError("--key-dir", f"{path} holds no {word} key; remove it to have one made")
    public = key.public_key()
    return ApiKey(key_id_of(public), plan.account, public, path.stem, plan.scopes)


def _type_of(key: PrivateKey) -> KeyType:
    return "rsa" if isinstance(key, RSAPrivateKey) else "ed25519"


def _write(path: Path, content: bytes) -> None:
    """Replace a file at once: two exchanges may start on the same folder."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.touch(mode=0o600)
    part.write_bytes(content)
    part.replace(path)


def _entry(path: Path, key: ApiKey) -> dict[str, object]:
    return {"file": path.name, "key_id": key.key_id, "account": key.account, "scopes": list(key.scopes)}
