"""What fills, results, transfers and empty pockets do to the money of an account."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from exchangeworld import CENT, a_world, an_order, cash, place, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from moneyworld import EVENTS, EXCLUSIVE, NESTED, PLAIN, a_money_world, member

from feed.exchange.market import FINALIZED
from feed.exchange.trading.accounts import Account
from feed.exchange.trading.ledger import Balance, Kind
from feed.exchange.trading.orders import IOC
from feed.exchange.trading.transfers import Allocation, Transfer, moves
from feed.exchange.wire import money as money_wire
from feed.exchange.wire import private as private_wire
from feed.exchange.world import World
from markets.core.units import DOLLAR_CC, DOLLAR_UD, Side

SECOND_US = 1_000_000
TICKERS = (*EXCLUSIVE, *NESTED, PLAIN)


# --- F10: yes and no, buy and sell, opening and closing ---------------------------------------------------------------

# What is held before, what is asked for, at which YES price, then: position, cash in dollars before fees, and the
# words the venue reports. Selling NO is a bid for YES, selling YES an ask: the reported side is not the ordered one.
CELLS = {
    "buy yes, opening": (0, "bid", "0.30", 10, Fraction(-3), "yes"),
    "buy yes, adding": (5, "bid", "0.30", 15, Fraction(-3), "yes"),
    "buy no, opening": (0, "ask", "0.30", -10, Fraction(-7), "no"),
    "buy no, adding": (-5, "ask", "0.30", -15, Fraction(-7), "no"),
    "sell yes, closing": (10, "ask", "0.30", 0, Fraction(3), "no"),
    "sell yes, closing a part": (25, "ask", "0.30", 15, Fraction(3), "no"),
    "sell no, closing": (-10, "bid", "0.30", 0, Fraction(7), "yes"),
    "sell no, closing a part": (-25, "bid", "0.30", -15, Fraction(7), "yes"),
    "buy yes through a no position": (-4, "bid", "0.30", 6, Fraction(4 * 7 - 6 * 3, 10), "yes"),
    "buy no through a yes position": (4, "ask", "0.30", -6, Fraction(4 * 3 - 6 * 7, 10), "no"),
}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("is_taker", [True, False])
def test_F10_every_cell_of_yes_and_no_moves_position_and_cash_as_it_should(cell: str, is_taker: bool) -> None:
    held, side, price, position, change, reported = CELLS[cell]
    world = a_world()
    other = "ask" if side == "bid" else "bid"
    if held:
        first = "bid" if held > 0 else "ask"
        place(world, "other", an_order("ask" if held > 0 else "bid", "0.50", f"{abs(held)}.00"))
        place(world, "us", an_order(first, "0.50", f"{abs(held)}.00"))
    us = world.account("us")
    before = cash(us)
    orders = [("other", other), ("us", side)] if is_taker else [("us", side), ("other", other)]
    for who, which in orders:
        place(world, who, an_order(which, price, "10.00"))
    fill = us.fills[-1]
    assert us.held_cx(CENT) == position * 100
    assert cash(us) - before == change * DOLLAR_UD - fill.fee_ud
    assert (fill.is_taker, fill.post_position_cx) == (is_taker, position * 100)
    row = private_wire.fill_row(fill)
    assert (row["outcome_side"], row["yes_price_dollars"], row["no_price_dollars"]) == (reported, "0.3000", "0.7000")
    assert sum(world.account(name).held_cx(CENT) for name in ("us", "other")) == 0


def test_three_contracts_cost_what_was_recorded() -> None:
    """One at 0.99, one at 0.99, one at 0.52: exposure 2.50, fees 0.0189 [recorded, demo, June 2026]."""
    world = a_world()
    for price in ("0.99", "0.99", "0.52"):
        place(world, "other", an_order("ask", price, "1.00"))
        place(world, "us", an_order("bid", price, "1.00"))
    row = private_wire.position_row(world.account("us").positions[0, CENT])
    assert (row["position_fp"], row["market_exposure_dollars"]) == ("3.00", "2.500000")
    assert (row["total_traded_dollars"], row["fees_paid_dollars"]) == ("2.500000", "0.018900")


def test_a_cost_that_does_not_divide_stays_with_the_rest_of_the_position() -> None:
    world = a_world()
    for price, count in (("0.33", "1.00"), ("0.34", "2.00")):
        place(world, "other", an_order("ask", price, count))
        place(world, "us", an_order("bid", price, count))
    position = world.account("us").positions[0, CENT]
    for _ in range(3):
        place(world, "other", an_order("bid", "0.40", "1.00"))
        place(world, "us", an_order("ask", "0.40", "1.00"))
    assert (position.position_cx, position.cost_ud) == (0, 0)
    assert position.realized_ud == 3 * 400_000 - 330_000 - 680_000


# --- results ----------------------------------------------------------------------------------------------------------


def held(world: World, who: str, count: int, *, ticker: str = PLAIN) -> Account:
    """Give somebody a position at 50 cents against another."""
    side, other = ("bid", "ask") if count > 0 else ("ask", "bid")
    place(world, "other", an_order(other, "0.50", f"{abs(count)}.00", ticker=ticker))
    place(world, who, an_order(side, "0.50", f"{abs(count)}.00", ticker=ticker))
    return world.account(who)


@pytest.mark.parametrize(
    ("count", "result", "value_cc", "paid_ud"),
    [
        (10, "yes", None, 10 * DOLLAR_UD),
        (10, "no", None, 0),
        (-10, "yes", None, 0),
        (-10, "no", None, 10 * DOLLAR_UD),
        (10, "scalar", 3_000, 3 * DOLLAR_UD),
        (-10, "scalar", 3_000, 7 * DOLLAR_UD),
    ],
)
def test_F7_a_position_is_paid_out_by_its_result(count: int, result: str, value_cc: int | None, paid_ud: int) -> None:
    world = a_money_world()
    us = held(world, "us", count)
    before, fees = cash(us), us.positions[0, PLAIN].fees_ud
    market = world.markets[PLAIN]
    world.life.determine(market, result, value_cc)
    world.advance(world.now_us + 60 * SECOND_US)
    position = us.positions[0, PLAIN]
    assert market.status == FINALIZED
    assert cash(us) - before == paid_ud
    assert (position.position_cx, position.realized_ud) == (0, paid_ud - 5 * DOLLAR_UD)
    row = money_wire.settlement_row(us.settlements[0])
    side = "yes" if count > 0 else "no"
    assert (row[f"{side}_count_fp"], row[f"{side}_total_cost_dollars"]) == ("10.00", "5.000000")
    assert (row["market_result"], row["revenue"]) == (result, paid_ud // 10_000)
    assert row["fee_cost"] == f"0.{fees:06d}"


def test_a_scalar_payout_below_a_hundredth_of_a_cent_leaves_a_rounding_fee() -> None:
    world = a_money_world()
    place(world, "other", an_order("ask", "0.50", "0.01", ticker=PLAIN))
    place(world, "us", an_order("bid", "0.50", "0.01", ticker=PLAIN))
    us = world.account("us")
    before = cash(us)
    market = world.markets[PLAIN]
    world.life.determine(market, "scalar", 3_333)
    world.life.settle(market)
    assert cash(us) - before == 3_300
    assert us.ledger.total_ud(Kind.SETTLEMENT) == 3_333
    assert us.ledger.entries[-1].amount_ud == -33


# --- resting collateral -----------------------------------------------------------------------------------------------


def left_with(world: World, who: str, dollars: int) -> Account:
    account = world.account(who)
    world.clearing.withdraw(account, account.balance_ud(0) - dollars * DOLLAR_UD, (0, 0))
    return account


@pytest.mark.parametrize(("reservation", "accepted"), [("sum", 1), ("max", 3), ("none", 3)])
def test_resting_orders_count_as_the_switch_says(reservation: str, accepted: int) -> None:
    world = a_money_world(resting_collateral=reservation)
    us = left_with(world, "us", 10)
    for ticker in EXCLUSIVE:
        world.entry.place(us, an_order("bid", "0.60", "10.00", ticker=ticker))
    assert len(us.open) == accepted


@pytest.mark.parametrize("reservation", ["max", "none"])
def test_a_fill_that_uses_up_the_cash_drops_the_other_orders(reservation: str) -> None:
    world = a_money_world(resting_collateral=reservation)
    us = left_with(world, "us", 10)
    first, second, third = (
        place(world, "us", an_order("bid", "0.60", "10.00", ticker=ticker)).order for ticker in EXCLUSIVE
    )
    place(world, "other", an_order("ask", "0.60", "10.00", ticker=first.ticker))
    assert first.status == "executed"
    assert [(o.status, o.reason) for o in (second, third)] == [("canceled", "MarginCancel")] * 2
    assert us.balance_ud(0) == 4 * DOLLAR_UD - us.fills[0].fee_ud


def test_one_sweep_cannot_fill_two_orders_on_the_same_cash() -> None:
    world = a_money_world(resting_collateral="none")
    us = left_with(world, "us", 10)
    first = place(world, "us", an_order("bid", "0.60", "10.00", ticker=PLAIN)).order
    second = place(world, "us", an_order("bid", "0.59", "10.00", ticker=PLAIN)).order
    behind = place(world, "third", an_order("bid", "0.58", "10.00", ticker=PLAIN)).order
    place(world, "other", an_order("ask", "0.58", "20.00", ticker=PLAIN))
    assert (first.status, second.reason, behind.status) == ("executed", "MarginCancel", "executed")
    assert us.balance_ud(0) >= 0


def test_F13_a_withdrawal_drops_the_newest_orders_it_no_longer_carries() -> None:
    world = a_money_world()
    us = left_with(world, "us", 20)
    old, new = (place(world, "us", an_order("bid", "0.60", "10.00", ticker=ticker)).order for ticker in EXCLUSIVE[:2])
    world.clearing.withdraw(us, 10 * DOLLAR_UD, (0, 0))
    assert (old.status, new.status, new.reason) == ("resting", "canceled", "MarginCancel")
    assert refused(world, "us", an_order("bid", "0.60", "10.00", ticker=PLAIN)).code == "insufficient_balance"


def test_a_margin_cancel_spares_orders_that_need_no_cash() -> None:
    world = a_money_world()
    us = held(world, "us", 10)
    opening = place(world, "us", an_order("bid", "0.60", "10.00", ticker=EXCLUSIVE[0])).order
    closing = place(world, "us", an_order("ask", "0.90", "10.00", ticker=PLAIN)).order
    world.clearing.withdraw(us, us.balance_ud(0), (0, 0))
    assert (opening.reason, closing.status) == ("MarginCancel", "resting")


def test_each_subaccount_and_shard_pays_for_itself() -> None:
    world = a_money_world()
    us = member(world, "us", subaccounts=1)
    order = an_order("bid", "0.60", "10.00", ticker=PLAIN, subaccount=1)
    assert refused(world, "us", order).code == "insufficient_balance"
    made = world.transfers.request(us, (0, 0), (0, 1), 6 * DOLLAR_UD)
    assert isinstance(made, Transfer)
    place(world, "us", order)
    assert refused(world, "us", order).code == "insufficient_balance"
    assert us.held_cx(PLAIN, 1) == 0
    place(world, "other", an_order("ask", "0.60", "10.00", ticker=PLAIN))
    assert (us.held_cx(PLAIN), us.held_cx(PLAIN, 1)) == (0, 1_000)


# --- transfers --------------------------------------------------------------------------------------------------------


def test_a_transfer_between_shards_takes_up_to_three_steps() -> None:
    world = a_money_world()
    us = member(world, "us", subaccounts=2)
    world.transfers.request(us, (0, 0), (0, 1), 5 * DOLLAR_UD)
    made = world.transfers.request(us, (0, 1), (2, 2), 4 * DOLLAR_UD)
    assert isinstance(made, Transfer)
    seen = []
    for _ in range(4):
        seen.append([us.balance_ud(*where) // DOLLAR_UD for where in ((0, 1), (0, 0), (2, 0), (2, 2))])
        world.advance(world.now_us + 200_000)
    assert seen == [[5, 6_995, 3_000, 0], [1, 6_999, 3_000, 0], [1, 6_995, 3_004, 0], [1, 6_995, 3_000, 4]]
    assert made.status == "complete"


def test_a_transfer_stops_half_way_when_the_cash_is_gone() -> None:
    world = a_money_world()
    us = member(world, "us", subaccounts=1)
    made = world.transfers.request(us, (0, 0), (2, 1), 4 * DOLLAR_UD)
    assert isinstance(made, Transfer)
    world.advance(world.now_us + 200_000)
    world.clearing.withdraw(us, us.balance_ud(2), (2, 0))
    world.advance(world.now_us + 5 * SECOND_US)
    assert (made.status, us.balance_ud(2, 1)) == ("pending", 0)


def test_a_move_between_shards_waits_for_the_end_of_an_exchange_pause() -> None:
    world = a_money_world()
    us = member(world, "us")
    made = world.transfers.request(us, (0, 0), (2, 0), DOLLAR_UD)
    assert isinstance(made, Transfer)
    world.pause("exchange", 2)
    world.advance(world.now_us + 5 * SECOND_US)
    assert (made.status, us.balance_ud(2)) == ("pending", 3_000 * DOLLAR_UD)
    world.resume("exchange", 2)
    world.advance(world.now_us + SECOND_US)
    assert (made.status, us.balance_ud(2)) == ("complete", 3_001 * DOLLAR_UD)


def test_resting_orders_hold_back_what_can_be_transferred() -> None:
    world = a_money_world()
    us = member(world, "us", subaccounts=1)
    place(world, "us", an_order("bid", "0.50", "10000.00", ticker=PLAIN))
    refusal = world.transfers.request(us, (0, 0), (0, 1), 2_001 * DOLLAR_UD)
    assert getattr(refusal, "code", "") == "insufficient_balance"
    assert isinstance(world.transfers.request(us, (0, 0), (0, 1), 2_000 * DOLLAR_UD), Transfer)


def test_free_cash_moves_towards_the_allocation_every_ten_seconds() -> None:
    world = a_money_world()
    us = member(world, "us")
    place(world, "us", an_order("bid", "0.50", "2000.00", ticker=PLAIN))
    world.transfers.allocate(us, Allocation({0: 50, 2: 30, 3: 20}))
    world.advance(world.now_us + 10 * SECOND_US)
    balances = [us.balance_ud(shard) // DOLLAR_UD for shard in (0, 2, 3)]
    assert balances == [1_000 + 4_500, 2_700, 1_800]
    us.post(Kind.DEPOSIT, 1_000 * DOLLAR_UD, (0, 0), at_us=world.now_us)
    world.transfers.allocate(us, Allocation())
    world.advance(world.now_us + 30 * SECOND_US)
    assert us.balance_ud(0) == 6_500 * DOLLAR_UD


@given(
    st.dictionaries(st.integers(0, 3), st.integers(0, 10**12), min_size=1),
    st.lists(st.integers(0, 100), min_size=3, max_size=3),
)
def test_moves_come_as_near_to_the_percentages_as_ten_thousandths_allow(free: dict[int, int], cuts: list[int]) -> None:
    marks = [0, *sorted(cuts), 100]
    percents = {shard: b - a for shard, (a, b) in enumerate(pairwise(marks))}
    after = dict.fromkeys(range(4), 0) | free
    for source, destination, amount_ud in moves(after.copy(), percents):
        assert amount_ud > 0
        assert amount_ud % 100 == 0
        after[source] -= amount_ud
        after[destination] += amount_ud
    total = sum(free.values())
    assert sum(after.values()) == total
    assert all(abs(after[shard] - total * percents[shard] // 100) <= 500 for shard in range(4))


# --- nothing appears, nothing vanishes --------------------------------------------------------------------------------

NAMES = ("a", "b", "c")
step = st.tuples(
    st.sampled_from(["order"] * 8 + ["cancel", "move", "cash", "reward", "netting", "settle", "time"]),
    st.integers(0, 2),
    st.integers(0, 2),
    st.integers(0, 10**6),
)


class History:
    """Random doings of three members with two subaccounts each, and what they should have come to."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.members = [member(world, name, nets=at != 0, subaccounts=2) for at, name in enumerate(NAMES)]
        self.outside_ud = 0  # deposits, withdrawals and rewards
        for account in self.members:
            for shard in (0, 2):
                for number in (1, 2):
                    world.transfers.request(account, (shard, 0), (shard, number), 20 * DOLLAR_UD)
                rest_ud = account.balance_ud(shard) - 20 * DOLLAR_UD
                world.clearing.withdraw(account, rest_ud, (shard, 0))
                self.outside_ud -= rest_ud

    def do(self, what: str, who: int, number: int, dice: int) -> None:
        account = self.members[who]
        match what:
            case "order":
                self.order(account, number, dice)
            case "cancel" if account.open:
                resting = list(account.open.values())
                self.world.entry.cancel(account, resting[dice % len(resting)])
            case "move":
                source, destination = (dice % 2 * 2, number), (dice // 2 % 2 * 2, dice // 4 % 3)
                self.world.transfers.request(account, source, destination, 1 + dice % (5 * DOLLAR_UD))
            case "cash":
                self.cash(account, (dice % 2 * 2, number), dice)
            case "reward":
                account.credit(
                    dice, exchange_index=dice % 2 * 2, subaccount=number, at_us=self.world.now_us, reference="p"
                )
                self.outside_ud += dice
            case "netting":
                self.world.clearing.set_netting(account, number, enabled=bool(dice % 2))
            case "settle":
                self.settle(TICKERS[dice % len(TICKERS)], dice)
            case "time":
                self.world.advance(self.world.now_us + dice)

    def order(self, account: Account, number: int, dice: int) -> None:
        ticker, cents, count_cx = TICKERS[dice % 7], 1 + dice // 7 % 99, 1 + dice // 693 % 1_443
        order = an_order(
            "bid" if dice // 3 % 2 else "ask",
            f"{cents / 100:.2f}",
            f"{count_cx // 100}.{count_cx % 100:02d}",
            ticker=ticker,
            subaccount=number,
            **({"time_in_force": IOC} if dice % 5 == 0 else {}),
        )
        self.world.entry.place(account, order)

    def cash(self, account: Account, where: Balance, dice: int) -> None:
        if dice % 3:
            amount_ud = min(dice, max(0, account.balance_ud(*where)))
            self.world.clearing.withdraw(account, amount_ud, where)
            self.outside_ud -= amount_ud
        else:
            account.post(Kind.DEPOSIT, dice, where, at_us=self.world.now_us)
            self.outside_ud += dice

    def settle(self, ticker: str, dice: int) -> None:
        """End a market with a result that its event allows."""
        market = self.world.markets[ticker]
        if market.status == FINALIZED:
            return
        yes = dice // 7 % 2 == 1
        if ticker in EXCLUSIVE:
            yes = yes and all(self.world.markets[t].value_cc in (None, 0) for t in EXCLUSIVE)
        if ticker in NESTED:
            at = NESTED.index(ticker)
            above = [self.world.markets[t].value_cc for t in NESTED[at + 1 :]]
            below = [self.world.markets[t].value_cc for t in NESTED[:at]]
            yes = (yes or DOLLAR_CC in above) and 0 not in below
        self.world.life.determine(market, "yes" if yes else "no")
        self.world.life.settle(market)

    def check(self) -> None:
        """Hold money and contracts against each other, and each balance against what explains it."""
        opening_ud = sum(a.ledger.total_ud(Kind.OPENING) for a in self.members)
        fees_ud = sum(fill.fee_ud for a in self.members for fill in a.fills)
        returned_ud = sum(sum(a.returned_ud.values()) for a in self.members)
        locked_ud = sum(max(0, p.position_cx) * DOLLAR_CC for a in self.members for p in a.positions.values())
        assert sum(map(cash, self.members)) == opening_ud + self.outside_ud - fees_ud + returned_ud - locked_ud
        for ticker in TICKERS:
            assert sum(p.position_cx for a in self.members for p in a.positions.values() if p.ticker == ticker) == 0
        for account in self.members:
            assert account.ledger.total_ud(Kind.TRANSFER) == 0
            for where in account.cash_ud:
                assert account.balance_ud(*where) == explained_ud(account, where)
                assert account.balance_ud(*where) >= -fees_of(account, where)


def fees_of(account: Account, where: Balance) -> int:
    return sum(f.fee_ud for f in account.fills if (f.exchange_index, f.subaccount) == where)


def explained_ud(account: Account, where: Balance) -> int:
    """Return opening + cash in and out + rewards + transfers + fills − fees + collateral returned + settlements.

    Fills are counted anew from the fills themselves: a YES is paid for at its price, and each NO locks a dollar.
    """
    shard, number = where
    other = (Kind.OPENING, Kind.DEPOSIT, Kind.WITHDRAWAL, Kind.REWARD, Kind.TRANSFER)
    total = sum(account.ledger.total_ud(kind, where) for kind in other) - fees_of(account, where)
    held: dict[str, int] = {}
    for fill in account.fills:
        if (fill.exchange_index, fill.subaccount) != where:
            continue
        before = held.get(fill.ticker, 0)
        after = before + (fill.count_cx if fill.side is Side.YES else -fill.count_cx)
        held[fill.ticker] = after
        total -= (after - before) * fill.yes_price_cc + (max(0, -after) - max(0, -before)) * DOLLAR_CC
    shards = {event: index for event, _, index, _ in EVENTS}
    total += sum(u for (n, event), u in account.returned_ud.items() if n == number and shards[event] == shard)
    return total + sum(s.revenue_ud for s in account.settlements if (s.exchange_index, s.subaccount) == where)


RESERVATIONS = st.sampled_from(["sum", "max", "none"])


@settings(max_examples=60)
@given(st.lists(step, max_size=60), RESERVATIONS, st.booleans())
def test_money_and_contracts_are_conserved_until_everything_is_settled(
    steps: list[tuple[str, int, int, int]], reservation: str, netting: bool
) -> None:
    live_through(steps, reservation, netting)


@pytest.mark.long
@pytest.mark.timeout(1_200)
@settings(max_examples=400)
@given(st.lists(step, min_size=50, max_size=300), RESERVATIONS, st.booleans())
def test_money_and_contracts_are_conserved_through_long_histories(
    steps: list[tuple[str, int, int, int]], reservation: str, netting: bool
) -> None:
    live_through(steps, reservation, netting)


def live_through(steps: list[tuple[str, int, int, int]], reservation: str, netting: bool) -> None:
    """Hold the accounts right after every step, then settle every market and find nothing left over."""
    world = a_money_world(resting_collateral=reservation, netting=netting)
    history = History(world)
    for what in steps:
        history.do(*what)
        history.check()
    for at, ticker in enumerate(TICKERS):
        history.settle(ticker, 7 * at)
        history.check()
    for account in history.members:
        earned_ud = account.ledger.total_ud(Kind.FILL) + account.ledger.total_ud(Kind.SETTLEMENT)
        assert sum(p.realized_ud for p in account.positions.values()) == earned_ud
    assert not any(u for account in history.members for u in account.returned_ud.values())
    assert not any(p.position_cx or p.cost_ud for a in history.members for p in a.positions.values())


def test_the_random_histories_do_trade_net_and_drop() -> None:
    """The property above would hold of a world in which nothing happens; a fixed history shows that much does."""
    world = a_money_world(resting_collateral="none")
    history = History(world)
    dice = 12_345
    kinds: set[str] = set()
    for _ in range(600):
        dice = (dice * 1_103_515_245 + 12_345) % 2**31
        history.do("order" if dice % 9 else "netting", dice // 11 % 3, dice // 7 % 3, dice // 13 % 10**6)
    history.check()
    for account in history.members:
        kinds |= {entry.kind for entry in account.ledger.entries}
    reasons = {order.reason for account in history.members for order in account.orders.values()}
    assert {Kind.FILL, Kind.FEE, Kind.NETTING, Kind.TRANSFER} <= kinds
    assert "MarginCancel" in reasons
    assert sum(len(account.fills) for account in history.members) > 100
