"""Subaccounts, and money between them and between shards.

None of it is an order write, so all of it is paid from the read budget (facts.md section 3).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from feed.kalshi.calls import Calls, Listing, Pages, Parameters, Write, listing, segment
from feed.kalshi.endpoints.orders import nothing
from feed.kalshi.limiter import Work
from feed.kalshi.wire.account import (
    EVENT_CONTRACT,
    Allocation,
    Netting,
    ShardShare,
    SubaccountBalance,
    SubaccountCreated,
    SubaccountTransfer,
    Transfer,
    TransferStarted,
)
from feed.kalshi.wire.bodies import Body, read, write
from feed.kalshi.wire.kinds import CENT_UD

B = TypeVar("B", bound=Body)

SUBACCOUNTS = "/portfolio/subaccounts"
TRANSFER = "/portfolio/intra_exchange_instance_transfer"
ALLOCATION = "/portfolio/target_balance_allocation"
CENTI_CENT_UD = CENT_UD // 100
PAGE = 500


class Funds:
    """Where the cash lies. It must lie on a market's shard before an order there can be placed."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    # ---- subaccounts: 0 is the primary one, 1 to 63 are numbered -------------------------------------------------

    async def create_subaccount(self, *, exchange_index: int | None = None) -> int:
        """Create the next subaccount and return its number."""
        body = {} if exchange_index is None else {"exchange_index": exchange_index}
        call = _write("POST", SUBACCOUNTS, "create a subaccount", body, lambda data: read(SubaccountCreated, data))
        created: SubaccountCreated = await self._calls.write(call)
        return created.number

    async def subaccount_balances(self) -> Listing[SubaccountBalance]:
        return await self._listing(SubaccountBalance, f"{SUBACCOUNTS}/balances", "subaccount_balances")

    async def transfer_between_subaccounts(
        self,
        amount_ud: int,
        *,
        from_subaccount: int,
        to_subaccount: int,
        client_transfer_id: str,
        exchange_index: int,
    ) -> None:
        """Move whole cents between subaccounts of one shard.

        Args:
            client_transfer_id: A UUID, new for each wish.

        Raises:
            Conflict: The id was used before: proof that the first transfer arrived.
        """
        body = {
            "client_transfer_id": client_transfer_id,
            "from_subaccount": from_subaccount,
            "to_subaccount": to_subaccount,
            "amount_cents": _whole(amount_ud, CENT_UD, "cents"),
            "exchange_index": exchange_index,
        }
        asked = f"move money from subaccount {from_subaccount} to {to_subaccount} ({client_transfer_id})"
        await self._calls.write(_write("POST", f"{SUBACCOUNTS}/transfer", asked, body, nothing))

    def subaccount_transfers(self) -> Pages[SubaccountTransfer]:
        query = Parameters(limit=PAGE)
        return Pages(self._calls, SubaccountTransfer, f"{SUBACCOUNTS}/transfers", query, "transfers")

    async def netting(self) -> Listing[Netting]:
        return await self._listing(Netting, f"{SUBACCOUNTS}/netting", "netting_configs")

    async def set_netting(self, subaccount: int, *, enabled: bool) -> None:
        body = {"subaccount_number": subaccount, "enabled": enabled}
        asked = f"switch netting of subaccount {subaccount} {'on' if enabled else 'off'}"
        await self._calls.write(_write("PUT", f"{SUBACCOUNTS}/netting", asked, body, nothing))

    # ---- shards --------------------------------------------------------------------------------------------------

    async def transfer_between_shards(
        self,
        amount_ud: int,
        *,
        from_shard: int,
        to_shard: int,
        subaccount: int = 0,
        to_subaccount: int | None = None,
        client_transfer_id: str,
    ) -> str:
        """Start a move of cash between shards and return its id; it is done when its status says `complete`.

        Between subaccounts it takes up to three steps, and one that fails undoes none before it.

        Args:
            amount_ud: Whole centi-cents.
            to_subaccount: None is the same one.
        """
        body = {
            "source": EVENT_CONTRACT,
            "destination": EVENT_CONTRACT,
            "amount": _whole(amount_ud, CENTI_CENT_UD, "centi-cents"),
            "source_exchange_shard": from_shard,
            "destination_exchange_shard": to_shard,
            "source_subaccount": subaccount,
            "destination_subaccount": subaccount if to_subaccount is None else to_subaccount,
            "client_transfer_id": client_transfer_id,
        }
        asked = f"move money from shard {from_shard} to {to_shard} ({client_transfer_id})"
        call = _write("POST", TRANSFER, asked, body, lambda data: read(TransferStarted, data))
        started: TransferStarted = await self._calls.write(call)
        return started.transfer_id

    def transfers(self) -> Pages[Transfer]:
        return Pages(self._calls, Transfer, f"{TRANSFER}s", Parameters(limit=PAGE), "transfers")

    async def transfer(self, transfer_id: str) -> Transfer:
        return await self._calls.read(Transfer, f"{TRANSFER}s/{segment(transfer_id)}", inside="transfer")

    async def allocation(self) -> Allocation:
        return await self._calls.read(Allocation, ALLOCATION)

    async def set_allocation(
        self, percent_by_shard: Mapping[int, int], *, resting_margin_reservation: str | None = None
    ) -> None:
        """Let the venue spread the cash over the shards every 10 s.

        Args:
            resting_margin_reservation: `sum`, `max` or `none` of what resting orders bind stays where it is.
        """
        shares = tuple(ShardShare(exchange_index=shard, percent=percent) for shard, percent in percent_by_shard.items())
        body = write(Allocation(shares=shares, resting_margin_reservation=resting_margin_reservation))
        await self._calls.write(_write("POST", ALLOCATION, "set how cash is spread over the shards", body, nothing))

    async def _listing(self, kind: type[B], path: str, name: str) -> Listing[B]:
        data = await self._calls.decoded(path)
        return self._calls.shaped(lambda value: listing(kind, value, name, path), data, path)


def _write(method: str, path: str, asked: str, body: dict[str, Any], accepted: Any) -> Write:
    return Write(Work.READ, method, path, asked, accepted, body=body)


def _whole(amount_ud: int, unit_ud: int, what: str) -> int:
    if amount_ud <= 0 or amount_ud % unit_ud:
        raise ValueError(f"amount_ud must be a positive number of whole {what}, found {amount_ud}")
    return amount_ud // unit_ud
