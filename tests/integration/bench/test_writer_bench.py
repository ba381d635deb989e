"""`manage.py bench writer` on the tests' own servers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from kalshimm.bench.report import Round
from kalshimm.bench.writer import WriterBench


@pytest.mark.long
def test_it_measures_the_writer_beside_server_copy_and_leaves_nothing_behind(manage: Callable[..., Any]) -> None:
    done = manage("bench", "writer", "--rounds", "2", "--seconds", "0.2", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["judged"] == "ratio"
    assert document["ratio"] > 0
    assert 60 < document["rounds"][0]["more"]["bytes_per_delta"] < 200
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        left = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'kalshimm_bench_%'").fetchall()
    assert left == []


@pytest.mark.parametrize(("created", "is_void"), [(1_000.0, False), (1_300.0, True)])
def test_its_figure_is_void_when_server_copy_is_no_eight_times_the_orm(created: float, is_void: bool) -> None:
    rounds = [Round(9_000.0, 10_000.0, {"bulk_create_per_s": created})]
    assert bool(WriterBench().void(rounds)) is is_void
