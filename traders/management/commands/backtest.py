from __future__ import annotations

import re
import sys
from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from django.core.management.base import BaseCommand

from feed.kalshi.wire.kinds import read_time
from kalshimm.errors import ConfigurationError, KalshimmError
from markets.core.fees import FeeSchedule, FeeTerms
from markets.core.grid import PriceGrid, PriceRange
from markets.formatting import contracts, dollars, duration
from traders.backtest import Plan, backtest
from traders.backtested import BacktestResult, MarketResult, Outcome, encode_result
from traders.brokers.paper import PaperSettings
from traders.core.pipeline import GUARDS, TOLERANCES, Choice, NoStrategies, StrategyChoices
from traders.core.registry import Kind, ParamsError

LATENCY_MOST_MS = 60_000
REASONS_SHOWN = 8
TICKER = re.compile(r"[A-Z0-9][A-Z0-9.\-]*")
# By part of a set of strategies: the option that names it, and the one that holds its parameters.
OPTIONS = {
    Kind.PLACEMENT: ("--placement", "--params"),
    Kind.BUFFERING: ("--buffering", "--buffering-params"),
    Kind.FLATTEN: ("--flatten", "--flatten-params"),
    GUARDS: ("--guards", "--guards"),
    TOLERANCES: ("--tolerances", "--tolerances"),
}


class NoTape(KalshimmError):
    """The source is a market, and this version plays only files."""


class Command(BaseCommand):
    help = "Run the engine over a recording: what would have been quoted, what would have filled, and what came of it."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--source", required=True, metavar="PATH", help="a recording: NDJSON, plain, .gz or .zst")
        parser.add_argument("--market", default="", metavar="TICKER", help="only this one of its markets")
        parser.add_argument("--placement", required=True, metavar="NAME")
        parser.add_argument("--params", default="{}", metavar="JSON", help="parameters of the placement")
        parser.add_argument("--buffering", default="none", metavar="NAME")
        parser.add_argument("--buffering-params", default="{}", metavar="JSON")
        parser.add_argument("--flatten", action="append", default=[], metavar="NAME", help="once or more, in order")
        parser.add_argument("--flatten-params", default="{}", metavar="JSON", help="parameters by name of the rule")
        parser.add_argument("--guards", default="{}", metavar="JSON")
        parser.add_argument("--tolerances", default="{}", metavar="JSON")
        parser.add_argument("--limits", default="{}", metavar="JSON")
        parser.add_argument("--seed", type=int, default=1, metavar="N", help="names the orders")
        parser.add_argument("--latency-ms", type=_latency_ms, default=0, metavar="N", help="from decision to effect")
        parser.add_argument("--fees", metavar="TYPE[:MULTIPLIER]", help="as of the series; unknown without it")
        parser.add_argument("--close", metavar="TIME", help="of markets whose close the recording does not say")
        parser.add_argument("--price-ranges", metavar="JSON", help="[[start, end, step], …] in $0.0001; else deduced")
        parser.add_argument("--yes-price", action="store_true", help="No levels are given at Yes prices")
        parser.add_argument("--json", action="store_true", dest="as_json", help="one JSON document on one line")

    def handle(self, *_args: Any, **options: Any) -> None:
        plan = _plan(options)
        _check(plan)
        result = backtest(_file(options["source"]), plan)
        if options["as_json"]:
            sys.stdout.buffer.write(encode_result(result) + b"\n")
            sys.stdout.flush()
            return
        for line in lines(result):
            self.stdout.write(line)


def _file(source: str) -> Path:
    path = Path(source)
    if path.is_file():
        return path
    if TICKER.fullmatch(source):
        raise NoTape(
            f"There is no recording {source}. If that is a market: this version plays recordings, not the tape in the "
            "database; record it with `record`, or give a file."
        )
    raise ConfigurationError("--source", f"there is no recording {source}")


def _plan(options: dict[str, Any]) -> Plan:
    flatten_params = _object("--flatten-params", options["flatten_params"])
    strange = sorted(set(flatten_params) - set(options["flatten"]))
    if strange:
        raise ConfigurationError("--flatten-params", f"{strange[0]} is not among the flatten rules that are asked for")
    strategies = StrategyChoices(
        Choice(options["placement"], _object("--params", options["params"])),
        Choice(options["buffering"], _object("--buffering-params", options["buffering_params"])),
        [{"name": name, "params": flatten_params.get(name, {})} for name in options["flatten"]],
        _object("--guards", options["guards"]),
        _object("--tolerances", options["tolerances"]),
    )
    return Plan(
        strategies=strategies,
        limits=_object("--limits", options["limits"]),
        seed=options["seed"],
        paper=PaperSettings(latency_us=options["latency_ms"] * 1_000),
        market=options["market"],
        close_us=_close_us(options["close"]),
        price_ranges=_price_ranges(options["price_ranges"]),
        fees=_fees(options["fees"]),
        use_yes_price=options["yes_price"],
    )


def _check(plan: Plan) -> None:
    """Refuse strategies and limits that do not fit before anything is read, naming the option at fault."""
    try:
        plan.rules()
    except NoStrategies as exc:
        of_name, of_params = OPTIONS[exc.part]
        raise ConfigurationError(of_name if exc.is_name else of_params, str(exc)) from exc
    except ParamsError as exc:
        raise ConfigurationError("--limits", str(exc)) from exc


def _object(option: str, text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError as exc:
        raise ConfigurationError(option, f'expected a JSON object such as {{"field": 1}} ({exc})') from exc


def _latency_ms(text: str) -> int:
    if not text.isdecimal() or int(text) > LATENCY_MOST_MS:
        raise ArgumentTypeError(f"{text!r} is not a latency; give 0 to {LATENCY_MOST_MS} milliseconds")
    return int(text)


def _close_us(text: str | None) -> int | None:
    try:
        return None if text is None else read_time(text)
    except ValueError as exc:
        raise ConfigurationError("--close", f"expected a time such as 2026-11-26T15:00:00Z ({exc})") from exc


def _price_ranges(text: str | None) -> tuple[PriceRange, ...] | None:
    if text is None:
        return None
    try:
        return PriceGrid(msgspec.json.decode(text, type=tuple[PriceRange, ...])).ranges
    except ValueError as exc:
        raise ConfigurationError("--price-ranges", f"expected ranges such as [[0, 10000, 100]] ({exc})") from exc


def _fees(text: str | None) -> FeeTerms | None:
    if text is None:
        return None
    fee_type, _, multiplier = text.partition(":")
    schedule = FeeSchedule.parse(fee_type, multiplier or "1")
    if schedule is None:
        raise ConfigurationError("--fees", f"expected a type and a multiplier such as quadratic:0.5, found {text}")
    return FeeTerms(schedule)


# What a person reads


def lines(result: BacktestResult) -> list[str]:
    """Return a result in lines of text."""
    told = [_recording(result), _asked(result)]
    for market in result.markets:
        told += ["", *_market(market)]
    if len(result.markets) > 1:
        told += ["", "all markets", *_outcome(result.result, result.printed)]
    return told


def _recording(result: BacktestResult) -> str:
    counts = result.counts
    began = datetime.fromtimestamp(result.first_us // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    prints = "trades are told" if result.has_prints else "no trades are told, so fills are inferred from tickers"
    frames, connections, gaps = (counts[name] for name in ("frames", "connections", "gaps"))
    return (
        f"{duration((result.last_us - result.first_us) // 1_000_000)} from {began}: {frames:,} frames, "
        f"{connections} connections, {gaps} gaps; {prints}"
    )


def _asked(result: BacktestResult) -> str:
    chosen = result.strategies
    names = [chosen.placement.name, chosen.buffering.name, *(one["name"] for one in chosen.flattens)]
    return f"{' + '.join(names)}, latency {result.latency_us // 1_000} ms, seed {result.seed}"


def _market(market: MarketResult) -> list[str]:
    ends = ", ".join(
        f"{count:,} {name.removeprefix('orders_')}"
        for name, count in market.counts.items()
        if name.startswith("orders_")
    )
    often = sorted(market.reasons.items(), key=lambda reason: (-reason[1], reason[0]))[:REASONS_SHOWN]
    latched = [state for state in market.states if state.state.startswith("latched: ")]
    return [
        f"{market.ticker}: {duration((market.ended_us - market.began_us) // 1_000_000)}, {market.why_ended}",
        *(f"  {state.state} after {duration((state.time_us - market.began_us) // 1_000_000)}" for state in latched),
        f"  looked     {market.counts.get('looks', 0):,} times at {market.counts.get('events', 0):,} events",
        f"  decided    {len(market.decisions):,} times anew: {', '.join(f'{code} {n:,}' for code, n in often)}",
        f"  orders     {len(market.orders):,}" + (f": {ends}" if ends else ""),
        *_outcome(market.result, market.printed),
    ]


def _outcome(result: Outcome, printed: Outcome) -> list[str]:
    inferred = result.fills - printed.fills
    fees = f"fees {dollars(result.fees_ud)}" + (
        f" and those of {result.unknown_fees:,} fills unknown" if result.unknown_fees else ""
    )
    told = [
        f"  fills      {result.fills:,} of {contracts(result.traded_cx)} contracts, {inferred:,} of them inferred",
        f"  position   {contracts(result.position_cx, plus=True)}, cash {_money(result.cash_ud)}, {fees}",
        f"  result     {_money(result.result_ud)}; without inferred fills {_money(printed.result_ud)}",
    ]
    if result.settled_ud is not None:
        told.append(f"  settled    {_money(result.settled_ud)}; without {_money(printed.settled_ud)}")
    return told


def _money(value_ud: int | None) -> str:
    return "unknown" if value_ud is None else dollars(value_ud, plus=True)
