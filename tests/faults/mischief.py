"""What befalls a soak's processes: a deck of faults, dealt one after the other, each undone when it has lasted.

A deck is shuffled, so a run of its length sees every kind; the seed tells which order. Nothing here is judged: faults
may overlap as they like, and the checker has the last word once all of them are over.
"""

from __future__ import annotations

import heapq
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import redis

from tests.faults.ledger import OrderAt
from tests.faults.liverig import AMENDING, CANCELLING, LADDERS, LOOKING, PLACING, LiveCase, LiveRig
from tests.faults.livetrader import LiveTrader
from tests.faults.processes import Worker
from tests.faults.truth import count_cx, price_cc
from traders.takeover import LaterLease, TakeoverFailed

LOST = {"status": 502, "text": "<html>Bad gateway</html>"}
HIT_EVERY_S = 0.6
AGAIN_S = 1.0
# Everything that may come of a request, but for an honest answer.
ENDINGS: tuple[dict[str, Any], ...] = (
    {"do": "apply_then_drop"},
    {"do": "drop"},
    {"do": "apply_then_answer", **LOST},
    {"do": "answer", **LOST},
    {"do": "answer", "status": 429, "text": '{"error":"too many requests"}'},
    {"do": "cut", "bytes": 9},
    {"do": "delay", "delay_ms": 1_500},
    {"do": "apply_then_delay", "delay_ms": 3_000},
)
FAILING_READS: tuple[dict[str, Any], ...] = (
    {"do": "drop", "times": 3},
    {"do": "answer", **LOST, "times": 3},
    {"do": "delay", "delay_ms": 2_000, "times": 2},
)
# What becomes of a message about the account. A lost one is found by polling, which is not every second's affair.
ASTRAY: tuple[dict[str, Any], ...] = (
    {"do": "lose"},
    {"do": "repeat", "times": 3},
    {"do": "swap", "times": 3},
    {"do": "hold", "delay_ms": 1_500, "times": 2},
)


class Mischief:
    """Deals the faults of one soak.

    Args:
        every_s: From one fault to the next.
    """

    def __init__(self, case: LiveCase, chance: random.Random, *, every_s: float) -> None:
        self.case, self.rig, self._chance, self._every_s = case, case.rig, chance, every_s
        self.done: Counter[str] = Counter()
        self.hits = 0
        self.brought_back: Counter[str] = Counter()
        self._deck: list[Callable[[Mischief], None]] = []
        self._undo: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._killed: set[str] = set()
        self._away: dict[int, Future[None]] = {}
        self._threads = ThreadPoolExecutor(max_workers=4)
        self._is_over = False
        self._next_s = self._next_hit_s = time.monotonic()
        self._valkey = redis.Redis.from_url(self.rig.valkey.url, socket_timeout=30)

    # ---- a turn ------------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Undo what has lasted long enough, and do the next things that are due."""
        now_s = time.monotonic()
        self._undo_until(now_s)
        self._welcome()
        if now_s >= self._next_hit_s:
            self._next_hit_s = now_s + HIT_EVERY_S * self._chance.uniform(0.5, 1.5)
            self._hit()
        if now_s >= self._next_s:
            self._next_s = now_s + self._every_s * self._chance.uniform(0.5, 1.5)
            self._deal()

    def _deal(self) -> None:
        if not self._deck:
            self._deck = [card for card, times in DECK.items() for _ in range(times)]
            self._chance.shuffle(self._deck)
        card = self._deck.pop()
        card(self)
        self.done[card.__name__] += 1

    def end(self) -> None:
        """Undo everything, and wait for those that are on their way back."""
        self._undo_until(float("inf"))
        self.rig.control("DELETE", "/faults")
        for away in list(self._away.values()):
            away.result(timeout=120)
        self._welcome()

    def close(self) -> None:
        self._is_over = True
        self._threads.shutdown()
        self._valkey.close()

    def is_away(self, trader: LiveTrader) -> bool:
        """Whether a trader was killed, and is on its way back."""
        return trader.number in self._away

    def is_killed(self, worker: Worker) -> bool:
        """Whether a process was killed, and is not started again yet."""
        return worker.name in self._killed

    def _later(self, seconds: float, undo: Callable[[], None]) -> None:
        heapq.heappush(self._undo, (time.monotonic() + seconds, next(self._order), undo))

    def _undo_until(self, now_s: float) -> None:
        while self._undo and self._undo[0][0] <= now_s:
            heapq.heappop(self._undo)[2]()

    # ---- who it befalls ----------------------------------------------------------------------------------------------

    def _someone(self, *, is_live: bool | None = None) -> LiveTrader | None:
        """Return a trader that is there."""
        found = [
            one
            for one in self.rig.traders
            if is_live in (None, one.is_live) and not self.is_away(one) and one.worker.is_running
        ]
        return self._chance.choice(found) if found else None

    def _arm(self, fault: dict[str, Any], where: dict[str, Any]) -> None:
        self.case.arm({**where, **fault})

    # ---- the cards ---------------------------------------------------------------------------------------------------

    def create_ends_otherwise(self) -> None:
        self._arm(self._chance.choice(ENDINGS), PLACING)

    def cancel_ends_otherwise(self) -> None:
        self._arm(self._chance.choice(ENDINGS), CANCELLING)

    def amend_ends_otherwise(self) -> None:
        self._arm(self._chance.choice(ENDINGS), AMENDING)

    def reads_fail(self) -> None:
        self._arm(self._chance.choice(FAILING_READS), LOOKING)

    def reads_lag(self) -> None:
        lag_ms, until_ms = self._chance.randrange(500, 3_000), self._chance.randrange(2_000, 6_000)
        self.case.arm({"do": "lag_reads", "lag_ms": lag_ms, "until_ms": until_ms})

    def account_messages_go_astray(self) -> None:
        kind = self._chance.choice(("user_order", "fill"))
        self._arm(self._chance.choice(ASTRAY), {"type": kind})

    def book_messages_go_astray(self) -> None:
        self._arm(self._chance.choice(ASTRAY[:3]), {"type": "orderbook_delta"})

    def exchange_closes_connections(self) -> None:
        self.rig.control("POST", "/clients/close", {"account": "owner", "code": self._chance.choice((1006, 1001))})

    def gateway_is_cut_off(self) -> None:
        self._cut(self.rig.ws)

    def desk_is_cut_off(self) -> None:
        self._cut(self._chance.choice((self.rig.desk_ws, self.rig.desk_rest)))

    def trader_is_cut_off_from_the_exchange(self) -> None:
        trader = self._someone(is_live=True)
        if trader is not None:
            self._cut(trader.rest)

    def trader_is_cut_off_from_valkey(self) -> None:
        trader = self._someone()
        if trader is not None:
            self._cut(trader.redis)

    def _cut(self, tap: Any) -> None:
        """Reset a line, let it refuse for a while, or swallow everything."""
        how = self._chance.choice((tap.reset, tap.refuse, tap.black_hole))
        how()
        if how != tap.reset:
            self._later(self._chance.uniform(1.0, 4.0), tap.pass_all)

    def live_trader_dies(self) -> None:
        self._kill_trader(self._someone(is_live=True))

    def dry_trader_dies(self) -> None:
        self._kill_trader(self._someone(is_live=False))

    def trader_freezes(self) -> None:
        trader = self._someone()
        if trader is None:
            return
        worker, pid = trader.worker, trader.worker.pid
        worker.freeze()

        def thaw() -> None:
            if worker.is_running and worker.pid == pid:
                worker.thaw()

        self._later(self._chance.uniform(0.5, 4.0), thaw)

    def valkey_pauses(self) -> None:
        self._valkey.execute_command("CLIENT", "PAUSE", self._chance.randrange(1_500, 4_000), "ALL")
        self.rig.log.note("store", "valkey pauses")

    def gateway_dies(self) -> None:
        self._kill(self.rig.gateway)

    def desk_dies(self) -> None:
        self._kill(self.rig.desk)

    def writer_dies(self) -> None:
        self._kill(self.rig.writer)

    def person_pauses_a_trader(self) -> None:
        self._command("pause")

    def person_flattens_a_trader(self) -> None:
        self._command("flatten")

    def _command(self, verb: str) -> None:
        trader = self._someone()
        if trader is None:
            return
        trader.tell(verb)
        self._later(self._chance.uniform(2.0, 5.0), lambda: self._resume(trader))

    @staticmethod
    def _resume(trader: LiveTrader) -> None:
        trader.tell("resume")

    def _kill(self, worker: Worker) -> None:
        """Kill a process that nobody but the launcher looks after; it starts again a moment later."""
        if not worker.is_running:
            return
        worker.kill()
        self._killed.add(worker.name)

        def start() -> None:
            self._killed.discard(worker.name)
            worker.start()

        self._later(self._chance.uniform(0.5, 2.5), start)

    # ---- death and return --------------------------------------------------------------------------------------------

    def _kill_trader(self, trader: LiveTrader | None) -> None:
        if trader is None:
            return
        trader.worker.kill()
        self.bring_back(trader, "killed")

    def bring_back(self, trader: LiveTrader, why: str) -> None:
        """Start a trader anew as the supervisor does, again and again until its takeover comes to its end."""
        if self.is_away(trader):
            return
        self.brought_back[why] += 1

        def start() -> None:
            trader.end()
            while not self._is_over:
                try:
                    trader.start()
                except LaterLease:
                    raise
                except TakeoverFailed:
                    time.sleep(AGAIN_S)
                else:
                    return

        self._away[trader.number] = self._threads.submit(start)

    def _welcome(self) -> None:
        for number, away in list(self._away.items()):
            if away.done():
                del self._away[number]
                away.result()

    # ---- other people ------------------------------------------------------------------------------------------------

    def _hit(self) -> None:
        """Have an outsider trade with what rests of one of ours, and with whatever matches before it."""
        resting = self.rig.ledger.resting()
        if resting:
            self.hits += take_from(self.rig, self._chance.choice(resting), self._chance)


def take_from(rig: LiveRig, order: OrderAt, chance: random.Random) -> bool:
    """Have an outsider take what matches before an order, and something of its price; return whether there was any."""
    levels = book(rig, order.ticker)[order.side]
    better_cx = sum(size_cx for level_cc, size_cx in levels if level_cc > order.price_cc)
    there_cx = sum(size_cx for level_cc, size_cx in levels if level_cc == order.price_cc)
    wanted_cx = better_cx + chance.randrange(1, there_cx + 1) if there_cx else better_cx
    if not wanted_cx:
        return False
    yes_cc = order.price_cc if order.side == 0 else 10_000 - order.price_cc
    side = "ask" if order.side == 0 else "bid"
    LiveRig.person(rig, side, yes_cc, wanted_cx, order.ticker, time_in_force="immediate_or_cancel")
    return True


def book(rig: LiveRig, ticker: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return a market's book, Yes side and No side, as (price on its own ladder, size)."""
    shown = rig.owner.public(f"/markets/{ticker}/orderbook")["orderbook_fp"]
    yes, no = ([(price_cc(price), count_cx(count)) for price, count in shown[ladder]] for ladder in LADDERS)
    return yes, no


DECK: dict[Callable[[Mischief], None], int] = {
    Mischief.create_ends_otherwise: 5,
    Mischief.cancel_ends_otherwise: 4,
    Mischief.amend_ends_otherwise: 1,
    Mischief.reads_fail: 1,
    Mischief.reads_lag: 1,
    Mischief.account_messages_go_astray: 3,
    Mischief.book_messages_go_astray: 1,
    Mischief.exchange_closes_connections: 1,
    Mischief.gateway_is_cut_off: 1,
    Mischief.desk_is_cut_off: 1,
    Mischief.trader_is_cut_off_from_the_exchange: 2,
    Mischief.trader_is_cut_off_from_valkey: 1,
    Mischief.live_trader_dies: 3,
    Mischief.dry_trader_dies: 1,
    Mischief.trader_freezes: 1,
    Mischief.valkey_pauses: 1,
    Mischief.gateway_dies: 1,
    Mischief.desk_dies: 1,
    Mischief.writer_dies: 1,
    Mischief.person_pauses_a_trader: 1,
    Mischief.person_flattens_a_trader: 1,
}
"""How often each kind comes in one deck."""
