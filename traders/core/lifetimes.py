"""How long live orders stand by themselves, and how much may fill at once: last lines that lie at the exchange.

They hold when every process of ours is dead. Orders expire unless they are renewed, and an order group stops taking
and cancels what it has once more fills within 15 s than its limit says (faults.md, "Last lines of defence").
"""

from __future__ import annotations

from markets.core.units import SIDES
from traders.core.limits import Limits

LIFETIME_LEAST_S = 120  # shorter would take off what a short outage leaves good
RENEWAL_SHARE_PERCENT = 20  # of the write refill
RENEW_COST = 10  # tokens of an amend (facts.md section 3)
RENEWALS_A_LIFETIME = 2  # at half of it

CONTRACT_CX = 100
GROUP_LEAST_CX = CONTRACT_CX
GROUP_MOST_CX = 1_000_000 * CONTRACT_CX  # both are the venue's own bounds (facts.md 7.5)


def order_lifetime_s(live_orders: int, write_refill_tokens: int, *, renew_cost: int = RENEW_COST) -> int:
    """Return the seconds after which a live order ends unless it is renewed.

    As short as they may be: at least 120 s, and so long that renewing every order at half-life takes at most 20 % of
    the write refill.

    Args:
        live_orders: Orders that may rest on the account at once.
        write_refill_tokens: What runs into the account's write bucket in a second.

    Raises:
        ValueError: Nothing runs into it: no order could be renewed.
    """
    if write_refill_tokens <= 0:
        raise ValueError(f"a write refill of {write_refill_tokens} tokens a second renews nothing")
    tokens = live_orders * renew_cost * RENEWALS_A_LIFETIME
    return max(LIFETIME_LEAST_S, -(-tokens * 100 // (write_refill_tokens * RENEWAL_SHARE_PERCENT)))


def resting_most(traders: int, orders_a_side: int) -> int:
    """Return how many orders so many traders may have resting."""
    return traders * len(SIDES) * orders_a_side


def group_limit_cx(limits: Limits, *, orders_a_side: int = 2) -> int:
    """Return the contracts (hundredths) that a trader's group may fill within 15 s before it triggers.

    Everything that it may have resting, each order as large as it may be: a sweep of the book on both sides passes,
    and what comes on top of it within 15 s is a runaway.
    """
    return min(max(limits.order_cx_most * resting_most(1, orders_a_side), GROUP_LEAST_CX), GROUP_MOST_CX)
