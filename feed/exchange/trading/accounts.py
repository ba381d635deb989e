"""People who trade here: their keys' owner id, subaccounts, money, positions, orders and fills.

Cash lies in balances, one for each (shard, subaccount); positions belong to a (subaccount, ticker). Subaccount 0 is
the primary one. Source: facts.md sections 5.6, 7.6 and 10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from feed.exchange.catalog import SHARD_CRYPTO, SHARD_DEFAULT
from feed.exchange.trading.ledger import Balance, Entry, Kind, Ledger
from feed.exchange.trading.positions import Position
from markets.core.units import DOLLAR_UD, Side, yes_price_cc

if TYPE_CHECKING:
    from feed.exchange.trading.clearing import Settlement
    from feed.exchange.trading.transfers import Allocation, Transfer

# $10,000 in all. Cash must lie on the market's shard before an API order, as at the venue.
OPENING_CASH_UD = {SHARD_DEFAULT: 7_000 * DOLLAR_UD, SHARD_CRYPTO: 3_000 * DOLLAR_UD}

PRIMARY = 0
SUBACCOUNTS_MAX = 63  # numbered ones

RESTING, CANCELED, EXECUTED = "resting", "canceled", "executed"


class Order(msgspec.Struct, kw_only=True):
    """An order of an account; `price_cc` is on its own side's ladder, money in micro-dollars."""

    order_id: str
    client_order_id: str
    account: str
    ticker: str
    exchange_index: int
    side: Side
    price_cc: int
    initial_cx: int
    remaining_cx: int
    time_in_force: str
    self_trade_prevention: str
    created_us: int
    updated_us: int
    subaccount: int = PRIMARY
    expires_us: int | None = None
    order_group_id: str = ""
    cancel_on_pause: bool = False
    status: str = RESTING
    fill_cx: int = 0
    taker_cost_ud: int = 0
    maker_cost_ud: int = 0
    taker_fees_ud: int = 0
    maker_fees_ud: int = 0
    gathered_ud: int = 0
    reason: str = ""

    @property
    def yes_price_cc(self) -> int:
        return yes_price_cc(self.side, self.price_cc)


class Fill(msgspec.Struct, frozen=True, kw_only=True):
    """One match seen from one side."""

    trade_id: str
    order_id: str
    client_order_id: str
    ticker: str
    exchange_index: int
    subaccount: int
    side: Side
    yes_price_cc: int
    count_cx: int
    is_taker: bool
    fee_ud: int
    post_position_cx: int
    at_us: int


class Subaccount(msgspec.Struct):
    """A numbered part of an account. `nets` is its netting setting, `exchange_index` where it was opened."""

    number: int
    exchange_index: int = SHARD_DEFAULT
    nets: bool = False


class Account:
    """One member. `user_id` is a UUID; `name` is ours.

    A direct member's balance is kept to $0.0001, that of one who comes through a broker to the cent.
    """

    def __init__(self, name: str, user_id: str, *, at_us: int = 0) -> None:
        self.name = name
        self.user_id = user_id
        self.is_direct_member = True
        self.subaccounts = {PRIMARY: Subaccount(PRIMARY)}
        self.positions: dict[tuple[int, str], Position] = {}
        self.returned_ud: dict[tuple[int, str], int] = {}  # collateral returned, by (subaccount, event)
        self.settlements: list[Settlement] = []
        self.transfers: list[Transfer] = []
        self.allocation: Allocation | None = None
        self.orders: dict[str, Order] = {}
        self.open: dict[str, Order] = {}  # those of `orders` that rest, oldest first
        self.fills: list[Fill] = []
        self.client_order_ids: set[str] = set()
        self.updated_us = at_us
        self.changed_us: int | None = None  # since when the last picture of it is old; see readmodel.py
        self.ledger = Ledger()
        for shard, amount_ud in OPENING_CASH_UD.items():
            self.post(Kind.OPENING, amount_ud, (shard, PRIMARY), at_us=at_us)

    # --- money ----------------------------------------------------------------------------------------------------

    @property
    def cash_ud(self) -> dict[Balance, int]:
        """Balances by (shard, subaccount); changed by `post` alone."""
        return self.ledger.cash_ud

    def balance_ud(self, exchange_index: int, subaccount: int = PRIMARY) -> int:
        return self.cash_ud.get((exchange_index, subaccount), 0)

    def post(self, kind: Kind, amount_ud: int, where: Balance, *, at_us: int, reference: str = "") -> None:
        """Change one balance by a signed amount, and note why."""
        self.ledger.add(Entry(at_us, kind, *where, amount_ud, reference))
        self.updated_us = at_us
        self.note_change(at_us)

    def note_change(self, at_us: int) -> None:
        """Remember the first change since the last picture."""
        if self.changed_us is None:
            self.changed_us = at_us

    def credit(
        self, amount_ud: int, *, exchange_index: int, subaccount: int = PRIMARY, at_us: int, reference: str
    ) -> None:
        """Pay a reward into a balance; `reference` names the program."""
        self.post(Kind.REWARD, amount_ud, (exchange_index, subaccount), at_us=at_us, reference=reference)

    # --- holdings -------------------------------------------------------------------------------------------------

    def resting(self, ticker: str | None = None, *, subaccount: int | None = None) -> list[Order]:
        """Return resting orders, oldest first; None stands for all."""
        return [
            order
            for order in self.open.values()
            if ticker in (None, order.ticker) and subaccount in (None, order.subaccount)
        ]

    def held_cx(self, ticker: str, subaccount: int = PRIMARY) -> int:
        """Return the signed position of a subaccount in a market."""
        position = self.positions.get((subaccount, ticker))
        return position.position_cx if position else 0

    def open_subaccount(self, exchange_index: int) -> Subaccount | None:
        """Open the next numbered subaccount, which inherits the primary's netting; None when all exist."""
        number = len(self.subaccounts)
        if number > SUBACCOUNTS_MAX:
            return None
        self.subaccounts[number] = Subaccount(number, exchange_index, self.subaccounts[PRIMARY].nets)
        return self.subaccounts[number]
