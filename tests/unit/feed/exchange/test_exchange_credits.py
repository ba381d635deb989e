"""Programs in their time: a snapshot each second, and what is paid at the end. No sockets, no crowd but ours."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from exchangeworld import CENT, NOW_US, TAPERED, a_world, an_order, cash, place

from feed.exchange.catalog import Program
from feed.exchange.flow.displayed import Displayed
from feed.exchange.incentives.accrual import RECORDED, Tally, bids_of, snapshot_us
from feed.exchange.incentives.ledger import KEPT
from feed.exchange.incentives.scoring import Yardstick, score_snapshot
from feed.exchange.trading.accounts import Account
from feed.exchange.trading.ledger import Kind
from feed.exchange.world import SECOND_US, World
from markets.core.units import Side

CROWD = ("crowd-a", "crowd-b")
SECONDS = 60


def a_program(**changes: Any) -> Program:
    """A minute's program of $60 over the cent market: its pool is $1 a second."""
    fields: dict[str, Any] = {
        "program_id": "p", "market_id": f"id-of-{CENT}", "market_ticker": CENT, "description": "series_lip",
        "start_us": NOW_US, "end_us": NOW_US + SECONDS * SECOND_US, "paid_us": NOW_US + 2 * SECONDS * SECOND_US,
        "period_reward_cc": 600_000, "target_size_cx": 10_000, "discount_bps": 5_000,
    }  # fmt: skip
    return Program(**(fields | changes))


def enrol(world: World, **changes: Any) -> Program:
    program = a_program(**changes)
    world.incentives.enrol(program)
    return program


def quote(world: World, who: str, count: str = "100.00", ticker: str = CENT) -> None:
    """Rest the same on both sides of a market."""
    place(world, who, an_order("bid", "0.4000", count, ticker=ticker))
    place(world, who, an_order("ask", "0.6000", count, ticker=ticker))


def rewards(account: Account) -> list[tuple[str, int]]:
    return [(e.reference, e.amount_ud) for e in account.ledger.entries if e.kind is Kind.REWARD]


def finish(world: World, program: Program) -> None:
    world.advance(program.paid_us)


def raw_of(world: World, owner: str, program_id: str = "p") -> Fraction:
    statement = world.incentives.statement(program_id)
    assert statement is not None
    return {credit.owner: credit.raw for credit in statement.credits}.get(owner, Fraction(0))


# --- the moment of a snapshot ---------------------------------------------------------------------------------------


def test_a_snapshot_lies_in_its_second_and_follows_from_the_seed() -> None:
    moments = [snapshot_us(7, CENT, second) for second in range(1_000)]
    assert all(second * SECOND_US <= at < (second + 1) * SECOND_US for second, at in enumerate(moments))
    assert moments == [snapshot_us(7, CENT, second) for second in range(1_000)]
    assert moments != [snapshot_us(8, CENT, second) for second in range(1_000)]
    assert moments != [snapshot_us(7, TAPERED, second) for second in range(1_000)]
    assert len({at % SECOND_US // 100_000 for at in moments}) == 10


def test_what_rests_counts_from_the_next_moment_and_not_after_it_left() -> None:
    world = a_world()
    program = enrol(world)
    second = NOW_US // SECOND_US + 10
    world.advance(snapshot_us(world.seed, CENT, second) - 1)
    quote(world, "us")
    world.advance(snapshot_us(world.seed, CENT, second))
    for order in world.account("us").resting():
        world.entry.cancel(world.account("us"), order)
    finish(world, program)
    assert raw_of(world, "us") == 1


# --- a whole period against brute force -----------------------------------------------------------------------------


def shake(world: World, rng: random.Random) -> None:
    """Do something to the book as one of two accounts or two of the crowd."""
    market = world.markets[CENT]
    side = rng.choice(list(Side))
    price = rng.randrange(3_700, 4_100, 100)
    draw = rng.random()
    if draw < 0.2 and len(market.book):
        victim = rng.choice([o for o in market.book.orders() if o.owner in CROWD] or [None])
        if victim is not None:
            world.entry.cancel_flow(market, victim.order_id)
    elif draw < 0.3:
        account = world.account(rng.choice(("us", "them")))
        if account.resting():
            world.entry.cancel(account, rng.choice(account.resting()))
    elif draw < 0.5:
        yes_price = price if side is Side.YES else 10_000 - price
        word = "bid" if side is Side.YES else "ask"
        place(world, rng.choice(("us", "them")), an_order(word, f"0.{yes_price:04d}", f"{rng.randint(1, 60)}.50"))
    elif draw < 0.6:
        best = market.best_cc(side.other)
        if best:
            world.entry.place_flow(market, CROWD[0], side, 10_000 - best, rng.randint(1, 5_000), rest=False)
    else:
        world.entry.place_flow(market, rng.choice(CROWD), side, price, rng.randint(100, 9_000), rest=True)


@pytest.mark.parametrize("seed", range(6))
def test_a_minute_of_two_accounts_and_a_crowd_pays_what_brute_force_adds_up_to(seed: int) -> None:
    world = a_world()
    program = enrol(world)
    rng = random.Random(seed)
    paused = range(20, 25)
    sums: dict[str, Fraction] = {}
    included = 0
    market = world.markets[CENT]
    first = NOW_US // SECOND_US
    for number in range(SECONDS):
        # Between two snapshots the book may change or stand still; some seconds are closed.
        for _ in range(rng.choice((0, 0, 1, 4))):
            shake(world, rng)
        market.status = "inactive" if number in paused else "active"
        world.advance(snapshot_us(world.seed, CENT, first + number))
        if not market.is_tradable:
            market.status = "active"
            continue
        snapshot = score_snapshot(market.terms.grid, bids_of(market), Yardstick(10_000, 5_000), is_open=True)
        included += snapshot.is_included
        for owner, share in snapshot.pool_shares().items():
            sums[owner] = sums.get(owner, Fraction(0)) + share
    before = {name: cash(world.account(name)) for name in ("us", "them")}
    finish(world, program)
    statement = world.incentives.statement("p")
    assert statement is not None
    assert (statement.included, statement.is_paid) == (included, True)
    assert {c.owner: c.raw for c in statement.credits} == sums
    assert all(c.is_exact for c in statement.credits)
    assert 0 < included < SECONDS - len(paused)
    for name, cash_before in before.items():
        cents = sums.get(name, Fraction(0)) * 100 // 1
        paid = cents * 10_000 if cents >= 100 else 0
        assert cash(world.account(name)) - cash_before == paid
        assert rewards(world.account(name)) == ([("p", paid)] if paid else [])


def test_the_same_seed_pays_the_same_and_another_seed_looks_at_other_moments() -> None:
    def raw(seed: int) -> Fraction:
        world = a_world()
        world.seed = seed
        program = enrol(world)
        rng = random.Random(1)
        for number in range(SECONDS * 20):
            shake(world, rng)
            world.advance(NOW_US + number * SECOND_US // 20)
        finish(world, program)
        return raw_of(world, CROWD[1])

    assert raw(1) == raw(1)
    assert raw(1) != raw(2)


# --- money ----------------------------------------------------------------------------------------------------------


def test_closed_seconds_pay_nobody_but_stay_in_the_total() -> None:
    world = a_world()
    program = enrol(world)
    quote(world, "us")
    world.advance(NOW_US + 15 * SECOND_US)
    world.life.close_early(world.markets[CENT])
    finish(world, program)
    assert raw_of(world, "us") == 15
    assert rewards(world.account("us")) == [("p", 15_000_000)]


def test_seconds_of_a_delisted_market_are_excluded() -> None:
    world = a_world()
    program = enrol(world)
    quote(world, "us")
    world.advance(NOW_US + 10 * SECOND_US)
    world.delist("KXTEST-26NOV22")
    finish(world, program)
    assert raw_of(world, "us") == 10


def test_a_program_that_began_before_the_exchange_keeps_its_denominator() -> None:
    world = a_world()
    program = enrol(world, start_us=NOW_US - SECONDS * SECOND_US)
    quote(world, "us")
    finish(world, program)
    assert raw_of(world, "us") == 30


@pytest.mark.parametrize(
    ("reward_cc", "cap_cc", "paid_ud"),
    [(9_999, None, 0), (10_000, None, 1_000_000), (10_199, None, 1_010_000), (600_000, 25_000, 2_500_000)],
)
def test_the_floor_the_cent_and_the_cap(reward_cc: int, cap_cc: int | None, paid_ud: int) -> None:
    world = a_world()
    program = enrol(world, period_reward_cc=reward_cc, max_reward_cc=cap_cc)
    quote(world, "us")
    before = cash(world.account("us"))
    finish(world, program)
    assert cash(world.account("us")) - before == paid_ud


def test_F8_another_grid_counts_other_steps_from_its_second_on() -> None:
    world = a_world()
    program = enrol(world)
    quote(world, "us", "50.00")
    place(world, "them", an_order("bid", "0.3900", "100.00"))
    place(world, "them", an_order("ask", "0.6000", "50.00"))
    world.advance(NOW_US + 20 * SECOND_US)
    world.life.restructure(world.markets[CENT], "center_half_edge_half_cent")
    finish(world, program)
    # On bids half against half a cent below: d once, then twice; on asks half and half.
    before, after = Fraction(50, 100), Fraction(50, 75)
    assert raw_of(world, "us") == 20 * (before + Fraction(1, 2)) / 2 + 40 * (after + Fraction(1, 2)) / 2


def test_nothing_is_paid_before_the_run_that_pays() -> None:
    world = a_world()
    program = enrol(world)
    quote(world, "us")
    world.advance(program.paid_us - 1)
    assert program.status(world.now_us) == "closed"
    assert rewards(world.account("us")) == []
    world.advance(program.paid_us)
    assert program.status(world.now_us) == "paid_out"
    assert rewards(world.account("us")) == [("p", 60_000_000)]


def test_programs_of_one_market_may_overlap_and_each_measures_by_its_own_target() -> None:
    world = a_world()
    first = enrol(world)
    enrol(world, program_id="q", start_us=NOW_US + 30 * SECOND_US, end_us=NOW_US + 90 * SECOND_US)
    enrol(world, program_id="too large", target_size_cx=1_000_000)
    quote(world, "us")
    quote(world, "them", "300.00")
    finish(world, first)
    assert raw_of(world, "us") == raw_of(world, "us", "q") == 15
    assert raw_of(world, "us", "too large") == 0


def test_a_volume_program_is_listed_and_pays_nothing() -> None:
    world = a_world()
    program = enrol(world, incentive_type="volume", target_size_cx=None, discount_bps=None)
    quote(world, "us")
    finish(world, program)
    statement = world.incentives.statement("p")
    assert statement is not None
    assert (statement.included, statement.credits, rewards(world.account("us"))) == (0, [], [])


def test_a_liquidity_program_without_a_target_cannot_be_scored() -> None:
    world = a_world()
    program = enrol(world, target_size_cx=None)
    quote(world, "us")
    finish(world, program)
    assert raw_of(world, "us") == 0


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"start_us": NOW_US + 1}, "start_date"), ({"end_us": NOW_US}, "end_date"), ({"paid_us": NOW_US}, "paid"),
        ({"incentive_type": "luck"}, "incentive_type"), ({"period_reward_cc": -1}, "period_reward"),
        ({"target_size_cx": 0}, "target_size_fp"), ({"discount_bps": 10_001}, "discount_factor_bps"),
        ({"max_reward_cc": -1}, "max_reward_per_account"),
    ],
)  # fmt: skip
def test_a_program_no_venue_could_have_is_refused_by_the_name_of_the_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}:"):
        a_program(**changes)


def test_a_program_is_listed_once() -> None:
    world = a_world()
    enrol(world)
    with pytest.raises(ValueError, match="listed already"):
        enrol(world)


def test_the_oldest_paid_programs_leave_the_list() -> None:
    world = a_world()
    for number in range(KEPT + 5):
        enrol(world, program_id=str(number), start_us=NOW_US - 200 * SECOND_US, end_us=NOW_US - 100 * SECOND_US,
              paid_us=NOW_US - 50 * SECOND_US)  # fmt: skip
    assert len(world.programs) == KEPT
    assert next(iter(world.programs)) == "5"
    assert world.incentives.statement("0") is None


@pytest.mark.parametrize("are_self", [True, False])
def test_a_members_subaccounts_are_scored_as_one(are_self: bool) -> None:
    world = a_world()
    world.switches = msgspec.structs.replace(world.switches, subaccounts_are_self=are_self)
    account = world.account("us")
    assert account.open_subaccount(0) is not None
    account.post(Kind.OPENING, 1_000_000_000, (0, 1), at_us=NOW_US)
    program = enrol(world)
    place(world, "us", an_order("bid", "0.4000", "100.00"))
    place(world, "us", an_order("ask", "0.6000", "100.00", subaccount=1))
    finish(world, program)
    assert raw_of(world, "us") == 60
    assert rewards(account) == [("p", 60_000_000)]


def test_paused_seconds_pay_nobody() -> None:
    world = a_world()
    program = enrol(world)
    quote(world, "us")
    world.advance(NOW_US + 10 * SECOND_US)
    world.pause("trading")
    world.advance(NOW_US + 30 * SECOND_US)
    world.resume("trading")
    finish(world, program)
    assert raw_of(world, "us") == 40


# --- cost -----------------------------------------------------------------------------------------------------------


def test_a_book_that_stands_still_is_scored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scored: list[str] = []
    original = Tally._score

    def counted(self: Tally, market: Any) -> Any:
        scored.append(market.ticker)
        return original(self, market)

    monkeypatch.setattr(Tally, "_score", counted)
    world = a_world()
    enrol(world)
    other = enrol(world, program_id="q", market_ticker=TAPERED)
    quote(world, "us")
    quote(world, "us", ticker=TAPERED)
    world.advance(NOW_US + 30 * SECOND_US)
    quote(world, "them")
    finish(world, other)
    assert sorted(scored) == [CENT, CENT, TAPERED]
    assert raw_of(world, "us", "q") == 60


def test_a_long_period_of_ever_new_shares_stays_small_and_keeps_its_cents() -> None:
    world = a_world()
    program = a_program(end_us=NOW_US + 3_000 * SECOND_US, paid_us=NOW_US + 4_000 * SECOND_US)
    tally, market = Tally(program), world.markets[CENT]
    exact = Fraction(0)
    for number in range(3_000):
        shares = {"us": Fraction(1, 3 + number), "them": Fraction(2 + number, 3 + number)}
        tally._score = lambda _market, shares=shares: shares  # type: ignore[method-assign]
        market.book_version += 1
        tally.snapshot(market)
        exact += shares["us"]
    credit = next(c for c in tally.credits() if c.owner == "us")
    raw = exact * 60 / 3_000
    assert not credit.is_exact
    assert abs(credit.raw - raw) < Fraction(1, 10**500)
    assert len(str(credit.raw)) < 4_000


def test_a_sum_held_short_does_not_lose_the_cent_it_reaches() -> None:
    tally = Tally(a_program(period_reward_cc=30_000))
    tally.included, tally.is_exact = 60, False
    tally._sums = {"us": 20 - Fraction(1, 1 << 2_040)}  # a third of each second, held a little low
    (credit,) = tally.credits()
    assert credit.amount_ud == 1_000_000


def test_levels_of_a_recording_belong_to_one_owner_beside_the_accounts() -> None:
    world = a_world()
    market = world.markets[CENT]
    market.displayed = Displayed()
    market.displayed.replace({4_000: 30_000}, {4_000: 10_000})
    program = enrol(world)
    quote(world, "us")
    finish(world, program)
    assert raw_of(world, "us") == Fraction(60) * (Fraction(1, 4) + Fraction(1, 2)) / 2
    assert raw_of(world, RECORDED) == 60 - raw_of(world, "us")
