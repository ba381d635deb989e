"""How much of an account's cash is there for one market, and how much elsewhere could be moved to it.

    balances by shard ─┐
    resting orders    ─┼──► cash_for() ──► cash on the market's shard, less what other markets may need of it
    positions         ─┘                   and the same of every other shard: where a transfer could come from

The exchange pays for an order with cash that lies on its market's shard already (facts.md section 5.6). Whether a
balance still contains what resting orders hold back is not known (section 10), so what other markets' orders may need
is taken off; a balance from which the exchange has taken it before is then called smaller than it is, never larger.
Orders of the market itself are for the limits to count, which know what replaces what.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from markets.core.settlement import collateral_ud
from markets.core.units import Side


class AtRest(msgspec.Struct, frozen=True):
    """An order of the account, ours or anybody's, that rests or may rest.

    Attributes:
        exchange_index: None while its shard is not known: then it counts on each.
        price_cc: On its own side's ladder.
    """

    ticker: str
    exchange_index: int | None
    side: Side
    price_cc: int
    remaining_cx: int


class Cash(msgspec.Struct, frozen=True):
    """Cash for one market, in micro-dollars.

    Attributes:
        exchange_index: The market's shard.
        free_ud: What is there on it; below 0 where other markets' orders may need more than lies there, and None while
            nobody knows the balances.
        elsewhere: What could be moved from other shards, where that is anything.
    """

    exchange_index: int
    free_ud: int | None
    elsewhere: dict[int, int] = {}


def cash_for(
    ticker: str,
    exchange_index: int,
    *,
    balances: Iterable[tuple[int, int]] | None,
    orders: Iterable[AtRest],
    positions: Mapping[str, int],
) -> Cash:
    """Return what cash there is for a market.

    Args:
        balances: (shard, micro-dollars) of the account; None or none at all while they are not known. A shard that is
            not among them holds nothing.
        orders: All that rest on the account; those of the market itself are passed over.
        positions: Net Yes by ticker, as far as it is known: what closes one needs no cash. One that is not known
            closes nothing.
    """
    known = dict(balances or ())
    if not known:
        return Cash(exchange_index, None)
    held_back = _held_back(ticker, orders, positions)
    unplaced_ud = held_back.pop(None, 0)
    free = {shard: cash_ud - held_back.get(shard, 0) - unplaced_ud for shard, cash_ud in known.items()}
    here_ud = free.pop(exchange_index, -held_back.get(exchange_index, 0) - unplaced_ud)
    return Cash(exchange_index, here_ud, {shard: cash_ud for shard, cash_ud in sorted(free.items()) if cash_ud > 0})


def _held_back(ticker: str, orders: Iterable[AtRest], positions: Mapping[str, int]) -> dict[int | None, int]:
    """Return by shard what orders of other markets may come to need; under None those whose shard is not known."""
    markets: dict[tuple[int | None, str], list[AtRest]] = {}
    for order in orders:
        if order.ticker != ticker:
            markets.setdefault((order.exchange_index, order.ticker), []).append(order)
    held_back: dict[int | None, int] = {}
    for (shard, other), resting in markets.items():
        need_ud = collateral_ud(_cheapest_first(resting), positions.get(other, 0))
        held_back[shard] = held_back.get(shard, 0) + need_ud
    return held_back


def _cheapest_first(orders: Sequence[AtRest]) -> list[AtRest]:
    """Return orders so that a position closes the cheapest: which ones the exchange takes to close it is not known."""
    return sorted(orders, key=lambda order: order.price_cc)
