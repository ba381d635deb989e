"""At another terminal, a command finds the local exchange that `up` runs in the same home."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kalshimm.embedded.processes import RunFile
from kalshimm.runtime.process import ProcessIdentity

if TYPE_CHECKING:  # running that file once more would start its stores once more
    from tests.conftest import Manage

LINE = '{"rest":"http://127.0.0.1:1/r","ws":"ws://127.0.0.1:1/w","control":"","key_id":"","private_key_path":""}'
GIVEN = "http://127.0.0.1:2/given"


@pytest.mark.parametrize(
    ("env", "rest", "ws"),
    [
        ({}, "http://127.0.0.1:1/r", "ws://127.0.0.1:1/w"),
        ({"KALSHI_REST_URL": GIVEN}, GIVEN, ""),
        ({"KALSHI_ENV": "demo"}, "", ""),
    ],
)
def test_the_exchange_of_this_home_is_meant_unless_another_is_given(
    tmp_path: Path, manage: Manage, env: dict[str, str], rest: str, ws: str
) -> None:
    (tmp_path / "run").mkdir()
    RunFile("exchange", ProcessIdentity("boot", 1, 2), ("x",), "digest", LINE).write(tmp_path)
    told = manage("diffsettings", env={"KALSHIMM_HOME": str(tmp_path), **env}).stdout.splitlines()
    found = {name: value for line in told if " = " in line for name, value in [line.split(" = ", 1)]}
    assert f"'{rest}'" in found["KALSHI_REST_URL"]
    assert f"'{ws}'" in found["KALSHI_WS_URL"]
