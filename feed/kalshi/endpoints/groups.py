"""`/portfolio/order_groups`: the venue cancels a group's orders when it fills more than its limit within 15 seconds.

A group lives on one shard, and every call names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from feed.kalshi.calls import Calls, Listing, Parameters, Write, listing, segment
from feed.kalshi.endpoints.orders import nothing
from feed.kalshi.limiter import Work
from feed.kalshi.wire.bodies import read
from feed.kalshi.wire.orders import Group, GroupCreated, GroupListed
from markets.core.units import format_count

GROUPS = "/portfolio/order_groups"
NO_BODY: Mapping[str, Any] = MappingProxyType({})


class Groups:
    """Order groups: our fence against a trader that went wild, or that came back from the dead."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def create(self, limit_cx: int, *, exchange_index: int, subaccount: int | None = None) -> GroupCreated:
        """Create a group that triggers past `limit_cx`: 1 to 1,000,000 contracts."""

        def accepted(data: Any) -> GroupCreated:
            return read(GroupCreated, data)

        body = {"contracts_limit_fp": format_count(limit_cx), "exchange_index": exchange_index}
        if subaccount is not None:
            body["subaccount"] = subaccount
        call = Write(
            Work.CREATE, "POST", f"{GROUPS}/create", f"create an order group on shard {exchange_index}", accepted,
            body=body, exchange_index=exchange_index,
        )  # fmt: skip
        created: GroupCreated = await self._calls.write(call)
        return created

    async def groups(self, *, subaccount: int | None = None) -> Listing[GroupListed]:
        data = await self._calls.decoded(GROUPS, Parameters(subaccount=subaccount))
        if isinstance(data, dict):
            data = {"order_groups": [], **data}  # the one list that may be missing altogether
        return self._calls.shaped(lambda value: listing(GroupListed, value, "order_groups", GROUPS), data, GROUPS)

    async def group(self, group_id: str, *, subaccount: int | None = None) -> Group:
        """Return one group with the ids of its orders."""
        return await self._calls.read(Group, f"{GROUPS}/{segment(group_id)}", Parameters(subaccount=subaccount))

    async def set_limit(
        self, group_id: str, limit_cx: int, *, exchange_index: int, subaccount: int | None = None
    ) -> None:
        """Change the limit; one below what was filled in the last 15 seconds triggers the group at once."""
        body = {"contracts_limit_fp": format_count(limit_cx)}
        where = Parameters(subaccount=subaccount, exchange_index=exchange_index)
        await self._calls.write(_change(group_id, "limit", Work.CREATE, where, exchange_index, body=body))

    async def reset(self, group_id: str, *, exchange_index: int, subaccount: int | None = None) -> None:
        """Let a triggered group take orders again."""
        where = Parameters(subaccount=subaccount, exchange_index=exchange_index)
        await self._calls.write(_change(group_id, "reset", Work.CREATE, where, exchange_index))

    async def trigger(self, group_id: str, *, exchange_index: int, subaccount: int | None = None) -> None:
        """Cancel a group's orders and refuse new ones."""
        where = Parameters(subaccount=subaccount, exchange_index=exchange_index)
        await self._calls.write(_change(group_id, "trigger", Work.CANCEL, where, exchange_index))

    async def delete(self, group_id: str, *, exchange_index: int, subaccount: int | None = None) -> None:
        """Delete a group and cancel its orders."""
        call = Write(
            Work.CANCEL, "DELETE", f"{GROUPS}/{segment(group_id)}", f"delete order group {group_id}", nothing,
            query=Parameters(subaccount=subaccount, exchange_index=exchange_index), exchange_index=exchange_index,
        )  # fmt: skip
        await self._calls.write(call)


def _change(
    group_id: str, what: str, work: Work, where: Parameters, exchange_index: int, *, body: Mapping[str, Any] = NO_BODY
) -> Write:
    return Write(
        work, "PUT", f"{GROUPS}/{segment(group_id)}/{what}", f"{what} order group {group_id}", nothing,
        query=where, body=body, exchange_index=exchange_index,
    )  # fmt: skip
