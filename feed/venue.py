"""The venue as settings and vault name it: its addresses, and the keys that read."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from django.conf import settings

from feed.kalshi import environments
from feed.kalshi.environments import Environment
from feed.kalshi.signing import Signer
from feed.keys import NoSuchKey, Vault, VaultError, reading_key
from kalshimm.errors import ConfigurationError

logger = logging.getLogger(__name__)


def environment() -> Environment:
    return environments.resolve(settings.KALSHI_ENV, settings.KALSHI_REST_URL, settings.KALSHI_WS_URL)


def signer() -> Signer | None:
    """Return the signer of the configured key, or None when none is configured.

    Raises:
        ConfigurationError: Only half of it is there.
        BadKey: The file holds no usable key.
    """
    key_id, path = settings.KALSHI_KEY_ID, settings.KALSHI_PRIVATE_KEY_PATH
    if not key_id and not path:
        return None
    if not key_id:
        raise ConfigurationError("KALSHI_KEY_ID", "is missing beside KALSHI_PRIVATE_KEY_PATH")
    if not path:
        raise ConfigurationError("KALSHI_PRIVATE_KEY_PATH", "is missing beside KALSHI_KEY_ID")
    return Signer.from_file(settings.KALSHI_ENV, key_id, Path(path))


def readers() -> dict[str, Callable[[], Signer]]:
    """Return what opens the key to read each account with, by its name: those that the vault has in this environment.

    The key of the settings is of the account that is called as the environment is, and comes before the vault's.

    Raises:
        ConfigurationError, BadKey: As `signer`.
        DamagedVault: The vault cannot be read, and the settings name no key.
    """
    configured = signer()
    found: dict[str, Callable[[], Signer]] = {}
    if configured is not None:
        found[settings.KALSHI_ENV] = lambda: configured
    try:
        entries = Vault(settings.KALSHIMM_HOME).entries()
    except VaultError as exc:
        if configured is None:
            raise
        logger.error("only the account of the settings is kept: %s", exc, extra={"action": "vault_unread"})
        return found
    for entry in entries:
        if entry.environment == settings.KALSHI_ENV and entry.may_read is not False:
            found.setdefault(entry.account, partial(_open, entry.account))
    return found


def _open(account: str) -> Signer:
    """Return the account's reading key as it is now: it may have been rotated.

    Raises:
        VaultError: It cannot be opened, or there is none any more.
    """
    entry = reading_key(settings.KALSHIMM_HOME, environment=settings.KALSHI_ENV, account=account)
    if entry is None:
        raise NoSuchKey(f"for reading {account}")
    return Vault(settings.KALSHIMM_HOME).open(entry)
