"""The venue as the settings name it: its addresses and our read key."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from feed.kalshi import environments
from feed.kalshi.environments import Environment
from feed.kalshi.signing import Signer
from kalshimm.errors import ConfigurationError


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
