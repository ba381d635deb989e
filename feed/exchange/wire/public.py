"""Kalshi's wire form of what the exchange knows: field names and strings as facts.md gives them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from feed.exchange.candles import DAY_S, Candles
from feed.exchange.catalog import Event, FeeTerms, Program, Series, Terms
from markets.core.units import DOLLAR_CC, Side, format_count, format_dollars, format_price

if TYPE_CHECKING:
    from feed.exchange.happenings import Traded
    from feed.exchange.market import Market

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SIDE_WORDS = ("yes", "no")


def rfc3339(at_us: int) -> str:
    """Return a time as the venue writes it: `Z`, a fraction only where there is one."""
    second, fraction = divmod(at_us, 1_000_000)
    text = _to_the_second(second)
    return f"{text}.{fraction:06d}".rstrip("0") + "Z" if fraction else f"{text}Z"


@lru_cache(maxsize=1_024)  # a busy exchange writes the same second thousands of times
def _to_the_second(at_s: int) -> str:
    return (EPOCH + timedelta(seconds=at_s)).strftime("%Y-%m-%dT%H:%M:%S")


def stamp(at_us: int, form: str) -> str:
    """Return a time in `strftime` form and capitals, as tickers carry it."""
    return (EPOCH + timedelta(microseconds=at_us)).strftime(form).upper()


def ms(at_us: int) -> int:
    return at_us // 1_000


def seconds(at_us: int) -> int:
    return at_us // 1_000_000


def ladder(levels: dict[int, int]) -> list[list[str]]:
    """Return price and count strings, ascending (best bid last)."""
    return [[format_price(price), format_count(levels[price])] for price in sorted(levels)]


def orderbook(market: Market) -> dict[str, Any]:
    yes, no = market.levels(Side.YES), market.levels(Side.NO)
    return {"yes_dollars": ladder(yes), "no_dollars": ladder(no)}


def price_ranges(terms: Terms) -> list[dict[str, str]]:
    return [
        {"start": format_price(band.start_cc), "end": format_price(band.end_cc), "step": format_price(band.step_cc)}
        for band in terms.grid.ranges
    ]


def quotes(market: Market) -> dict[str, str]:
    """Return the six quote fields; a side without size shows "0.0000" or "1.0000"."""
    bid, no_bid = market.best_cc(Side.YES), market.best_cc(Side.NO)
    ask = DOLLAR_CC - no_bid
    return {
        "yes_bid_dollars": format_price(bid),
        "yes_bid_size_fp": format_count(market.size_cx(Side.YES, bid)),
        "yes_ask_dollars": format_price(ask if no_bid else (0 if not bid else DOLLAR_CC)),
        "yes_ask_size_fp": format_count(market.size_cx(Side.NO, no_bid)),
        "no_bid_dollars": format_price(no_bid if no_bid or bid else DOLLAR_CC),
        "no_ask_dollars": format_price(DOLLAR_CC - bid),
    }


def _a_day_ago(candles: Candles, then_s: int) -> dict[str, str]:
    """Return quote and last price of 24 hours ago; a market that did nothing before then shows zeros."""
    candle = candles.at(then_s)
    if candle is None:
        bid = ask = price = 0
    else:
        bid, ask = candle.bid.close_cc, candle.ask.close_cc
        price = candle.price.close_cc if candle.price else candle.previous_cc or 0
    return {
        "previous_yes_bid_dollars": format_price(bid),
        "previous_yes_ask_dollars": format_price(ask),
        "previous_price_dollars": format_price(price),
    }


def market_body(market: Market, now_us: int) -> dict[str, Any]:
    terms, tape = market.terms, market.tape
    body: dict[str, Any] = {
        "ticker": terms.ticker,
        "event_ticker": terms.event_ticker,
        "market_type": "binary",
        "title": terms.title,
        "yes_sub_title": terms.yes_sub_title,
        "no_sub_title": terms.no_sub_title,
        "created_time": rfc3339(terms.created_us),
        "updated_time": rfc3339(market.updated_us),
        "open_time": rfc3339(terms.open_us),
        "close_time": rfc3339(terms.close_us),
        "expected_expiration_time": rfc3339(terms.expected_expiration_us),
        "latest_expiration_time": rfc3339(terms.latest_expiration_us),
        "expiration_time": rfc3339(terms.latest_expiration_us),
        "occurrence_datetime": rfc3339(terms.expected_expiration_us),
        "settlement_timer_seconds": terms.settlement_timer_s,
        "status": market.status,
        **quotes(market),
        "last_price_dollars": format_price(tape.last_price_cc),
        **_a_day_ago(tape.candles, seconds(now_us) - DAY_S),
        "volume_fp": format_count(tape.volume_cx),
        "volume_24h_fp": format_count(min(tape.volume_cx, tape.candles.volume_since_cx(seconds(now_us) - DAY_S))),
        "open_interest_fp": format_count(tape.open_interest_cx),
        "notional_value_dollars": "1.0000",
        "result": market.result,
        "expiration_value": "",
        "can_close_early": True,
        "early_close_condition": "This market will close and expire after the event occurs.",
        "rules_primary": terms.rules_primary,
        "rules_secondary": terms.rules_secondary,
        "price_level_structure": terms.structure,
        "price_ranges": price_ranges(terms),
        "is_provisional": False,
        "exchange_index": terms.exchange_index,
        "settlement_bounds_type": "default",
        **terms.strike,
    }
    if terms.fee_waiver_until_us is not None:
        body["fee_waiver_expiration_time"] = rfc3339(terms.fee_waiver_until_us)
    if market.value_cc is not None:
        body["settlement_value_dollars"] = format_price(market.value_cc)
    if market.settled_us:
        body["settlement_ts"] = rfc3339(market.settled_us)
    return body


def event_body(event: Event, series: Series) -> dict[str, Any]:
    override = fee_override(event.fee_override) if event.fee_override is not None else {}
    return {
        **override,
        "event_ticker": event.ticker,
        "series_ticker": event.series_ticker,
        "title": event.title,
        "sub_title": event.sub_title,
        "category": series.category,
        "collateral_return_type": event.collateral_return_type,
        "mutually_exclusive": event.is_mutually_exclusive,
        "strike_date": rfc3339(event.strike_us),
        "settlement_sources": [{"name": series.source[0], "url": series.source[1]}],
        "last_updated_ts": rfc3339(event.created_us),
        "exchange_index": event.exchange_index,
        "product_metadata": None,
    }


def fee_override(terms: FeeTerms | None) -> dict[str, Any]:
    """Return an event's fee override: both fields, or both null where there is none."""
    return {
        "fee_type_override": terms.fee_type if terms else None,
        "fee_multiplier_override": multiplier(terms.multiplier_bps) if terms else None,
    }


def multiplier(bps: int) -> float:
    """Return a fee multiplier as the venue writes it: the only JSON numbers with decimals, and no money."""
    return bps / 10_000


def series_body(series: Series) -> dict[str, Any]:
    return {
        "ticker": series.ticker,
        "frequency": series.frequency,
        "title": series.title,
        "category": series.category,
        "categories": [series.category],
        "tags": list(series.tags),
        "settlement_sources": [{"name": series.source[0], "url": series.source[1]}],
        "contract_url": f"https://example.invalid/contracts/{series.ticker}.pdf",
        "contract_terms_url": f"https://example.invalid/terms/{series.ticker}.pdf",
        "fee_type": series.fee_type,
        "fee_multiplier": multiplier(series.fee_multiplier_bps),
        "additional_prohibitions": None,
        "exchange_index": series.exchange_index,
    }


def program_body(program: Program, now_us: int) -> dict[str, Any]:
    """Return a row of the programs' list; what a program does not have is null."""
    target = program.target_size_cx
    return {
        "id": program.program_id,
        "market_id": program.market_id,
        "market_ticker": program.market_ticker,
        "incentive_type": program.incentive_type,
        "incentive_description": program.description,
        "start_date": rfc3339(program.start_us),
        "end_date": rfc3339(program.end_us),
        "period_reward": program.period_reward_cc,
        "paid_out": program.status(now_us) == "paid_out",
        "discount_factor_bps": program.discount_bps,
        "target_size_fp": None if target is None else format_count(target),
        "max_reward_per_account": program.max_reward_cc,
    }


def trade_prices(yes_price_cc: int) -> dict[str, str]:
    return {
        "yes_price_dollars": format_price(yes_price_cc),
        "no_price_dollars": format_price(DOLLAR_CC - yes_price_cc),
    }


def trade_row(trade: Traded) -> dict[str, Any]:
    """Return a trade as GET /markets/trades lists it."""
    word = SIDE_WORDS[trade.taker_side]
    return {
        "trade_id": trade.trade_id,
        "ticker": trade.ticker,
        "count_fp": format_count(trade.count_cx),
        **trade_prices(trade.yes_price_cc),
        "taker_side": word,
        "taker_outcome_side": word,
        "taker_book_side": trade.taker_side.book_side,
        "created_time": rfc3339(trade.at_us),
        "is_block_trade": False,
    }


def trade_message(trade: Traded) -> dict[str, Any]:
    """Return a trade as the `trade` channel sends it."""
    word = SIDE_WORDS[trade.taker_side]
    return {
        "trade_id": trade.trade_id,
        "market_ticker": trade.ticker,
        **trade_prices(trade.yes_price_cc),
        "count_fp": format_count(trade.count_cx),
        "taker_outcome_side": word,
        "taker_book_side": trade.taker_side.book_side,
        "taker_side": word,
        "is_block_trade": False,
        "ts_ms": ms(trade.at_us),
        "ts": seconds(trade.at_us),
    }


def ticker_line(market: Market) -> dict[str, Any]:
    """Return the `ticker` message of a market without its times."""
    tape, line = market.tape, quotes(market)
    return {
        "market_ticker": market.terms.ticker,
        "market_id": market.terms.market_id,
        "price_dollars": format_price(tape.last_price_cc),
        "yes_bid_dollars": line["yes_bid_dollars"],
        "yes_ask_dollars": line["yes_ask_dollars"],
        "yes_bid_size_fp": line["yes_bid_size_fp"],
        "yes_ask_size_fp": line["yes_ask_size_fp"],
        "last_trade_size_fp": format_count(tape.last_size_cx),
        "volume_fp": format_count(tape.volume_cx),
        "open_interest_fp": format_count(tape.open_interest_cx),
        "dollar_volume": tape.volume_cx // 200,
        "dollar_open_interest": tape.open_interest_cx // 200,
    }


def ticker_times(at_us: int) -> dict[str, Any]:
    return {"ts_ms": ms(at_us), "ts": seconds(at_us), "time": rfc3339(at_us)}


def money(value_ud: int) -> str:
    return format_dollars(value_ud)
