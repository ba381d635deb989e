"""The import contracts of pyproject.toml hold, and would notice if they did not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("folder", ["tests/unit/markets/core", "tests/unit/traders/core"])
def test_the_tests_of_a_core_run_without_django_sockets_or_a_clock(folder: str) -> None:
    """Run them in a process of their own, where Django cannot be imported and sockets and clocks raise."""
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", f"--rootdir={ROOT}", "--noconftest"),
            *("-p", "no:django", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:randomly"),
            *("-p", "tests.architecture.purity", "-m", "not long", folder),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_guard_of_the_cores_does_guard(tmp_path: Path) -> None:
    (tmp_path / "test_impure.py").write_text(
        "import pytest\n"
        "def test_django():\n"
        "    with pytest.raises(ImportError): import django\n"
        "def test_socket():\n"
        "    import socket\n"
        "    with pytest.raises(AssertionError): socket.socket()\n"
        "def test_clock():\n"
        "    import time\n"
        "    with pytest.raises(AssertionError): time.time()\n"
    )
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "--noconftest", "-p", "no:django"),
            *("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "tests.architecture.purity", str(tmp_path)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
