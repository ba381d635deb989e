"""The systemd units name commands that exist, and end no trader."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kalshimm.commandline import is_command

ROOT = Path(__file__).resolve().parents[2]
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
LIVE_ON = {"kalshimm-spawner.service", "kalshimm-supervisor.service"}


def settings(unit: Path) -> dict[str, str]:
    lines = [line for line in unit.read_text().splitlines() if "=" in line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_starts_what_there_is(unit: Path) -> None:
    start = settings(unit)["ExecStart"]
    found = re.search(r"manage\.py (\S+)$", start)
    if found is None:
        assert re.search(r"-m (celery|daphne) ", start)
    elif found[1] == "%i":
        target = (ROOT / "deploy" / "systemd" / "kalshimm.target").read_text()
        workers = re.findall(r"kalshimm-worker@(\w+)\.service", target)
        assert workers == ["gateway", "desk", "writer"]
        assert all(map(is_command, workers))
    else:
        assert is_command(found[1])


def test_A7_stopping_spawner_or_supervisor_ends_them_alone() -> None:
    assert {unit.name for unit in UNITS if settings(unit).get("KillMode") == "process"} == LIVE_ON


def test_no_unit_is_given_up_while_it_waits_for_a_store() -> None:
    assert {unit.name for unit in UNITS if settings(unit)["StartLimitIntervalSec"] != "0"} == set()
    assert {unit.name for unit in UNITS if settings(unit)["Restart"] != "always"} == set()


def test_every_unit_belongs_to_the_target() -> None:
    target = (ROOT / "deploy" / "systemd" / "kalshimm.target").read_text()
    for unit in UNITS:
        assert settings(unit)["PartOf"] == "kalshimm.target"
        assert unit.name.replace("@.", "@gateway.") in target
