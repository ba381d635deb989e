"""What no document settles, to be set either way. The defaults are those facts.md section 16 suggests.

A client must live with both sides of every switch.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec

from kalshimm.errors import ConfigurationError

Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=3_600_000)]
UpToAYearS = Annotated[int, msgspec.Meta(ge=0, le=366 * 86_400)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
TimeoutS = Annotated[float, msgspec.Meta(gt=0, le=3_600)]


class Switches(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange's answers to the open questions.

    post_only_cross: A post-only order that would trade is refused (400) or accepted and cancelled.
    resting_collateral: How an account's resting orders on a shard count against its cash: their sum, the dearest one,
        or not at all.
    clock_window_ms: How far a request's time may lie from ours, either way.
    client_order_ids: An id is taken forever, or while its order is open.
    group_limit: A group triggers when its rolling sum exceeds the limit, or already when it reaches it.
    snapshot_reply_takes_seq: Whether a get_snapshot answer uses a number of its sid.
    second_subscribe: A second subscribe to a channel joins the first one's sid, or gets a sid of its own.
    anonymous_reads_per_s: Tokens a second for each address without a key; None is without limit.
    markets_per_subscription: How many markets one subscription takes (error 26 beyond); None is without limit.
    commands_per_s: How many commands a second a connection may send (error 27 beyond).
    pong_timeout_s: How long a client may leave a ping unanswered; None is for ever.
    book_order: Order of the levels in REST books.
    unfilled_ioc: An immediate-or-cancel order with nothing to hit ends cancelled (201), or is refused (409).
    fee_generation: The rounding of the trade fee: up to $0.000001 (now), or to $0.0001 (before).
    books_need_a_key: Whether REST books want a signature.
    netting: Whether NO positions of a mutually exclusive event return collateral on accounts that asked for it.
    cancel_all_tail: Orders placed in the minute after a cancel-all are swept at a moment drawn from the seed in half of
        the cases, at the end of the minute, or not at all.
    subaccounts_are_self: Whether two subaccounts of one member count as self in self-trade prevention.
    read_lag_ms: How far reads of account data trail behind the engine.
    live_tier_s: How long ended orders, fills and settled positions stay in the live reads before they are history.
    weekly_maintenance: Whether trading pauses every Thursday from 03:00 to 05:00 Eastern Time, as at the venue.
    """

    post_only_cross: Literal["refuse", "cancel"] = "refuse"
    resting_collateral: Literal["sum", "max", "none"] = "sum"
    clock_window_ms: Milliseconds = 10_000
    client_order_ids: Literal["forever", "while_open"] = "forever"
    group_limit: Literal["exceeds", "reaches"] = "exceeds"
    snapshot_reply_takes_seq: bool = True
    second_subscribe: Literal["join", "new_sid"] = "join"
    anonymous_reads_per_s: Count | None = None
    markets_per_subscription: Count | None = None
    commands_per_s: Count = 10_000
    pong_timeout_s: TimeoutS | None = None
    book_order: Literal["ascending", "descending"] = "ascending"
    unfilled_ioc: Literal["cancel", "refuse"] = "cancel"
    fee_generation: Literal["1e-6", "1e-4"] = "1e-6"
    cancel_all_tail: Literal["seeded", "minute", "none"] = "seeded"
    books_need_a_key: bool = False
    netting: bool = True
    subaccounts_are_self: bool = True
    read_lag_ms: Milliseconds = 0
    live_tier_s: UpToAYearS = 14 * 86_400
    weekly_maintenance: bool = False


def read(assignments: Iterable[str]) -> Switches:
    """Return the defaults but for what `NAME=VALUE` texts set; `null` is None.

    Raises:
        ConfigurationError: A text names no switch, or a value that it does not take.
    """
    chosen: dict[str, Any] = {}
    kinds = get_type_hints(Switches, include_extras=True)
    for assignment in assignments:
        name, is_set, value = assignment.partition("=")
        if name not in kinds or not is_set:
            raise ConfigurationError("--switch", f"expected NAME=VALUE of a known switch, found {assignment!r}")
        try:
            chosen[name] = msgspec.convert(value, kinds[name], strict=False)
        except msgspec.ValidationError as exc:
            raise ConfigurationError("--switch", f"{name}: {exc}, found {value!r}") from exc
    return Switches(**chosen)


def describe() -> str:
    """Return every switch with its words, the default first, and what it decides; other values are numbers."""
    told = re.findall(r"^(\w+): (.*?)(?=^\w+: |\Z)", inspect.getdoc(Switches) or "", re.MULTILINE | re.DOTALL)
    kinds, defaults = get_type_hints(Switches), Switches()
    lines = []
    for name, meaning in told:
        default = getattr(defaults, name)
        values = [default, *(value for value in get_args(kinds[name]) if isinstance(value, str) and value != default)]
        if isinstance(default, bool):
            values.append(not default)
        shown = "|".join("null" if value is None else str(value).lower() for value in values)
        decides = textwrap.fill(" ".join(meaning.split()), 96, initial_indent=" " * 6, subsequent_indent=" " * 6)
        lines += [f"  {name}={shown}", decides]
    return "\n".join(lines)
