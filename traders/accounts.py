"""Which accounts this installation trades on, and on which of them a trader does. Sync: it reads vault and settings.

An account is a name in one environment, known by its keys in the vault. The key of the settings, which has no name, is
of the account that is called as its environment is; so is the only account of an installation that has no key yet.
"""

from __future__ import annotations

from django.conf import settings

from feed.keys import Vault, environment_of
from kalshimm.errors import KalshimmError
from traders.models import PAPER, Mode, SeriesRule, Trader


class NoSuchAccount(KalshimmError):
    """No account, or not one alone, is meant; the message says which there are."""


def known_accounts() -> list[str]:
    """Return the accounts of this environment, by name: one at least.

    Raises:
        DamagedVault: The index of the keys cannot be read.
    """
    named = {one.account for one in Vault(settings.KALSHIMM_HOME).entries() if one.environment == settings.KALSHI_ENV}
    if settings.KALSHI_KEY_ID or not named:
        named.add(settings.KALSHI_ENV)
    return sorted(named)


def chosen_account(name: str) -> str:
    """Return the account of that name, or where none is named the one that there is.

    Raises:
        NoSuchAccount: There is none of that name in this environment, or none is named and there are several.
        DamagedVault: The index of the keys cannot be read.
    """
    accounts = known_accounts()
    listed = ", ".join(accounts)
    if not name and len(accounts) > 1:
        raise NoSuchAccount(f"There are several accounts, and none is named: say --account with one of {listed}.")
    if name and name not in accounts:
        raise NoSuchAccount(f"{settings.KALSHI_ENV} has no account {name!r} here; known: {listed} (see `keys list`).")
    return name or accounts[0]


def account_of(trader: Trader) -> str:
    """Return the account that a trader trades on. Rows of before accounts had names mean that of the environment."""
    return PAPER if trader.mode == Mode.DRY_RUN else trader.account or settings.KALSHI_ENV


def account_of_rule(rule: SeriesRule) -> str:
    """Return the account that a rule's live traders trade on."""
    return rule.account or settings.KALSHI_ENV


def why_elsewhere(account: str) -> str:
    """Return why an account is none of this environment; empty where nothing says so.

    Raises:
        DamagedVault: The index of the keys cannot be read.
    """
    there = environment_of(account, Vault(settings.KALSHIMM_HOME).entries())
    if there in ("", settings.KALSHI_ENV):
        return ""
    return f"account {account} is of {there}, and KALSHI_ENV is {settings.KALSHI_ENV}"
