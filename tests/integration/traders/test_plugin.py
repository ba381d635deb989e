"""A package of somebody else's is built, installed beside ours and used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from flit_core import buildapi

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "tests" / "fixtures" / "plugin"

DECIDE = """
import json, sys
from markets.core.book import OrderBook
from markets.core.grid import CENT_GRID
from traders.core import registry
from traders.core.pipeline import Choice, NoStrategies, StrategyChoices
from traders.core.types import MarketView, TraderState
from traders.core.why import said

registry.load()
book = OrderBook()
book.replace([(4200, 500)], [(5500, 100)])
view = MarketView("M", 1, book, CENT_GRID, 10_000_000_000)
chosen = StrategyChoices(Choice("lean", {"bid_cx": 300}), guards={"last_quote_s": 0})
wanted = chosen.parse().wanted(view, TraderState())
try:
    StrategyChoices(Choice("lean"), Choice("broken")).parse()
except NoStrategies as exc:
    refused = str(exc)
print(json.dumps({
    "quotes": [[q.side, q.price_cc, q.count_cx] for q in wanted.quotes],
    "said": said(wanted.whys),
    "refused": refused,
}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages with the example in it."""
    built, site = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("site")
    here = Path.cwd()
    os.chdir(PACKAGE)  # where build tools call a backend
    try:
        wheel = buildapi.build_wheel(str(built))
    finally:
        os.chdir(here)
    with zipfile.ZipFile(built / wheel) as archive:
        archive.extractall(site)  # a wheel of plain Python is installed by unpacking it
    return site


def decided(path: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", DECIDE],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_a_placement_of_another_package_quotes_like_ours(installed: Path) -> None:
    answer = decided(str(installed))
    assert answer["quotes"] == [[0, 4200, 300]]
    assert answer["said"] == "leans on bid 42¢, 5 thick; ask: 1 shown against 5"


def test_one_that_cannot_be_loaded_is_named_where_it_is_wanted(installed: Path) -> None:
    refused = str(decided(str(installed))["refused"])
    assert "There is no buffering 'broken'" in refused
    assert "buffering broken could not be loaded (ModuleNotFoundError" in refused


def test_without_the_package_its_strategy_is_unknown() -> None:
    with pytest.raises(AssertionError, match="There is no placement 'lean'"):
        decided("")
