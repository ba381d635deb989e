"""The vault: the exchange keys of this installation, encrypted under KALSHIMM_HOME/keys. No Django: `kill` uses it too.

    index.json           of each key: name, account, environment, id, fingerprint, file, scopes; no secret
    NAME-xxxxxxxx.key    one key: a mark, a nonce, its PEM in AES-256-GCM, bound to name, environment, account and id

The master key is 32 random bytes as text, base64 or hex (`openssl rand -base64 32`), from the first of

    KALSHIMM_MASTER_KEY_FILE                      a file
    $CREDENTIALS_DIRECTORY/kalshimm-master-key    what systemd hands over (LoadCredential=)
    KALSHIMM_MASTER_KEY                           a variable: every child process inherits it, so the least good
    KALSHIMM_HOME/master_key                      made with the first key: whoever copies the home has both

VaultError
├── NoSuchKey        the index has none of that name
├── NoMasterKey      there is none, or what should hold it cannot be read
├── WrongMasterKey   the key was encrypted with another
└── DamagedVault     a file or the index was lost, damaged or altered

No message, repr or local variable of a traceback shows a key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from feed.kalshi.environments import DOMAINS
from feed.kalshi.signing import Signer
from feed.kalshi.wire.kinds import Secret
from kalshimm.errors import KalshimmError
from kalshimm.runtime.home import folder, make_once, write_private
from kalshimm.runtime.locks import FileLock

VARIABLE = "KALSHIMM_MASTER_KEY"
CREDENTIAL = "kalshimm-master-key"
MASTER_FILE = "master_key"
MASTER_BYTES = 32
HEX = re.compile(r"[0-9a-fA-F]{64}")
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
KEY_ID = re.compile(r"[!-~]{1,128}")  # what a header takes

INDEX_VERSION = 1
MARK = b"kalshimm key 1\n"
NONCE_BYTES = 12
LOCK_WITHIN_S = 5.0

PAPER = "paper"  # what is stored of dry-run traders stands under this name
ENVIRONMENTS = ("local", *DOMAINS)

READ_SCOPE, TRADE_SCOPES = "read", frozenset({"write", "write::trade"})


class VaultError(KalshimmError):
    """A key cannot be kept or opened; the message says what to do."""


class NoSuchKey(VaultError):
    """The vault has no key of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no key {name} in the vault; see `keys list`, or add it with `keys add`.")


class NoMasterKey(VaultError):
    """Nothing says how the keys are encrypted."""


class WrongMasterKey(VaultError):
    """The keys were encrypted with another master key than the one that was found."""


class DamagedVault(VaultError):
    """A file of the vault is not what was written."""


class KeyEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What may be known of a key without opening it.

    Attributes:
        fingerprint: SHA-256 of its public half, hex.
        file: In the folder of the vault.
        master: Names the master key, so that a wrong one is told from a damaged file.
        scopes: As the venue lists them; empty = not tested yet.
    """

    name: str
    account: str
    environment: str
    key_id: str
    fingerprint: str
    file: str
    master: str
    scopes: tuple[str, ...] = ()

    @property
    def may_read(self) -> bool | None:
        """Whether it may read everything of its account; None before it was tested."""
        return READ_SCOPE in self.scopes if self.scopes else None

    @property
    def may_trade(self) -> bool | None:
        """Whether it may place orders and see what became of them; None before it was tested."""
        return bool(TRADE_SCOPES & set(self.scopes)) and bool(self.may_read) if self.scopes else None

    def bound(self) -> bytes:
        """Return what its file is bound to: with any of it changed, the file opens no more."""
        return msgspec.json.encode([self.name, self.environment, self.account, self.key_id])


class Index(msgspec.Struct, frozen=True):
    """The content of `index.json`, by name."""

    keys: tuple[KeyEntry, ...] = ()
    version: int = INDEX_VERSION


class Vault:
    """The keys of one home. Nothing is held open: each call reads what is there."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._folder = home / "keys"

    def entries(self) -> tuple[KeyEntry, ...]:
        """Return what is known of every key, by name.

        Raises:
            DamagedVault: The index cannot be read.
        """
        path = self._folder / "index.json"
        try:
            index = msgspec.json.decode(path.read_bytes(), type=Index)
        except FileNotFoundError:
            return ()
        except OSError as exc:
            raise DamagedVault(f"{path} cannot be read ({exc.strerror}); give it back to its owner.") from exc
        except msgspec.MsgspecError as exc:
            raise DamagedVault(f"{path} is damaged ({exc}); put the folder back from a backup.") from exc
        if index.version != INDEX_VERSION:
            raise DamagedVault(f"{path} has version {index.version}, expected {INDEX_VERSION}; update kalshimm.")
        return index.keys

    def find(self, name: str) -> KeyEntry:
        """Return what is known of one key, or raise NoSuchKey."""
        found = next((entry for entry in self.entries() if entry.name == name), None)
        if found is None:
            raise NoSuchKey(name)
        return found

    def is_there(self, entry: KeyEntry) -> bool:
        """Return whether its file is; what it holds shows only when it is opened."""
        return self._path(entry).is_file()

    def open(self, entry: KeyEntry) -> Signer:
        """Return a key, ready to sign for its environment alone.

        Raises:
            NoMasterKey, WrongMasterKey, DamagedVault: It cannot be opened.
        """
        cipher, master = self._cipher()
        if master != entry.master:
            raise WrongMasterKey(_wrong_master(entry.name))
        path = self._path(entry)
        try:
            sealed = path.read_bytes()
        except OSError as exc:
            raise DamagedVault(
                f"{path} cannot be read ({exc.strerror}); put it back from a backup, or give the key anew: "
                f"`keys rotate {entry.name}`."
            ) from exc
        head = len(MARK) + NONCE_BYTES
        try:
            if not sealed.startswith(MARK) or len(sealed) <= head:
                raise InvalidTag
            return Signer.from_pem(
                entry.environment,
                entry.key_id,
                cipher.decrypt(sealed[len(MARK) : head], sealed[head:], entry.bound()),
                source=f"Key {entry.name}",
            )
        except InvalidTag as exc:
            raise DamagedVault(
                f"Key {entry.name} was damaged or altered: {path.name}, or its name, environment, account or id in "
                f"index.json. Put both back from a backup, or give the key anew: `keys rotate {entry.name}`."
            ) from exc

    def seal(self, *, name: str, account: str, environment: str, key_id: str, pem: Secret) -> KeyEntry:
        """Encrypt a key into a file of its own. The index does not know it before `keep`.

        Raises:
            BadKey: It is no key that the venue takes.
            VaultError: A word does not fit, the key is in the vault already, or it cannot be encrypted like the others.
        """
        _check_words(name, account, key_id)
        there = environment_of(account, self.entries())
        if there not in ("", environment):
            raise VaultError(
                f"Account {account} is of {there}; give that of {environment} another name: an account has one "
                "environment, and what is stored of the two would be mixed."
            )
        fingerprint = Signer.from_pem(environment, key_id, pem.reveal().encode(), source="The file").fingerprint()
        others = self.entries()
        same = next((each for each in others if each.fingerprint == fingerprint and each.name != name), None)
        if same is not None:
            raise VaultError(f"This key is in the vault already, as {same.name}; see `keys list`.")
        folder(self._home, "keys")
        cipher, master = self._cipher(may_make=not others)
        if any(other.master != master for other in others):
            raise WrongMasterKey(_wrong_master(others[0].name))
        entry = KeyEntry(
            name=name,
            account=account,
            environment=environment,
            key_id=key_id,
            fingerprint=fingerprint,
            file=f"{name}-{secrets.token_hex(4)}.key",
            master=master,
        )
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = MARK + nonce + cipher.encrypt(nonce, pem.reveal().encode(), entry.bound())
        write_private(self._path(entry), sealed, is_durable=True)
        return entry

    def keep(self, entry: KeyEntry, *, instead_of: KeyEntry | None) -> None:
        """Put a key into the index.

        Args:
            instead_of: What stands there under its name, as the caller knows it; None for a new name.

        Raises:
            VaultError: Something else stands there.
        """
        with FileLock(folder(self._home, "keys") / "lock").held(within_s=LOCK_WITHIN_S):
            keys = {each.name: each for each in self.entries()}
            if keys.get(entry.name) != instead_of:
                raise VaultError(f"Key {entry.name} is there already, or was changed meanwhile; see `keys list`.")
            keys[entry.name] = entry
            index = Index(tuple(keys[name] for name in sorted(keys)))
            content = msgspec.json.format(msgspec.json.encode(index), indent=2)
            write_private(self._folder / "index.json", content, is_durable=True)

    def discard(self, entry: KeyEntry) -> None:
        """Remove the file of a key that the index does not name any more."""
        if all(each.file != entry.file for each in self.entries()):
            self._path(entry).unlink(missing_ok=True)

    def master_lies_beside(self) -> Path | None:
        """Return the file with the master key where it lies in the home itself, None where it comes from elsewhere."""
        found = self._master()
        path = self._home / MASTER_FILE
        return path if found is not None and found[0] == str(path) else None

    def _path(self, entry: KeyEntry) -> Path:
        return self._folder / Path(entry.file).name

    def _cipher(self, *, may_make: bool = False) -> tuple[AESGCM, str]:
        """Return the cipher of the master key, and what names that key."""
        found = self._master()
        if found is None and may_make:
            made = base64.b64encode(secrets.token_bytes(MASTER_BYTES)) + b"\n"
            make_once(self._home / MASTER_FILE, made)  # another first key may be on its way beside this one
            found = self._master()
        if found is None:
            raise NoMasterKey(
                f"There is no master key to the vault: set {VARIABLE}_FILE to the file that holds it, or put back "
                f"{self._home / MASTER_FILE}."
            )
        source, text = found
        try:
            return AESGCM(_decoded(text)), _master_id(text)
        except ValueError as exc:
            raise NoMasterKey(
                f"{source} holds no master key: expected 32 bytes in base64 or hex (`openssl rand -base64 32`)."
            ) from exc

    def _master(self) -> tuple[str, Secret] | None:
        """Return where the master key comes from, and its text."""
        named = os.environ.get(f"{VARIABLE}_FILE", "").strip()
        if named:
            return f"{VARIABLE}_FILE {named}", _text(Path(named))
        handed = Path(os.environ.get("CREDENTIALS_DIRECTORY", "")) / CREDENTIAL
        if "CREDENTIALS_DIRECTORY" in os.environ and handed.exists():
            return str(handed), _text(handed)
        if os.environ.get(VARIABLE, "").strip():
            return VARIABLE, Secret(os.environ[VARIABLE].strip())
        beside = self._home / MASTER_FILE
        return (str(beside), _text(beside)) if beside.exists() else None


def open_key(home: Path, name: str) -> Signer:
    """Return a key of the vault, ready to sign for its environment alone.

    Raises:
        VaultError: It is not there or cannot be opened; the message says what to do.
    """
    vault = Vault(home)
    return vault.open(vault.find(name))


def trading_key(home: Path, *, environment: str, account: str) -> KeyEntry | None:
    """Return the key that trades for an account: the first by name that is known to be allowed to, None without one.

    Raises:
        DamagedVault: The index cannot be read.
    """
    vault = Vault(home)
    for entry in vault.entries():
        if (entry.environment, entry.account) == (environment, account) and entry.may_trade and vault.is_there(entry):
            return entry
    return None


def reading_key(home: Path, *, environment: str, account: str) -> KeyEntry | None:
    """Return the key to read an account with, None without one: one that may only read before one that may more.

    One that was not tested yet is better than none: the venue will say.

    Raises:
        DamagedVault: The index cannot be read.
    """
    vault = Vault(home)
    found = [one for one in vault.entries() if (one.environment, one.account) == (environment, account)]
    fitting = [one for one in found if one.may_read is not False and vault.is_there(one)]
    return min(fitting, key=lambda one: (one.may_read is None, bool(one.may_trade), one.name), default=None)


def environment_of(account: str, entries: Iterable[KeyEntry]) -> str:
    """Return the environment that an account is of, empty where none is known: by its keys, or as it is called so."""
    if account in ENVIRONMENTS:
        return account
    return next((one.environment for one in entries if one.account == account), "")


def _check_words(name: str, account: str, key_id: str) -> None:
    if account == PAPER:
        raise VaultError(f"The account {account!r} is that of all dry-run traders; give another name.")
    for what, word in (("name", name), ("account", account)):
        if not NAME.fullmatch(word):
            raise VaultError(f"The {what} {word!r} does not fit; small letters, digits, dots, dashes, underscores do.")
    if not KEY_ID.fullmatch(key_id):
        raise VaultError("The key id does not fit; it is what the venue shows beside the key, such as a UUID.")


def _text(path: Path) -> Secret:
    try:
        return Secret(path.read_bytes().decode("latin-1").strip())  # whatever it holds: an error would quote it
    except OSError as exc:
        raise NoMasterKey(f"The master key {path} cannot be read ({exc.strerror}).") from exc


def _decoded(text: Secret) -> bytes:
    """Return the 32 bytes, or raise ValueError, which says nothing of them."""
    if HEX.fullmatch(text.reveal()):
        return bytes.fromhex(text.reveal())
    if len(binascii.a2b_base64(text.reveal(), strict_mode=True)) != MASTER_BYTES:
        raise ValueError(f"not {MASTER_BYTES} bytes")
    return binascii.a2b_base64(text.reveal(), strict_mode=True)


def _master_id(text: Secret) -> str:
    """Return what names a master key. It is random in all its 256 bits, so nothing can be guessed from this."""
    return hashlib.blake2b(_decoded(text), digest_size=8, person=b"kmm master key").hexdigest()


def _wrong_master(name: str) -> str:
    return (
        f"Key {name} was encrypted with another master key than the one found: look at {VARIABLE}_FILE, {VARIABLE} and "
        f"{MASTER_FILE} in the home."
    )
