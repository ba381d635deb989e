"""Two accounts on one exchange: their traders share market, desk, gateway and stores, and nothing else."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from feed.kalshi.wire.kinds import Secret
from feed.keys import Vault
from kalshimm.runtime.heartbeat import beat_key, decode_beat
from tests.faults.hands import OwnersHand
from tests.faults.liverig import LiveCase, LiveOptions, LiveRig
from tests.faults.livetrader import STAYS, WIDE, LiveTrader, Plan
from tests.faults.test_live_kill import kill, released
from tests.faults.truth import count_cx
from traders.start import LiveStart

pytestmark = pytest.mark.long

SECOND = "second"  # as vault and exchange call it
SHARED, USED, APART = 0, 1, 2  # markets
CASH_CENTS = 100_000


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    return LiveOptions(quick_leases=True, traders=(Plan(strategies=STAYS, market=SHARED),))


class Hand(OwnersHand):
    """The second account's owner, in one subaccount of it."""

    subaccount: int | None = None

    def new_group(self, limit_cx: int, *, shard: int = 0) -> str:
        body = {"contracts_limit_fp": f"{limit_cx // 100}.00", "exchange_index": shard}
        body |= {} if self.subaccount is None else {"subaccount": self.subaccount}
        return str(self.must("POST", "/portfolio/order_groups/create", body)["order_group_id"])


class SecondAccount:
    """The rig as traders of the second account have it."""

    account = key = SECOND
    take_over = LiveRig.take_over

    def __init__(self, rig: LiveRig, subaccount: int | None = None) -> None:
        self._rig, self.subaccount = rig, subaccount
        pem = Path(rig.ready["private_key_path"]).parent / "second.pem"
        index = msgspec.json.decode((pem.parent / "keys.json").read_bytes())
        key_id = next(entry["key_id"] for entry in index if entry["file"] == pem.name)
        self.owner = Hand(rig.ready["rest"], key_id, pem)
        self.owner.subaccount = subaccount
        vault = Vault(rig.home)
        if all(entry.name != SECOND for entry in vault.entries()):
            sealed = vault.seal(
                name=SECOND, account=SECOND, environment="local", key_id=key_id, pem=Secret(pem.read_text())
            )
            vault.keep(msgspec.structs.replace(sealed, scopes=("read", "write")), instead_of=None)
            rig.hurry_desk()  # it looks for accounts when it starts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rig, name)

    @property
    def is_kept(self) -> bool:
        value: Any = self._rig.redis.get(beat_key("desk", SECOND))
        return value is not None and decode_beat(value).state == "live"

    def holdings(self) -> dict[str, Any]:
        """Return what the account has at the exchange."""
        found: dict[str, Any] = self._rig.control("GET", f"/ledger?account={SECOND}")[SECOND]
        return found

    def resting(self, ticker: str) -> dict[str, int]:
        """Return what rests in a market, by side of the book, in hundredths."""
        orders = [one for one in self.holdings()["orders"] if (one["ticker"], one["status"]) == (ticker, "resting")]
        return {one["book_side"]: count_cx(one["remaining_count_fp"]) for one in orders}

    def position_cx(self, ticker: str, subaccount: int = 0) -> int:
        rows = self.holdings()["positions"]
        mine = [one for one in rows if (one["ticker"], one["subaccount_number"]) == (ticker, subaccount)]
        return sum(count_cx(one["position_fp"]) for one in mine)


class SecondTrader(LiveTrader):
    """A trader of the second account."""

    def _lease(self) -> LiveStart:
        return msgspec.structs.replace(super()._lease(), subaccount=self.rig.subaccount)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def second(live_rig: LiveRig) -> SecondAccount:
    return SecondAccount(live_rig)


def a_trader(account: Any, number: int, plan: Plan) -> SecondTrader:
    return SecondTrader(account, number, plan)


@pytest.fixture
def beside(second: SecondAccount) -> Iterator[SecondTrader]:
    """A trader of the second account in the first one's market."""
    trader = a_trader(second, 11, Plan(strategies=STAYS, market=SHARED))
    yield trader
    trader.end()


def until_quotes(live: LiveCase, account: SecondAccount, trader: SecondTrader, **wanted: int) -> None:
    live.until(lambda: trader.state == "quoting" and account.resting(trader.ticker) == wanted, f"it quotes {wanted}")


def test_G1_a_kill_of_one_account_leaves_anothers_trader_quoting_in_the_same_market(
    live: LiveCase, second: SecondAccount, beside: SecondTrader
) -> None:
    live.until(lambda: second.is_kept, "the desk keeps the second account, too")
    beside.start()
    until_quotes(live, second, beside, bid=1_000, ask=1_000)
    live.did("killed an account")
    said = kill(live, "--account", "local")
    assert [(one["account"], one["resting"], one["is_confirmed"]) for one in said["accounts"]] == [("local", 0, True)]
    assert live.rig.fetch().resting() == []
    before = beside.beat()
    assert before is not None
    live.until(lambda: (now := beside.beat()) is not None and now.loops >= before.loops + 6, "the other one looks")
    assert (beside.state, second.resting(beside.ticker)) == ("quoting", {"bid": 1_000, "ask": 1_000})
    said = kill(live, "--account", SECOND)
    assert [one["account"] for one in said["accounts"]] == [SECOND]
    assert second.resting(beside.ticker) == {}
    live.until(lambda: beside.state in ("paused", "fenced"), "now it stands still, too")
    kill(live, "--release", "--account", SECOND)
    released(live, "--account", "local")
    live.judge()


def test_C18_a_trader_on_a_used_account_counts_what_is_there_and_touches_nothing_of_it(
    live: LiveCase, second: SecondAccount
) -> None:
    rig = live.rig
    ticker = rig.tickers[USED]
    theirs = rig.person("bid", 100, 700, ticker, account=SECOND)["order_id"]
    rig.person("bid", 9_900, 3_000, ticker, account=SECOND, time_in_force="immediate_or_cancel")
    there_cx = second.position_cx(ticker)
    assert there_cx > 0
    live.until(lambda: second.is_kept, "the desk keeps the second account, too")
    trader = a_trader(
        second, 12, Plan(strategies=STAYS, market=USED, limits=WIDE | {"position_cx_most": there_cx + 700 + 400})
    )
    trader.start()

    def ours() -> dict[str, int]:
        """Return the size of its first order of each side, whatever has been taken of it since."""
        orders = [one for one in second.holdings()["orders"] if one["ticker"] == ticker and one["client_order_id"]]
        orders.sort(key=lambda one: str(one["created_time"]), reverse=True)
        return {one["book_side"]: count_cx(one["initial_count_fp"]) for one in orders}

    live.until(lambda: ours().keys() == {"bid", "ask"}, "it quotes")
    assert ours() == {"bid": 400, "ask": 1_000}, "it bids for what is left, and offers as ever"
    live.until(lambda: (view := trader.view()) is not None and view.position_cx < there_cx, "that is not its own")
    trader.end()
    rests = {one["order_id"] for one in second.holdings()["orders"] if one["status"] == "resting"}
    assert rests == {theirs}
    rig.control("DELETE", f"/orders/{theirs}?account={SECOND}")
    live.did("traded by hand on another account")
    live.judge()


def test_a_trader_of_a_subaccount_has_its_orders_position_and_cash_there(live: LiveCase, second: SecondAccount) -> None:
    rig, ticker = live.rig, live.rig.tickers[APART]
    number = second.owner.must("POST", "/portfolio/subaccounts", {"exchange_index": 0})["subaccount_number"]
    second.owner.must(
        "POST", "/portfolio/subaccounts/transfer",
        {
            "client_transfer_id": str(uuid.uuid4()), "from_subaccount": 0, "to_subaccount": number,
            "amount_cents": CASH_CENTS, "exchange_index": 0,
        },
    )  # fmt: skip
    rig.person("bid", 9_900, 500, ticker, account=SECOND, time_in_force="immediate_or_cancel")
    primary_cx = second.position_cx(ticker)
    account = SecondAccount(rig, subaccount=number)
    limits = WIDE | {"position_cx_most": 1_000}
    trader = a_trader(account, 13, Plan(strategies=STAYS, market=APART, limits=limits))
    trader.start()
    until_quotes(live, account, trader, bid=1_000, ask=1_000)  # the primary one's position is another's
    orders = [one for one in second.holdings()["orders"] if (one["ticker"], one["status"]) == (ticker, "resting")]
    assert {one["subaccount_number"] for one in orders} == {number}
    price = next(one["yes_price_dollars"] for one in orders if one["book_side"] == "bid")
    live.until(
        lambda: (
            rig.person("ask", round(float(price) * 10_000), 500, ticker, time_in_force="immediate_or_cancel")
            and second.position_cx(ticker, number) > 0
        ),
        "somebody sells to it",
    )
    live.until(
        lambda: (view := trader.view()) is not None and view.position_cx == second.position_cx(ticker, number),
        "it holds what its subaccount holds",
    )
    assert second.position_cx(ticker) == primary_cx
    said = kill(live, "--trader", "trader-13")
    assert said["confirmed"]
    assert second.resting(ticker) == {}
    kill(live, "--release", "--trader", "trader-13")
    trader.end()
    live.did("traded on a subaccount of another account")
    live.judge()
