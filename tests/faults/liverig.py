"""The rig of live traders' rows: every process that orders pass through, with a tap on every line between them.

                                        ┌──────── redis_N ────────┐
    exchange ◄── ws ──────── gateway ──►│                         │
        ▲  ▲◄── desk_ws ──┐             │  Valkey ──► writer ─ postgres ─► PostgreSQL
        │  └─── desk_rest ┴─ desk ─────►│                         │
        └────── rest_N ──────────────── trader N ◄────────────────┘

What the exchange's own ledger says is judged against the traders' journals, their beats and the database (invariants).
One rig serves a module; a `LiveCase` is one row on one of its traders.
"""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from feed.kalshi.environments import Environment
from feed.kalshi.rest import Rest
from feed.kalshi.wire.kinds import Secret
from feed.keys import Vault
from kalshimm.runtime.clock import SystemClock
from kalshimm.runtime.heartbeat import beat_key, decode_beat
from kalshimm.runtime.home import installation_number
from tests.faults import runaway
from tests.faults.base import HEAL_S, OWNER, POLL_S, BaseCase, BaseRig
from tests.faults.hands import OwnersHand
from tests.faults.invariants import Party, Verdict, judge, positions_apart, stored_apart
from tests.faults.ledger import CREATE, FillAt, Ledger, OrderAt, Request, money_ud, signed_cx
from tests.faults.livetrader import LiveTrader, Plan, facts_of
from tests.faults.records import Noted
from tests.faults.stored import Stored, unstored_lines
from tests.faults.tokens import Allowance, overspent
from tests.faults.told import READ_WITHIN_US, Listener, Told, decided_badly
from tests.faults.truth import count_cx as count_cx_of
from tests.faults.truth import price_cc
from traders.core.facts import MarketFacts, encode_facts
from traders.takeover import Fence, Lease, take_over

OUTSIDER = "outsider"
PLACING = {"method": "POST", "path": f"{CREATE}*"}  # one by one and in batches; faults of a row that is paused first
CANCELLING = {"method": "DELETE", "path": f"{CREATE}/*"}
AMENDING = {"method": "POST", "path": f"{CREATE}/*/amend"}
LOOKING = {"method": "GET", "path": "/portfolio/*"}
# The private channels fall silent, and the connection stays.
SILENT_CHANNELS: tuple[dict[str, Any], ...] = tuple(
    {"do": "lose", "id": f"silent-{kind}", "type": kind, "times": None}
    for kind in ("user_order", "fill", "market_position")
)
LADDERS = ("yes_dollars", "no_dollars")
SETTLE_S = 15.0  # invariants 2 and 3 allow 10 s after a fault's end
SHOWN = 6
REUSED_WITHIN_S = 3.0
LOOKS = 6  # of a trader's loop, a quarter of a second each
PIECES = 50  # that near to an order its queue is taken piece by piece
DEEP_POCKETS = "1000000"


class LiveOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a module's rig is made of.

    exchange: Further arguments of `manage.py exchange`.
    traders: One plan each; number 1 is the first one's.
    waits_percent: Of the gateway's waits.
    quick_leases: A trader that has ended in order is fenced by hand instead of by the product's takeover, which waits
        for reads newer than the trigger by two seconds. It has told what became of its orders, so nothing is skipped.
    """

    scenario: str = "truth"
    speed: float = 1.0
    exchange: tuple[str, ...] = ("--switch", "cancel_all_tail=none")
    traders: tuple[Plan, ...] = (Plan(),)
    waits_percent: int = 100
    quick_leases: bool = False


class Mark(msgspec.Struct, frozen=True):
    """Where a row begins: the last line of the ledger, when that was, and each trader's last line of journal."""

    line: int = 0
    at_us: int = 0
    journals: dict[int, int] = {}


class LiveRig(BaseRig):
    """Everything of one module."""

    account = "local"  # as the desk names it
    key = "trader"

    def __init__(self, folder: Path, database_url: str, options: LiveOptions) -> None:
        world = ["--scenario", options.scenario, "--speed", str(options.speed), "--seed", "7"]
        super().__init__(folder, database_url, [*world, *options.exchange])
        self.options = options
        self.home = folder / "home"
        self.home.mkdir()
        self.installation = installation_number(self.home)
        self.ledger = Ledger(OWNER)
        self.tickers = sorted(self.control("GET", "/state")["markets"])
        self.ws, self.desk_ws = self.tap("ws", self.ready["ws"]), self.tap("desk_ws", self.ready["ws"])
        self.desk_rest = self.tap("desk_rest", self.ready["rest"])
        self.postgres = self.tap("postgres", database_url)
        gateway = self._settings({"KALSHI_WS_URL": self.ws.url_through(self.ready["ws"])})
        desk = {
            "KALSHI_WS_URL": self.desk_ws.url_through(self.ready["ws"]),
            "KALSHI_REST_URL": self.desk_rest.url_through(self.ready["rest"]),
        }
        self.gateway = self.worker("gateway", ["gateway"], gateway)
        self.writer = self.worker(
            "writer", ["writer"], self._settings({"DATABASE_URL": self.postgres.url_through(database_url)})
        )
        self.desk = self.worker("desk", ["desk"], self._settings(desk))
        for worker in (self.gateway, self.writer, self.desk):
            worker.start()
        key_path = Path(self.ready["private_key_path"])
        self.owner = OwnersHand(self.ready["rest"], self.ready["key_id"], key_path)
        self._keep_key(key_path)
        self.allowance = Allowance.told(self.owner.must("GET", "/account/limits"))
        self.listener = Listener(self.redis)
        self.control("POST", f"/accounts/{OUTSIDER}/deposit", {"amount": DEEP_POCKETS})
        self.traders = [LiveTrader(self, number, plan) for number, plan in enumerate(options.traders, start=1)]
        planned = {plan.market for plan in options.traders}
        self._free = [market for market in range(len(self.tickers)) if market not in planned]

    def end_all_but(self, *needed: LiveTrader) -> None:
        """Ask the traders of other rows to stop."""
        for trader in self.traders:
            if trader not in needed:
                trader.end()

    def replace(self, trader: LiveTrader) -> LiveTrader:
        """Put another trader in another market in the place of one that a failed row has spoilt."""
        trader.end()
        plan = self.cleared(trader)
        fresh = LiveTrader(self, max(one.number for one in self.traders) + 1, plan)
        self.traders[self.traders.index(trader)] = fresh
        return fresh

    def cleared(self, trader: LiveTrader) -> Plan:
        """Cancel whatever rests, and return a spoilt trader's plan for a market that nobody has touched."""
        for order in self.fetch().resting():
            self.control("DELETE", f"/orders/{order.order_id}?account={OWNER}")
        return msgspec.structs.replace(trader.plan, market=self._free.pop(0))

    def _settings(self, own: dict[str, str]) -> dict[str, str]:
        keys = Path(self.ready["private_key_path"]).parent
        index = {entry["file"]: entry["key_id"] for entry in msgspec.json.decode((keys / "keys.json").read_bytes())}
        return {
            "KALSHIMM_HOME": str(self.home),
            "KALSHIMM_WAITS_PERCENT": str(self.options.waits_percent),
            "REDIS_URL": self.valkey.url,
            "DATABASE_URL": self.database_url,
            "KALSHI_ENV": "local",
            "KALSHI_REST_URL": self.ready["rest"],
            "KALSHI_WS_URL": self.ready["ws"],
            "KALSHI_KEY_ID": index["read.pem"],
            "KALSHI_PRIVATE_KEY_PATH": str(keys / "read.pem"),
        } | own

    def trader_settings(self, trader: LiveTrader) -> dict[str, str]:
        """Return what a trader's process finds: no database, and no way to the exchange but through its own tap."""
        return {
            "KALSHIMM_HOME": str(self.home),
            "REDIS_URL": trader.redis.url_through(self.valkey.url),
            "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
            "KALSHI_ENV": "local",
            "KALSHI_REST_URL": trader.rest.url_through(self.ready["rest"]),
            "KALSHI_WS_URL": self.ready["ws"],
            "KALSHI_KEY_ID": "",
            "KALSHI_PRIVATE_KEY_PATH": "",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(self.packages), os.environ.get("PYTHONPATH")])),
        }

    @property
    def packages(self) -> Path:
        """Return the folder of somebody else's packages that traders find beside ours."""
        folder = self.folder / "packages"
        return folder if folder.exists() else runaway.install(folder)

    def _keep_key(self, path: Path) -> None:
        """Put the owner's key into the vault of the home, as tested as `keys test` leaves it."""
        vault = Vault(self.home)
        sealed = vault.seal(
            name=self.key, account=self.account, environment="local", key_id=self.ready["key_id"],
            pem=Secret(path.read_text()),
        )  # fmt: skip
        vault.keep(msgspec.structs.replace(sealed, scopes=("read", "write")), instead_of=None)

    # ---- what there is -----------------------------------------------------------------------------------------------

    def facts(self, ticker: str) -> MarketFacts:
        """Return a market as it is now, as the catalogue would tell a trader."""
        market = self.owner.public(f"/markets/{ticker}")["market"]
        event = self.owner.public(f"/events/{market['event_ticker']}")["event"]
        series = self.owner.public(f"/series/{event['series_ticker']}")["series"]
        return facts_of(market, series)

    def fetch(self) -> Ledger:
        """Take over what has happened at the exchange since the last time."""
        self.ledger.add(self.control("GET", f"/ledger/lines?after={self.ledger.last_number}")["lines"])
        return self.ledger

    def listen(self) -> Told:
        """Take over what the gateway has told the live traders since the last time."""
        self.listener.listen(trader.ticker for trader in self.traders if trader.is_live)
        return self.listener.told

    def holdings(self) -> dict[str, Any]:
        """Return what the owner's account has at the exchange now."""
        found: dict[str, Any] = self.control("GET", f"/ledger?account={OWNER}")[OWNER]
        return found

    def cash_ud(self) -> int:
        """Return what the owner has on the markets' shard."""
        rows = self.holdings()["balance"]["balance_breakdown"]
        return next(money_ud(row["balance"]) for row in rows if row["exchange_index"] == 0)

    def parties(self, since: dict[int, int]) -> list[Party]:
        """Return the live traders as they are judged, of what they wrote after these lines of their journals."""
        parties = [trader.party() for trader in self.traders if trader.is_live]
        for party in parties:
            party.since = since.get(party.trader, 0)
        return parties

    def mark(self) -> Mark:
        """Return this moment as the begin of a row."""
        self.listen()
        journals = {trader.number: trader.record.read().last_number for trader in self.traders}
        return Mark(self.fetch().last_number, time.time_ns() // 1_000, journals)

    def desk_state(self) -> str:
        value: Any = self.redis.get(beat_key("desk", "local"))
        beat = decode_beat(value) if value else None
        return beat.state if beat and beat.pid == self.desk.pid else ""

    def writer_beats(self) -> bool:
        value: Any = self.redis.get(beat_key("writer", "0"))
        return value is not None and decode_beat(value).pid == self.writer.pid

    # ---- what is done ------------------------------------------------------------------------------------------------

    def make_whole(self) -> None:
        """Undo whatever a row left behind, but for what markets have become."""
        (self.home / "kill.json").unlink(missing_ok=True)
        self.heal(self.gateway, self.writer, self.desk)
        for halt in ("trading", "exchange"):
            self.control("DELETE", "/pauses", {"halt": halt})
        for trader in self.traders:
            if trader.worker.is_running:
                trader.worker.thaw()

    def take_over(self, lease: Lease) -> Fence:
        """Take a trader over with the owner's key, straight to the exchange."""

        async def take() -> Fence:
            clock = SystemClock()
            async with Rest(Environment("local", self.ready["rest"], ""), self.owner.signer, clock) as rest:
                return await take_over(rest, lease, clock=clock)

        return asyncio.run(take())

    def hurry_desk(self) -> None:
        """Have the desk read everything of the account anew, as it does at its start."""
        self.desk.stop()
        self.desk.start()

    def start_all(self) -> None:
        """Start every trader at once."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(LiveTrader.start, [one for one in self.traders if not one.worker.is_running]))

    def person(
        self,
        side: str,
        yes_cc: int,
        count_cx: int,
        ticker: str,
        *,
        account: str = OUTSIDER,
        time_in_force: str = "good_till_canceled",
    ) -> dict[str, Any]:
        """Place an order by somebody's hand: `bid` or `ask` at a YES price."""
        body = {
            "ticker": ticker,
            "side": side,
            "price": f"0.{yes_cc:04}",
            "count": f"{count_cx // 100}.{count_cx % 100:02}",
            "time_in_force": time_in_force,
            "self_trade_prevention_type": "taker_at_cross",
        }
        placed: dict[str, Any] = self.control("POST", f"/orders?account={account}", body)
        return placed

    def market(self, ticker: str, verb: str, body: object = None) -> Any:
        """Have the exchange do something to a market."""
        return self.control("POST", f"/markets/{ticker}/{verb}", body or {})


class LiveCase(BaseCase):
    """One row on one trader: it quotes, faults are armed and seen applied, and everything since it began is judged.

    `reads_within_us` is how late its traders may have what the gateway tells: for rows that slow the line down.
    """

    reads_within_us = READ_WITHIN_US

    def __init__(self, rig: LiveRig, trader: LiveTrader, *, quotes: bool = True) -> None:
        self.rig, self.trader, self.mark = rig, trader, rig.mark()
        super().__init__(rig, rig.gateway, rig.writer, rig.desk, *(one.worker for one in rig.traders))
        rig.make_whole()
        self.until(rig.writer_beats, "the writer works")
        self.until(lambda: rig.desk_state() == "live", "the desk is live")
        if quotes:
            self.have_it_quote()
        self.until_agreed("all agrees before the row begins")
        self.begin()
        self.mark = rig.mark()

    def have_it_quote(self) -> None:
        """Use the trader as the last row left it if it still quotes, else take it over."""
        trader = self.trader
        if trader.worker.is_running and trader.state == "paused":
            trader.tell("resume")
        give_up = time.monotonic() + REUSED_WITHIN_S
        while trader.worker.is_running and not self.quotes_fully() and time.monotonic() < give_up:
            time.sleep(POLL_S)
        if not self.quotes_fully():
            trader.end()
            trader.start()
        self.until_quotes()

    # ---- what is seen ------------------------------------------------------------------------------------------------

    def state(self) -> str:
        view, record = self.trader.view(), self.trader.record.read()
        last = "\n".join(f"  {line.number} {line.time_us} {line.body}"[:300] for line in record.lines[-12:])
        orders = "\n".join(f"  {order}"[:300] for order in self.orders()[-6:])
        said = self.trader.worker.output()[-2_000:] if self.trader.worker.log_path.exists() else ""
        return f"view: {view}\njournal:\n{last}\norders:\n{orders}\n{self.trader.worker.name}: {said}"

    def quotes_fully(self) -> bool:
        """Whether the trader says that it quotes, and so many orders of its rest at the exchange as it wants."""
        return self.trader.state == "quoting" and len(self.resting()) >= self.trader.plan.wants

    def until_quotes(self, what: str = "the trader quotes", *, within_s: float = HEAL_S) -> None:
        """Wait until it quotes fully; a process that has ended never will."""

        def is_so() -> bool:
            if not self.trader.worker.is_running:
                self._give_up(f"{what}, but its process has ended: {self.state()}")
            return self.quotes_fully()

        self.until(is_so, what, within_s=within_s)

    def orders(self) -> list[OrderAt]:
        """Return the trader's orders that changed since the case began, as they are now."""
        return [order for order in self._own() if order.number > self.mark.line]

    def resting(self) -> list[OrderAt]:
        """Return what rests of the trader's current lease."""
        return [order for order in self._own() if not order.is_over and order.group_id == self.trader.group_id]

    def _own(self) -> list[OrderAt]:
        party = self.trader.party()
        return [order for order in self.rig.fetch().newest() if party.owns(order.client_order_id)]

    def fills(self) -> list[FillAt]:
        """Return the trader's fills at the exchange since the case began."""
        party = self.trader.party()
        return [
            one for one in self.rig.fetch().fills if one.number > self.mark.line and party.owns(one.client_order_id)
        ]

    def requests(self, method: str, path: str = CREATE) -> list[Request]:
        """Return the account's requests that reached the exchange since the case began."""
        return self.rig.fetch().requests_of(method, path, since=self.mark.line)

    def creates(self) -> list[str]:
        """Return the client order ids that were asked for since the case began, as often as they were."""
        return [one for request in self.requests("POST") for one in request.creates]

    def intents(self, *verbs: str) -> list[Noted[Any]]:
        """Return the trader's intents since the case began, of these verbs if any are named."""
        found = self.trader.record.read().intents.values()
        return [one for one in found if self._is_new(one) and (not verbs or one.body.verb in verbs)]

    def _is_new(self, line: Noted[Any]) -> bool:
        return line.number > self.mark.journals.get(self.trader.number, 0)

    def answer(self, number: int) -> Any:
        """Return what came of an intent; None before it was answered."""
        found = self.trader.record.read().answers.get(number)
        return found.body if found else None

    def outcomes(self) -> list[str]:
        """Return the outcomes of the answers to intents since the case began."""
        return [one.body.outcome for one in self.trader.record.read().answers.values() if self._is_new(one)]

    def told(self, client_order_id: str) -> Any:
        """Return what the trader last wrote of an order; None before it has."""
        found = self.trader.record.read().newest(client_order_id)
        return found.body if found else None

    def told_at_us(self, client_order_id: str) -> int:
        """Return when that was written."""
        found = self.trader.record.newest(client_order_id)
        assert found is not None, client_order_id
        return found.at_us

    def sent_us(self, client_order_id: str) -> int:
        """Return when the create of an order left, by the journal."""
        record = self.trader.record.read()
        return record.sent[record.creates()[client_order_id].body.number].at_us

    def unknown(self, *verbs: str) -> list[Any]:
        """Return the intents since the case began, of these verbs, that were answered as unknown."""
        asked = [(one.body, self.answer(one.body.number)) for one in self.intents(*verbs)]
        return [intent for intent, answer in asked if answer is not None and answer.outcome == "unknown"]

    def unknown_creates(self) -> list[str]:
        """Return the client order ids of those that place an order."""
        return [intent.client_order_id for intent in self.unknown("place", "take")]

    def known_cash_ud(self) -> int:
        """Return the cash on the markets' shard as the account's stream has told it, and the writer stored it."""
        return self.stored().cash_ud.get(0, 0)

    def stored(self) -> Stored:
        """Return what the database knows of the account now."""
        return Stored(self.rig.database_url, self.rig.account)

    def outside_fills(self) -> list[FillAt]:
        """Return the account's fills since the case began that are no trader's."""
        parties = [trader.party() for trader in self.rig.traders]
        fresh = [fill for fill in self.rig.fetch().fills if fill.number > self.mark.line]
        return [fill for fill in fresh if not any(party.owns(fill.client_order_id) for party in parties)]

    def levels(self, side: int) -> list[tuple[int, int]]:
        """Return the book of a side, (price on its own ladder, size) as the exchange shows it to anybody."""
        book = self.rig.owner.public(f"/markets/{self.trader.ticker}/orderbook")["orderbook_fp"]
        return [(price_cc(price), count_cx_of(count)) for price, count in book[LADDERS[side]]]

    def position_cx(self) -> int:
        """Return the position as the trader keeps it."""
        view = self.trader.view()
        return view.position_cx if view else 0

    def true_position_cx(self) -> int:
        """Return what the trader's fills at the exchange come to."""
        party = self.trader.party()
        return sum(signed_cx(fill) for fill in self.rig.fetch().fills if party.owns(fill.client_order_id))

    def why(self) -> str:
        """Return why the trader wants what it wants, as it says itself."""
        view = self.trader.view()
        return view.why if view else ""

    def let_it_look(self, turns: int = LOOKS) -> None:
        """Let the trader's own loop come round so often, each time with the chance to do something."""
        beat = self.trader.beat()
        assert beat is not None, "the trader lives"
        until = beat.loops + turns
        self.until(lambda: (now := self.trader.beat()) is not None and now.loops >= until, f"{turns} turns of its loop")

    # ---- what is done ------------------------------------------------------------------------------------------------

    def command(self, verb: str, body: bytes = b"") -> None:
        """Tell the trader something, and wait until it has done so."""
        command_id = self.trader.tell(verb, body)
        self.until(lambda: command_id in self.trader.record.read().commands, f"the trader answers to {verb}")
        answer = self.trader.record.commands[command_id].body
        assert answer.is_done, f"{verb}: {answer.reason}"

    def pause(self) -> None:
        """Have the trader pull its quotes, and wait until the exchange has nothing of it."""
        self.command("pause")
        self.until(lambda: not self.resting(), "nothing rests of a paused trader")

    def resume(self) -> None:
        self.command("resume")

    def restart(self) -> None:
        """Disarm what is armed, and have the trader quote under a new lease."""
        self.rig.control("DELETE", "/faults")
        self.trader.end()
        self.trader.start()
        self.until_quotes("it quotes under a new lease")

    def tell_facts(self) -> None:
        """Tell the trader what has become of its market, as the supervisor does."""
        self.command("market", encode_facts(self.rig.facts(self.trader.ticker)))

    def an_order(self, side: int = 0) -> OrderAt:
        """Return an order of the trader's that rests on a side."""
        found: list[OrderAt] = []

        def rests() -> bool:
            found[:] = [order for order in self.resting() if order.side == side]
            return bool(found)

        self.until(rests, f"something rests on side {side}")
        return found[-1]

    def hit(self, order: OrderAt, count_cx: int) -> list[FillAt]:
        """Have an outsider trade with an order of the trader's, and return its fills; none when it ended meanwhile.

        Most of what matches before it is taken at once, the last of that and the order itself in pieces of `count_cx`:
        others pull their orders meanwhile, and no more of it shall fill.
        """
        while (ahead_cx := self.rig.owner.ahead_cx(order.order_id)) is not None:
            better_cx = sum(size_cx for level_cc, size_cx in self.levels(order.side) if level_cc > order.price_cc)
            far_cx = better_cx + ahead_cx - PIECES * count_cx
            for piece_cx in (max(far_cx, count_cx), *(count_cx,) * PIECES):
                self._take(order, piece_cx)
                if found := self._fills_of(order):
                    return found
        return self._fills_of(order)

    def _fills_of(self, order: OrderAt) -> list[FillAt]:
        """Return the fills that an order has had since it was looked at."""
        return [one for one in self.rig.fetch().fills if one.order_id == order.order_id and one.number > order.number]

    def _take(self, order: OrderAt, count_cx: int) -> None:
        yes_cc = order.price_cc if order.side == 0 else 10_000 - order.price_cc
        side = "ask" if order.side == 0 else "bid"
        self.rig.person(side, yes_cc, count_cx, order.ticker, time_in_force="immediate_or_cancel")

    def hit_some(self, side: int = 0, count_cx: int = 300) -> OrderAt:
        """Have an outsider trade with what the trader has on a side, until something of it has filled; return that."""
        while True:
            order = self.an_order(side)
            if self.hit(order, count_cx):
                return order

    def until_struck(self, *ids: str, times: int = 1) -> None:
        """Wait until each of these faults was applied so often."""

        def struck() -> bool:
            self.applied()
            return all(len(self.log.of(f" {one}: ")) >= times for one in ids)

        self.until(struck, f"{', '.join(ids)} applied {times} times")

    # ---- the verdict -------------------------------------------------------------------------------------------------

    def did(self, what: str) -> None:
        """Note a fault that the row itself has brought about."""
        self.log.note("row", what)

    def judge(self, *, faults: int = 1, stirs: bool = True, orders: int = 1, first: bool = False) -> Verdict:
        """Disarm what is armed, wait until everybody agrees, and fail unless all that happened was good.

        Args:
            faults: How many must have been applied.
            stirs: Whether the trader must still pull its quotes and quote anew when it is told so.
            orders: How many changes of orders and fills must have been judged after the last fault.
            first: After the first fault, where the last one comes when all orders are over.
        """
        applied = self.until_applied(faults)
        last_us = applied[0 if first else -1].at_us
        self.rig.control("DELETE", "/faults")
        if stirs:
            self._stir()
        verdict = self.until_agreed("all agrees after the fault")
        assert verdict.judged_after(last_us) >= orders, "nothing of an order was judged after the fault"
        self.is_judged = True
        return verdict

    def _stir(self) -> None:
        """Have the trader do all it can once more: cancel, and quote."""
        self.pause()
        self.resume()
        self.until_quotes("the trader quotes again")

    def until_written(self) -> None:
        """Wait until the database has every line that the trader has written since the case began, each once."""
        number = self.trader.number
        since = self.mark.journals.get(number, 0)
        give_up = time.monotonic() + HEAL_S
        while lacks := unstored_lines(self.rig.database_url, number, self.trader.record.read(), since=since):
            if time.monotonic() > give_up:
                self._give_up("the journal is stored:\n" + "\n".join(lacks[:SHOWN]) + f"\n{self.state()}")
            time.sleep(0.1)

    def until_agreed(self, what: str) -> Verdict:
        """Return the first verdict without a problem; fail with the problems that stay."""
        give_up = time.monotonic() + SETTLE_S
        while True:
            verdict = self.verdict()
            if not verdict.problems:
                return verdict
            if time.monotonic() > give_up:
                self._give_up(f"{what}:\n" + "\n".join(verdict.problems[:SHOWN]) + f"\n{self.state()}")
            time.sleep(0.1)

    def verdict(self) -> Verdict:
        """Judge what has happened since the case began, as it is known now."""
        rig = self.rig
        stored, holdings = Stored(rig.database_url, rig.account), rig.holdings()
        parties = rig.parties(self.mark.journals)
        ledger, told = rig.fetch(), rig.listen()
        since, since_us = self.mark.line, self.mark.at_us
        verdict = judge(ledger, parties, since=since, since_us=since_us, external=stored.external)
        for party in parties:
            verdict.problems += decided_badly(told, party, within_us=self.reads_within_us)
        verdict.problems += overspent(ledger, parties, rig.allowance, since=since)
        verdict.problems += stored_apart(ledger, stored.orders.values(), stored.fills, since=since)
        at_exchange = {row["ticker"]: count_cx_of(row["position_fp"]) for row in holdings["positions"]}
        for ticker in {trader.ticker for trader in rig.traders if trader.is_live} - ledger.settled:
            verdict.problems += self._positions_apart(ticker, ledger, stored, at_exchange)
        return verdict

    def _positions_apart(self, ticker: str, ledger: Ledger, stored: Stored, at_exchange: dict[str, int]) -> list[str]:
        found = positions_apart(
            ticker, exchange=at_exchange.get(ticker, 0), fills=ledger.filled_position_cx(ticker),
            stored_fills=stored.filled_position_cx(ticker), desk=stored.positions.get(ticker, 0),
        )  # fmt: skip
        for trader in self.rig.traders:
            if trader.is_live and trader.ticker == ticker:
                party, view = trader.party(), trader.view()
                own_cx = sum(signed_cx(fill) for fill in ledger.fills if party.owns(fill.client_order_id))
                told_cx = view.position_cx if view else None
                found += positions_apart(ticker, fills=own_cx, journal=party.record.position_cx, beat=told_cx)
        return found
