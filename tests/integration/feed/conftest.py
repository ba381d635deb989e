from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DEADLINE_S = 30.0


class LocalExchange:
    """A local exchange in a process of its own, and the settings that lead to it."""

    def __init__(self, *options: str, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), "exchange", "--key-dir", str(folder / "keys"), *options],
            stdout=subprocess.PIPE,
            stderr=(folder / "exchange.log").open("w"),
            env=os.environ | {"KALSHIMM_HOME": str(folder)},
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, (folder / "exchange.log").read_text()
        self.ready: dict[str, str] = json.loads(line)

    @property
    def settings(self) -> dict[str, str]:
        return {
            "KALSHI_ENV": "local",
            "KALSHI_REST_URL": self.ready["rest"],
            "KALSHI_WS_URL": self.ready["ws"],
            "KALSHI_KEY_ID": self.ready["key_id"],
            "KALSHI_PRIVATE_KEY_PATH": self.ready["private_key_path"],
        }

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(DEADLINE_S)


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalExchange]:
    exchange = LocalExchange("--scenario", "brisk", "--seed", "7", folder=tmp_path_factory.mktemp("exchange"))
    yield exchange
    exchange.close()
