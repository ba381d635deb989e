"""The venue's channels: their names, and which of them a frame belongs to.

    channel                        frames                                          sequence  markets
    orderbook_delta                orderbook_snapshot, orderbook_delta             yes       required
    trade                          trade                                           yes       optional
    ticker                         ticker                                          no        optional
    market_lifecycle_v2            the same, event_lifecycle, event_fee_update     yes       all, no combos
    multivariate_market_lifecycle  the same                                        yes       all combos
    fill                           fill                                            no        private
    user_orders                    user_order                                      no        private
    market_positions               market_position                                 no        private
    order_group_updates            the same                                        yes       private
    communications                 rfq_*, quote_*: kept as unknown                 yes       private in part

Source: facts.md sections 12.5 and 12.7; asyncapi.yaml 3.34.
"""

from __future__ import annotations

BOOK = "orderbook_delta"
TRADE = "trade"
TICKER = "ticker"
LIFECYCLE = "market_lifecycle_v2"
COMBO_LIFECYCLE = "multivariate_market_lifecycle"
FILL = "fill"
ORDERS = "user_orders"
POSITIONS = "market_positions"
GROUPS = "order_group_updates"

MARKET_CHANNELS = (BOOK, TRADE, TICKER)
PRIVATE_CHANNELS = (FILL, ORDERS, POSITIONS, GROUPS)
