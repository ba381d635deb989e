"""Order groups that no lease uses any more are deleted a day later: an account may have 100,000 at most."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable

from feed.kalshi.errors import NotFound
from feed.kalshi.rest import Rest
from traders.models import RetiredGroup

logger = logging.getLogger(__name__)


async def sweep(rest: Rest, groups: Iterable[RetiredGroup]) -> AsyncIterator[RetiredGroup]:
    """Delete groups at the exchange; yield each that needs no more attention.

    Ours were triggered, or never had an order. One that is armed and has orders is somebody else's, noted because an
    unanswered create could not be told from it: it is left alone.

    Raises:
        VenueError, OutcomeUnknown: One could not be looked at or deleted; the rest is for another time.
    """
    for group in groups:
        try:
            found = await rest.groups.group(group.group_id, subaccount=group.subaccount)
            if found.order_ids and found.is_auto_cancel_enabled:
                logger.warning("order group %s is in use: left alone", group.group_id, extra={"action": "group_in_use"})
            else:
                await rest.groups.delete(
                    group.group_id, exchange_index=group.exchange_index, subaccount=group.subaccount
                )
        except NotFound:
            pass  # somebody else deleted it
        yield group
