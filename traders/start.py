"""What a trader is told at its start: one private file, so that its process needs no database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from kalshimm.errors import KalshimmError
from kalshimm.runtime.home import write_private
from markets.core.grid import PriceGrid, PriceRange
from traders.core.registry import PLACEMENTS, ParamsError
from traders.engine import Setup
from traders.journal import Checkpoint

START_VERSION = 2


class CannotStart(KalshimmError):
    """A trader cannot run as it is configured; the message says what to change."""


class Start(msgspec.Struct, frozen=True):
    """One start of one trader.

    `instance` names this start in process.json and exit.json. `stored` is what the database knows of its journal,
    for the day the trader's folder is gone or has fallen behind.
    """

    trader: int
    name: str
    instance: str
    ticker: str
    mode: str
    account: str
    placement: str
    params: dict[str, Any]
    price_ranges: tuple[PriceRange, ...]
    close_time_us: int
    redis_url: str
    is_paused: bool = False
    stored: Checkpoint = Checkpoint()
    version: int = START_VERSION

    def setup(self) -> Setup:
        """Return the engine's part, checked.

        Raises:
            CannotStart: The mode has no broker here, the placement is unknown or its parameters do not fit.
        """
        if self.mode != "dry-run":
            raise CannotStart(
                f"Trader {self.name} is set to {self.mode}, and this version has no live broker; set it to dry-run."
            )
        if self.placement not in PLACEMENTS:
            raise CannotStart(f"Trader {self.name}: there is no placement {self.placement!r}; choose another strategy.")
        placement = PLACEMENTS[self.placement]
        try:
            params = placement.parse(self.params)
        except ParamsError as exc:
            raise CannotStart(f"Trader {self.name}: {exc}") from exc
        grid = PriceGrid(self.price_ranges)
        return Setup(self.trader, self.ticker, self.mode, placement, params, grid, self.close_time_us)


def write_start(path: Path, start: Start) -> None:
    write_private(path / "start.json", msgspec.json.encode(start))


def read_start(path: Path) -> Start:
    """Return the trader's start file.

    Raises:
        CannotStart: It is missing or not one of ours.
    """
    file = path / "start.json"
    try:
        start = msgspec.json.decode(file.read_bytes(), type=Start)
    except FileNotFoundError as exc:
        raise CannotStart(
            f"{file} is missing; the supervisor writes it: create the trader with `traders create`."
        ) from exc
    except msgspec.MsgspecError as exc:
        raise CannotStart(f"{file} cannot be read ({exc}); stop the trader and start it again.") from exc
    if start.version != START_VERSION:
        raise CannotStart(f"{file} has version {start.version}, expected {START_VERSION}; start the trader again.")
    return start
