"""Look into results of the client, however deep."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from feed.kalshi.wire.bodies import Body


def bodies_in(value: Any) -> Iterator[Body]:
    """Yield every body of a result."""
    if isinstance(value, Body):
        yield value
        for name in value.__struct_fields__:
            yield from bodies_in(getattr(value, name))
    elif isinstance(value, tuple | list):
        for each in value:
            yield from bodies_in(each)
    elif isinstance(value, dict):
        for each in value.values():
            yield from bodies_in(each)


def unknown_in(value: Any) -> set[str]:
    """Return the names of all fields that nobody named."""
    return {key for body in bodies_in(value) for key in body.unknown}
