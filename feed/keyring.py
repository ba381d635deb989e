"""What a person does to the keys: each change in the vault, the database and the audit log.

The vault (feed.keys) is what counts. A row that is missing or behind is mended by the next test of its key.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from feed import venue
from feed.kalshi import environments
from feed.kalshi.environments import Environment
from feed.kalshi.signing import Signer
from feed.kalshi.wire.kinds import Secret
from feed.keycheck import Standing, ask
from feed.keys import KeyEntry, Vault, VaultError
from feed.models import ExchangeKey
from kalshimm.ops.services import audit
from kalshimm.runtime.clock import SystemClock


def add_key(
    home: Path, *, name: str, account: str, environment: str, key_id: str, pem: Secret, actor: str
) -> ExchangeKey:
    """Encrypt a key into the vault.

    Raises:
        BadKey, VaultError: It cannot be kept; nothing has changed.
    """
    vault = Vault(home)
    if any(entry.name == name for entry in vault.entries()):
        raise VaultError(f"There is a key {name} already; give another name, or replace it: `keys rotate {name}`.")
    entry = vault.seal(name=name, account=account, environment=environment, key_id=key_id, pem=pem)
    try:
        with transaction.atomic():
            row = _write(entry)
            audit(actor, "key.added", name, **_facts(entry))
            vault.keep(entry, instead_of=None)
    finally:
        vault.discard(entry)  # unless the index names it now
    return row


def check_key(home: Path, name: str, *, actor: str) -> tuple[ExchangeKey, Standing]:
    """Ask the venue what a key may do, and note it.

    Raises:
        VaultError, KeyRefused, VenueError: It cannot be opened, is not let in, or nobody answers; nothing has changed.
    """
    vault = Vault(home)
    entry = vault.find(name)
    standing = _ask(vault.open(entry))
    tested = msgspec.structs.replace(entry, scopes=standing.scopes)
    with transaction.atomic():
        row = _write(tested, is_tested=True)
        audit(actor, "key.tested", name, **_facts(tested))
        if tested != entry:
            vault.keep(tested, instead_of=entry)
    return row, standing


def rotate_key(home: Path, name: str, *, key_id: str, pem: Secret, actor: str) -> tuple[ExchangeKey, Standing]:
    """Put another key in the place of one. The old one goes only after the venue has answered to the new one.

    Raises:
        BadKey, VaultError, KeyRefused, VenueError: It does not come to that; nothing has changed.
    """
    vault = Vault(home)
    old = vault.find(name)
    sealed = vault.seal(name=name, account=old.account, environment=old.environment, key_id=key_id, pem=pem)
    try:
        standing = _ask(vault.open(sealed))
        new = msgspec.structs.replace(sealed, scopes=standing.scopes)
        with transaction.atomic():
            row = _write(new, is_tested=True)
            audit(actor, "key.rotated", name, **_facts(new), was=_facts(old))
            vault.keep(new, instead_of=old)
    finally:
        vault.discard(sealed)  # unless the index names it now
    vault.discard(old)
    return row, standing


def address_of(environment: str) -> Environment:
    """Return where an environment answers, also one that this installation does not trade on.

    Raises:
        ConfigurationError: Nobody has said so.
    """
    return venue.environment() if environment == settings.KALSHI_ENV else environments.resolve(environment)


def _ask(signer: Signer) -> Standing:
    return asyncio.run(ask(signer, address_of(signer.environment), SystemClock()))


def _write(entry: KeyEntry, *, is_tested: bool = False) -> ExchangeKey:
    values = {
        "account": entry.account,
        "environment": entry.environment,
        "key_id": entry.key_id,
        "fingerprint": entry.fingerprint,
        "scopes": list(entry.scopes),
        "tested_at": timezone.now() if is_tested else None,
    }
    return ExchangeKey.objects.update_or_create(name=entry.name, defaults=values)[0]


def _facts(entry: KeyEntry) -> dict[str, object]:
    """Return what an audit row says of a key."""
    return {
        "account": entry.account,
        "environment": entry.environment,
        "key_id": entry.key_id,
        "fingerprint": entry.fingerprint,
        "scopes": list(entry.scopes),
    }
