"""The deck of chaos: what befalls the whole fleet, one card after the other.

A card is a generator: it does its harm, yields for how many seconds that lasts, and undoes it. Whether the harm was
done is no card's word: the log of faults tells (tests.faults.log). Whoever may start anew because of it is noted, for
nobody else may.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

import msgspec
import psutil
import psycopg
import redis

from tests.faults.fleetrig import FleetCase, FleetTrader
from tests.faults.ledger import CREATE
from tests.faults.liverig import CANCELLING, LOOKING, PLACING
from tests.faults.log import Fault
from tests.faults.mischief import ASTRAY, ENDINGS, FAILING_READS, take_from
from tests.faults.processes import Worker
from tests.faults.tap import Tap

CHANGING = {"method": "POST", "path": f"{CREATE}/*/*"}  # decreases and renewals
REFUSED = {"status": 401, "text": '{"error":{"code":"authentication_error"}}'}
BOOK = {"type": "orderbook_delta"}
BY_HAND, CLOSING = "control : ", "/clients/close"  # what somebody asked of the exchange's control port
STRIKES_S = 8.0
LATE_MS = 1_500
LOWEST_PRIORITY = 19
BURNING = "import time\nend = time.monotonic() + {seconds}\nwhile time.monotonic() < end: pass"
OTHERS = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND NOT client_port = ANY(%s)
"""

Lasting = Generator[float]


class NotApplied(Exception):
    """What should have happened did not come about in time: the card does not count."""


class Hand:
    """What the cards have to do with, and what one of them has come to so far.

    Args:
        chance: Of the cards.
        others: Of what outsiders do.
    """

    def __init__(self, case: FleetCase, chance: random.Random, *, others: random.Random) -> None:
        self.case, self.rig, self.chance, self._others = case, case.rig, chance, others
        self.armed: list[str] = []
        self.may_start_anew: set[FleetTrader] = set()
        self._valkey = redis.Redis.from_url(self.rig.valkey.url, socket_timeout=30)

    def begin(self) -> None:
        self.armed, self.may_start_anew = [], set()

    def close(self) -> None:
        self._valkey.close()

    @property
    def live(self) -> list[FleetTrader]:
        return [trader for trader in self.rig.fleet if trader.is_live]

    # ---- means -------------------------------------------------------------------------------------------------------

    def some(self, least_s: float, most_s: float) -> float:
        return self.chance.uniform(least_s, most_s)

    def someone(self) -> FleetTrader:
        return self.chance.choice(self.live)

    def arm(self, *faults: dict[str, Any]) -> None:
        """Arm faults of the exchange's script language; the card counts once each has struck."""
        self.armed += self.case.arm(*faults)

    def has_struck(self) -> bool:
        """Whether the log shows each fault that was armed, or whatever else was done."""
        return bool(self.applied()) and all(self.case.log.of(f" {one}: ") for one in self.armed)

    def applied(self) -> list[Fault]:
        """Return the faults that were applied, by the log; what outsiders trade stands there, too, and is none."""
        return [one for one in self.case.applied() if BY_HAND not in one.what or CLOSING in one.what]

    def until(self, condition: Callable[[], object]) -> None:
        give_up = time.monotonic() + STRIKES_S
        while not condition():
            if time.monotonic() > give_up:
                raise NotApplied
            time.sleep(0.02)

    def stir(self, trader: FleetTrader) -> None:
        """Have a trader pull its quotes; the supervisor, which nobody told, has it quote anew."""
        trader.tell("pause")

    def kill_trader(self, trader: FleetTrader) -> None:
        self.may_start_anew.add(trader)
        trader.worker.kill()

    # ---- A: processes ------------------------------------------------------------------------------------------------

    def trader_dies(self) -> Lasting:
        self.kill_trader(self.someone())
        yield 0.0

    def trader_dies_with_an_order_on_its_way(self) -> Lasting:
        trader = self.someone()
        does = self.chance.choice(("apply_then_delay", "delay"))
        self.arm({**PLACING, "do": does, "delay_ms": LATE_MS})
        self.stir(trader)
        self.until(lambda: self._is_sending(trader))
        self.kill_trader(trader)
        yield LATE_MS / 1_000

    @staticmethod
    def _is_sending(trader: FleetTrader) -> bool:
        record = trader.record.read()
        creates = [line.body.number for line in record.creates().values()]
        return bool(creates) and creates[-1] in record.sent and creates[-1] not in record.answers

    def two_traders_die(self) -> Lasting:
        for trader in self.chance.sample(self.live, 2):
            self.kill_trader(trader)
        yield 0.0

    def dry_trader_dies(self) -> Lasting:
        self.kill_trader(next(trader for trader in self.rig.fleet if not trader.is_live))
        yield 0.0

    def trader_is_ended_by_hand(self) -> Lasting:
        trader = self.someone()
        self.may_start_anew.add(trader)
        trader.process.terminate()
        yield 0.0

    def trader_freezes(self) -> Lasting:
        yield from self._freeze_trader(self.someone(), self.some(0.5, 3.0))

    def trader_freezes_until_it_is_pulled(self) -> Lasting:
        trader = self.someone()
        self.may_start_anew.add(trader)
        yield from self._freeze_trader(trader, self.some(6.5, 7.5))

    def _freeze_trader(self, trader: FleetTrader, seconds: float) -> Lasting:
        identity = trader.process.identity
        trader.worker.freeze()
        yield seconds
        if trader.process.identity == identity:
            with suppress(AssertionError):  # it has just been ended
                trader.worker.thaw()

    def trader_and_supervisor_die(self) -> Lasting:
        self.kill_trader(self.someone())
        yield from self._die(self.rig.supervisor)

    def trader_and_spawner_die(self) -> Lasting:
        self.kill_trader(self.someone())
        yield from self._die(self.rig.spawner)

    def trader_and_writer_die(self) -> Lasting:
        self.kill_trader(self.someone())
        yield from self._die(self.rig.writer)

    def supervisor_dies(self) -> Lasting:
        yield from self._die(self.rig.supervisor)

    def supervisor_freezes(self) -> Lasting:
        yield from self._freeze(self.rig.supervisor)

    def spawner_dies(self) -> Lasting:
        yield from self._die(self.rig.spawner)

    def gateway_dies(self) -> Lasting:
        yield from self._die(self.rig.gateway)

    def gateway_freezes(self) -> Lasting:
        yield from self._freeze(self.rig.gateway)

    def desk_dies(self) -> Lasting:
        yield from self._die(self.rig.desk)

    def desk_freezes(self) -> Lasting:
        yield from self._freeze(self.rig.desk)

    def gateway_and_desk_die(self) -> Lasting:
        yield from self._die(self.rig.gateway, self.rig.desk)

    def writer_dies(self) -> Lasting:
        yield from self._die(self.rig.writer)

    def web_dies(self) -> Lasting:
        yield from self._die(self.rig.web)

    def _die(self, *workers: Worker) -> Lasting:
        """Kill processes that the launcher looks after: it starts them again a moment later."""
        for worker in workers:
            worker.kill()
        yield self.some(0.0, 1.0)
        for worker in workers:
            worker.start()

    def _freeze(self, worker: Worker) -> Lasting:
        worker.freeze()
        yield self.some(0.5, 3.0)
        worker.thaw()

    # ---- B: feed and private channel ---------------------------------------------------------------------------------

    def feed_is_cut(self) -> Lasting:
        yield from self._cut(self.rig.ws)

    def exchange_closes_connections(self) -> Lasting:
        code = self.chance.choice((1001, 1006, 1011, 1012, 1013))
        self.rig.control("POST", "/clients/close", {"account": "owner", "code": code})
        yield 0.0

    def book_messages_are_lost(self) -> Lasting:
        self.arm({"do": "lose", **BOOK, "times": self.chance.choice((1, 2, 20))})
        yield 0.0

    def book_messages_go_astray(self) -> Lasting:
        self.arm({**self.chance.choice(ASTRAY[1:3]), **BOOK})
        yield 0.0

    def book_message_is_no_json(self) -> Lasting:
        self.arm({"do": "garble", "text": '{"type":"orderbook_delta","sid":', **BOOK})
        yield 0.0

    def feed_lags(self) -> Lasting:
        self.arm({"do": "slow", **BOOK, "delay_ms": self.chance.randrange(1_000, 3_000)})
        yield 1.0

    def subscription_fails(self) -> Lasting:
        self.arm({"do": "fail", **BOOK, "code": self.chance.choice((10, 25))})
        yield 0.0

    def account_messages_go_astray(self) -> Lasting:
        self.arm({**self.chance.choice(ASTRAY), "type": "user_order"})
        self.stir(self.someone())
        yield 0.0

    def fills_go_astray(self) -> Lasting:
        self.arm({**self.chance.choice(ASTRAY), "type": "fill"})
        self.until(self._hits_until_struck)
        yield 0.0

    def _hits_until_struck(self, trader: FleetTrader | None = None) -> bool:
        self.hit(trader)
        time.sleep(0.1)
        return self.has_struck()

    def desk_is_cut_off(self) -> Lasting:
        yield from self._cut(self.chance.choice((self.rig.desk_ws, self.rig.desk_rest)))

    def _cut(self, tap: Tap) -> Lasting:
        """Reset a line, let it refuse for a while, or swallow everything."""
        how = self.chance.choice((tap.reset, tap.refuse, tap.black_hole))
        how()
        yield 0.0 if how == tap.reset else self.some(0.5, 3.0)
        tap.pass_all()

    # ---- C: orders ---------------------------------------------------------------------------------------------------

    def create_ends_otherwise(self) -> Lasting:
        self.arm({**PLACING, **self.chance.choice(ENDINGS)})
        self.stir(self.someone())
        yield 0.0

    def cancel_ends_otherwise(self) -> Lasting:
        self.arm({**CANCELLING, **self.chance.choice(ENDINGS)})
        self.stir(self.someone())
        yield 0.0

    def change_ends_otherwise(self) -> Lasting:
        self.arm({**CHANGING, **self.chance.choice(ENDINGS)})
        # Whoever gets out of what he holds has on his other side only that: what rests there is decreased.
        self.until(lambda: self._hits_until_struck(self.live[-1]))
        yield 0.0

    def credentials_are_refused_once(self) -> Lasting:
        self.arm({**PLACING, "do": "answer", **REFUSED})
        self.stir(self.someone())
        yield 0.0

    def reads_fail(self) -> Lasting:
        self.arm({**LOOKING, **self.chance.choice(FAILING_READS)})
        yield 0.0

    def reads_lag(self) -> Lasting:
        """Let every read trail until one has: the desk reads each 5 s, others where they are in doubt."""
        self.arm({"do": "lag_reads", "lag_ms": self.chance.randrange(500, 2_000), "until_ms": 10_000})
        self.stir(self.someone())
        yield 1.0

    # ---- D: stores ---------------------------------------------------------------------------------------------------

    def valkey_dies(self) -> Lasting:
        self.rig.valkey.kill()
        yield self.some(0.0, 1.0)
        self.rig.valkey.start()

    def valkey_pauses(self) -> Lasting:
        lasts_ms = self.chance.randrange(1_000, 3_000)
        self._valkey.execute_command("CLIENT", "PAUSE", lasts_ms, "ALL")
        self.rig.log.note("store", f"valkey pauses for {lasts_ms} ms")
        yield lasts_ms / 1_000

    def fleet_loses_valkey(self) -> Lasting:
        yield from self._cut(self.rig.fleet_redis)

    def supervisor_loses_the_database(self) -> Lasting:
        yield from self._cut(self.rig.fleet_db)

    def database_sessions_end(self) -> Lasting:
        """End everybody's but the operator's."""
        own = psutil.Process(self.rig.operator.pid).net_connections("tcp")
        with psycopg.connect(self.rig.database_url, autocommit=True) as admin:
            row = admin.execute(OTHERS, ([one.laddr.port for one in own],)).fetchone()
        if row is None or not row[0]:
            raise NotApplied
        self.rig.log.note("store", f"{row[0]} sessions of PostgreSQL ended")
        yield 0.0

    # ---- E: host and network -----------------------------------------------------------------------------------------

    def fleet_loses_the_exchange(self) -> Lasting:
        yield from self._cut(self.rig.fleet_rest)

    def exchange_is_far_away(self) -> Lasting:
        self.rig.fleet_rest.delay(self.some(0.1, 0.4))
        self.stir(self.someone())
        yield 1.0
        self.rig.fleet_rest.pass_all()

    def trader_starves(self) -> Lasting:
        """Give it what two busy processes leave it."""
        trader, seconds = self.someone(), self.some(1.0, 2.0)
        process = psutil.Process(trader.process.pid)
        before = process.nice()
        process.nice(LOWEST_PRIORITY)
        burning = [sys.executable, "-c", BURNING.format(seconds=seconds)]
        burners = [subprocess.Popen(burning) for _ in range(os.cpu_count() or 1)]
        self.rig.log.note("process", f"{trader.name} runs at the lowest priority beside {len(burners)} busy processes")
        yield seconds
        for burner in burners:
            burner.wait()
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):  # only root gives back what was taken
            process.nice(before)

    # ---- other people ------------------------------------------------------------------------------------------------

    def hit(self, trader: FleetTrader | None = None) -> bool:
        """Have an outsider trade with what rests of a trader, on the side that brings it nearer to nothing."""
        tickers = {one.ticker for one in ([trader] if trader else self.live)}
        resting = [order for order in self.rig.fetch().resting() if order.ticker in tickers]
        if not resting:
            return False
        order = self._others.choice(resting)
        position_cx = self.rig.ledger.filled_position_cx(order.ticker)
        nearer = [one for one in resting if one.ticker == order.ticker and one.side == int(position_cx > 0)]
        return take_from(self.rig, self._others.choice(nearer or [order]), self._others)


class Card(msgspec.Struct, frozen=True):
    """One kind of fault.

    part: Of the matrix in faults.md.
    times: How often it comes in a deck.
    is_slow: Whether readers go on for a while with what they have: their line or they themselves are slowed down.
    """

    part: str
    strike: Callable[[Hand], Lasting]
    times: int
    is_slow: bool = False

    @property
    def name(self) -> str:
        return self.strike.__name__.replace("_", " ")


DECK = (
    Card("A", Hand.trader_dies, 3),
    Card("A", Hand.trader_dies_with_an_order_on_its_way, 3),
    Card("A", Hand.two_traders_die, 2),
    Card("A", Hand.dry_trader_dies, 1),
    Card("A", Hand.trader_is_ended_by_hand, 1),
    Card("A", Hand.trader_freezes, 2, is_slow=True),
    Card("A", Hand.trader_freezes_until_it_is_pulled, 1, is_slow=True),
    Card("A", Hand.trader_and_supervisor_die, 2),
    Card("A", Hand.trader_and_spawner_die, 1),
    Card("A", Hand.trader_and_writer_die, 1),
    Card("A", Hand.supervisor_dies, 2),
    Card("A", Hand.supervisor_freezes, 1),
    Card("A", Hand.spawner_dies, 1),
    Card("A", Hand.gateway_dies, 3),
    Card("A", Hand.gateway_freezes, 1),
    Card("A", Hand.desk_dies, 2),
    Card("A", Hand.desk_freezes, 1),
    Card("A", Hand.gateway_and_desk_die, 1),
    Card("A", Hand.writer_dies, 3),
    Card("A", Hand.web_dies, 1),
    Card("B", Hand.feed_is_cut, 4),
    Card("B", Hand.exchange_closes_connections, 2),
    Card("B", Hand.book_messages_are_lost, 3),
    Card("B", Hand.book_messages_go_astray, 3),
    Card("B", Hand.book_message_is_no_json, 1),
    Card("B", Hand.feed_lags, 2),
    Card("B", Hand.subscription_fails, 2),
    Card("B", Hand.account_messages_go_astray, 4),
    Card("B", Hand.fills_go_astray, 4),
    Card("B", Hand.desk_is_cut_off, 3),
    Card("C", Hand.create_ends_otherwise, 9),
    Card("C", Hand.cancel_ends_otherwise, 7),
    Card("C", Hand.change_ends_otherwise, 4),
    Card("C", Hand.credentials_are_refused_once, 1),
    Card("C", Hand.reads_fail, 2),
    Card("C", Hand.reads_lag, 2),
    Card("D", Hand.valkey_dies, 3, is_slow=True),
    Card("D", Hand.valkey_pauses, 2, is_slow=True),
    Card("D", Hand.fleet_loses_valkey, 2, is_slow=True),
    Card("D", Hand.supervisor_loses_the_database, 3),
    Card("D", Hand.database_sessions_end, 2),
    Card("E", Hand.fleet_loses_the_exchange, 4),
    Card("E", Hand.exchange_is_far_away, 2),
    Card("E", Hand.trader_starves, 2, is_slow=True),
)
"""One deck: each kind of fault, as often as it comes."""
