"""History of the books, written by the writer alone, by COPY.

Hypertables on TimescaleDB, ordinary tables on plain PostgreSQL, the same primary keys on both (design.md section 6).
`market` and `conn` are small integers from dictionary tables that the writer fills in the same transaction.
Prices are centi-cents of the side's own ladder unless the name says `yes_`; counts are hundredths of a contract.
"""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from timescale.db.models.fields import TimescaleDateTimeField


class MarketKey(models.Model):
    """A market's small number in the history tables."""

    id = models.AutoField(primary_key=True)
    ticker = models.CharField(max_length=128, unique=True)

    def __str__(self) -> str:
        return self.ticker


class BookDelta(models.Model):
    """A signed change of one level."""

    pk = models.CompositePrimaryKey("time", "market", "conn", "seq")
    time = TimescaleDateTimeField(interval="1 day", help_text="Exchange time; `time_source` says how we know it.")
    market = models.IntegerField()
    conn = models.IntegerField()
    seq = models.BigIntegerField()
    side = models.SmallIntegerField(help_text="0 Yes ladder, 1 No ladder.")
    time_source = models.SmallIntegerField()
    price_cc = models.IntegerField()
    delta_cx = models.BigIntegerField()

    class Meta:
        db_table = "markets_book_delta"


class BookSnapshot(models.Model):
    """A whole book; prices and counts of a side are parallel arrays.

    The venue's, or at least once in each 60 s of deltas the gateway's own: then `seq` and `time` are those of the last
    event that the book contains.
    """

    pk = models.CompositePrimaryKey("time", "market", "conn", "seq")
    time = TimescaleDateTimeField(interval="1 day")
    market = models.IntegerField()
    conn = models.IntegerField()
    seq = models.BigIntegerField()
    time_source = models.SmallIntegerField()
    yes_price_cc = ArrayField(models.IntegerField())
    yes_count_cx = ArrayField(models.BigIntegerField())
    no_price_cc = ArrayField(models.IntegerField(), help_text="At No prices.")
    no_count_cx = ArrayField(models.BigIntegerField())
    is_ours = models.BooleanField(
        default=False, db_default=False, help_text="Written by the gateway from its own book, not sent by the venue."
    )

    class Meta:
        db_table = "markets_book_snapshot"


class Ticker(models.Model):
    """A ticker message; an empty column is a field the venue did not send."""

    pk = models.CompositePrimaryKey("time", "market", "conn", "digest")
    time = TimescaleDateTimeField(interval="1 day")
    market = models.IntegerField()
    conn = models.IntegerField()
    digest = models.BigIntegerField(help_text="63 bits over the message: tickers carry no sequence.")
    time_source = models.SmallIntegerField()
    last_yes_price_cc = models.IntegerField(null=True)
    yes_bid_cc = models.IntegerField(null=True)
    yes_ask_cc = models.IntegerField(null=True)
    yes_bid_cx = models.BigIntegerField(null=True)
    yes_ask_cx = models.BigIntegerField(null=True)
    last_count_cx = models.BigIntegerField(null=True)
    volume_cx = models.BigIntegerField(null=True)
    open_interest_cx = models.BigIntegerField(null=True)

    class Meta:
        db_table = "markets_ticker"


class Trade(models.Model):
    """A print: one per trade id, whatever connection told us."""

    pk = models.CompositePrimaryKey("time", "market", "trade_id")
    time = TimescaleDateTimeField(interval="7 days")
    market = models.IntegerField()
    trade_id = models.CharField(max_length=64)
    time_source = models.SmallIntegerField()
    yes_price_cc = models.IntegerField()
    count_cx = models.BigIntegerField()
    taker_side = models.SmallIntegerField(help_text="Ladder the taker bought on: 0 Yes, 1 No.")
    is_block = models.BooleanField()

    class Meta:
        db_table = "markets_trade"
