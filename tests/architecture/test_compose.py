"""The compose file: stopping the container of the workers is a drain, and nothing of it is open to strangers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from kalshimm.embedded.processes import STOP_WITHIN_S

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return found


def test_A17_a_stopped_container_has_time_to_drain(services: dict[str, Any]) -> None:
    app = services["app"]
    assert app["stop_signal"] == "SIGTERM"
    command = (ROOT / app["build"]["dockerfile"]).read_text().splitlines()[-1]
    within_s = re.search(r'"up", .*"--stop-within", "(\d+)"\]$', command)
    assert within_s is not None
    assert 2 * STOP_WITHIN_S < float(within_s[1]) < float(app["stop_grace_period"].removesuffix("s"))
    assert app["init"] is True, "traders belong to init"


def test_what_brings_a_fleet_back_outlives_the_container(services: dict[str, Any]) -> None:
    image = (ROOT / services["app"]["build"]["dockerfile"]).read_text()
    home = next(word for word in image.split() if word.startswith("KALSHIMM_HOME=")).partition("=")[2]
    assert [volume.partition(":")[2] for volume in services["app"]["volumes"]] == [home]


def test_nothing_listens_to_strangers_and_live_is_off(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert services["app"]["environment"]["KALSHIMM_LIVE"] == "${KALSHIMM_LIVE:-}"
