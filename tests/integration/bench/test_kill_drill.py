from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from kalshimm.bench.killdrill import drill
from tests.fixtures.stack import ROOT


async def test_G1_a_drill_kills_what_rests_at_an_exchange_of_its_own() -> None:
    said: list[str] = []
    drilled = await drill(said.append, orders=12)
    assert (drilled.orders, drilled.resting, drilled.why) == (12, 0, "")
    assert drilled.confirmed_ms is not None
    assert drilled.confirmed_ms > drilled.written_ms > 0
    assert said == ["a local exchange runs; placing 12 orders"]


def test_the_command_touches_nothing_of_the_installation(tmp_path: Path) -> None:
    home = tmp_path / "home"
    command = [sys.executable, "manage.py", "kill", "--drill", "--json"]
    ended = subprocess.run(
        command, cwd=ROOT, env={"KALSHIMM_HOME": str(home), "PATH": "/usr/bin:/bin"}, capture_output=True, check=True
    )
    assert json.loads(ended.stdout)["drill"]["resting"] == 0
    assert not home.exists()
