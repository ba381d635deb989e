"""What a backtest found: every order with its end, every fill with its cause, and the result with and without those
fills that no print shows.

Times are the exchange's, in microseconds since 1970; prices centi-cents on the order's own ladder; counts hundredths of
a contract; money micro-dollars. The same recording, plan and seed give the same values, to the byte.
"""

from __future__ import annotations

from typing import Any

import msgspec

from markets.core.book import OrderBook
from markets.core.grid import PriceRange
from markets.core.units import CONTRACT_CX
from traders.brokers.replay import Cause
from traders.core.inventory import Inventory
from traders.core.pipeline import StrategyChoices


class TapeFill(msgspec.Struct, frozen=True):
    """Part of an order traded.

    Attributes:
        told_us: When the strategy learnt of it.
        trade_id: The print's; of an inferred fill or a take its own.
        fee_ud: None is unknown, not zero.
        position_cx: After it.
        cause: What made it trade, and when.
    """

    told_us: int
    client_order_id: str
    trade_id: str
    side: int
    price_cc: int
    count_cx: int
    fee_ud: int | None
    is_taker: bool
    inferred: bool
    position_cx: int
    cause: Cause


class TapeOrder(msgspec.Struct, frozen=True):
    """One order, as it ended."""

    sent_us: int
    changed_us: int
    client_order_id: str
    side: int
    price_cc: int
    placed_cx: int
    filled_cx: int
    status: str
    reason: str


class TapeDecision(msgspec.Struct, frozen=True):
    """A decision worth a line in the journal: something changed, or a minute had passed."""

    time_us: int
    reason: str
    figures: dict[str, Any]
    repeats: int


class TapeState(msgspec.Struct, frozen=True):
    """The trader's state changed, or a limit latched."""

    time_us: int
    state: str
    reason: str


class Outcome(msgspec.Struct, frozen=True):
    """What fills came to.

    Attributes:
        fees_ud: Those that are known; `unknown_fees` fills have another.
        result_ud: Cash, and the position at the price it would trade into, by the last book; None when that is empty.
        settled_ud: Cash once the market has settled; None when the recording does not say how.
    """

    fills: int = 0
    traded_cx: int = 0
    position_cx: int = 0
    cost_ud: int = 0
    cash_ud: int = 0
    fees_ud: int = 0
    unknown_fees: int = 0
    result_ud: int | None = 0
    settled_ud: int | None = None

    @classmethod
    def of(cls, held: Inventory, *, book: OrderBook, value_cc: int | None) -> Outcome:
        """Return what an inventory came to.

        Args:
            book: The last there was.
            value_cc: What a YES contract is worth; None while that is unknown.
        """
        settled_ud = None if value_cc is None else held.settled(value_cc * CONTRACT_CX).cash_ud
        return cls(
            fills=held.fills,
            traded_cx=held.position.volume_cx,
            position_cx=held.position_cx,
            cost_ud=held.position.cost_ud,
            cash_ud=held.cash_ud,
            fees_ud=held.position.fees_ud,
            unknown_fees=held.unknown_fees,
            result_ud=held.trading_ud(book),
            settled_ud=settled_ud,
        )

    def and_of(self, other: Outcome) -> Outcome:
        """Return what two markets came to together."""
        return Outcome(
            fills=self.fills + other.fills,
            traded_cx=self.traded_cx + other.traded_cx,
            position_cx=self.position_cx + other.position_cx,
            cost_ud=self.cost_ud + other.cost_ud,
            cash_ud=self.cash_ud + other.cash_ud,
            fees_ud=self.fees_ud + other.fees_ud,
            unknown_fees=self.unknown_fees + other.unknown_fees,
            result_ud=_sum(self.result_ud, other.result_ud),
            settled_ud=_sum(self.settled_ud, other.settled_ud),
        )


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


class MarketResult(msgspec.Struct, frozen=True):
    """What became of one market's trader.

    Attributes:
        close_us: None where neither the recording nor the plan says.
        began_us: When its market was heard of first.
        why_ended: Why the trader stopped.
        orders: In the order in which they were sent.
        counts: How much was heard and looked at, and how orders ended.
        reasons: In how many of the decisions each reason stood, by its code.
        result: Of all fills; `printed` of those that prints show, and of takes.
    """

    ticker: str
    close_us: int | None
    price_ranges: tuple[PriceRange, ...]
    are_ranges_deduced: bool
    began_us: int
    ended_us: int
    why_ended: str
    result: Outcome
    printed: Outcome
    fills: tuple[TapeFill, ...]
    orders: tuple[TapeOrder, ...]
    decisions: tuple[TapeDecision, ...]
    states: tuple[TapeState, ...]
    counts: dict[str, int]
    reasons: dict[str, int]


class BacktestResult(msgspec.Struct, frozen=True):
    """What became of a plan on a recording.

    Attributes:
        recording: Its identity, whatever its name.
        strategies: By name and parameter, as they were asked for.
        has_prints: Whether trades were told; without them fills are inferred.
        result: Of all markets together; `printed` likewise.
        counts: What the recording held, and what was wrong with it.
    """

    recording: int
    strategies: StrategyChoices
    limits: Any
    seed: int
    latency_us: int
    has_prints: bool
    first_us: int
    last_us: int
    result: Outcome
    printed: Outcome
    markets: tuple[MarketResult, ...]
    counts: dict[str, int]


encode_result = msgspec.json.Encoder().encode
