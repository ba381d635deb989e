"""Error codes of WebSocket commands: what each means and what helps.

Source: facts.md section 12.4 (2026-10); 6, 16 and 17 are retired and never sent.
"""

from __future__ import annotations

import enum


class Code(enum.IntEnum):
    CANNOT_PROCESS = 1  # bad JSON or a wrong type
    PARAMS_REQUIRED = 2
    CHANNELS_REQUIRED = 3
    SIDS_REQUIRED = 4
    UNKNOWN_COMMAND = 5
    UNKNOWN_SID = 7
    UNKNOWN_CHANNEL = 8
    ACCESS_REQUIRED = 9
    CHANNEL_ERROR = 10
    INVALID_PARAMETER = 11
    ONE_SID_REQUIRED = 12
    UNSUPPORTED_ACTION = 13
    TICKER_REQUIRED = 14
    ACTION_REQUIRED = 15
    COMMAND_TIMEOUT = 18
    SHARD_FACTOR_ABOVE_ZERO = 19
    SHARD_FACTOR_REQUIRED = 20
    SHARD_KEY_RANGE = 21
    SHARD_FACTOR_LIMIT = 22
    MATCH_IDS_REQUIRED = 23
    INDEX_IDS_REQUIRED = 24
    BUFFER_OVERFLOW = 25  # we read too slowly
    MARKET_LIMIT = 26  # of one subscription
    TOO_MANY_COMMANDS = 27
    UNDERLYING_TICKERS_REQUIRED = 28


class Remedy(enum.Enum):
    """What to do about a refused command."""

    RESUBSCRIBE = "the subscription is dead: subscribe anew, and take nothing of it for current"
    SEND_SLOWER = "the same command again, later and with more time between"
    FEWER_MARKETS = "this subscription is full: the rest needs another connection"
    ASK_AGAIN = "nobody knows whether it was done: list the subscriptions, then decide"
    CHECK_KEY = "the key may not see this channel: another key, not another try"
    OUR_MISTAKE = "the command is wrong: the same one will be refused again"


_REMEDIES: dict[int, Remedy] = {
    Code.UNKNOWN_SID: Remedy.RESUBSCRIBE,
    Code.CHANNEL_ERROR: Remedy.RESUBSCRIBE,
    Code.BUFFER_OVERFLOW: Remedy.RESUBSCRIBE,
    Code.COMMAND_TIMEOUT: Remedy.ASK_AGAIN,
    Code.TOO_MANY_COMMANDS: Remedy.SEND_SLOWER,
    Code.MARKET_LIMIT: Remedy.FEWER_MARKETS,
    Code.ACCESS_REQUIRED: Remedy.CHECK_KEY,
}
TERMINAL = frozenset(code for code, remedy in _REMEDIES.items() if remedy is Remedy.RESUBSCRIBE)


def remedy(code: int) -> Remedy:
    """Return what helps; a code that no document knows is taken for a mistake of ours, so that nobody insists."""
    return _REMEDIES.get(code, Remedy.OUR_MISTAKE)
