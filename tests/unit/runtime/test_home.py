from __future__ import annotations

import stat
import threading
from pathlib import Path

import msgspec
import pytest

from feed.exchange.server import Ready
from kalshimm.embedded.processes import RunFile
from kalshimm.errors import KalshimmError
from kalshimm.runtime.home import INSTALLATION_BITS, ExchangeAddresses, installation_number, running_exchange
from kalshimm.runtime.process import ProcessIdentity
from markets.core.orderids import BITS


def test_an_installation_has_one_number_for_ever(tmp_path: Path) -> None:
    number = installation_number(tmp_path / "home")
    assert 0 <= number < 1 << INSTALLATION_BITS
    assert installation_number(tmp_path / "home") == number
    assert stat.S_IMODE((tmp_path / "home" / "installation").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["installation"]


def test_the_number_fits_into_an_order_id() -> None:
    assert BITS["installation"] == INSTALLATION_BITS


def test_installations_differ(tmp_path: Path) -> None:
    assert len({installation_number(tmp_path / str(at)) for at in range(20)}) == 20


def test_who_comes_first_at_the_same_moment_makes_the_number_for_all(tmp_path: Path) -> None:
    together, numbers = threading.Barrier(8), []

    def come() -> None:
        together.wait()
        numbers.append(installation_number(tmp_path))

    threads = [threading.Thread(target=come) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(numbers) == 8
    assert set(numbers) == {installation_number(tmp_path)}


@pytest.mark.parametrize("content", ["", "many", "-1", str(1 << INSTALLATION_BITS)])
def test_a_number_that_is_none_is_not_replaced_by_another(tmp_path: Path, content: str) -> None:
    (tmp_path / "installation").write_text(content)
    with pytest.raises(KalshimmError, match="put it back from a backup"):
        installation_number(tmp_path)
    assert (tmp_path / "installation").read_text() == content


def test_the_exchange_that_up_runs_is_found_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    line = msgspec.json.encode(Ready("http://r", "ws://w", "http://c", "id", "/p")).decode()
    RunFile("exchange", ProcessIdentity("boot", 1, 2), ("x",), "digest", line).write(tmp_path)
    assert running_exchange(tmp_path) == ExchangeAddresses("http://r", "ws://w")


def test_an_exchange_that_has_not_told_yet_or_is_not_there_is_none(tmp_path: Path) -> None:
    assert running_exchange(tmp_path) is None
    (tmp_path / "run").mkdir()
    RunFile("exchange", ProcessIdentity("boot", 1, 2), ("x",), "digest").write(tmp_path)
    assert running_exchange(tmp_path) is None
