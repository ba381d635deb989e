"""Traders' journals: orders, fills, decisions, samples. Every statement may be repeated: an older line never wins."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from feed import schema
from feed.sinks.base import Entry, Gathered, to_time
from feed.sinks.dictionary import Dictionary
from feed.sinks.orders import INSERT_FILL_NOTED, LIVE, UPSERT_ORDER_NOTED, noted_fill, noted_order
from kalshimm.runtime.database import AsyncConnection

INSERT_DECISION = """
INSERT INTO traders_decision (time, trader, number, kind, reason, figures) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT DO NOTHING
"""

_FIGURES = schema.RateSample.__struct_fields__
INSERT_SAMPLE = (
    f"INSERT INTO traders_ratesample (time, trader, mode, market, {', '.join(_FIGURES)}) "  # noqa: S608 - own names
    f"VALUES (%s, %s, %s, {', '.join(['%s'] * (len(_FIGURES) + 1))}) ON CONFLICT DO NOTHING"
)

# Of the account `paper` each trader has a part of its own, as a subaccount would be: it goes by the trader's number.
# What a live market paid, its account's own stream tells.
INSERT_SETTLEMENT = """
INSERT INTO feed_settlement (account, ticker, subaccount, result, yes_cx, yes_cost_ud, no_cx, no_cost_ud, revenue_ud,
    fee_ud, value_cc, settled_at, told_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (account, ticker, subaccount) DO NOTHING
"""

RAISE_MARK = """
INSERT INTO traders_journalmark (trader, number) VALUES (%s, %s)
ON CONFLICT (trader) DO UPDATE SET number = greatest(traders_journalmark.number, excluded.number)
"""

COUNTED = {
    UPSERT_ORDER_NOTED: "orders", INSERT_FILL_NOTED: "fills", INSERT_DECISION: "decisions", INSERT_SAMPLE: "samples",
    INSERT_SETTLEMENT: "settlements",
}  # fmt: skip


class JournalSink:
    """All traders' journal lines; remembers the highest committed number of each for its acknowledgement."""

    stream = schema.JOURNAL
    is_trimmed = True

    def __init__(self) -> None:
        self.acknowledged: dict[int, int] = {}
        self._fresh: dict[int, int] = {}
        self._markets = Dictionary("markets_marketkey", "ticker", "varchar")

    def decode(self, entry: Entry) -> schema.JournalEntry:
        decoded = schema.decode_journal(entry.payload)
        if decoded.version != schema.VERSION:
            raise ValueError(f"journal version {decoded.version}, expected {schema.VERSION}")
        return decoded

    def batch(self, connection: AsyncConnection) -> Gathered:
        return Gathered(self, connection)

    async def store(self, connection: AsyncConnection, values: list[Any]) -> Counter[str]:
        lines: list[schema.JournalEntry] = values
        sampled = {line.ticker for line in lines if isinstance(line.body, schema.RateSample)}
        await self._markets.resolve(connection, sampled)
        groups: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)
        self._fresh = {}
        for line in lines:
            statement, row = self._statement(line)
            groups[statement].append(row)
            if isinstance(line.body, schema.SettledState) and line.mode != LIVE:
                groups[INSERT_SETTLEMENT].append(_settlement(line, line.body))
            self._fresh[line.trader] = max(line.number, self._fresh.get(line.trader, 0))
        stored: Counter[str] = Counter()
        async with connection.cursor() as cursor:
            for statement, rows in groups.items():
                await cursor.executemany(statement, rows)
                stored[COUNTED[statement]] += cursor.rowcount
            await cursor.executemany(RAISE_MARK, list(self._fresh.items()))
        return stored

    async def load(self, connection: AsyncConnection) -> None:
        """Take over what earlier writers have stored: traders wait for its acknowledgement."""
        cursor = await connection.execute("SELECT trader, number FROM traders_journalmark")
        self.acknowledged = dict(await cursor.fetchall())
        await self._markets.load(connection)

    def committed(self) -> None:
        for trader, number in self._fresh.items():
            self.acknowledged[trader] = max(number, self.acknowledged.get(trader, 0))
        self._fresh = {}
        self._markets.committed()

    def rolled_back(self) -> None:
        self._fresh = {}
        self._markets.rolled_back()

    def _statement(self, line: schema.JournalEntry) -> tuple[str, tuple[Any, ...]]:
        """Return the statement that stores a line, with its values."""
        time, body = to_time(line.time_us), line.body
        match body:
            case schema.OrderState():
                return UPSERT_ORDER_NOTED, noted_order(line, body)
            case schema.FillState():
                return INSERT_FILL_NOTED, noted_fill(line, body)
            case schema.Decision():
                figures = Jsonb({**body.figures, "repeats": body.repeats})
                return INSERT_DECISION, (time, line.trader, line.number, "decision", body.reason, figures)
            case schema.StateChange():
                return INSERT_DECISION, (time, line.trader, line.number, body.state, body.reason, Jsonb({}))
            case schema.CommandAnswer():
                kind = "done" if body.is_done else "refused"
                command = Jsonb({"command": body.command_id})
                return INSERT_DECISION, (time, line.trader, line.number, kind, body.reason, command)
            case schema.LatchChange():
                kind = "latched" if body.is_on else "released"
                latch = Jsonb({**body.figures, "code": body.code, "at_us": body.at_us, "by": body.by})
                return INSERT_DECISION, (time, line.trader, line.number, kind, body.reason, latch)
            case schema.ParamsChange():
                told = Jsonb({"strategies": body.strategies, "limits": body.limits, "digest": body.digest})
                return INSERT_DECISION, (time, line.trader, line.number, "params", body.reason, told)
            case schema.OrderIntent() | schema.OrderSent() | schema.OrderAnswer():
                return INSERT_DECISION, (time, line.trader, line.number, *_about_intent(body))
            case schema.SettledState():
                paid = msgspec.structs.asdict(body)
                reason = paid.pop("reason")
                return INSERT_DECISION, (time, line.trader, line.number, "settled", reason, Jsonb(paid))
            case schema.RateSample():
                market = self._markets.numbers[line.ticker]
                return INSERT_SAMPLE, (time, line.trader, line.mode, market, *msgspec.structs.astuple(body))


def _about_intent(body: schema.OrderIntent | schema.OrderSent | schema.OrderAnswer) -> tuple[str, str, Jsonb]:
    """Return kind, reason and figures of a line about an intent; what it does not say is left out."""
    figures = {name: value for name, value in msgspec.structs.asdict(body).items() if value not in (None, "")}
    match body:
        case schema.OrderIntent():
            return "intent", f"{body.verb} {body.reason}".rstrip(), Jsonb(figures)
        case schema.OrderSent():
            return "sent", "", Jsonb(figures)
        case schema.OrderAnswer():
            return "answered", f"{body.outcome} {body.code}".rstrip(), Jsonb(figures)


def _settlement(line: schema.JournalEntry, body: schema.SettledState) -> tuple[Any, ...]:
    """Return the values of INSERT_SETTLEMENT; as the venue has it, the fee is that of all fills and of the payout."""
    is_yes = body.position_cx >= 0
    held, cost = abs(body.position_cx), body.cost_ud
    yes, no = ((held, cost), (0, 0)) if is_yes else ((0, 0), (held, cost))
    paid = (body.paid_ud, body.fees_ud, body.value_cc, to_time(body.settled_us), to_time(line.time_us))
    return (line.account, line.ticker, line.trader, body.result, *yes, *no, *paid)
