"""What the local exchange says of keys of every kind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from feed.kalshi.signing import Signer
from feed.keycheck import KeyRefused, Standing, ask
from kalshimm.runtime.clock import ManualClock

if TYPE_CHECKING:
    from conftest import Desk


async def a_key(desk: Desk, **options: Any) -> Signer:
    """Let the exchange make a key."""
    made = await desk.rest.account.generate_key("another", **options)
    return Signer.from_pem("local", made.api_key_id, made.private_key.reveal().encode())


async def standing(desk: Desk, signer: Signer) -> Standing:
    return await ask(signer, desk.environment, desk.clock)


async def test_the_exchange_lists_what_a_key_may(desk: Desk) -> None:
    found = await standing(desk, desk.signer)
    assert (found.scopes, found.is_listed, found.subaccount) == (("read", "write"), True, None)
    found = await standing(desk, await a_key(desk, scopes=["read"]))
    assert (found.scopes, found.is_listed) == (("read",), True)
    assert found.clock_ahead_us is not None


async def test_what_is_not_listed_is_tried(desk: Desk) -> None:
    trades = await standing(desk, await a_key(desk, scopes=["write::trade"]))
    assert (trades.scopes, trades.is_listed) == (("write::trade",), False)


@pytest.mark.parametrize(
    ("scopes", "proven"), [(["read", "write::trade"], ("read", "write::trade")), (["read"], ("read",))]
)
async def test_a_key_pinned_to_a_subaccount_is_tried(desk: Desk, scopes: list[str], proven: tuple[str, ...]) -> None:
    number = await desk.rest.funds.create_subaccount()
    found = await standing(desk, await a_key(desk, scopes=scopes, subaccount=number))
    assert (found.scopes, found.is_listed) == (proven, False)


async def test_trying_leaves_nothing_behind(desk: Desk) -> None:
    await standing(desk, await a_key(desk, scopes=["write::trade"]))
    assert (await desk.rest.portfolio.orders().all()).items == ()


async def test_a_key_that_may_neither_read_nor_trade_is_refused(desk: Desk) -> None:
    with pytest.raises(KeyRefused, match="neither read nor trade"):
        await standing(desk, await a_key(desk, scopes=["write::transfer"]))


async def test_C15_a_revoked_key_is_told_at_once(desk: Desk) -> None:
    signer = await a_key(desk)
    await desk.rest.account.delete_key(signer.key_id)
    with pytest.raises(KeyRefused, match=rf"{signer.key_id} .*NOT_FOUND.* revoked"):
        await asyncio.wait_for(standing(desk, signer), 2.0)


async def test_C15_an_id_with_another_private_key_is_told(desk: Desk) -> None:
    stranger = Signer("local", desk.signer.key_id, Ed25519PrivateKey.generate())
    with pytest.raises(KeyRefused, match="its id belongs to another private key"):
        await standing(desk, stranger)


async def test_C15_a_wrong_clock_is_told_beside_the_key_that_it_spoils(desk: Desk) -> None:
    late = ManualClock(desk.clock.wall_us() - 600_000_000)
    with pytest.raises(KeyRefused, match=r"header_timestamp_expired.* s ahead of ours"):
        await ask(desk.signer, desk.environment, late)
