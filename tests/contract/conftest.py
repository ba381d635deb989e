"""Contract tests ask what the tables of `feed/kalshi/README.md` say that they ask."""

from __future__ import annotations

from venuetable import asks_what_the_table_says

__all__ = ["asks_what_the_table_says"]
