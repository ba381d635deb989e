"""The latest of each account as the desk tells it, written by the writer alone, from `kmm:account:{id}`.

`told_at` is the time of the stream entry a row comes from, by Redis' clock: an older one never wins. Empty is unknown,
not zero. Orders and fills stand in the tables of `traders`, which they share with the traders' journals.
"""

from __future__ import annotations

from django.db import models

UNKNOWN = "Empty: unknown."


class _Told(models.Model):
    account = models.CharField(max_length=64)
    told_at = models.DateTimeField()

    class Meta:
        abstract = True


class AccountState(_Told):
    """How far the account's truth can be trusted; its cash stands in AccountBalance."""

    state = models.CharField(max_length=16, help_text="live: channel and polls; polling: no channel; blind.")
    reason = models.TextField(blank=True)
    user_data_at = models.DateTimeField(null=True, help_text="Reads show everything up to this time of the venue's.")
    attestation_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["account"]
        constraints = [models.UniqueConstraint(fields=["account"], name="account_state_once")]


class AccountBalance(_Told):
    """Cash of a subaccount on one shard; shard −1 is all of the primary one's."""

    ALL = -1

    subaccount = models.IntegerField(default=0, db_default=0)
    exchange_index = models.IntegerField(help_text="−1: all shards together.")
    balance_ud = models.BigIntegerField(help_text="Micro-dollars.")

    class Meta:
        ordering = ["account", "subaccount", "exchange_index"]
        constraints = [models.UniqueConstraint(fields=["account", "subaccount", "exchange_index"], name="balance_once")]


class Position(_Told):
    """A net position, + Yes, − No."""

    ticker = models.CharField(max_length=128, db_index=True)
    subaccount = models.IntegerField()
    position_cx = models.BigIntegerField()
    cost_ud = models.BigIntegerField(null=True, help_text=UNKNOWN)
    realized_ud = models.BigIntegerField(null=True, help_text=UNKNOWN)
    fees_ud = models.BigIntegerField(null=True, help_text=UNKNOWN)
    is_agreed = models.BooleanField(help_text="Private channel and polls say the same.")

    class Meta:
        ordering = ["account", "ticker"]
        constraints = [models.UniqueConstraint(fields=["account", "ticker", "subaccount"], name="position_once")]


class Settlement(_Told):
    """What a market paid a subaccount. Of account `paper` that is a dry-run trader, whose journal tells it."""

    ticker = models.CharField(max_length=128, db_index=True)
    subaccount = models.IntegerField()
    result = models.CharField(max_length=16)
    yes_cx = models.BigIntegerField()
    yes_cost_ud = models.BigIntegerField()
    no_cx = models.BigIntegerField()
    no_cost_ud = models.BigIntegerField()
    revenue_ud = models.BigIntegerField()
    fee_ud = models.BigIntegerField()
    value_cc = models.IntegerField(null=True, help_text="Worth of one Yes contract. Empty: unknown.")
    settled_at = models.DateTimeField(db_index=True)

    class Meta:
        ordering = ["-settled_at"]
        constraints = [models.UniqueConstraint(fields=["account", "ticker", "subaccount"], name="settlement_once")]


class QueuePosition(_Told):
    """How many contracts are ahead of a resting order."""

    order_id = models.CharField(max_length=64)
    ahead_cx = models.BigIntegerField(help_text="0: first in line.")
    as_of = models.DateTimeField()

    class Meta:
        ordering = ["account", "order_id"]
        constraints = [models.UniqueConstraint(fields=["account", "order_id"], name="queue_position_once")]


class OrderGroup(_Told):
    """An order group; `event` is the venue's newest word on it."""

    group_id = models.CharField(max_length=64)
    event = models.CharField(max_length=32)
    limit_cx = models.BigIntegerField(null=True, help_text=UNKNOWN)
    is_triggered = models.BooleanField(null=True, help_text=UNKNOWN)
    exchange_index = models.IntegerField(null=True, help_text=UNKNOWN)

    class Meta:
        ordering = ["account", "group_id"]
        constraints = [models.UniqueConstraint(fields=["account", "group_id"], name="order_group_once")]


class AccountDifference(_Told):
    """Polling found what the private channel should have told: an order or fill by its id, or a market."""

    kind = models.CharField(max_length=32)
    subject = models.CharField(max_length=160)
    detail = models.TextField()
    found_at = models.DateTimeField(db_index=True)

    class Meta:
        ordering = ["-found_at"]
        constraints = [
            models.UniqueConstraint(fields=["account", "kind", "subject", "found_at"], name="difference_once")
        ]
