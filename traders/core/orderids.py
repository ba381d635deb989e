"""Client order ids: see markets.core.orderids, where the desk finds them too."""

from __future__ import annotations

from markets.core.orderids import BITS, OrderId, Owner, decode, encode, is_ours

__all__ = ["BITS", "OrderId", "Owner", "decode", "encode", "is_ours"]
