"""Paper against truth: how far the fills, queue places and results of paper orders are from those of real ones.

    .venv/bin/python -m tests.acceptance.papertruth --seeds 1-10

On the scenario `truth` the others do the same whatever we do, so that all that differs is the error of paper; on every
other one they react to real orders, which is reported and judged by nobody. What is judged, and what paper cannot know,
stands in docs/paper-against-truth.md.
"""

from __future__ import annotations

import argparse
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from feed.exchange.world import SECOND_US
from tests.acceptance.truthworlds import Deal, Marks, NewPaper, Ran, for_real, on_paper
from traders.brokers.paper import PaperBroker
from traders.core import registry
from traders.core.decision import Rules, parse_limits
from traders.core.pipeline import Choice, StrategyChoices

FILLS_MOST, AHEAD_MOST, CENTS_MOST = 0.10, 0.15, 0.2
SECONDS = 300
WIDE = {"orders_a_minute": 10_000, "daily_loss_ud": 10**9, "drawdown_ud": 10**9}  # limits are not the matter here


class ParameterSet(msgspec.Struct, frozen=True):
    """One way to trade."""

    name: str
    words: str
    choices: StrategyChoices

    def rules(self) -> Rules:
        return Rules(self.choices.parse(), parse_limits(WIDE))


SETS = (
    ParameterSet(
        "join",
        "`join_best`, 1 contract a side; no buffering, no flatten",
        StrategyChoices(Choice("join_best", {"bid_cx": 100, "ask_cx": 100})),
    ),
    ParameterSet(
        "improve",
        "`improve` by a step where that leaves two, else joins, 1 bid and 2 asked; `passive_exit` from 5",
        StrategyChoices(
            Choice("improve", {"bid_cx": 100, "ask_cx": 200}),
            flattens=[{"name": "passive_exit", "params": {"from_cx": 500}}],
        ),
    ),
    ParameterSet(
        "depth",
        "`depth` of a step, kept for one more, 2 bid and 1 asked; `percent` 50 %; `cross_at_limit` after 60 s from 5",
        StrategyChoices(
            Choice("depth", {"bid_cx": 200, "ask_cx": 100, "steps": 1}),
            Choice("percent", {"min_bps": 5_000}),
            flattens=[{"name": "cross_at_limit", "params": {"from_cx": 500, "after_s": 60}}],
            tolerances={"price_steps": 1},
        ),
    ),
    ParameterSet(
        "skew",
        "`join_best`, 2 a side, against the position by two steps at 20; `min_ahead` 10",
        StrategyChoices(
            Choice("join_best", {"bid_cx": 200, "ask_cx": 200, "skew_steps": 2, "max_position_cx": 2_000}),
            Choice("min_ahead", {"ahead_cx": 1_000}),
        ),
    ),
)


# --- what is compared ---------------------------------------------------------------------------------------------


class Sum(msgspec.Struct, frozen=True):
    """Fills of one arm together."""

    fills: int = 0
    count_cx: int = 0
    worth_ud: int = 0

    @classmethod
    def of(cls, deals: Iterable[Deal], marks: Marks) -> Sum:
        deals = list(deals)
        return cls(len(deals), sum(deal.count_cx for deal in deals), sum(deal.worth_ud(marks) for deal in deals))

    def and_of(self, other: Sum) -> Sum:
        return Sum(self.fills + other.fills, self.count_cx + other.count_cx, self.worth_ud + other.worth_ud)

    @property
    def cents(self) -> float:
        """What a contract made."""
        return self.worth_ud / 100 / self.count_cx


class Compared(msgspec.Struct, frozen=True):
    """Paper beside truth: of one set and seed, or of several pooled.

    Attributes:
        small, small_paper: Fills of orders that were at most 5 % of their level.
        every, every_paper: All fills: cash and position at the mark, after fees.
        errors: |paper − true| ÷ level of the queue ahead, for each second and order that rests at one price in both.
        samples: Seconds of real orders at a level.
        missed: True fills that paper had not at that price within a second, by the reason.
    """

    small: Sum = Sum()
    small_paper: Sum = Sum()
    every: Sum = Sum()
    every_paper: Sum = Sum()
    errors: tuple[float, ...] = ()
    samples: int = 0
    missed: dict[str, int] = {}

    @classmethod
    def of(cls, true: Ran, paper: Ran, marks: Marks) -> Compared:
        stood = {spot: place for spot, place in true.places.items() if place.level_cx}
        pairs = ((place, paper.places[spot]) for spot, place in stood.items() if spot in paper.places)
        return cls(
            small=Sum.of((deal for deal in true.deals if deal.is_small), marks),
            small_paper=Sum.of((deal for deal in paper.deals if deal.is_small), marks),
            every=Sum.of(true.deals, marks),
            every_paper=Sum.of(paper.deals, marks),
            errors=tuple(abs(ours.ahead_cx - real.ahead_cx) / real.level_cx for real, ours in pairs),
            samples=len(stood),
            missed=dict(Counter(map(why_missed, unmatched(true.deals, paper.deals)))),
        )

    def and_of(self, other: Compared) -> Compared:
        return Compared(
            small=self.small.and_of(other.small),
            small_paper=self.small_paper.and_of(other.small_paper),
            every=self.every.and_of(other.every),
            every_paper=self.every_paper.and_of(other.every_paper),
            errors=self.errors + other.errors,
            samples=self.samples + other.samples,
            missed=dict(Counter(self.missed) + Counter(other.missed)),
        )

    @property
    def fill_error(self) -> float:
        return self.small_paper.fills / self.small.fills - 1

    @property
    def ahead_error(self) -> float:
        return statistics.median(self.errors)

    @property
    def cents_error(self) -> float:
        return self.every_paper.cents - self.every.cents

    def misses(self) -> list[str]:
        """Return the bars that are missed, with figures."""
        bars = (
            ("fill count", abs(self.fill_error), FILLS_MOST),
            ("queue ahead", self.ahead_error, AHEAD_MOST),
            ("cents a contract", abs(self.cents_error), CENTS_MOST),
        )
        return [f"{name}: off by {error:.3f}, {most} is the most" for name, error, most in bars if error > most]


ALONE, REST, PARTED = "alone at its price", "rest of a taker who left nothing of the level", "paths had parted"


def why_missed(deal: Deal) -> str:
    if not deal.is_small:
        return ALONE
    return PARTED if deal.left_cx or deal.others_cx is None else REST


def unmatched(true: Sequence[Deal], paper: Sequence[Deal]) -> list[Deal]:
    """Return the true fills for which paper has none of the same market, side and price within a second."""
    times: dict[Any, list[int]] = defaultdict(list)
    for deal in paper:
        times[deal.ticker, deal.side, deal.price_cc].append(deal.time_us)
    missed = []
    for deal in true:
        candidates = times[deal.ticker, deal.side, deal.price_cc]
        nearest = min(candidates, key=lambda time_us: abs(time_us - deal.time_us), default=None)
        if nearest is None or abs(nearest - deal.time_us) > SECOND_US:
            missed.append(deal)
        else:
            candidates.remove(nearest)
    return missed


def compare(
    scenario: str,
    seed: int,
    sets: Sequence[ParameterSet] = SETS,
    *,
    seconds: int = SECONDS,
    new_paper: NewPaper = PaperBroker,
) -> dict[str, Compared]:
    """Return paper beside truth of each set, on one seed."""
    registry.load()
    rules = [each.rules() for each in sets]
    papers, marks = on_paper(scenario, seed, rules, seconds, new_paper=new_paper)
    return {
        each.name: Compared.of(for_real(scenario, seed, ours, seconds), paper, marks)
        for each, ours, paper in zip(sets, rules, papers, strict=True)
    }


def pooled(parts: Iterable[Compared]) -> Compared:
    whole = Compared()
    for part in parts:
        whole = whole.and_of(part)
    return whole


# --- the table ----------------------------------------------------------------------------------------------------

HEAD = (
    "| | fills: true | paper | error | contracts | queue ahead: median error | 95 % within | same price | "
    "¢ a contract: true | paper | difference | all fills: true | paper | error |"
)


def row(name: str, compared: Compared) -> str:
    small, small_paper, every, every_paper = compared.small, compared.small_paper, compared.every, compared.every_paper
    errors = sorted(compared.errors)
    cells = (
        f"{small.fills:,}",
        f"{small_paper.fills:,}",
        part(small_paper.fills, small.fills),
        part(small_paper.count_cx, small.count_cx),
        f"{compared.ahead_error:.1%}",
        f"{errors[len(errors) * 95 // 100]:.1%}",
        f"{len(errors) / compared.samples:.1%}",
        f"{every.cents:+.2f}",
        f"{every_paper.cents:+.2f}",
        f"{compared.cents_error:+.2f}",
        f"{every.fills:,}",
        f"{every_paper.fills:,}",
        part(every_paper.fills, every.fills),
    )
    return f"| {name} | {' | '.join(cells)} |"


def part(paper: int, true: int) -> str:
    return f"{paper / true - 1:+.1%}" if true else "–"


def report(scenario: str, found: dict[tuple[int, str], Compared], seconds: int) -> list[str]:
    """Return the tables of a scenario, by set, by seed and pooled."""
    seeds, names = (sorted({key[at] for key in found}, key=str) for at in (0, 1))
    whole = pooled(found.values())
    lines = [f"`{scenario}`, {len(seeds)} seeds × {len(names)} sets, {seconds} s each", "", HEAD, "|---" * 14 + "|"]
    for each in SETS:
        lines.append(row(each.name, pooled(one for (_, name), one in found.items() if name == each.name)))
    for seed in sorted({seed for seed, _ in found}):
        lines.append(row(f"seed {seed}", pooled(one for (at, _), one in found.items() if at == seed)))
    lines += [row("**pooled**", whole), ""]
    missed = ", ".join(f"{count:,} {why}" for why, count in sorted(whole.missed.items(), key=lambda one: -one[1]))
    return [*lines, f"True fills that paper did not have within a second: {missed}."]


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare paper orders with real ones on the local exchange.")
    parser.add_argument("--scenario", default="truth")
    parser.add_argument("--seeds", default="1-10", help="first-last")
    parser.add_argument("--seconds", type=int, default=SECONDS)
    asked = parser.parse_args()
    first, _, last = asked.seeds.partition("-")
    found = {
        (seed, name): compared
        for seed in range(int(first), int(last or first) + 1)
        for name, compared in compare(asked.scenario, seed, seconds=asked.seconds).items()
    }
    print("\n".join(report(asked.scenario, found, asked.seconds)))
    if asked.scenario == "truth":
        misses = pooled(found.values()).misses()
        print("\nBars missed: " + "; ".join(misses) if misses else "\nAll bars are met.")


if __name__ == "__main__":
    main()
