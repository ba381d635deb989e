"""The combined soak: eight sets of strategies, each in live and in dry mode, through everything at once.

    begin ──► stretch ──► calm ──► judge ──► stretch …
              faults      over     ledger, journals, database, and why of every order

A stretch ends with all faults over and everybody paused: what rests then is an orphan, and all that happened in it is
judged. A long run is many stretches, so that a failure shows in minutes.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import Any

import msgspec
import psycopg

from markets.core.rewards import ProgramTerms
from tests.faults.base import HEAL_S
from tests.faults.ledger import FillAt
from tests.faults.liverig import LiveCase, LiveRig
from tests.faults.livetrader import DRY, LIVE, LiveTrader
from tests.faults.mischief import DECK, Mischief, book
from tests.faults.processes import Worker
from tests.faults.records import FollowedRecord, Noted
from tests.faults.soakplans import WANTED, Wanted
from traders.core.types import FairValue

HOUR_US = 3_600_000_000
TURN_S = 0.1
VALUE_EVERY_S = 3.0
SLOWED_US = 2_000_000  # the longest pause after which a reader goes on with what it has
GROWN_S = 90.0  # sixteen processes start at once
SHOWN = 8
STEADY = ("quoting", "flattening", "flat", "latched")


class SoakCase(LiveCase):
    """The whole rig as one row, whose stores and lines are slowed down all the time."""

    reads_within_us = SLOWED_US

    def state(self) -> str:
        """Return what each trader said last, and where."""
        lines = []
        for trader in self.rig.traders:
            record = trader.record.read()
            last = "; ".join(f"{line.number} {line.body}"[:200] for line in record.lines[-3:])
            lines.append(f"{trader.worker.name} {record.state}, running {trader.worker.is_running}: {last}")
        return "\n".join(lines)


class Soak:
    """One soak on one rig."""

    def __init__(self, rig: LiveRig, *, seed: int, every_s: float) -> None:
        self.rig = rig
        self.wanted: dict[int, Wanted] = {}
        self.taken: Counter[str] = Counter()
        listed = list(rig.control("GET", "/state")["markets"])
        for number, wanted in enumerate(WANTED, start=1):
            market = rig.tickers.index(listed[wanted.place])
            for mode, first in ((LIVE, 0), (DRY, len(WANTED))):
                trader = LiveTrader(rig, first + number, wanted.plan(market, mode))
                self.wanted[trader.number] = wanted
                trader.record = FollowedRecord(trader.folder / "journal")
                rig.traders.append(trader)
        for trader in rig.traders:
            if self.wanted[trader.number].needs_program:
                trader.facts = msgspec.structs.replace(trader.facts, programs=(self._program(),))
        self.case = SoakCase(rig, rig.traders[0], quotes=False)
        self.mischief = Mischief(self.case, random.Random(seed), every_s=every_s)
        self._value_at_s = 0.0
        self._deaths: list[str] = []

    @property
    def live(self) -> list[LiveTrader]:
        return [trader for trader in self.rig.traders if trader.is_live]

    @property
    def dry(self) -> list[LiveTrader]:
        return [trader for trader in self.rig.traders if not trader.is_live]

    def _program(self) -> ProgramTerms:
        """Return a liquidity program as the catalogue would tell of it: traders believe in it, and that is enough."""
        now_us = time.time_ns() // 1_000
        return ProgramTerms(
            program_id="soak", period_reward_cc=10_000_000, target_size_cx=10_000, discount_bps=5_000,
            start_us=now_us, end_us=now_us + 24 * HOUR_US,
        )  # fmt: skip

    # ---- a stretch ---------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start everybody, and wait until they quote."""
        self.rig.start_all()
        self._tell_values()
        self.case.until(self._all_steady, "everybody quotes", within_s=GROWN_S)

    def stretch(self, seconds: float) -> None:
        """Let faults befall them for so long."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            self.mischief.turn()
            self._look()
            time.sleep(TURN_S)

    def _look(self) -> None:
        """Keep up with journals and ledger, and bring back whoever cannot go on by himself."""
        self.rig.fetch()
        self._tell_values()
        for trader in self.rig.traders:
            record = trader.record.read()
            if self.mischief.is_away(trader):
                continue
            if not trader.worker.is_running:
                self._note_death(trader.worker)
                self.mischief.bring_back(trader, "ended by itself")
            elif record.state == "fenced":
                self.mischief.bring_back(trader, f"fenced: {record.changes[-1].body.reason}")

        for worker in (self.rig.gateway, self.rig.desk, self.rig.writer):
            if not worker.is_running and not self.mischief.is_killed(worker):
                self._note_death(worker)
                worker.start()

    def _note_death(self, worker: Worker) -> None:
        self._deaths.append(f"{worker.name} ended by itself: {worker.output()[-3_000:]}")

    def _tell_values(self) -> None:
        """Tell the mid of the moment as a value from outside."""
        if time.monotonic() < self._value_at_s:
            return
        self._value_at_s = time.monotonic() + VALUE_EVERY_S
        for trader in self.rig.traders:
            if self.wanted[trader.number].needs_value:
                yes, no = (max((price for price, _ in side), default=0) for side in book(self.rig, trader.ticker))
                mid_cc = (yes + 10_000 - no) // 2
                value = FairValue(min(max(mid_cc, 1), 9_999), time.time_ns() // 1_000, "soak")
                trader.tell("fair", msgspec.msgpack.encode(value))

    def _all_steady(self) -> bool:
        self._look()
        return all(trader.state in STEADY for trader in self.rig.traders)

    # ---- the end of one ----------------------------------------------------------------------------------------------

    def calm(self) -> None:
        """End all faults, see everybody go on, and pause them."""
        self.mischief.end()
        self.rig.make_whole()
        self.case.until(self.rig.writer_beats, "the writer works")
        self.case.until(lambda: self.rig.desk_state() == "live", "the desk is live")
        for trader in self.rig.traders:
            trader.tell("resume")
        self.case.until(self._all_steady, "everybody goes on once all is well")
        asked = {trader.number: trader.tell("pause") for trader in self.rig.traders}

        def all_paused() -> bool:
            self._look()
            return all(
                asked[trader.number] in trader.record.commands and trader.record.state == "paused"
                for trader in self.rig.traders
            )

        self.case.until(all_paused, "everybody is paused")
        self.case.until(lambda: not self.rig.fetch().resting(), "nothing rests of paused traders", within_s=HEAL_S)

    def judge(self) -> None:
        """Fail unless all that has happened since the last time was good, and enough has."""
        verdict = self.case.until_agreed("all agrees once the faults are over")
        problems = [*self._deaths, *verdict.problems, *self._dry_problems(), *self._idle()]
        assert not problems, "\n".join(problems[:SHOWN])
        self.case.until(self._is_stored, "the database has every line of every journal")
        assert sum(isinstance(moment, FillAt) for moment in verdict.moments) > 0, "nothing filled"
        assert len(self.case.applied()) >= len(DECK), "hardly a fault was applied"

    def go_on(self) -> None:
        """Begin the next stretch where the last one was judged good."""
        self.case.begin()
        self.case.mark = self.rig.mark()
        for trader in self.rig.traders:
            trader.tell("resume")

    def _dry_problems(self) -> list[str]:
        """Return what a dry-run trader sent, or let rest, or misbooked on paper."""
        mark = self.case.mark
        parties = self.rig.parties({})
        fresh = [request for request in self.rig.ledger.requests if request.number > mark.line]
        problems = [
            f"I6 order {one} is no live trader's"
            for request in fresh
            for one in request.creates
            if not any(party.owns(one) for party in parties)
        ]
        for trader in self.dry:
            record = trader.record.read()
            if trader.rest.accepted:
                problems.append(f"I6 {trader.worker.name} made {trader.rest.accepted} connections to the exchange")
            if record.intents or record.sent:
                problems.append(f"I6 {trader.worker.name} wrote down intents to send")
            still = [one for one, states in record.states.items() if states[-1].body.status == "resting"]
            if still:
                problems.append(f"{trader.worker.name} is paused, and {still} rest on paper")
            booked_cx = sum(_signed_cx(line) for line in record.fills)
            if booked_cx != record.position_cx:
                problems.append(f"{trader.worker.name} holds {record.position_cx}, and its fills come to {booked_cx}")
        return problems

    def _idle(self) -> list[str]:
        """Return who has placed nothing in all the time: then nothing was shown of it."""
        return [
            f"{trader.worker.name} ({self.wanted[trader.number].name}) placed nothing"
            for trader in self.rig.traders
            if not trader.record.states
        ]

    def _is_stored(self) -> bool:
        with psycopg.connect(self.rig.database_url) as connection:
            marks = dict(connection.execute("SELECT trader, number FROM traders_journalmark").fetchall())
        return all(marks.get(trader.number, 0) >= trader.record.read().last_number for trader in self.rig.traders)

    def figures(self) -> dict[str, Any]:
        """Return what the run has come to, for whoever reads its log."""
        ledger = self.rig.ledger
        answers: Counter[str] = Counter()
        for trader in self.live:
            verbs = {number: line.body.verb for number, line in trader.record.intents.items()}
            answers.update(f"{verbs[number]}: {line.body.outcome}" for number, line in trader.record.answers.items())
        return {
            "orders": len(ledger.orders),
            "fills": len(ledger.fills),
            "taken": sum(fill.is_taker for fill in ledger.fills),
            "orders and fills of each set, live": self._of_each(self.live),
            "and on paper": self._of_each(self.dry),
            "answers": dict(answers),
            "requests answered 429": sum(request.status == 429 for request in ledger.requests),
            "hits": self.mischief.hits,
            "faults dealt": dict(self.mischief.done),
            "faults applied": len(self.case.applied()),
            "brought back": dict(self.mischief.brought_back),
        }

    def _of_each(self, traders: list[LiveTrader]) -> dict[str, tuple[int, int]]:
        return {
            self.wanted[trader.number].name: (len(trader.record.states), len(trader.record.fills)) for trader in traders
        }

    def close(self) -> None:
        self.mischief.close()


def _signed_cx(line: Noted) -> int:
    return line.body.count_cx if line.body.side == 0 else -line.body.count_cx
