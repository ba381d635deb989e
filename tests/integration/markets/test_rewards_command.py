"""`manage.py rewards` as a process: one document in, one line out, and no store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

NO_STORES: dict[str, str | None] = {"DATABASE_URL": None, "REDIS_URL": None}
CASE = {
    "id": "deep",
    # 0.05^4000 of a grid of 0.0001: a fraction of thousands of digits.
    "price_ranges": [{"start": "0.0000", "end": "1.0000", "step": "0.0001"}],
    "programs": [
        {
            "id": "p",
            "period_reward": 240_000,
            "target_size_fp": "400.00",
            "discount_factor_bps": 500,
            "start_date": "2026-10-05T00:00:00Z",
            "end_date": "2026-10-06T00:00:00Z",
        }
    ],
    "book": {"yes_dollars": [["0.5000", "300.00"]], "no_dollars": [["0.4000", "400.00"]]},
    "our_orders": [{"id": "a", "outcome": "yes", "price_dollars": "0.1000", "remaining_fp": "100.00"}],
}


@pytest.mark.recorded
def test_it_prints_the_published_document_in_one_line_and_starts_nothing(
    recorded: Path, tmp_path: Path, manage: Any
) -> None:
    published = recorded.parents[1] / "kalshi" / "reward_cases.json"
    home = tmp_path / "home"
    result = manage("rewards", str(published), env=NO_STORES | {"KALSHIMM_HOME": str(home)})
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.count("\n") == 1
    assert json.loads(result.stdout) == json.loads(published.read_bytes())
    assert {path.name for path in home.iterdir()} <= {"secret_key"}, "what the settings themselves need"


def test_it_reads_standard_input_and_writes_fractions_of_any_length(tmp_path: Path, manage: Any) -> None:
    document = tmp_path / "cases.json"
    document.write_text(json.dumps({"cases": [CASE]}))
    with document.open("rb") as stdin:
        result = manage("rewards", "-", env=NO_STORES, stdin=stdin)
    assert result.returncode == 0, result.stderr
    [case] = json.loads(result.stdout)["cases"]
    [program] = case["expected"]["programs"]
    assert len(program["yes"]["our_share_fraction"]) > 4_300
    assert program["yes"]["our_share"] == "0.000000000000"


def test_a_malformed_case_is_one_line_on_stderr(tmp_path: Path, manage: Any) -> None:
    document = tmp_path / "cases.json"
    document.write_text(json.dumps({"cases": [CASE | {"our_orders": [{"id": "a", "outcome": "yes"}]}]}))
    result = manage("rewards", str(document), env=NO_STORES)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("case 'deep': ")
    assert "price_dollars" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_file_that_is_not_there_is_named(tmp_path: Path, manage: Any) -> None:
    result = manage("rewards", str(tmp_path / "none.json"), env=NO_STORES)
    assert (result.returncode, result.stdout) == (1, "")
    assert "none.json" in result.stderr
