"""Get out patiently: rest on the side that shrinks the position, and let nothing grow it.

Earns the spread on the way out and pays no taker fee. Loses when the price runs away from the exit: then nobody trades
with it, and the position only gets worse.
"""

from __future__ import annotations

import msgspec

from traders.core.flattening import Size, rest, untouched
from traders.core.placing import MOST_CX, Steps
from traders.core.registry import flatten
from traders.core.types import MarketView, Quotes, TraderState
from traders.core.why import Why


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When it begins, and how it rests. Sizes in hundredths of a contract.

    Attributes:
        from_cx: Position, long or short, from which on it gets out.
        improve_steps: Steps of the grid by which the exit betters the others' best, while it stays passive.
        count_most_cx: Size of the exit at most; never more than the position.
    """

    from_cx: Size = 1
    improve_steps: Steps = 0
    count_most_cx: Size = MOST_CX


@flatten("passive_exit", Params)
def override(view: MarketView, state: TraderState, quotes: Quotes, params: Params) -> Quotes:
    """Return the quotes without the growing one, and with an exit at rest."""
    if not state.position_cx:
        return untouched(quotes)
    if abs(state.position_cx) < params.from_cx:
        return quotes
    figures = {"position_cx": state.position_cx, "from_cx": params.from_cx}
    return rest(
        view,
        state,
        quotes,
        "passive_exit",
        Why("passive_exit", "passive exit: position {position_cx}, out from {from_cx}", figures),
        improve_steps=params.improve_steps,
        count_most_cx=params.count_most_cx,
    )
