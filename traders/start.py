"""What a trader is told at its start: one private file, so that its process needs no database."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import msgspec

from kalshimm.errors import KalshimmError
from kalshimm.runtime.home import write_private
from traders.brokers.paper import PaperBroker, PaperSettings
from traders.core.decision import Rules, parse_limits
from traders.core.facts import MarketFacts
from traders.core.inventory import Inventory
from traders.core.pipeline import NoStrategies, StrategyChoices
from traders.core.registry import ParamsError
from traders.engine import RUNNING, Setup
from traders.journal import Checkpoint

START_VERSION = 3


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
    strategies: StrategyChoices
    limits: Any
    facts: MarketFacts
    redis_url: str
    paper: PaperSettings = PaperSettings()
    desired: str = RUNNING
    stored: Checkpoint = Checkpoint()
    version: int = START_VERSION

    def setup(self) -> Setup:
        """Return the engine's part, checked.

        Raises:
            CannotStart: The mode has no broker here, a strategy is unknown, or parameters or limits do not fit.
        """
        if self.mode != "dry-run":
            raise CannotStart(
                f"Trader {self.name} is set to {self.mode}, and this version has no live broker; set it to dry-run."
            )
        try:
            rules = Rules(self.strategies.parse(), parse_limits(self.limits))
        except (NoStrategies, ParamsError) as exc:
            raise CannotStart(f"Trader {self.name}: {exc}") from exc
        return Setup(self.trader, self.ticker, self.mode, rules, self.facts)

    def paper_broker(self, inventory: Inventory) -> PaperBroker:
        """Return a broker that holds nothing yet."""
        settings = msgspec.structs.replace(self.paper, fees=self.facts.fees)
        return PaperBroker(lambda: str(uuid.uuid4()), settings, inventory)


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
