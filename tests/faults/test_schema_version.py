"""Row D13: old code on a new schema, and the reverse. Whoever works on the tables refuses to start."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).resolve().parents[2]
NEWER = "0099_from_the_future"
WITHIN_S = 60.0
COMMANDS = {
    "writer": ["manage.py", "writer"],
    "supervisor": ["manage.py", "supervisor"],
    "celery": ["-m", "celery", "-A", "kalshimm", "worker", "--pool", "solo", "--loglevel", "WARNING"],
}


def run(argv: list[str], database_url: str, redis_url: str, home: Path) -> subprocess.CompletedProcess[str]:
    settings = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "KALSHIMM_HOME": str(home)}
    return subprocess.run(
        [sys.executable, *argv],
        cwd=ROOT,
        env=os.environ | settings,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )


def execute(database_url: str, statement: str, *values: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(statement, values)  # type: ignore[arg-type]


@pytest.fixture
def newer(module_database: str) -> Iterator[str]:
    """The module's database as a newer version has left it."""
    execute(module_database, "INSERT INTO django_migrations (app, name, applied) VALUES ('feed', %s, now())", NEWER)
    yield module_database
    execute(module_database, "DELETE FROM django_migrations WHERE name = %s", NEWER)


@pytest.fixture
def older(module_database: str) -> Iterator[str]:
    """The module's database without this version's last migration of the feed."""
    with psycopg.connect(module_database, autocommit=True) as connection:
        take = "DELETE FROM django_migrations WHERE app = 'feed' AND name = (SELECT max(name) FROM django_migrations "
        [(name,)] = connection.execute(take + "WHERE app = 'feed') RETURNING name").fetchall()
    yield module_database
    execute(module_database, "INSERT INTO django_migrations (app, name, applied) VALUES ('feed', %s, now())", name)


@pytest.mark.parametrize("worker", COMMANDS)
def test_D13_a_newer_schema_is_refused_by_name(worker: str, newer: str, redis_url: str, tmp_path: Path) -> None:
    done = run(COMMANDS[worker], newer, redis_url, tmp_path)
    assert done.returncode == 1, done.stderr
    assert f"has migration feed.{NEWER}, which this version of kalshimm does not know" in done.stderr


@pytest.mark.parametrize(
    "worker", ["writer", *(pytest.param(name, marks=pytest.mark.long) for name in list(COMMANDS)[1:])]
)
def test_D13_an_older_schema_is_refused_by_name(worker: str, older: str, redis_url: str, tmp_path: Path) -> None:
    done = run(COMMANDS[worker], older, redis_url, tmp_path)
    assert done.returncode == 1, done.stderr
    assert "lacks migration feed.0" in done.stderr
    assert "manage.py migrate" in done.stderr


def test_D13_up_refuses_a_newer_schema_before_it_migrates(newer: str, redis_url: str, tmp_path: Path) -> None:
    done = run(["manage.py", "prepare"], newer, redis_url, tmp_path)
    assert done.returncode == 1, done.stderr
    assert NEWER in done.stderr.splitlines()[-1]
