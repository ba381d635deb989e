"""The recorded life: frames of a recording drive the books of replayed markets, shifted so that the first is now.

    time here = start + (recorded time − first recorded time) / speed

Open and close go through the same formula. Several recordings play one after the other, each beginning when the one
before has ended (`merged` plays them side by side). A result is the outcome the last recorded price leans to, because
the recordings do not hold it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from feed.exchange.flow.displayed import Displayed
from feed.exchange.flow.recorded import (
    SIDES,
    Body,
    Frame,
    decode_frame,
    list_event_of,
    parse_time,
    recorded_terms,
    show_change,
)
from feed.exchange.happenings import TickerChanged, Traded
from feed.exchange.market import Market
from feed.exchange.wire import public as wire
from feed.exchange.world import SECOND_US, World
from feed.recording import RecordedFrame, read_frames
from kalshimm.errors import BadRecording
from markets.core.units import DOLLAR_CC, parse_count, parse_price

logger = logging.getLogger(__name__)

MARKET_LIFE_US = 900 * SECOND_US
UNKNOWN_CLOSE_US = 86_400 * SECOND_US
CLEAR_AFTER_US = 10 * SECOND_US  # the recorded last snapshot comes about 7 s after the close; later we do not wait
DETERMINED_AFTER_US = 30 * SECOND_US
SETTLEMENT_TIMER_S = 10
TICKER_FIELDS = (
    "market_ticker", "market_id", "price_dollars", "yes_bid_dollars", "yes_ask_dollars", "yes_bid_size_fp",
    "yes_ask_size_fp", "last_trade_size_fp", "volume_fp", "open_interest_fp", "dollar_volume", "dollar_open_interest",
)  # fmt: skip


def replay_into(world: World, paths: list[Path], *, speed: float) -> None:
    """Let the recordings drive `world` from its time on.

    Raises:
        BadRecording: The first line of the first recording cannot be read (later damage shows when it is reached).
    """
    Replay(world, paths, speed=speed).start()


class Replay:
    """The player: one frame ahead, each at its time."""

    def __init__(self, world: World, paths: list[Path], *, speed: float) -> None:
        self._world = world
        self._paths = paths
        self._speed = speed
        self._path = paths[0]
        self._frames: Iterator[RecordedFrame] = iter(())
        self._from_us = 0
        self._start_us: int | None = None
        self._last_us = 0
        self._closes: dict[str, int] = {}
        self._shown: dict[str, Displayed] = {}  # what of ours a market shows, until it is cleared
        self._number = -1

    def start(self) -> None:
        self._next_file()

    def _next_file(self) -> None:
        self._number += 1
        if self._number == len(self._paths):
            self._finish()
            return
        self._path = self._paths[self._number]
        self._frames = read_frames(self._path)
        self._start_us = None
        self._next_frame()

    def _next_frame(self) -> None:
        try:
            frame = next(self._frames, None)
            decoded = decode_frame(frame.frame) if frame is not None and frame.frame else None
            at_us = decoded.msg.at_us if decoded else None
        except (BadRecording, ValueError) as exc:
            self._break_off(exc)
            return
        if frame is None:
            logger.info("recording played", extra={"action": "replayed", "recording": str(self._path)})
            self._next_file()
            return
        recorded_us = frame.recv_us or at_us
        if recorded_us is not None:
            if self._start_us is None:
                self._start_us, self._from_us = recorded_us, self._world.now_us
            self._last_us = recorded_us
        self._world.schedule(self._here(self._last_us), lambda: self._play(frame, decoded))

    def _here(self, recorded_us: int) -> int:
        """Return the time here of a recorded time."""
        if self._start_us is None:
            return self._world.now_us
        return self._from_us + int((recorded_us - self._start_us) / self._speed)

    def _finish(self) -> None:
        for market in list(self._world.markets.values()):
            if market.displayed is not None and market.is_tradable:
                self._world.life.close_early(market, determine=False)
                self._clear(market)
        logger.warning(
            "no recording is left: replayed markets are closed, the exchange stays up", extra={"action": "replay_ended"}
        )

    # --- one frame ------------------------------------------------------------------------------------------------

    def _play(self, frame: RecordedFrame, decoded: Frame | None) -> None:
        try:
            if frame.event is not None:
                self._recorder_event(frame.event)
            elif decoded is not None:
                self._apply(frame, decoded)
        except (ValueError, KeyError, TypeError) as exc:
            self._break_off(BadRecording(self._path, frame.line, f"does not fit what came before it ({exc!r})"))
            return
        self._next_frame()

    def _break_off(self, problem: Exception) -> None:
        """Say what is wrong and go on with the next recording: half a book must not pass for a whole one."""
        logger.error("recording broken off: %s", problem, extra={"action": "replay_broken"})
        for market in list(self._world.markets.values()):
            self._clear(market)
        self._next_file()

    def _recorder_event(self, event: dict[str, Any]) -> None:
        if event["event_type"] == "watch_market" and event.get("close_time"):
            ticker = str(event["market_ticker"])
            self._closes[ticker] = self._here(parse_time(str(event["close_time"])))
            market = self._market(ticker, "", strike=event.get("strike"))
            if market.is_tradable and market.terms.close_us != self._closes[ticker]:
                # A later recording goes on with a market of an earlier one.
                self._world.life.move_close(market, self._closes[ticker])
                self._schedule_clear(market)

    def _apply(self, frame: RecordedFrame, decoded: Frame) -> None:
        body = decoded.msg
        if decoded.type not in ("orderbook_snapshot", "orderbook_delta", "ticker", "trade"):
            return
        market = self._market(body.market_ticker, body.market_id)
        if self._is_cleared(market):
            return
        match decoded.type:
            case "orderbook_snapshot":
                self._snapshot(market, body)
            case "orderbook_delta":
                self._delta(market, body)
            case "ticker":
                self._ticker(market, body, msgspec.json.decode(frame.frame)["msg"])
            case "trade":
                self._trade(market, body)

    def _snapshot(self, market: Market, body: Body) -> None:
        assert market.displayed is not None, "only replayed markets are played"
        if not (body.yes_dollars_fp or body.no_dollars_fp or market.is_tradable):
            self._clear(market)
            return
        yes, no = (
            {parse_price(p): parse_count(c) for p, c in levels} for levels in (body.yes_dollars_fp, body.no_dollars_fp)
        )
        for side, price, change in market.displayed.replace(yes, no):
            show_change(self._world, market, side, price, change, at_us=self._world.now_us)

    def _delta(self, market: Market, body: Body) -> None:
        assert market.displayed is not None, "only replayed markets are played"
        side, price = SIDES[body.side], parse_price(body.price_dollars)
        change = market.displayed.apply(side, price, parse_count(body.delta_fp))
        at_us = body.at_us
        here_us = self._world.now_us if at_us is None else self._here(at_us)
        show_change(self._world, market, side, price, change, at_us=here_us)

    def _ticker(self, market: Market, body: Body, message: dict[str, Any]) -> None:
        tape = market.tape
        tape.last_price_cc = parse_price(body.price_dollars)
        tape.last_size_cx = parse_count(body.last_trade_size_fp) if body.last_trade_size_fp else tape.last_size_cx
        tape.volume_cx = parse_count(body.volume_fp)
        tape.open_interest_cx = parse_count(body.open_interest_fp)
        at_us = self._world.now_us if body.ts_ms is None else self._here(body.ts_ms * 1_000)
        line = {name: message[name] for name in TICKER_FIELDS if name in message}
        body_out = {**line, "market_id": market.terms.market_id, **wire.ticker_times(at_us)}
        market.note_quote(at_us)
        self._world.emit(TickerChanged(market.ticker, body_out))

    def _trade(self, market: Market, body: Body) -> None:
        side = SIDES[body.taker_outcome_side or body.taker_side]
        at_us = self._world.now_us if body.ts_ms is None else self._here(body.ts_ms * 1_000)
        price, count = parse_price(body.yes_price_dollars), parse_count(body.count_fp)
        trade = Traded(body.trade_id, market.ticker, price, count, side, at_us)
        market.tape.add(trade)
        self._world.emit(trade)

    # --- listing --------------------------------------------------------------------------------------------------

    def _market(self, ticker: str, market_id: str, *, strike: float | None = None) -> Market:
        """Return the market, listed on first sight."""
        market = self._world.markets.get(ticker)
        return market if market is not None else self._list(ticker, market_id, strike)

    def _list(self, ticker: str, market_id: str, strike: float | None) -> Market:
        close_us = self._closes.get(ticker, self._world.now_us + UNKNOWN_CLOSE_US)
        open_us = min(self._world.now_us, close_us - int(MARKET_LIFE_US / self._speed))
        event_ticker = list_event_of(self._world, ticker, (open_us, close_us))
        terms = recorded_terms(
            ticker,
            market_id,
            event_ticker,
            life_us=(open_us, close_us),
            settlement_timer_s=max(1, int(SETTLEMENT_TIMER_S / self._speed)),
            strike=strike,
        )
        market = self._world.list_market(
            terms,
            judge=lambda: "yes" if 2 * market.tape.last_price_cc >= DOLLAR_CC else "no",
            determine_after_us=int(DETERMINED_AFTER_US / self._speed),
            displayed=self._shown.setdefault(ticker, Displayed()),
        )
        self._schedule_clear(market)
        logger.info("market replayed", extra={"action": "replaying", "ticker": ticker, "close": wire.rfc3339(close_us)})
        return market

    def _schedule_clear(self, market: Market) -> None:
        due_us = market.terms.close_us + int(CLEAR_AFTER_US / self._speed)
        self._world.schedule(due_us, lambda: None if market.is_tradable else self._clear(market))

    def _is_cleared(self, market: Market) -> bool:
        return market.displayed is not self._shown.get(market.ticker)

    def _clear(self, market: Market) -> None:
        if not self._is_cleared(market):
            self._world.life.clear(market)
