"""Worked incentive cases as a document: read them, drop what they expect, and compute that anew.

A case holds a price grid, programs, our orders and either one `book` or a timeline of `segments`; the shape is that of
the published worked cases. Amounts come out as decimal strings of 12 places beside exact fractions; what is unknown
comes out as null. Fields that mean nothing here are handed back as they came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec

from kalshimm.errors import KalshimmError
from markets.core.grid import PriceGrid, PriceRange
from markets.core.payouts import Accrual
from markets.core.rewards import LIQUIDITY, MarketScore, ProgramTerms, score_market
from markets.core.scoring import RULE, RULES, OwnOrder, Rule
from markets.core.units import Side, parse_count, parse_price
from markets.reward_results import static, timeline

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BadCases(KalshimmError):
    """A document of cases cannot be computed.

    Args:
        where: Case and field, such as `case 'a', our_orders[0].price_dollars`.
        reason: What was expected and what was found.
    """

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")


class Range(msgspec.Struct, frozen=True):
    start: str
    end: str
    step: str


class Program(msgspec.Struct, frozen=True):
    id: str
    start_date: Annotated[datetime, msgspec.Meta(tz=True)]
    end_date: Annotated[datetime, msgspec.Meta(tz=True)]
    incentive_type: str = LIQUIDITY
    period_reward: Annotated[int, msgspec.Meta(ge=0)] | None = None
    target_size_fp: str | None = None
    discount_factor_bps: int | None = None
    max_reward_per_account: Annotated[int, msgspec.Meta(ge=0)] | None = None


class Book(msgspec.Struct, frozen=True):
    yes_dollars: list[tuple[str, str]] | None = None
    no_dollars: list[tuple[str, str]] | None = None


class Order(msgspec.Struct, frozen=True):
    id: str
    outcome: Literal["yes", "no"]
    price_dollars: str
    remaining_fp: str


class Segment(msgspec.Struct, frozen=True):
    seconds: Annotated[int, msgspec.Meta(ge=0)]
    book: Book
    market_open: bool = True


class Case(msgspec.Struct, frozen=True):
    price_ranges: list[Range]
    programs: list[Program]
    our_orders: list[Order]
    book_includes_our_orders: bool = False
    market_open: bool = True
    book: Book | None = None
    segments: list[Segment] | None = None


def recompute(raw: bytes) -> bytes:
    """Return the document in one line, each case's `expected` computed anew.

    Raises:
        BadCases: It is not JSON, or a case cannot be computed; the message names case and field.
    """
    try:
        document = msgspec.json.Decoder(float_hook=Decimal).decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise BadCases("document", f"not JSON ({exc})") from exc
    except (RecursionError, ArithmeticError) as exc:
        raise BadCases("document", f"nested or with numbers beyond reading ({type(exc).__name__})") from exc
    if not isinstance(document, dict) or not isinstance(document.get("cases"), list):
        raise BadCases("document", "expected an object with a list `cases`")
    version = document.get("rule_version", RULE.version)
    if not isinstance(version, str) or version not in RULES:
        raise BadCases("rule_version", f"expected one of {', '.join(sorted(RULES))}, found {version!r}")
    cases = [_with_expected(case, index, RULES[version]) for index, case in enumerate(document["cases"])]
    return msgspec.json.Encoder(decimal_format="number").encode(document | {"cases": cases})


def _with_expected(case: Any, index: int, rule: Rule) -> dict[str, Any]:
    if not isinstance(case, dict):
        raise BadCases(f"cases[{index}]", f"expected an object, found {type(case).__name__}")
    kept = {name: value for name, value in case.items() if name != "expected"}
    where = f"case {case['id']!r}" if isinstance(case.get("id"), str) else f"cases[{index}]"
    try:
        given = msgspec.convert(kept, Case)
    except msgspec.ValidationError as exc:
        raise BadCases(where, str(exc)) from exc
    return kept | {"expected": _Calculation(given, where, rule).expected()}


class _Calculation:
    """One case on its way through the scorer; `where` names it in errors."""

    def __init__(self, case: Case, where: str, rule: Rule) -> None:
        self.case, self.where, self.rule = case, where, rule
        self.grid = self._grid()
        self.programs = [self._program(program, f"programs[{i}]") for i, program in enumerate(case.programs)]
        self.orders = [self._order(order, f"our_orders[{i}]") for i, order in enumerate(case.our_orders)]
        self._once("our_orders", [order.order_id for order in self.orders])
        self._once("programs", [program.program_id for program in self.programs])

    def expected(self) -> dict[str, Any]:
        case = self.case
        if (case.book is None) == (case.segments is None):
            raise self._bad("book", "a case has either a `book` or `segments`")
        if case.book is not None:
            return static(self._score(case.book, "book", market_open=case.market_open))
        return self._timeline(case.segments or [])

    def _timeline(self, segments: list[Segment]) -> dict[str, Any]:
        markets = [
            self._score(segment.book, f"segments[{i}].book", market_open=segment.market_open)
            for i, segment in enumerate(segments)
        ]
        periods = []
        for at, program in enumerate(self.programs):
            watched = [
                (segment.seconds, market.programs[at]) for segment, market in zip(segments, markets, strict=True)
            ]
            if sum(seconds for seconds, _ in watched) > Accrual(program).total_s:
                raise self._bad("segments", f"they are longer than the period of program {program.program_id!r}")
            periods.append(timeline(program, watched))
        if len(periods) == 1:
            return periods[0]
        ids = [{"program_id": program.program_id} for program in self.programs]
        return {"programs": [one | period for one, period in zip(ids, periods, strict=True)]}

    def _score(self, book: Book, field: str, *, market_open: bool) -> MarketScore:
        yes = self._ladder(Side.YES, book.yes_dollars, f"{field}.yes_dollars")
        no = self._ladder(Side.NO, book.no_dollars, f"{field}.no_dollars")
        with self._naming("our_orders"):  # one that is larger than its level
            return score_market(
                self.grid,
                (yes, no),
                self.orders,
                self.programs,
                own_in_book=self.case.book_includes_our_orders,
                market_open=market_open,
                rule=self.rule,
            )

    def _grid(self) -> PriceGrid:
        bands = []
        for i, band in enumerate(self.case.price_ranges):
            field = f"price_ranges[{i}]"
            start, end, step = (
                self._read(parse_price, text, f"{field}.{name}")
                for name, text in (("start", band.start), ("end", band.end), ("step", band.step))
            )
            bands.append(PriceRange(start, end, step))
        with self._naming("price_ranges"):
            return PriceGrid(bands)

    def _program(self, program: Program, field: str) -> ProgramTerms:
        text = program.target_size_fp
        target_size_cx = None if text is None else self._read(parse_count, text, f"{field}.target_size_fp")
        with self._naming(field):
            return ProgramTerms(
                program_id=program.id,
                incentive_type=program.incentive_type,
                period_reward_cc=program.period_reward,
                target_size_cx=target_size_cx,
                discount_bps=program.discount_factor_bps,
                start_us=(program.start_date - EPOCH) // timedelta(microseconds=1),
                end_us=(program.end_date - EPOCH) // timedelta(microseconds=1),
                cap_cc=program.max_reward_per_account,
            )

    def _order(self, order: Order, field: str) -> OwnOrder:
        side = Side[order.outcome.upper()]
        price_cc = self._price(side, order.price_dollars, f"{field}.price_dollars")
        remaining_cx = self._read(parse_count, order.remaining_fp, f"{field}.remaining_fp")
        if remaining_cx < 0:
            raise self._bad(f"{field}.remaining_fp", f"expected 0 or more, found {order.remaining_fp!r}")
        return OwnOrder(order.id, side, price_cc, remaining_cx)

    def _ladder(self, side: Side, levels: list[tuple[str, str]] | None, field: str) -> dict[int, int]:
        ladder: dict[int, int] = {}
        for i, (price, size) in enumerate(levels or []):
            price_cc = self._price(side, price, f"{field}[{i}]")
            count_cx = self._read(parse_count, size, f"{field}[{i}]")
            if count_cx <= 0:
                raise self._bad(f"{field}[{i}]", f"expected a positive size, found {size!r}")
            if price_cc in ladder:
                raise self._bad(f"{field}[{i}]", f"the level {price} is there twice")
            ladder[price_cc] = count_cx
        return ladder

    def _price(self, side: Side, text: str, field: str) -> int:
        price_cc = self._read(parse_price, text, field)
        if not self.grid.contains(side, price_cc):
            raise self._bad(field, f"{text} is not on the market's price grid")
        return price_cc

    def _once(self, field: str, names: list[str]) -> None:
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise self._bad(field, f"the id {twice[0]!r} is there twice")

    def _read(self, parse: Callable[[str], int], text: str, field: str) -> int:
        with self._naming(field):
            return parse(text)

    @contextmanager
    def _naming(self, field: str) -> Iterator[None]:
        """Turn a complaint about a value into one that names case and field."""
        try:
            yield
        except ValueError as exc:
            raise self._bad(field, str(exc)) from exc

    def _bad(self, field: str, reason: str) -> BadCases:
        return BadCases(f"{self.where}, {field}", reason)
