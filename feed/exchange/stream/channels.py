"""The channels of the venue, and what each carries. Source: asyncapi.yaml; facts.md 12.5 and 12.7."""

from __future__ import annotations

# Messages of these count up in their subscription.
SEQUENCED = frozenset(
    {
        *("orderbook_delta", "trade", "market_lifecycle_v2", "order_group_updates"),
        *("multivariate_market_lifecycle", "communications"),
    }
)
MARKET_CHANNELS = frozenset({"orderbook_delta", "ticker", "trade"})
PRIVATE_TYPES = {
    "fill": "fill",
    "user_orders": "user_order",
    "market_positions": "market_position",
    "order_group_updates": "order_group_updates",
}
# All markets, whatever the command names.
UNFILTERED = frozenset({"market_lifecycle_v2", "order_group_updates"})
# Feeds of outside numbers, by the parameter that names what is wanted of them.
INDEX_CHANNELS = {
    "cfbenchmarks_value": "index_ids",
    "cfbenchmarks_value_5hz": "index_ids",
    "pyth_value": "underlying_tickers",
}
# Of parts of the venue that are not here: they subscribe and stay silent.
SILENT = frozenset({"multivariate_market_lifecycle", "communications", *INDEX_CHANNELS})
CHANNELS = MARKET_CHANNELS | PRIVATE_TYPES.keys() | UNFILTERED | SILENT
