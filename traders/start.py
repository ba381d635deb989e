"""What a trader is told at its start: one private file, so that its process needs no database."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import msgspec

from kalshimm.errors import KalshimmError
from kalshimm.runtime.home import write_private
from traders.brokers.paper import PaperBroker, PaperSettings
from traders.core.decision import Rules
from traders.core.facts import MarketFacts
from traders.core.inventory import Inventory
from traders.core.limits import Allotment
from traders.core.params import TraderParams
from traders.core.pipeline import NoStrategies, StrategyChoices
from traders.core.registry import ParamsError
from traders.engine import LIVE, RUNNING, Setup
from traders.journal import Checkpoint

START_VERSION = 4


class CannotStart(KalshimmError):
    """A trader cannot run as it is configured; the message says what to change."""


class LiveStart(msgspec.Struct, frozen=True, kw_only=True):
    """What only a granted trader is told: where and as whom it trades, and inside which fence.

    Attributes:
        environment: local, demo or prod; `rest_url` is its address.
        key: Name of its write key in the vault (feed.keys).
        installation: For client order ids (markets.core.orderids).
        epoch: Of this lease; higher than that of any before.
        group_id: The order group that every create names.
        lifetime_s: After so long an order ends by itself unless it is renewed.
        journal_sync: `always` waits until an intent is on the disk, `written` until the kernel has it.
        sweep_s: After a cancel-all, new orders may be swept for so long: none is sent.
        grant, grant_expires_us: By which permission, and until when new orders may be sent.
    """

    environment: str
    rest_url: str
    key: str
    installation: int
    epoch: int
    group_id: str
    exchange_index: int
    grant: int
    grant_expires_us: int
    lifetime_s: int = 120
    journal_sync: str = "always"
    sweep_s: int = 60
    subaccount: int | None = None


class Start(msgspec.Struct, frozen=True):
    """One start of one trader.

    `instance` names this start in process.json and exit.json. `stored` is what the database knows of its journal,
    for the day the trader's folder is gone or has fallen behind. `event` is its market's, for `kill` and for people.
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
    allotments: tuple[Allotment, ...] = ()
    live: LiveStart | None = None
    event: str = ""
    version: int = START_VERSION

    def setup(self) -> Setup:
        """Return the engine's part, checked.

        Raises:
            CannotStart: The mode has no broker here, a strategy is unknown, or parameters or limits do not fit.
        """
        if (self.mode == LIVE) != (self.live is not None):
            raise CannotStart(f"Trader {self.name} is set to {self.mode}, and its start file says otherwise.")
        try:
            rules = self.rules()
        except (NoStrategies, ParamsError) as exc:
            raise CannotStart(f"Trader {self.name}: {exc}") from exc
        return Setup(self.trader, self.ticker, self.mode, rules, self.facts, self.allotments, self.params.digest)

    @property
    def params(self) -> TraderParams:
        """What it goes by until it is told otherwise."""
        return TraderParams(self.strategies, self.limits)

    def rules(self, params: TraderParams | None = None) -> Rules:
        """Return what it decides by, or would by other parameters, checked.

        Raises:
            NoStrategies, ParamsError: One is unknown or does not fit; the message names it.
        """
        rules = (params or self.params).rules()
        return rules if self.live is None else rules.with_lifetime(self.live.lifetime_s)

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
