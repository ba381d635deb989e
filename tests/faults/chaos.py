"""Chaos: one fault after the other on the whole fleet, and after each the system heals and is judged.

    deal ──► strike ──► (lasts; outsiders trade; now and then a kill) ──► undo ──► agreed ──► all quote ──► agreed
                                                                          │◄──────────── time to heal ──────────►│

What is judged after each: I1 to I6, I9 and I10 by the case's verdict, and that nobody started anew who had no reason
to. A kill in the middle of every so many faults is I11; I7 is judged as often, and I8 at the end (test_chaos).
"""

from __future__ import annotations

import random
import time
from collections import Counter
from contextlib import suppress
from typing import Any

import msgspec
import psycopg
from redis.exceptions import RedisError

from tests.faults.base import OWNER
from tests.faults.chaoscards import DECK, STRIKES_S, Card, Hand, NotApplied
from tests.faults.checker import judge as judge_rows
from tests.faults.fleetrig import FleetCase, FleetRig, FleetTrader
from tests.faults.killing import Killing
from tests.faults.liverig import SETTLE_S
from tests.faults.tables import Tables
from tests.faults.told import READ_WITHIN_US
from tests.faults.truth import Truth

SLOWED_US = 2_000_000  # the longest for which a reader goes on with what it has
STEADY = ("quoting", "flattening")
STEADY_S = 60.0
STORED_EARLIER_US = 20_000_000  # enough to know a connection again
TURN_S = 0.05
HIT_EVERY_S = 0.7
LISTEN_EVERY_S = 0.5
LOOK_EVERY_S = 2.0
INTERVAL = 25  # faults from one kill, and one look at all rows, to the next
SHOWN = 8


class Tally(msgspec.Struct):
    """What one kind of fault has come to."""

    dealt: int = 0
    applied: int = 0
    healed_s: float = 0.0
    problems: int = 0


class ChaosCase(FleetCase):
    """The whole fleet as one row; how late its readers may be is the card's affair."""

    def state(self) -> str:
        """Return what each trader said last."""
        lines = []
        for trader in self.rig.fleet:
            record = trader.record.read()
            last = "; ".join(f"{line.number} {line.body}"[:200] for line in record.lines[-3:])
            lines.append(f"{trader.row()}\n  {record.state}: {last}")
        said = [f"{one.name}: {one.output()[-1_500:]}" for one in (self.rig.supervisor, self.rig.spawner)]
        return "\n".join([*lines, *said])


class Chaos:
    """One run on one rig."""

    def __init__(self, rig: FleetRig, *, seed: int) -> None:
        self.rig, self._chance = rig, random.Random(seed)
        self._pace = random.Random(seed)  # of what happens beside the faults: how often that is depends on the machine
        self.case = ChaosCase(rig, rig.fleet[0], quotes=False)
        self.hand = Hand(self.case, self._chance, others=random.Random(seed))
        self.killing = Killing(self.case)
        self.tallies: dict[str, Tally] = {}
        self.helped: Counter[str] = Counter()
        self.problems: list[str] = []
        self.hits = 0
        self._deck: list[Card] = []
        self._truth, self._rows_since = Truth(), 0
        self._rows_from_us = time.time_ns() // 1_000 - STORED_EARLIER_US
        self._hit_at_s = self._listen_at_s = 0.0

    @property
    def applied(self) -> int:
        return sum(tally.applied for tally in self.tallies.values())

    # ---- the run -----------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Have the operator start everybody, and wait until they quote."""
        for trader in self.rig.fleet:
            trader.start()
        self._until_steady()
        self._fetch_frames()
        self._rows_since = self._truth.last_number
        self._go_on()

    def run(self, faults: int) -> None:
        """Deal until so many faults were applied."""
        while self.applied < faults:
            number = self.applied
            self._deal(self._next(), must_kill=number % INTERVAL == INTERVAL // 2 and number > 0)
            if self.applied > number and self.applied % INTERVAL == 0:
                self._judge_rows()
        self._judge_rows()

    def _next(self) -> Card:
        if not self._deck:
            self._deck = [card for card in DECK for _ in range(card.times)]
            self._chance.shuffle(self._deck)
        return self._deck.pop()

    def _deal(self, card: Card, *, must_kill: bool) -> None:
        tally = self.tallies.setdefault(card.name, Tally())
        tally.dealt += 1
        self.hand.begin()
        self.case.reads_within_us = SLOWED_US if card.is_slow else READ_WITHIN_US
        leases = {trader: (trader.look().epoch, trader.process.identity) for trader in self.rig.fleet}
        is_applied = self._strike(card, must_kill=must_kill)
        began_s = time.monotonic()
        problems = self._heal(leases)
        problems += self._judged_enough()
        healed_s = time.monotonic() - began_s
        if is_applied:
            tally.applied += 1
            tally.healed_s = max(tally.healed_s, healed_s)
        else:
            self._deck.insert(self._chance.randrange(len(self._deck) + 1), card)
        log = "; ".join(f"{fault.source} {fault.what}" for fault in self.hand.applied())
        what = f"fault {self.applied}, {card.name}{'' if is_applied else ' (not applied)'}"
        print(f"{what}: healed in {healed_s:.1f} s; {log[:300]}", flush=True)
        if problems:
            tally.problems += 1
            self.problems += [f"{what} ({log}): {problem}" for problem in problems[:SHOWN]]
            print("\n".join(self.problems[-SHOWN:]), flush=True)
        self._go_on()

    def _strike(self, card: Card, *, must_kill: bool) -> bool:
        """Play a card to its end, and undo whatever is left of it; return whether the log shows that it was applied."""
        try:
            self._play(card, must_kill=must_kill)
            give_up = time.monotonic() + STRIKES_S
            while not self.hand.has_struck() and time.monotonic() < give_up:
                self._turn()
            return self.hand.has_struck()
        except NotApplied:
            return False
        finally:
            self.rig.heal(*self.rig.helpers, self.rig.web)

    def _play(self, card: Card, *, must_kill: bool) -> None:
        play = card.strike(self.hand)
        end_s = next(play) + time.monotonic()
        if must_kill:
            self.killing.strike(card.name)
        while time.monotonic() < end_s:
            self._turn()
        for _ in play:
            raise AssertionError(f"{card.name} lasts once")

    def _turn(self, *, hits: bool = True) -> None:
        """Let life go on: outsiders trade, and what is told and written is kept up with."""
        now_s = time.monotonic()
        if hits and now_s >= self._hit_at_s:
            self._hit_at_s = now_s + HIT_EVERY_S * self._pace.uniform(0.5, 1.5)
            self.hits += self.hand.hit()
        if now_s >= self._listen_at_s:
            self._listen_at_s = now_s + LISTEN_EVERY_S
            with suppress(RedisError):  # it may be away just now
                self.rig.listen()
            for trader in self.rig.fleet:
                trader.record.read()
        time.sleep(TURN_S)

    # ---- healing -----------------------------------------------------------------------------------------------------

    def _heal(self, leases: dict[FleetTrader, Any]) -> list[str]:
        """Wait until all is well again; return what never was."""
        problems = self._agreed()
        problems += self.killing.end(self.case)
        resumed = self.killing.release()
        problems += self._until_steady()
        problems += self._agreed()
        for trader, (epoch, identity) in leases.items():
            is_same = (trader.look().epoch, trader.process.identity) == (epoch, identity)
            if not is_same and trader not in (self.hand.may_start_anew | resumed):
                problems.append(f"{trader.name} was started anew: {trader.row()['state_reason']}")
        return problems

    def _agreed(self) -> list[str]:
        """Return the problems that stay after the time that I2 and I3 allow."""
        give_up = time.monotonic() + SETTLE_S
        while True:
            problems = [*self.case.verdict().problems, *self._sent_by_dry()]
            if not problems or time.monotonic() > give_up:
                return problems
            self._turn(hits=False)

    def _sent_by_dry(self) -> list[str]:
        """Return what left of a dry-run trader (I6)."""
        since, live = self.case.mark.line, self.rig.parties({})
        problems = [
            f"I6 order {one} is no live trader's"
            for request in self.rig.ledger.requests
            if request.number > since
            for one in request.creates
            if not any(party.owns(one) for party in live)
        ]
        for trader in self.rig.fleet:
            if not trader.is_live and (trader.record.read().intents or trader.record.sent):
                problems.append(f"I6 {trader.name} wrote down intents to send")
        return problems

    def _until_steady(self) -> list[str]:
        """Wait until everybody trades; the operator sees to those who wait for one."""
        give_up = time.monotonic() + STEADY_S
        look_at_s = time.monotonic() + LOOK_EVERY_S
        while not self._is_steady():
            if time.monotonic() > give_up:
                raise AssertionError("\n".join([*self.problems, f"not everybody quotes again: {self.case.state()}"]))
            if time.monotonic() >= look_at_s:
                look_at_s = time.monotonic() + LOOK_EVERY_S
                for trader in self.rig.fleet:
                    self._help(trader)
            self._turn(hits=False)
        return []

    def _is_steady(self) -> bool:
        ledger = self.rig.fetch()
        resting = Counter(order.group_id for order in ledger.resting())
        return (
            self.rig.supervisor_beats() and self.rig.writer_beats() and self.rig.desk_state() == "live"
            and all(one.state in STEADY for one in self.rig.fleet)
            and all(resting[trader.look().group_id] for trader in self.hand.live)
        )  # fmt: skip

    def _help(self, trader: FleetTrader) -> None:
        """Do what docs/operations.md tells an operator to do about a trader's state."""
        row = trader.row()
        state, desired = row["state"], row["desired"]
        if state == "fenced" and desired == "running":
            self._types(trader, "pause", state)
        elif desired == "paused":
            self._types(trader, "resume", f"paused: {row['state_reason']}"[:80])
        elif state == "failed" or desired == "stopped":
            self._types(trader, "start", state)

    def _types(self, trader: FleetTrader, verb: str, why: str) -> None:
        self.hand.may_start_anew.add(trader)
        said = self.rig.operator.tries(
            "traders", verb, trader.name, *(["--live"] if verb == "start" and trader.is_live else [])
        )
        self.helped[f"{verb} ({why})" if said.code == 0 else f"{verb}: refused {said.err[:80]}"] += 1

    def _judged_enough(self) -> list[str]:
        """See something of an order happen after the last fault, so that there was something to judge."""
        faults = self.hand.applied()
        if not faults:
            return []
        give_up = time.monotonic() + SETTLE_S
        while True:
            verdict = self.case.verdict()
            if verdict.judged_after(faults[-1].at_us) and not verdict.problems:
                return []
            if time.monotonic() > give_up:
                return verdict.problems or ["nothing of an order was judged after the fault"]
            self._turn(hits=not verdict.judged_after(faults[-1].at_us))

    def _go_on(self) -> None:
        self.case.begin()
        self.case.mark = self.rig.mark()

    # ---- I7 ----------------------------------------------------------------------------------------------------------

    def _fetch_frames(self) -> None:
        self._truth.add(self.rig.control("GET", f"/frames?account={OWNER}&after={self._truth.last_number}")["frames"])

    def _judge_rows(self) -> None:
        """Judge that every message since the last time is stored or marked as missing, and every line of a journal."""
        until, give_up = 0, time.monotonic() + 2 * SETTLE_S
        while True:
            tables = Tables(self.rig.database_url, since_us=self._rows_from_us)
            self._fetch_frames()
            until = until or self._truth.last_number
            verdict = judge_rows(self._truth, tables, [], after=self._rows_since, until=until)
            problems = [f"I7 {problem}" for problem in verdict.problems] + self._unstored_lines()
            if not problems or time.monotonic() > give_up:
                break
            self._turn()
        self.problems += problems[:SHOWN]
        tally = self.tallies.setdefault("(all rows)", Tally())
        tally.dealt, tally.problems = tally.dealt + 1, tally.problems + bool(problems)
        told = f"{len(verdict.stored)} messages stored, {verdict.covered} marked as missing, {len(problems)} problems"
        print(f"I7 after {self.applied} faults: {told}", *problems[:SHOWN], sep="\n  ", flush=True)
        self._rows_since = until
        self._rows_from_us = time.time_ns() // 1_000 - STORED_EARLIER_US

    def _unstored_lines(self) -> list[str]:
        with psycopg.connect(self.rig.database_url) as connection:
            marks = dict(connection.execute("SELECT trader, number FROM traders_journalmark").fetchall())
        return [
            f"I7 {trader.name}: line {marks.get(trader.number, 0)} of {last} of its journal is stored"
            for trader in self.rig.fleet
            if marks.get(trader.number, 0) < (last := trader.record.last_number)
        ]

    # ---- what it came to ---------------------------------------------------------------------------------------------

    def table(self) -> str:
        """Return the results, a line each kind of fault."""
        parts = {card.name: card.part for card in DECK}
        head = "| part | fault | dealt | applied | healed within, worst | problems |\n|---|---|---|---|---|---|"
        lines = [
            f"| {parts[name]} | {name} | {one.dealt} | {one.applied} | {one.healed_s:.1f} s | {one.problems} |"
            for name, one in sorted(self.tallies.items(), key=lambda item: (parts.get(item[0], ""), item[0]))
            if name in parts
        ]
        return "\n".join([head, *lines])

    def close(self) -> None:
        self.hand.close()
