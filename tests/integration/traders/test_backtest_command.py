"""`manage.py backtest` as a process: a recording in, a result out, and no store."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from markets.core.units import Side
from tests.fixtures.tapes import a_tape

NO_STORES: dict[str, str | None] = {"DATABASE_URL": None, "REDIS_URL": None}
QUOTE = ("--placement", "join_best")

Run = Callable[..., Any]


@pytest.fixture
def tape(tmp_path: Path) -> str:
    """A recording in which our bid of 1 000 at 40 cents fills by 400."""
    told = a_tape().trade(3_900, 400, Side.NO).wait(0.1).delta(Side.YES, 100, 1)
    return str(told.save(tmp_path))


@pytest.fixture
def run(manage: Any, tmp_path: Path) -> Run:
    def run_it(*argv: str, **env: str) -> Any:
        return manage("backtest", *argv, env=NO_STORES | {"KALSHIMM_HOME": str(tmp_path / "home")} | env)

    return run_it


def test_it_prints_one_document_on_one_line_and_starts_nothing(run: Run, tape: str, tmp_path: Path) -> None:
    result = run("--source", tape, *QUOTE, "--json", "--seed", "7")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.count("\n") == 1
    (market,) = json.loads(result.stdout)["markets"]
    (fill,) = market["fills"]
    assert (fill["trade_id"], fill["client_order_id"], fill["count_cx"]) == ("trade-1", "bt7-1-1", 400)
    assert fill["cause"]["kind"] == "print"
    assert (market["result"]["position_cx"], market["printed"]["position_cx"]) == (400, 400)
    assert {path.name for path in (tmp_path / "home").iterdir()} <= {"secret_key"}, "what the settings themselves need"


def test_the_same_command_gives_the_same_bytes_in_another_process(run: Run, tape: str) -> None:
    argv = ("--source", tape, *QUOTE, "--buffering", "percent", "--flatten", "passive_exit", "--json")
    once, again = (run(*argv, PYTHONHASHSEED=seed).stdout for seed in ("1", "2"))
    assert once == again
    assert once


def test_a_person_reads_figures(run: Run, tape: str) -> None:
    result = run("--source", tape, *QUOTE, "--fees", "quadratic_with_maker_fees", "--latency-ms", "10")
    assert (result.returncode, result.stderr) == (0, "")
    assert "join_best + none, latency 10 ms, seed 1" in result.stdout
    assert "fills      1 of 4 contracts, 0 of them inferred" in result.stdout
    assert "position   +4, cash −$1.62, fees $0.02" in result.stdout
    assert "result     −$0.02; without inferred fills −$0.02" in result.stdout


def test_parameters_reach_each_part(run: Run, tape: str) -> None:
    result = run(
        *("--source", tape, *QUOTE, "--json", "--params", '{"bid_cx": 150, "ask_cx": 0}'),
        *("--buffering", "min_ahead", "--buffering-params", '{"ahead_cx": 400}'),
        *(
            "--flatten",
            "stop_loss",
            "--flatten",
            "before_close",
            "--flatten-params",
            '{"before_close": {"lead_s": 901}}',
        ),
        *("--guards", '{"jump_cc": 0}', "--tolerances", '{"lifetime_s": 60}', "--limits", '{"order_cx_most": 120}'),
    )
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["strategies"]["flattens"][1]["params"] == {"lead_s": 901}
    (order, *_) = document["markets"][0]["orders"]
    assert (order["side"], order["price_cc"], order["placed_cx"]) == (0, 3_900, 120)


@pytest.mark.parametrize(
    ("argv", "option"),
    [
        (("--placement", "nobody"), "--placement: "),
        ((*QUOTE, "--params", '{"size": 1}'), "--params: "),
        ((*QUOTE, "--params", "["), "--params: "),
        ((*QUOTE, "--buffering", "nobody"), "--buffering: "),
        ((*QUOTE, "--flatten", "nobody"), "--flatten: "),
        ((*QUOTE, "--flatten-params", '{"stop_loss": {}}'), "--flatten-params: stop_loss is not among"),
        ((*QUOTE, "--guards", '{"jump": 1}'), "--guards: "),
        ((*QUOTE, "--limits", '{"order_cx_most": -1}'), "--limits: order_cx_most"),
        ((*QUOTE, "--close", "soon"), "--close: "),
        ((*QUOTE, "--price-ranges", "[[0, 10000, 0]]"), "--price-ranges: "),
        ((*QUOTE, "--fees", "quadratic:cheap"), "--fees: "),
        ((*QUOTE, "--source", "nowhere.zst"), "--source: there is no recording nowhere.zst"),
    ],
)
def test_a_wrong_option_is_named_in_one_line(run: Run, tape: str, argv: tuple[str, ...], option: str) -> None:
    result = run("--source", tape, *argv)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(option), result.stderr
    assert result.stderr.count("\n") == 1


def test_a_market_is_refused_in_words(run: Run) -> None:
    result = run("--source", "KXBTC-26NOV27", *QUOTE)
    assert (result.returncode, result.stdout) == (1, "")
    assert "plays recordings, not the tape in the database" in result.stderr


def test_a_damaged_recording_is_named_with_its_line(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text("{\n")
    result = run("--source", str(path), *QUOTE, "--json")
    assert (result.returncode, result.stdout) == (1, "")
    assert "bad.jsonl, line 1: " in result.stderr


def test_it_asks_for_what_is_missing(run: Run, tape: str) -> None:
    assert run("--source", tape).returncode == 2
    assert run("--source", tape, *QUOTE, "--latency-ms", "soon").returncode == 2
