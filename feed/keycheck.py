"""What the venue says of one key: whether it knows it, and what it may do.

`GET /api_keys` lists scopes, but not to a key without the scope read or one pinned to a subaccount. What such a key may
do is then tried: it reads its limits, and it cancels an order that never was (404 where it may, 403 where it may not).
"""

from __future__ import annotations

import uuid

import msgspec

from feed.kalshi.environments import Environment
from feed.kalshi.errors import Disconnected, Forbidden, NotFound, RequestRefused, Unauthorized
from feed.kalshi.rest import Rest
from feed.kalshi.signing import Signer
from feed.kalshi.transport import Connection
from feed.kalshi.wire.orders import CancelOrder
from kalshimm.errors import KalshimmError, OutcomeUnknown
from kalshimm.runtime.clock import Clock

READ, TRADE = "read", "write::trade"
NOWHERE = "KALSHIMM-NO-SUCH-MARKET"
CONNECTION = Connection(deadline_s=8.0)  # a person waits for it


class KeyRefused(KalshimmError):
    """The venue does not let the key in."""


class Standing(msgspec.Struct, frozen=True):
    """What a key may do at the venue.

    Attributes:
        scopes: As listed, or as far as they were proven; never empty.
        is_listed: Whether the venue listed them.
        subaccount: The one it is pinned to, as far as that was listed.
        attested_until_us: From then on no key of the account may trade sports, elections or entertainment; None when
            the venue names no time.
        clock_ahead_us: How far the venue's clock is ahead of ours; None when its answers had no date.
    """

    scopes: tuple[str, ...]
    is_listed: bool
    subaccount: int | None = None
    attested_until_us: int | None = None
    clock_ahead_us: int | None = None


async def ask(signer: Signer, environment: Environment, clock: Clock) -> Standing:
    """Ask the venue, once, what a key may do.

    Raises:
        KeyRefused: It does not know the key, or the key may do nothing that we need.
        VenueError: It does not answer.
    """
    async with Rest(environment, signer, clock, connection=CONNECTION) as rest:
        try:
            found = await _listed(rest, signer.key_id) or await _tried(rest)
        except Unauthorized as exc:
            raise KeyRefused(_not_let_in(signer, exc, rest)) from exc
        if not found.scopes:
            raise KeyRefused(f"The venue knows key {signer.key_id}, but it may neither read nor trade.")
        offset = rest.clock_offset()
        return msgspec.structs.replace(found, clock_ahead_us=None if offset is None else offset.estimate_us)


async def _listed(rest: Rest, key_id: str) -> Standing | None:
    try:
        told = await rest.account.keys()
    except Forbidden:
        return None
    mine = next((key for key in told.api_keys if key.api_key_id == key_id), None)
    if mine is None or not mine.scopes:
        return None
    return Standing(mine.scopes, True, mine.subaccount, told.region_expiration_us)


async def _tried(rest: Rest) -> Standing:
    scopes = []
    try:
        await rest.account.limits()
        scopes.append(READ)
    except Forbidden:
        pass
    try:
        await rest.orders.cancel(CancelOrder(order_id=str(uuid.uuid4()), market_ticker=NOWHERE, exchange_index=0))
    except NotFound:
        scopes.append(TRADE)
    except Unauthorized:
        raise
    except RequestRefused:
        pass  # not allowed, or a refusal that proves nothing: unknown is no
    except OutcomeUnknown as exc:
        raise Disconnected(f"The venue does not say whether the key may trade ({exc}).") from exc
    return Standing(tuple(scopes), False)


def _not_let_in(signer: Signer, refused: Unauthorized, rest: Rest) -> str:
    offset = rest.clock_offset()
    clock = "" if offset is None else f" (the venue's clock is {offset.estimate_us / 1_000_000:+.1f} s ahead of ours)"
    return (
        f"The venue does not let key {signer.key_id} in ({refused.code or refused.status}: {refused.message}): it was "
        f"revoked, is not of {signer.environment}, its id belongs to another private key, or a clock is wrong{clock}."
    )
