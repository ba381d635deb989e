"""REST bodies in our words: each struct says beside a field what the venue calls it, and its type says the unit.

    class Fill(Body, frozen=True, kw_only=True):
        count_cx: CountCx = field(name="count_fp")                          must be there
        created_us: TimeUs | None = field(default=None, name="created_time")  may be missing

One rule for what we did not expect: it is kept, never fatal. Fields that nobody named stand in `unknown` under the
venue's name, and so does the value of an optional field that does not fit (the field is then None), and the items of an
optional list that do not fit. Words of the venue (statuses, types) stay words. Only a missing or unfit *required* field
makes a body unreadable; a required list is whole or unfit. `write` is the inverse of `read`, for what we send.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

import msgspec

from feed.kalshi.wire.kinds import Kind, shown

T = TypeVar("T", bound="Body")

_decode = msgspec.json.Decoder(float_hook=Decimal).decode  # no float, whatever the venue sends
encode = msgspec.json.Encoder(decimal_format="number").encode


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """What every body has: what we did not expect in it, by the venue's names."""

    unknown: dict[str, Any] = {}


class _Codec(NamedTuple):
    """How the values of one type are read and written.

    Args:
        items: The kind of body in a list, whose items are read one by one.
        plain: The type of a value that is taken as it is.
    """

    read: Callable[[Any], Any]
    write: Callable[[Any], Any]
    items: type[Body] | None = None
    plain: type | None = None


class _Field(NamedTuple):
    name: str
    required: bool
    codec: _Codec


def decode(raw: bytes) -> Any:
    """Return the JSON of an answer.

    Raises:
        ValueError: It is none, or is nested or has numbers beyond what can be read.
    """
    try:
        return _decode(raw)
    except (RecursionError, ArithmeticError) as exc:
        raise ValueError(f"JSON beyond reading ({type(exc).__name__})") from exc


def read(kind: type[T], data: object) -> T:
    """Return a decoded JSON object as a body.

    Raises:
        ValueError: Not an object, or a required field is missing or does not fit; the message names the field.
    """
    if not isinstance(data, dict):
        raise ValueError(f"expected an object, found {shown(data)}")
    fields, required = _plan(kind)
    values: dict[str, Any] = {}
    unknown: dict[str, Any] = {}
    for key, value in data.items():
        field = fields.get(key)
        if field is None:
            unknown[key] = value
        elif type(value) is field.codec.plain:
            values[field.name] = value
        elif value is None and not field.required:
            continue
        elif field.codec.items is not None and not field.required and isinstance(value, list):
            values[field.name], unfit = read_items(field.codec.items, value)
            if unfit:
                unknown[key] = unfit
        else:
            try:
                values[field.name] = field.codec.read(value)
            except ValueError as exc:
                if field.required:
                    raise ValueError(f"{key}: {exc}") from None
                unknown[key] = value
    for key, name in required:
        if name not in values:
            raise ValueError(f"{key} is missing")
    return kind(unknown=unknown, **values)


def read_items(kind: type[T], items: list[Any]) -> tuple[tuple[T, ...], list[Any]]:
    """Return the bodies of a list, and the items that are none, as they came."""
    bodies: list[T] = []
    unfit: list[Any] = []
    for item in items:
        try:
            bodies.append(read(kind, item))
        except ValueError:
            unfit.append(item)
    return tuple(bodies), unfit


def write(body: Body) -> dict[str, Any]:
    """Return a body as the venue spells it; None is left out."""
    fields, _ = _plan(type(body))
    written = {
        key: field.codec.write(value)
        for key, field in fields.items()
        if (value := getattr(body, field.name)) is not None
    }  # fmt: skip
    for key, kept in body.unknown.items():
        before = written.get(key)
        written[key] = [*before, *kept] if isinstance(before, list) and isinstance(kept, list) else kept
    return written


@functools.cache
def _plan(kind: type[Body]) -> tuple[Mapping[str, _Field], tuple[tuple[str, str], ...]]:
    """Return a body's fields by the venue's names, and the (venue's, our) names of those that must be there."""
    hints = typing.get_type_hints(kind, include_extras=True)
    needed = {field.name for field in msgspec.structs.fields(kind) if field.required}
    fields = {}
    for name, key in zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True):
        if name != "unknown":
            fields[key] = _Field(name, name in needed, _codec(hints[name]))
    return fields, tuple((key, field.name) for key, field in fields.items() if field.required)


def _codec(hint: Any) -> _Codec:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        kind = arguments[1]
        assert isinstance(kind, Kind), hint
        return _Codec(kind.read, kind.write)
    if origin in (types.UnionType, typing.Union):
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return _codec(inner)
    if origin is tuple:
        item = _codec(arguments[0])
        items = arguments[0] if _is_body(arguments[0]) else None
        return _Codec(_list_of(item.read), lambda values: [item.write(value) for value in values], items)
    if _is_body(hint):
        return _Codec(functools.partial(read, hint), write)
    return _plain(origin or hint)


def _is_body(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Body)


def _list_of(reader: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def read_list(value: Any) -> Any:
        if not isinstance(value, list):
            raise ValueError(f"expected a list, found {shown(value)}")
        return tuple(reader(item) for item in value)

    return read_list


def _plain(wanted: type) -> _Codec:
    def read_plain(value: Any) -> Any:
        if type(value) is not wanted:
            raise ValueError(f"expected {wanted.__name__}, found {shown(value)}")
        return value

    return _Codec(read_plain, lambda value: value, plain=wanted)
