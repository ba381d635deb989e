"""One trader of a live rig: its process, its start file, its lease and group, and what is seen of it.

The rig starts it as the supervisor does, with a takeover each time: next epoch, old group triggered and seen empty, a
new group. Its requests go through a tap of its own, so what leaves it can be told from what others send.
"""

from __future__ import annotations

import secrets
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from feed.schema import FIELD, VERSION, Control, TraderView, control_stream, decode_trader_view, encode
from kalshimm.runtime.heartbeat import Beat, beat_key, decode_beat
from markets.core.fees import FeeSchedule, FeeTerms
from markets.core.grid import PriceRange
from markets.core.orderids import Owner
from tests.faults.invariants import Most, Party
from tests.faults.records import Record
from tests.faults.truth import price_cc
from traders.core.decision import parse_limits
from traders.core.facts import MarketFacts
from traders.core.lifetimes import group_limit_cx
from traders.core.pipeline import Choice, StrategyChoices
from traders.processes import trader_folder
from traders.start import LiveStart, Start, write_start
from traders.takeover import Lease

if TYPE_CHECKING:
    from tests.faults.liverig import LiveRig
    from tests.faults.processes import Worker
    from tests.faults.tap import Tap

LIVE, DRY = "live", "dry-run"
DAY_US = 86_400_000_000
SWEEP_S = 1  # production waits a minute
COMMAND_LIFE_US = 10_000_000
# Nothing but the row's own fault keeps a trader from quoting.
NO_GUARDS = {
    "need_both_sides": False, "max_spread_cc": 0, "flow_cx": 0, "sweep_cx": 0, "sweep_levels": 0, "jump_cc": 0,
    "lead_s": 0, "lag_s": 0, "weekly_maintenance": False,
}  # fmt: skip
JOINS = StrategyChoices(Choice("join_best", {"bid_cx": 1_000, "ask_cx": 1_000}), guards=NO_GUARDS)
# What rests stays where it is, however the touch moves.
STAYS = StrategyChoices(JOINS.placement, guards=NO_GUARDS, tolerances={"price_steps": 100})
IMPROVES = StrategyChoices(
    Choice("improve", {"bid_cx": 1_000, "ask_cx": 1_000, "max_position_cx": 50_000}), guards=NO_GUARDS
)
WIDE: dict[str, Any] = {
    "position_cx_most": 50_000, "exposure_ud_most": 1_000_000_000, "orders_a_minute": 600, "daily_loss_ud": 10**9,
    "drawdown_ud": 10**9, "from_touch_steps_most": 20,
}  # fmt: skip


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a trader is told to do, and in which of the rig's markets.

    group_limit_cx: None is what the product chooses for these limits.
    lifetime_s: Of its orders; production has 120 at least.
    """

    market: int = 0
    mode: str = LIVE
    strategies: StrategyChoices = JOINS
    limits: dict[str, Any] = msgspec.field(default_factory=WIDE.copy)
    group_limit_cx: int | None = 100_000
    lifetime_s: int = 120
    wants: int = 2  # orders that rest when it quotes undisturbed


class LiveTrader:
    """One trader, over all of its lives."""

    def __init__(self, rig: LiveRig, number: int, plan: Plan) -> None:
        self.rig, self.number, self.plan = rig, number, plan
        self.ticker = rig.tickers[plan.market]
        self.facts = rig.facts(self.ticker)
        self.folder = trader_folder(rig.home, number)
        self.record = Record(self.folder / "journal")
        self.rest, self.redis = self._lines()
        self.worker = self._process()
        self.host = ""  # what the exchange's address names instead of a number
        self.epoch = 0
        self.group_id = ""

    def _lines(self) -> tuple[Tap, Tap]:
        """Return its ways to the exchange and to Redis."""
        rig, number = self.rig, self.number
        return rig.tap(f"rest_{number}", rig.ready["rest"]), rig.tap(f"redis_{number}", rig.valkey.url)

    def _process(self) -> Worker:
        argv = ["trader", str(self.number)]
        return self.rig.worker(f"trader-{self.number}", argv, self.rig.trader_settings(self))

    @property
    def is_live(self) -> bool:
        return self.plan.mode == LIVE

    # ---- its life ----------------------------------------------------------------------------------------------------

    def start(self, *, desired: str = "running") -> None:
        """Take over whatever an earlier life left, and start the process."""
        live = self._lease() if self.is_live else None
        start = Start(
            trader=self.number,
            name=f"trader-{self.number}",
            instance=secrets.token_hex(8),
            ticker=self.ticker,
            mode=self.plan.mode,
            account=self.rig.account if self.is_live else "paper",
            strategies=self.plan.strategies,
            limits=self.plan.limits,
            facts=self.facts,
            redis_url=self.redis.url_through(self.rig.valkey.url),
            desired=desired,
            live=live,
        )
        write_start(self.folder, start)
        self.worker.start()

    def _lease(self) -> LiveStart:
        """Begin the next lease as the supervisor does: nothing of earlier ones rests, and a new group fences it.

        Before its very first one there is nothing to take over.
        """
        self.epoch += 1
        limit_cx = self.plan.group_limit_cx or group_limit_cx(parse_limits(self.plan.limits))
        if not self.group_id:
            self.group_id = self.rig.owner.new_group(limit_cx)
        elif self.rig.options.quick_leases and self.worker.exit_code == 0:
            self.rig.owner.trigger(self.group_id)
            self.group_id = self.rig.owner.new_group(limit_cx)
        else:
            self.group_id = self.rig.take_over(self._lost(limit_cx)).group_id
        return LiveStart(
            environment="local",
            rest_url=self._rest_url(),
            key=self.rig.key,
            installation=self.rig.installation,
            epoch=self.epoch,
            group_id=self.group_id,
            exchange_index=0,
            grant=1,
            grant_expires_us=time.time_ns() // 1_000 + DAY_US,
            lifetime_s=self.plan.lifetime_s,
            sweep_s=SWEEP_S,
        )

    def _rest_url(self) -> str:
        url = self.rest.url_through(self.rig.ready["rest"])
        return url.replace("127.0.0.1", self.host) if self.host else url

    def _lost(self, limit_cx: int) -> Lease:
        return Lease(
            owner=Owner(self.rig.installation, self.number, self.epoch),
            environment="local",
            account=self.rig.account,
            ticker=self.ticker,
            exchange_index=0,
            groups=(self.group_id,),
            limit_cx=limit_cx,
        )

    def end(self) -> None:
        """Ask it to stop, and wait until it has."""
        if self.worker.is_running:
            self.worker.stop()

    def tell(self, verb: str, body: bytes = b"") -> str:
        """Send a command as the supervisor does, and return its id: the journal answers to it."""
        now_us = time.time_ns() // 1_000
        control = Control(VERSION, secrets.token_hex(8), verb, "rig", now_us + COMMAND_LIFE_US, body)
        self.rig.redis.xadd(control_stream(str(self.number)), {FIELD: encode(control)}, maxlen=100)
        return control.command_id

    # ---- what is seen of it ------------------------------------------------------------------------------------------

    def beat(self) -> Beat | None:
        """Return what the process that runs now last said of itself."""
        value: Any = self.rig.redis.get(beat_key("trader", str(self.number)))
        found = decode_beat(value) if value else None
        return found if found and self.worker.is_running and found.pid == self.worker.pid else None

    def view(self) -> TraderView | None:
        beat = self.beat()
        return decode_trader_view(beat.detail) if beat and beat.detail else None

    @property
    def state(self) -> str:
        view = self.view()
        return view.state if view else ""

    def party(self) -> Party:
        """Return the trader as it is judged; what it wrote is read first."""
        limits = parse_limits(self.plan.limits)
        return Party(
            trader=self.number,
            installation=self.rig.installation,
            ticker=self.ticker,
            record=self.record.read(),
            most=Most(limits.position_cx_most, limits.exposure_ud_most),
            epoch=self.epoch if self.worker.is_running else None,
        )


def facts_of(market: dict[str, Any], series: dict[str, Any]) -> MarketFacts:
    """Return a market as a trader is told it, from the venue's words for it and its series."""
    bands = [
        PriceRange(*(price_cc(band[name]) for name in ("start", "end", "step"))) for band in market["price_ranges"]
    ]
    close = datetime.fromisoformat(market["close_time"])
    schedule = FeeSchedule.parse(series["fee_type"], str(series["fee_multiplier"]))
    assert schedule is not None, series
    close_us = round(close.timestamp()) * 1_000_000
    return MarketFacts(tuple(bands), close_us, market["status"], fees=FeeTerms(schedule))
