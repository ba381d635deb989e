"""Asking for snapshots: at once when a good book breaks, and again with growing pauses until one is good."""

from __future__ import annotations

from feed.kalshi.session import Subscription
from feed.marketbook import MarketBook
from kalshimm.runtime.backoff import delay_s

ASK_AGAIN_FIRST_S = 0.5
ASK_AGAIN_MOST_S = 30.0
GOOD_FOR_US = 1_000_000  # a book that was valid this long is asked for at once when it breaks


class Asking:
    """Which markets wait for a snapshot, and which are to be asked for now. Times in microseconds."""

    def __init__(self) -> None:
        self._waiting: dict[str, MarketBook] = {}
        self._together: list[str] = []
        self._singly: list[str] = []

    def want(self, market: MarketBook, now_us: int) -> None:
        """Ask for a snapshot: at once for a book that was good for a while, else when its pause is over."""
        was_good = market.valid_since_us and now_us - market.valid_since_us >= GOOD_FOR_US
        market.valid_since_us = 0  # until it is good again: only once is it asked for at once
        if was_good or not market.asked:
            market.asked = 0
            self._ask(market, now_us, self._together)
        self._waiting[market.ticker] = market

    def leave(self, market: MarketBook) -> None:
        """Ask no more: the snapshot came, or is not wanted any more."""
        self._waiting.pop(market.ticker, None)

    def tick(self, now_us: int) -> None:
        """Ask again for those whose pause is over."""
        for market in self._waiting.values():
            if now_us >= market.ask_again_us:
                # Once more together; after that singly, for one may spoil the others.
                self._ask(market, now_us, self._together if market.asked < 2 else self._singly)

    @property
    def is_due(self) -> bool:
        """Whether somebody is to be asked for now."""
        return bool(self._together or self._singly)

    def take(self, subscription: Subscription | None) -> list[tuple[int, list[str]]]:
        """Return the requests as (sid, tickers), each for one command, and begin anew."""
        together, singly = self._together, self._singly
        self._together, self._singly = [], []
        if subscription is None:
            return []
        first = sorted(subscription.markets.intersection(together))
        again = sorted(subscription.markets.intersection(singly))
        return [(subscription.sid, tickers) for tickers in (first, *([ticker] for ticker in again)) if tickers]

    @staticmethod
    def _ask(market: MarketBook, now_us: int, queue: list[str]) -> None:
        queue.append(market.ticker)
        market.asked += 1
        pause_s = delay_s(market.asked, first_s=ASK_AGAIN_FIRST_S, most_s=ASK_AGAIN_MOST_S, jitter=0.0)
        market.ask_again_us = now_us + int(pause_s * 1_000_000)
