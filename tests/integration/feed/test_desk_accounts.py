"""Several accounts at one desk: each has its stream and its beat, and what befalls one is no matter of the others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import redis
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace
from test_desk import ACCOUNT, BRISK, TICKER, Stage, Truth, channel_only, quick, staged

from feed import venue
from feed.exchange.server import LocalExchange
from feed.exchange.trading.ledger import Kind
from feed.kalshi.signing import Signer
from feed.kalshi.wire.kinds import Secret
from feed.keys import NoSuchKey, Vault, VaultError
from feed.schema import AccountBalance, AccountEntry, AccountOrder, AccountPosition, account_stream
from kalshimm.errors import ConfigurationError
from kalshimm.runtime.heartbeat import Beat
from markets.core.units import DOLLAR_UD, Side

__all__ = ["channel_only", "quick"]  # fixtures

SECOND, REVOKED, BROKEN, SLOW = "second", "revoked", "broken", "slow"
VENUES = {SECOND: "b-member", REVOKED: "c-member", SLOW: "d-member"}  # as the exchange calls them


def a_signer(exchange: LocalExchange, account: str) -> Signer:
    key = Ed25519PrivateKey.generate()
    return Signer("local", exchange.keys.register(key.public_key(), exchange.world.account(VENUES[account]).name), key)


class Openers:
    """What opens each account's key; that of SLOW fails twice, by what nobody foresaw."""

    def __init__(self) -> None:
        self.opened = 0
        self.signers: dict[str, Signer] = {}

    def __call__(self, exchange: LocalExchange) -> dict[str, Callable[[], Signer]]:
        self.signers = {name: a_signer(exchange, name) for name in VENUES}
        return {
            BROKEN: self._broken,
            SECOND: lambda: self.signers[SECOND],
            REVOKED: lambda: self.signers[REVOKED],
            SLOW: self._slow,
        }

    def _broken(self) -> Signer:
        raise NoSuchKey("broken")

    def _slow(self) -> Signer:
        self.opened += 1
        if self.opened <= 2:
            raise RuntimeError("who would have thought")
        return self.signers[SLOW]


@pytest.fixture
def openers() -> Openers:
    return Openers()


@pytest.fixture
async def several(
    openers: Openers, redis_client: redis.Redis, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    monkeypatch.setattr("feed.desk.AGAIN_FIRST_S", 0.05)
    async for started in staged(redis_client, redis_url, tmp_path / "keys", periods=BRISK, others=openers):
        yield started


def has_state(stage: Stage, account: str, state: str) -> Callable[[], Beat | None]:
    return lambda: beat if (beat := stage.beat(account)) is not None and beat.state == state else None


async def test_each_account_has_a_stream_of_its_own_and_a_beat(several: Stage, redis_client: redis.Redis) -> None:
    await several.until(has_state(several, SECOND, "live"), "the second account is live")
    await several.place(Side.YES, 4_200, 1_000)
    await several.outsider(Side.NO, 4_200, 300, account=VENUES[SECOND])
    await several.until(lambda: Truth(redis_client, SECOND).positions == {TICKER: -300}, "the second one's position")
    await several.until(lambda: several.truth.positions == {TICKER: 300}, "the first one's position")
    assert {entry.account for entry in Truth(redis_client, SECOND).entries} == {SECOND}
    assert {entry.account for entry in several.truth.entries} == {ACCOUNT}
    assert [fill.side for fill in Truth(redis_client, SECOND).fills] == [Side.NO]


async def test_C15_a_revoked_key_leaves_the_other_accounts_live(several: Stage, openers: Openers) -> None:
    for account in (SECOND, REVOKED):
        await several.until(has_state(several, account, "live"), f"{account} is live")
    several.exchange.keys.remove(openers.signers[REVOKED].key_id)
    beat = await several.until(has_state(several, REVOKED, "blind"), "its account is blind")
    assert "orders" in beat.last_event
    await several.place(Side.YES, 4_200, 1_000)
    await several.outsider(Side.NO, 4_200, 300, account=VENUES[SECOND])
    await several.until(several.equals_ledger, "the first account is told on")
    await several.until(lambda: Truth(several.redis, SECOND).positions == {TICKER: -300}, "and the second one")


async def test_a_key_that_cannot_be_opened_is_told_and_leaves_the_others_alone(several: Stage) -> None:
    beat = await several.until(has_state(several, BROKEN, "failed"), "its beat says so")
    assert "There is no key broken in the vault" in beat.last_event
    assert has_state(several, ACCOUNT, "live")()
    assert not several.redis.exists(account_stream(BROKEN))


async def test_an_account_that_failed_is_begun_anew(several: Stage, openers: Openers) -> None:
    await several.until(has_state(several, SLOW, "live"), "it is live")
    assert openers.opened == 3


# A used account


@pytest.fixture
async def used(
    redis_client: redis.Redis, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Stage, Event]]:
    """With an account that the desk meets only once the test says so."""
    monkeypatch.setattr("feed.desk.AGAIN_FIRST_S", 0.05)
    meet = Event()

    def others(exchange: LocalExchange) -> dict[str, Callable[[], Signer]]:
        signer = a_signer(exchange, SECOND)

        def open_key() -> Signer:
            if not meet.is_set():
                raise NoSuchKey("second")
            return signer

        return {SECOND: open_key}

    async for started in staged(redis_client, redis_url, tmp_path / "keys", periods=BRISK, others=others):
        yield started, meet


async def test_C18_what_a_used_account_has_is_told_as_external_with_its_cost(used: tuple[Stage, Event]) -> None:
    stage, meet = used
    await stage.place(Side.NO, 4_200, 300)
    await stage.place(Side.NO, 4_400, 200)
    await stage.outsider(Side.YES, 4_200, 300, account=VENUES[SECOND])
    await stage.outsider(Side.YES, 4_400, 200, account=VENUES[SECOND])
    await stage.outsider(Side.YES, 1_000, 700, account=VENUES[SECOND])
    meet.set()

    def whole() -> list[AccountEntry]:
        return [entry for entry in Truth(stage.redis, SECOND).entries if entry.is_whole]

    await stage.until(whole, "the desk has met it")
    updates = whole()[0].updates
    (position,) = [one for one in updates if isinstance(one, AccountPosition)]
    (order,) = [one for one in updates if isinstance(one, AccountOrder)]
    assert (position.ticker, position.position_cx, position.cost_ud) == (TICKER, 500, 300 * 4_200 + 200 * 4_400)
    assert (order.remaining_cx, order.yes_price_cc, order.is_external) == (700, 1_000, True)
    await stage.until(lambda: len(Truth(stage.redis, SECOND).fills) >= 2, "its fills are told")
    assert {fill.is_external for fill in Truth(stage.redis, SECOND).fills} == {True}
    assert not Truth(stage.redis, SECOND).differences, "what was before is no news that the channel kept to itself"


async def test_the_cost_of_a_position_follows_its_fills_before_the_next_list(channel_only: Stage) -> None:
    stage = channel_only

    def costs() -> list[int | None]:
        told = [u for e in stage.truth.entries for u in e.updates if isinstance(u, AccountPosition)]
        return [one.cost_ud for one in told if one.ticker == TICKER and one.position_cx == 500]

    await stage.place(Side.YES, 4_200, 300)
    await stage.outsider(Side.NO, 4_200, 300)
    await stage.until(lambda: stage.truth.positions == {TICKER: 300}, "the first fill is in the position")
    await stage.place(Side.YES, 4_400, 200)
    await stage.outsider(Side.NO, 4_400, 200)
    assert (await stage.until(costs, "the second one, too"))[0] == 300 * 4_200 + 200 * 4_400


async def test_cash_of_a_subaccount_is_told_also_of_one_that_was_opened_meanwhile(quick: Stage) -> None:
    owner = quick.exchange.world.account("owner")
    owner.open_subaccount(0)
    owner.post(Kind.DEPOSIT, 250 * DOLLAR_UD, (0, 1), at_us=quick.exchange.world.now_us)

    def told() -> dict[int, list[tuple[int, int]]]:
        balances = [u for e in quick.truth.entries for u in e.updates if isinstance(u, AccountBalance)]
        return {number: balances[-1].of(number) if balances else [] for number in (0, 1)}

    await quick.until(lambda: told()[1] == [(0, 250 * DOLLAR_UD)], "its cash is told")
    assert told()[0] == [(0, 7_000 * DOLLAR_UD), (2, 3_000 * DOLLAR_UD)]


# Which accounts there are


def keep(home: Path, name: str, account: str, environment: str = "local", scopes: tuple[str, ...] = ("read",)) -> None:
    key, forms = Ed25519PrivateKey.generate(), serialization.PrivateFormat
    pem = key.private_bytes(serialization.Encoding.PEM, forms.PKCS8, serialization.NoEncryption()).decode()
    entry = Vault(home).seal(name=name, account=account, environment=environment, key_id=f"id-{name}", pem=Secret(pem))
    Vault(home).keep(replace(entry, scopes=scopes), instead_of=None)


@pytest.fixture
def home(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("KALSHIMM_MASTER_KEY", "KALSHIMM_MASTER_KEY_FILE", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    settings.KALSHIMM_HOME, settings.KALSHI_ENV = tmp_path, "local"
    settings.KALSHI_KEY_ID = settings.KALSHI_PRIVATE_KEY_PATH = ""
    return tmp_path


def test_the_desk_reads_each_account_of_its_environment_with_the_least_key(home: Path) -> None:
    assert venue.readers() == {}
    keep(home, "a-trades", "one", scopes=("read", "write"))
    keep(home, "b-reads", "one")
    keep(home, "c-untested", "two", scopes=())
    keep(home, "d-writes", "three", scopes=("write",))
    keep(home, "e-demo", "four", "demo")
    found = venue.readers()
    assert {name: open_key().key_id for name, open_key in found.items()} == {
        "one": "id-b-reads",
        "two": "id-c-untested",
    }


def test_a_key_of_another_environment_is_never_opened(home: Path, settings: Any) -> None:
    keep(home, "real", "real", "prod")
    settings.KALSHI_ENV = "demo"
    assert venue.readers() == {}
    settings.KALSHI_ENV = "prod"
    (opened,) = [open_key() for open_key in venue.readers().values()]
    assert opened.environment == "prod"


def test_the_key_of_the_settings_is_that_of_the_environment_and_needs_no_vault(
    home: Path, settings: Any, tmp_path: Path
) -> None:
    keep(home, "another", "local")
    pem = tmp_path / "key.pem"
    key, forms = Ed25519PrivateKey.generate(), serialization.PrivateFormat
    pem.write_bytes(key.private_bytes(serialization.Encoding.PEM, forms.PKCS8, serialization.NoEncryption()))
    settings.KALSHI_KEY_ID, settings.KALSHI_PRIVATE_KEY_PATH = "configured", str(pem)
    assert [open_key().key_id for open_key in venue.readers().values()] == ["configured"]
    (home / "keys" / "index.json").write_text("{")
    assert list(venue.readers()) == ["local"]
    settings.KALSHI_KEY_ID = settings.KALSHI_PRIVATE_KEY_PATH = ""
    with pytest.raises(VaultError, match="damaged"):
        venue.readers()
    settings.KALSHI_KEY_ID = "half"
    with pytest.raises(ConfigurationError):
        venue.readers()
