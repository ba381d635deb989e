"""Keep time before each quote: as many contracts as lately traded against its side in so many seconds.

A quiet market lets quotes come close, a busy one sends them away. Loses at the first trade of a burst: what traded so
far says nothing of news, and after it there may be nobody left to hide behind.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from markets.core.units import Side
from traders.core.buffers import Keeping, Need, keep
from traders.core.history import KEPT_MOST, KEPT_US, History
from traders.core.placing import MOST_CX
from traders.core.registry import buffering
from traders.core.types import MarketView, Quote, Quotes, TraderState
from traders.core.why import Figures

SECOND_US = 1_000_000
LOOK_LEAST_US = SECOND_US  # right after a start one trade would count as thousands a second


class Params(Keeping, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As of every buffering, and:

    Attributes:
        min_s: Seconds that shall pass until the quote is reached, as far as the last ones tell.
        window_s: Seconds to look back.
        floor_cx: Contracts, in hundredths, that shall stand before the quote at least, also when nothing trades.
    """

    min_s: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 60
    window_s: Annotated[int, msgspec.Meta(ge=1, le=KEPT_US // SECOND_US)] = 300
    floor_cx: Annotated[int, msgspec.Meta(ge=0, le=MOST_CX)] = 1_000


class Flow(msgspec.Struct, frozen=True):
    """What takers traded against a side, and in what time."""

    traded_cx: int
    over_us: int

    def buffer_for_cx(self, time_us: int) -> int:
        """Return the contracts that last so long at least."""
        return -(-self.traded_cx * time_us // self.over_us)

    def lasting_us(self, buffer_cx: int) -> int | None:
        """Return the time in which so many contracts trade; None when it is without end."""
        return buffer_cx * self.over_us // self.traded_cx if self.traded_cx else None


class _Time(Need, frozen=True, kw_only=True):
    flow: Flow
    min_s: int

    def about(self, buffer_cx: int) -> Figures:
        return {
            "traded_cx": self.flow.traded_cx,
            "traded_over_us": self.flow.over_us,
            "reached_us": self.flow.lasting_us(buffer_cx),
            "needed_s": self.min_s,
        }


@buffering("adaptive", Params)
def adjust(view: MarketView, state: TraderState, quotes: Quotes, params: Params) -> Quotes:
    """Return the quotes, each where it is expected to be reached in that time at the earliest."""
    flows = _flows(view.history, view.time_us, params.window_s * SECOND_US)

    def need_of(quote: Quote) -> Need:
        flow = flows[quote.side]
        needed_cx = max(params.floor_cx, flow.buffer_for_cx(params.min_s * SECOND_US))
        if flow.traded_cx:
            text = "reached in {reached_us} at {traded_cx} in {traded_over_us}; {needed_s} or {needed_cx} needed"
        else:
            text = "{needed_cx} needed while nothing trades against it"
        return _Time(needed_cx=needed_cx, text=text, flow=flow, min_s=params.min_s)

    return keep(view, state, quotes, params, need_of)


def _flows(history: History, now_us: int, window_us: int) -> tuple[Flow, Flow]:
    """Return what traded against each side in the window, or since the history began where that is shorter."""
    over_us = max(LOOK_LEAST_US, min(window_us, now_us - _began_us(history, now_us)))
    taken_cx = [0, 0]  # by the side that the taker bought
    for happened in history.prints_since(now_us - over_us):
        taken_cx[happened.taker_side] += happened.count_cx
    return Flow(taken_cx[Side.NO], over_us), Flow(taken_cx[Side.YES], over_us)


def _began_us(history: History, now_us: int) -> int:
    prints, touches = history.prints, history.touches
    if len(prints) == KEPT_MOST:
        return prints[0].time_us  # older ones had to go
    return min([noted[0].time_us for noted in (prints, touches) if noted], default=now_us)
