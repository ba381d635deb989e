"""Client order ids that name their owner, so that an order is nobody's orphan even when every store is gone.

    installation 30 │ trader 24 │ epoch 20 │ counter 32 │ check 16        122 bits, the most significant first
    └────────────────────────────┬────────────────────────────┘
       xxxxxxxx-xxxx-8xxx-yxxx-xxxxxxxxxxxx     a UUID of version 8 (RFC 9562: its bits are its maker's own)

    installation   made once, at random, by whoever installs
    trader         its number in the database
    epoch          of its lease: every takeover takes the next one
    counter        of the intent: no id is ever given to two wishes
    check          of all the others, so that a stranger's UUID is not taken for ours

Of random UUIDs of version 8 one in 65,536 passes the check, and one in 2**46 that of a given installation; those of
other versions never do. Ids of one trader sort as they were made. None has a dot (facts.md section 8).
"""

from __future__ import annotations

import hashlib
import re
import uuid

import msgspec

INSTALLATION_BITS, TRADER_BITS, EPOCH_BITS, COUNTER_BITS, CHECK_BITS = 30, 24, 20, 32, 16
BITS = {"installation": INSTALLATION_BITS, "trader": TRADER_BITS, "epoch": EPOCH_BITS, "counter": COUNTER_BITS}

CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
LOW_BITS, MIDDLE_BITS = 62, 12  # below the variant; between it and the version
VERSION, VARIANT = 8 << 76, 0b10 << LOW_BITS


class OrderId(msgspec.Struct, frozen=True):
    """Who wished an order, and which of his wishes it was.

    Raises:
        ValueError: A number does not fit its field; the message names it.
    """

    installation: int
    trader: int
    epoch: int
    counter: int

    def __post_init__(self) -> None:
        for name, bits in BITS.items():
            value = getattr(self, name)
            if not 0 <= value < 1 << bits:
                raise ValueError(f"{name} must lie in 0..{(1 << bits) - 1}, found {value}")


class Owner(msgspec.Struct, frozen=True):
    """A trader under one lease."""

    installation: int
    trader: int
    epoch: int

    def client_order_id(self, counter: int) -> str:
        """Return the id of one of its wishes.

        Raises:
            ValueError: The counter has run out, or a number of the owner is too large: nothing may be sent.
        """
        return encode(OrderId(self.installation, self.trader, self.epoch, counter))

    def epoch_of(self, client_order_id: str) -> int | None:
        """Return under which lease the same trader wished an order; None when it did not."""
        found = decode(client_order_id)
        if found is None or (found.installation, found.trader) != (self.installation, self.trader):
            return None
        return found.epoch


def encode(order_id: OrderId) -> str:
    """Return the id as text."""
    packed = 0
    for name, bits in BITS.items():
        packed = packed << bits | getattr(order_id, name)
    value = packed << CHECK_BITS | _check(packed)
    low, rest = value & (1 << LOW_BITS) - 1, value >> LOW_BITS
    middle, high = rest & (1 << MIDDLE_BITS) - 1, rest >> MIDDLE_BITS
    return str(uuid.UUID(int=high << 80 | VERSION | middle << 64 | VARIANT | low))


def decode(text: str) -> OrderId | None:
    """Return what an id says, None for one that was not made here: any text is allowed."""
    if not CANONICAL.fullmatch(text):
        return None
    number = uuid.UUID(text).int
    middle = number >> 64 & (1 << MIDDLE_BITS) - 1
    value = (number >> 80 << MIDDLE_BITS | middle) << LOW_BITS | number & (1 << LOW_BITS) - 1
    packed, check = value >> CHECK_BITS, value & (1 << CHECK_BITS) - 1
    if check != _check(packed):
        return None
    found: dict[str, int] = {}
    for name, bits in reversed(BITS.items()):
        found[name] = packed & (1 << bits) - 1
        packed >>= bits
    return OrderId(**found)


def is_ours(client_order_id: str, installation: int) -> bool:
    """Return whether an order was wished by a trader of this installation."""
    found = decode(client_order_id)
    return found is not None and found.installation == installation


def _check(packed: int) -> int:
    digest = hashlib.blake2b(packed.to_bytes(14, "big"), digest_size=2, person=b"kmm order id")
    return int.from_bytes(digest.digest(), "big")
