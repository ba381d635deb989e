"""Every operation of the venue's document: how the client calls it, or why it does not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from feed.kalshi.rest import Rest
from feed.kalshi.wire.orders import AmendOrder, CancelOrder, DecreaseOrder, PlaceOrder
from markets.core.units import Side

TEXT = "text"  # the value of every string that the document leaves free
T = 1_795_337_400_000_000

PLACE = PlaceOrder(
    ticker="KXA-1", client_order_id=TEXT, side=Side.YES, count_cx=100, yes_price_cc=4_300, exchange_index=1,
    expiration_s=1_795_337_400, post_only=True, reduce_only=False, cancel_order_on_pause=True, order_group_id="g",
    subaccount=3,
)  # fmt: skip
CANCEL = CancelOrder(order_id=TEXT, market_ticker="KXA-1", exchange_index=1, subaccount=3)
AMEND = AmendOrder(
    ticker="KXA-1", side=Side.NO, yes_price_cc=4_400, count_cx=100, exchange_index=1, client_order_id=TEXT,
    updated_client_order_id="new", expiration_s=0,
)  # fmt: skip
DECREASE = DecreaseOrder(reduce_to_cx=0, market_ticker="KXA-1", exchange_index=1)

Call = Callable[[Rest], Awaitable[Any]]
SPAN = {"min_us": T, "max_us": T}
CANDLES = {"start_us": T, "end_us": T, "minutes": 60}
CALLS: dict[str, Call] = {
    "GET /exchange/status": lambda rest: rest.exchange.status(),
    "GET /exchange/schedule": lambda rest: rest.exchange.schedule(),
    "GET /exchange/user_data_timestamp": lambda rest: rest.exchange.user_data_timestamp(),
    "GET /series": lambda rest: rest.catalogue.all_series(category="c", tags="t", min_updated_us=T),
    "GET /series/{series_ticker}": lambda rest: rest.catalogue.series("KXA", with_volume=True),
    "GET /series/fee_changes": lambda rest: rest.catalogue.series_fee_changes(series_ticker="K", show_historical=True),
    "GET /events": lambda rest: rest.catalogue.events(
        status="open", series_ticker="KXA", tickers=["A", "B"], with_nested_markets=True, min_close_us=T,
        min_updated_us=T,
    ).all(),
    "GET /events/{event_ticker}": lambda rest: rest.catalogue.event("KXA-1"),
    "GET /events/{event_ticker}/metadata": lambda rest: rest.catalogue.event_metadata("KXA-1"),
    "GET /events/fee_changes": lambda rest: rest.catalogue.event_fee_changes(event_ticker="KXA-1").all(),
    "GET /events/multivariate": lambda rest: rest.catalogue.multivariate_events(
        series_ticker="KXA", collection_ticker="C", with_nested_markets=True
    ).all(),
    "GET /milestones": lambda rest: rest.catalogue.milestones(
        category="c", kind="t", related_event_ticker="e", min_start_us=T
    ).all(),
    "GET /milestones/{milestone_id}": lambda rest: rest.catalogue.milestone("m"),
    "GET /structured_targets": lambda rest: rest.catalogue.structured_targets(kind="t").all(),
    "GET /structured_targets/{structured_target_id}": lambda rest: rest.catalogue.structured_target("s"),
    "GET /incentive_programs": lambda rest: rest.catalogue.incentive_programs(
        status="active", kind="liquidity"
    ).all(),
    "GET /markets": lambda rest: rest.markets.markets(
        status="open", event_ticker="E", series_ticker="S", mve_filter="exclude", created_us=(T, T), close_us=(T, T),
        settled_us=(T, T), updated_us=(T, T),
    ).all(),
    "GET /markets/{ticker}": lambda rest: rest.markets.market("KXA-1.5"),
    "GET /markets/{ticker}/orderbook": lambda rest: rest.markets.book("KXA-1", depth=10),
    "GET /markets/orderbooks": lambda rest: rest.markets.books(["KXA-1", "KXA-2"]),
    "GET /markets/trades": lambda rest: rest.markets.trades(ticker="KXA-1", is_block_trade=False, **SPAN).all(),
    "GET /series/{series_ticker}/markets/{ticker}/candlesticks": lambda rest: rest.markets.candles(
        "KXA", "KXA-1", with_latest_before=True, **CANDLES
    ),
    "GET /markets/candlesticks": lambda rest: rest.markets.candles_of(["A", "B"], with_latest_before=True, **CANDLES),
    "GET /historical/cutoff": lambda rest: rest.history.cutoff(),
    "GET /historical/markets": lambda rest: rest.history.markets(
        tickers=["A"], event_ticker="E", series_ticker="S", mve_filter="exclude"
    ).all(),
    "GET /historical/markets/{ticker}": lambda rest: rest.history.market("KXA-1"),
    "GET /historical/markets/{ticker}/candlesticks": lambda rest: rest.history.candles("KXA-1", **CANDLES),
    "GET /historical/trades": lambda rest: rest.history.trades(ticker="KXA-1", is_block_trade=True, **SPAN).all(),
    "GET /historical/fills": lambda rest: rest.history.fills(ticker="KXA-1", subaccount=0, **SPAN).all(),
    "GET /historical/orders": lambda rest: rest.history.orders(ticker="KXA-1", subaccount=0, **SPAN).all(),
    "GET /historical/positions": lambda rest: rest.history.positions(
        ticker="KXA-1", event_ticker="E", subaccount=0
    ).all(),
    "GET /portfolio/balance": lambda rest: rest.portfolio.balance(subaccount=0, exchange_index=0),
    "GET /portfolio/summary/total_resting_order_value": lambda rest: rest.portfolio.resting_value(),
    "GET /portfolio/positions": lambda rest: rest.portfolio.positions(
        ticker="KXA-1", event_ticker="E", count_filter="position", settlement_status="all", subaccount=0,
        exchange_index=0,
    ).all(),
    "GET /portfolio/orders": lambda rest: rest.portfolio.orders(
        status="resting", ticker="KXA-1", event_ticker=["E", "F"], subaccount=0, exchange_index=0, **SPAN
    ).all(),
    "GET /portfolio/orders/{order_id}": lambda rest: rest.portfolio.order("o"),
    "GET /portfolio/orders/{order_id}/queue_position": lambda rest: rest.portfolio.queue_position_cx("o"),
    "GET /portfolio/orders/queue_positions": lambda rest: rest.portfolio.queue_positions(
        market_tickers=["A", "B"], event_ticker="E", subaccount=0
    ),
    "GET /portfolio/fills": lambda rest: rest.portfolio.fills(
        ticker=["A", "B"], order_id="o", subaccount=0, exchange_index=0, **SPAN
    ).all(),
    "GET /portfolio/settlements": lambda rest: rest.portfolio.settlements(
        ticker="KXA-1", event_ticker="E", subaccount=0, **SPAN
    ).all(),
    "POST /portfolio/events/orders": lambda rest: rest.orders.place(PLACE),
    "DELETE /portfolio/events/orders/{order_id}": lambda rest: rest.orders.cancel(CANCEL),
    "POST /portfolio/events/orders/{order_id}/amend": lambda rest: rest.orders.amend(TEXT, AMEND, subaccount=3),
    "POST /portfolio/events/orders/{order_id}/decrease": lambda rest: rest.orders.decrease(
        TEXT, DECREASE, subaccount=3
    ),
    "POST /portfolio/events/orders/batched": lambda rest: rest.orders.place_all([PLACE]),
    "DELETE /portfolio/events/orders/batched": lambda rest: rest.orders.cancel_many([CANCEL]),
    "DELETE /portfolio/events/orders": lambda rest: rest.orders.cancel_all(subaccount=3),
    "GET /portfolio/order_groups": lambda rest: rest.groups.groups(subaccount=3),
    "POST /portfolio/order_groups/create": lambda rest: rest.groups.create(100, exchange_index=1, subaccount=3),
    "GET /portfolio/order_groups/{order_group_id}": lambda rest: rest.groups.group("g", subaccount=3),
    "PUT /portfolio/order_groups/{order_group_id}/limit": lambda rest: rest.groups.set_limit(
        "g", 200, exchange_index=1, subaccount=3
    ),
    "PUT /portfolio/order_groups/{order_group_id}/reset": lambda rest: rest.groups.reset("g", exchange_index=1),
    "PUT /portfolio/order_groups/{order_group_id}/trigger": lambda rest: rest.groups.trigger("g", exchange_index=1),
    "DELETE /portfolio/order_groups/{order_group_id}": lambda rest: rest.groups.delete("g", exchange_index=1),
    "POST /portfolio/subaccounts": lambda rest: rest.funds.create_subaccount(exchange_index=1),
    "GET /portfolio/subaccounts/balances": lambda rest: rest.funds.subaccount_balances(),
    "POST /portfolio/subaccounts/transfer": lambda rest: rest.funds.transfer_between_subaccounts(
        10_000, from_subaccount=0, to_subaccount=1, client_transfer_id="u", exchange_index=1
    ),
    "GET /portfolio/subaccounts/transfers": lambda rest: rest.funds.subaccount_transfers().all(),
    "GET /portfolio/subaccounts/netting": lambda rest: rest.funds.netting(),
    "PUT /portfolio/subaccounts/netting": lambda rest: rest.funds.set_netting(1, enabled=True),
    "POST /portfolio/intra_exchange_instance_transfer": lambda rest: rest.funds.transfer_between_shards(
        100, from_shard=0, to_shard=1, subaccount=1, to_subaccount=2, client_transfer_id="u"
    ),
    "GET /portfolio/intra_exchange_instance_transfers": lambda rest: rest.funds.transfers().all(),
    "GET /portfolio/intra_exchange_instance_transfers/{transfer_id}": lambda rest: rest.funds.transfer("t"),
    "GET /portfolio/target_balance_allocation": lambda rest: rest.funds.allocation(),
    "POST /portfolio/target_balance_allocation": lambda rest: rest.funds.set_allocation(
        {0: 60, 1: 40}, resting_margin_reservation="max"
    ),
    "GET /account/limits": lambda rest: rest.account.limits(),
    "GET /account/endpoint_costs": lambda rest: rest.account.endpoint_costs(),
    "GET /api_keys": lambda rest: rest.account.keys(),
    "POST /api_keys": lambda rest: rest.account.register_key("n", "PEM", scopes=["read"], subaccount=1),
    "POST /api_keys/generate": lambda rest: rest.account.generate_key("n", scopes=["read"], subaccount=1),
    "DELETE /api_keys/{api_key}": lambda rest: rest.account.delete_key("k"),
}  # fmt: skip

# Operations that a market maker does not need, by the start of their path.
NOT_CALLED = {
    "/communications/": "requests for quotes and block trades: not quoted",
    "/fcm/": "for clearing members",
    "/live_data/": "scores and weather",
    "/search/": "menus of the web site",
    "/multivariate_event_collections": "combos: not quoted",
    "/portfolio/deposits": "money in from outside",
    "/portfolio/withdrawals": "money out",
    "/account/api_usage_level/": "a person asks for another tier",
    "/series/{series_ticker}/events/": "charts of whole events",
}
