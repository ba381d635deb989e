"""What a request needs: a key or none, a scope, and from which bucket it is paid. Sources: facts.md 2.3, 2.4 and 3."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from feed.exchange.budgets import COSTS, DEFAULT_COST, UNSCOPED

PRIVATE = (
    "/portfolio/", "/api_keys", "/account/", "/communications/",
    "/historical/fills", "/historical/orders", "/historical/positions",
)  # fmt: skip
PUBLIC = ("/account/endpoint_costs",)
BOOKS = ("/markets/{}/orderbook", "/markets/orderbooks")

ORDERS = "/portfolio/events/orders"
BATCH = f"{ORDERS}/batched"
SINGLE_WRITES = {
    ("POST", ORDERS): "ticker",
    ("DELETE", f"{ORDERS}/{{}}"): "market_ticker",
    ("POST", f"{ORDERS}/{{}}/amend"): "ticker",
    ("POST", f"{ORDERS}/{{}}/decrease"): "market_ticker",
}
TRADING = (ORDERS, "/portfolio/order_groups", "/portfolio/orders", "/communications/")
TRANSFERS = (
    "/portfolio/subaccounts/transfer",
    "/portfolio/intra_exchange_instance_transfer",
    "/portfolio/target_balance_allocation",
)
# What nobody may trade through the API once the account's location attestation has lapsed (facts.md 2.3).
ATTESTED_CATEGORIES = ("Sports", "Elections", "Entertainment")
# A key pinned to one subaccount may read and trade there, and nothing else.
UNPINNED_ONLY = ("/api_keys", "/portfolio/subaccounts", *TRANSFERS[1:])

_COSTS = {(method, re.sub(r"\{[^}]*\}", "{}", path)): cost for (method, path), cost in COSTS.items()}


class Rule(msgspec.Struct, frozen=True):
    """What one operation asks of its caller; `scopes`: any of them will do."""

    method: str
    path: str
    needs_key: bool
    scopes: tuple[str, ...]
    is_write: bool
    cost: int
    takes_pinned: bool

    @property
    def is_book(self) -> bool:
        return self.path in BOOKS

    @property
    def is_batch(self) -> bool:
        return self.path == BATCH


@functools.cache
def rule_of(method: str, path: str) -> Rule:
    """Return the rule of an operation: method, and path below /trade-api/v2 with its `{names}`."""
    method, path = "GET" if method == "HEAD" else method, re.sub(r"\{[^}]*\}", "{}", path)
    private = path.startswith(PRIVATE) and path not in PUBLIC
    return Rule(
        method=method,
        path=path,
        needs_key=private,
        scopes=_scopes(method, path) if private else (),
        is_write=method != "GET" and (path.startswith(TRADING) or path == "/account/api_usage_level/upgrade"),
        cost=_COSTS.get((method, path), DEFAULT_COST),
        takes_pinned=not (path.startswith(UNPINNED_ONLY) and (method != "GET" or path.startswith("/api_keys"))),
    )


def _scopes(method: str, path: str) -> tuple[str, ...]:
    if method == "GET":
        return ("read", "read::portfolio_balance") if path == "/portfolio/balance" else ("read",)
    if path.startswith(TRANSFERS):
        return ("write", "write::transfer")
    return ("write", "write::trade") if path.startswith(TRADING) else ("write",)


def items_in(rule: Rule, body: Any) -> int:
    """Return how many times an operation's cost a request is charged: a batch once an item."""
    orders = body.get("orders") if rule.is_batch and isinstance(body, dict) else None
    return max(1, len(orders)) if isinstance(orders, list) else 1


def shard_of(rule: Rule, query: Mapping[str, str], body: Any) -> int | None:
    """Return the shard a write is billed to; None where the exchange has to find it, which bills all.

    Only a write of one order can name a shard: in its body, or in the query of a cancel.
    """
    ticker_name = SINGLE_WRITES.get((rule.method, rule.path))
    if ticker_name is None:
        return UNSCOPED
    fields: Mapping[str, Any] = query if rule.method == "DELETE" else body if isinstance(body, dict) else {}
    index = fields.get("exchange_index")
    if index in (None, ""):
        return None if fields.get(ticker_name) else UNSCOPED
    if not re.fullmatch(r"-?\d{1,6}", str(index), re.ASCII):
        return UNSCOPED
    return None if int(index) == -1 else int(index)


def tickers_ordered(rule: Rule, body: Any) -> list[str]:
    """Return the markets in which a request would place orders."""
    if (rule.method, rule.path) not in (("POST", ORDERS), ("POST", BATCH)) or not isinstance(body, dict):
        return []
    orders = body.get("orders") if rule.is_batch else [body]
    parts = [part for part in orders if isinstance(part, dict)] if isinstance(orders, list) else []
    return [part["ticker"] for part in parts if isinstance(part.get("ticker"), str)]


def foreign_subaccount(pinned: int, query: Mapping[str, str], body: Any) -> bool:
    """Return whether a request names another subaccount than the one its key is pinned to."""
    named = [query.get("subaccount")]
    if isinstance(body, dict):
        orders = body.get("orders")
        parts = [body, *(orders if isinstance(orders, list) else ())]
        named += [part.get("subaccount") for part in parts if isinstance(part, dict)]
    return any(value not in (None, "") and str(value) != str(pinned) for value in named)
