"""Sign requests as the venue wants it: timestamp in milliseconds + METHOD + path without query.

RSA keys sign RSA-PSS with SHA-256, MGF1-SHA-256 and a salt as long as the digest; Ed25519 keys sign plainly. A key
belongs to one environment and signs for no host of another.
Source: Kalshi docs, "API Keys"; facts.md section 2.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from feed.kalshi import environments
from feed.kalshi.errors import BadKey, WrongEnvironment

KEY_HEADER = "KALSHI-ACCESS-KEY"
TIMESTAMP_HEADER = "KALSHI-ACCESS-TIMESTAMP"
SIGNATURE_HEADER = "KALSHI-ACCESS-SIGNATURE"

_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=hashes.SHA256.digest_size)


class Signer:
    """A key id with its private key, bound to an environment. Its repr shows neither the key nor a signature.

    Args:
        environment: `local`, `demo` or `prod`.
    """

    def __init__(self, environment: str, key_id: str, private_key: RSAPrivateKey | Ed25519PrivateKey) -> None:
        self.environment, self.key_id = environment, key_id
        self._private_key = private_key

    def __repr__(self) -> str:
        return f"Signer({self.environment}, {self.key_id})"

    @classmethod
    def from_file(cls, environment: str, key_id: str, path: Path) -> Signer:
        """Load a PEM file; what kind of key it holds is asked of the key, not of the header.

        Raises:
            BadKey: No such file, not an unencrypted PEM key, or neither RSA nor Ed25519.
        """
        try:
            return cls.from_pem(environment, key_id, path.read_bytes(), source=str(path))
        except OSError as exc:
            raise BadKey(f"The private key {path} cannot be read ({exc.strerror}).") from exc

    @classmethod
    def from_pem(cls, environment: str, key_id: str, pem: bytes, *, source: str = "What was given") -> Signer:
        """Take a key from the text of a PEM file.

        Args:
            source: Where it comes from, for messages; they never quote it.

        Raises:
            BadKey: Not an unencrypted PEM key, or neither RSA nor Ed25519.
        """
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
            raise BadKey(f"{source} holds no unencrypted private key in PEM form.") from exc
        finally:
            del pem  # a traceback that shows local variables would show it
        if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey):
            raise BadKey(f"{source} holds a {type(key).__name__}; Kalshi takes RSA and Ed25519 keys.")
        return cls(environment, key_id, key)

    def fingerprint(self) -> str:
        """Return the SHA-256 of the public half, hex: it tells keys apart and is no secret."""
        forms = serialization.PublicFormat
        public = self._private_key.public_key().public_bytes(serialization.Encoding.DER, forms.SubjectPublicKeyInfo)
        return hashlib.sha256(public).hexdigest()

    def headers(self, method: str, url: str, *, wall_ms: int) -> dict[str, str]:
        """Return the three authentication headers of a request.

        Args:
            method: HTTP method; a WebSocket handshake is a GET.
            url: Full address; host and query are not signed.
            wall_ms: Unix time in milliseconds, within some seconds of the venue's.

        Raises:
            WrongEnvironment: The address is not one of the key's environment.
        """
        if not environments.answers_at(self.environment, url):
            raise WrongEnvironment(
                f"Key {self.key_id} is for {self.environment} and signs nothing for {urlsplit(url).hostname}."
            )
        text = f"{wall_ms}{method.upper()}{urlsplit(url).path}".encode()
        if isinstance(self._private_key, RSAPrivateKey):
            signature = self._private_key.sign(text, _PSS, hashes.SHA256())
        else:
            signature = self._private_key.sign(text)
        return {
            KEY_HEADER: self.key_id,
            TIMESTAMP_HEADER: str(wall_ms),
            SIGNATURE_HEADER: base64.b64encode(signature).decode(),
        }
