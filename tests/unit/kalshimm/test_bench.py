"""`manage.py bench`: one document, medians over rounds, names it knows."""

from __future__ import annotations

import io
import json

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from kalshimm.bench.registry import BENCHES
from kalshimm.bench.report import Bench, Effort, Goal, Progress, Round, measure


class Counting(Bench):
    """A bench that measures nothing but its own rounds."""

    name = "counting"
    about = "numbers"
    unit = "numbers per second"
    reference = "other numbers"
    goal = Goal(floor=2.0, aim=20.0)

    async def run(self, effort: Effort, progress: Progress) -> list[Round]:
        progress("counting")
        return [Round(figure=float(n), against=10.0 * n, more={"n": float(n)}) for n in range(1, effort.rounds + 1)]


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(BENCHES, "counting", Counting())
    return "counting"


async def test_the_figure_is_the_median_of_the_rounds_and_stands_beside_its_reference() -> None:
    report = await measure(Counting(), Effort(rounds=5, seconds=1.0), lambda _line: None)
    assert (report.figure, report.against, report.ratio) == (3.0, 30.0, 0.1)
    assert [one.figure for one in report.rounds] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert report.cpus_busy >= 0


def test_json_is_one_document_on_one_line_and_progress_goes_elsewhere(counting: str) -> None:
    out, err = io.StringIO(), io.StringIO()
    call_command("bench", counting, "--json", "--rounds", "3", stdout=out, stderr=err)
    (line,) = out.getvalue().splitlines()
    assert json.loads(line).keys() == {
        *("bench", "figure", "unit", "against", "ratio", "floor", "aim", "rounds", "cpus_busy"),
        *("name", "reference", "judged", "verdict", "void", "spread", "against_spread", "others", "discarded"),
    }
    assert "counting" in err.getvalue()


@pytest.mark.parametrize(("rounds", "verdict"), [("1", "MISSES THE FLOOR"), ("5", "reaches the floor")])
def test_a_person_is_told_how_the_figure_stands(counting: str, rounds: str, verdict: str) -> None:
    out = io.StringIO()
    call_command("bench", counting, "--rounds", rounds, stdout=out, stderr=io.StringIO())
    assert verdict in out.getvalue()
    assert "other numbers" in out.getvalue()


@pytest.mark.parametrize(
    "wrong", [["nothing"], ["exchange", "--rounds", "0"], ["exchange", "--seconds", "-1"], ["books", "--rate", "0"]]
)
def test_a_wrong_usage_is_refused(wrong: list[str]) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("bench", *wrong)
    assert refused.value.returncode == 1  # of call_command; the process leaves with 2, as argparse does


def test_an_unknown_name_leaves_with_the_usage_code_and_lists_those_there_are(manage: object) -> None:
    result = manage("bench", "nothing")  # type: ignore[operator]
    assert result.returncode == 2
    assert all(name in result.stderr for name in BENCHES)
    assert result.stdout == ""
