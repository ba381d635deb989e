"""Where history came from, how far it is stored, and what is missing from it."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class Connection(models.Model):
    """A WebSocket connection's small number in the history tables.

    `identity` is 63 bits: live, connect time and random; recorded, a hash of recording and connection ordinal,
    so that a second replay meets its own rows.
    """

    id = models.AutoField(primary_key=True)
    identity = models.BigIntegerField(unique=True)
    first_seen_at = models.DateTimeField(auto_now_add=True, db_default=Now())
    stored_until = models.DateTimeField(
        null=True, help_text="Everything that it told up to then is stored, also where nothing happened."
    )

    def __str__(self) -> str:
        return f"{self.identity:016x}"


class Watermark(models.Model):
    """The last stream entry whose rows are stored, written in the same transaction as the rows."""

    pk = models.CompositePrimaryKey("stream", "generation")
    stream = models.CharField(max_length=160)
    generation = models.CharField(max_length=32, help_text="Of the Redis store the ids belong to.")
    entry_id = models.CharField(max_length=48)
    entry_number = models.BigIntegerField(
        null=True, help_text="How many entries the stream had been given with it: what is trimmed unread shows."
    )
    updated_at = models.DateTimeField()


class FeedGap(models.Model):
    """Something that is missing from the history, or could not be trusted."""

    time = models.DateTimeField(db_index=True)
    ticker = models.CharField(max_length=128, blank=True, help_text="Empty: a whole subscription or stream.")
    connection = models.ForeignKey(Connection, null=True, on_delete=models.CASCADE)
    reason = models.CharField(max_length=200)
    sid = models.IntegerField(default=0)
    expected = models.BigIntegerField(default=0)
    received = models.BigIntegerField(default=0)

    class Meta:
        ordering = ["-time"]
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "ticker", "sid", "expected", "received", "reason", "time"],
                name="feed_gap_once",
                nulls_distinct=False,
            )
        ]


class MalformedFrame(models.Model):
    """A frame that could not be used, kept as it came, with the reason."""

    time = models.DateTimeField(db_index=True)
    connection = models.ForeignKey(Connection, null=True, on_delete=models.CASCADE)
    reason = models.TextField()
    frame = models.BinaryField()
    digest = models.BigIntegerField()

    class Meta:
        ordering = ["-time"]
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "time", "digest"], name="malformed_once", nulls_distinct=False
            )
        ]
