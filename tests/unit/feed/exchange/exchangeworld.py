"""Small worlds for tests of the local exchange: no crowd, no sockets, time only as it is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from feed.exchange.catalog import Event, Series, Terms
from feed.exchange.happenings import Private
from feed.exchange.market import Market
from feed.exchange.switches import Switches
from feed.exchange.trading.accounts import Account, Order
from feed.exchange.trading.ledger import Kind
from feed.exchange.trading.orders import GTC, STP_TAKER, Amended, Amendment, NewOrder, Placed, Refusal
from feed.exchange.world import World
from markets.core.units import DOLLAR_UD, Side, parse_count, parse_price

NOW_US = 1_795_337_400_000_000
MINUTE_US = 60_000_000
CENT, TAPERED = "KXTEST-26NOV22-A", "KXTEST-26NOV22-B"


def a_world(
    *, now_us: int = NOW_US, fee_type: str = "quadratic", exchange_index: int = 0, seed: int = 1, **switches: Any
) -> World:
    """One event with a cent market and a tapered one, both open for an hour, and nobody in them."""
    world = World(seed=seed, now_us=now_us, switches=Switches(**switches))
    source = ("Somebody", "https://example.invalid/")
    series = Series("KXTEST", "Test", "Tests", ("Unit",), "custom", source, fee_type, exchange_index=exchange_index)
    world.series[series.ticker] = series
    world.list_event(Event("KXTEST-26NOV22", "KXTEST", "Test?", "", "MECNET", now_us, now_us, exchange_index))
    for ticker, structure in ((CENT, "linear_cent"), (TAPERED, "tapered_deci_cent")):
        terms = a_market(ticker, structure, now_us, exchange_index)
        world.list_market(terms, judge=lambda: "yes", determine_after_us=MINUTE_US)
    world.take()
    return world


def a_market(ticker: str, structure: str, now_us: int, exchange_index: int) -> Terms:
    return Terms(
        ticker=ticker,
        market_id=f"id-of-{ticker}",
        event_ticker="KXTEST-26NOV22",
        title="Test?",
        yes_sub_title="Yes",
        no_sub_title="No",
        rules_primary="If so.",
        rules_secondary="",
        created_us=now_us,
        open_us=now_us,
        close_us=now_us + 60 * MINUTE_US,
        expected_expiration_us=now_us + 60 * MINUTE_US,
        latest_expiration_us=now_us + 120 * MINUTE_US,
        settlement_timer_s=60,
        structure=structure,
        exchange_index=exchange_index,
    )


def an_order(side: str, price: str, count: str = "10.00", **changes: Any) -> NewOrder:
    """Return a create request in the wire's words: `bid` or `ask`, YES price, count."""
    fields: dict[str, Any] = {"ticker": CENT, "time_in_force": GTC, "self_trade_prevention": STP_TAKER}
    return NewOrder(
        side=Side.YES if side == "bid" else Side.NO,
        yes_price_cc=parse_price(price),
        count_cx=parse_count(count),
        **(fields | changes),
    )


def place(world: World, who: str, order: NewOrder) -> Placed:
    """Place an order that must be accepted."""
    result = world.entry.place(world.account(who), order)
    assert isinstance(result, Placed), result
    return result


def refused(world: World, who: str, order: NewOrder) -> Refusal:
    """Place an order that must be refused."""
    result = world.entry.place(world.account(who), order)
    assert isinstance(result, Refusal), result
    return result


def an_amendment(order: Order, price: str, total: str, **changes: Any) -> Amendment:
    """Return an amend of `order` to a YES price and a total count."""
    fields: dict[str, Any] = {"ticker": order.ticker, "side": order.side}
    return Amendment(yes_price_cc=parse_price(price), total_cx=parse_count(total), **(fields | changes))


def amend(world: World, order: Order, price: str, total: str, **changes: Any) -> Amended:
    """Amend an order; it must be accepted."""
    account = world.accounts[order.account]
    result = world.entry.amend(account, order.order_id, an_amendment(order, price, total, **changes))
    assert isinstance(result, Amended), result
    return result


def amend_refused(world: World, order: Order, price: str, total: str, **changes: Any) -> Refusal:
    """Amend an order; it must be refused."""
    account = world.accounts[order.account]
    result = world.entry.amend(account, order.order_id, an_amendment(order, price, total, **changes))
    assert isinstance(result, Refusal), result
    return result


def told(world: World, channel: str, who: str = "us") -> list[dict[str, Any]]:
    """Return the messages of one account on a private channel since the last look; everything else is forgotten."""
    return [h.body for h in world.take() if isinstance(h, Private) and (h.channel, h.account) == (channel, who)]


def fund(world: World, who: str, subaccount: int, *, exchange_index: int = 0) -> None:
    """Open subaccounts up to a number and give that one a hundred dollars."""
    account = world.account(who)
    while subaccount not in account.subaccounts:
        account.open_subaccount(exchange_index)
    account.post(Kind.DEPOSIT, 100 * DOLLAR_UD, (exchange_index, subaccount), at_us=world.now_us)


def cash(account: Account) -> int:
    return sum(account.cash_ud.values())


def top(market: Market) -> tuple[int, int]:
    """Return best YES bid and best NO bid in centi-cents."""
    return market.best_cc(Side.YES), market.best_cc(Side.NO)


def a_recording(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path
