"""Operating kalshimm: one-time logins, audit, service logs and beats."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.conf import settings
from django.db import models
from django.utils import timezone
from timescale.db.models.fields import TimescaleDateTimeField

LOGIN_LINK_LIFE = timedelta(minutes=30)


class LoginLink(models.Model):
    """A link that logs its user in once; only a hash of its token is stored."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    token_hash = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    @classmethod
    def issue(cls, user: models.Model) -> str:
        """Make a link for `user` and return its token, which is shown nowhere else."""
        token = secrets.token_urlsafe(32)
        cls.objects.create(user=user, token_hash=cls.digest(token), expires_at=timezone.now() + LOGIN_LINK_LIFE)
        return token

    @staticmethod
    def digest(token: str) -> str:
        return hashlib.sha256(token.encode()).hexdigest()

    @classmethod
    def redeem(cls, token: str) -> models.Model | None:
        """Return the user of a link that is fresh and unused, using it up; None otherwise."""
        now = timezone.now()
        digest = cls.digest(token)
        used = cls.objects.filter(token_hash=digest, used_at=None, expires_at__gt=now).update(used_at=now)
        return cls.objects.get(token_hash=digest).user if used else None


class AuditRow(models.Model):
    """Who changed what, written in the same transaction as the change."""

    time = models.DateTimeField(auto_now_add=True, db_index=True)
    actor = models.CharField(max_length=150, help_text="User name, or the command or worker that acted.")
    action = models.CharField(max_length=64)
    subject = models.CharField(max_length=200)
    detail = models.JSONField(default=dict)

    class Meta:
        ordering = ["-time"]


class ServiceLog(models.Model):
    """A log record of any process: services by role, traders as role `trader` and their number."""

    pk = models.CompositePrimaryKey("time", "entry_id")
    time = TimescaleDateTimeField(interval="1 day")
    entry_id = models.CharField(max_length=48, help_text="Stream entry it came in.")
    role = models.CharField(max_length=32)
    name = models.CharField(max_length=64)
    pid = models.IntegerField()
    level = models.CharField(max_length=10)
    logger = models.CharField(max_length=128)
    message = models.TextField()
    fields = models.JSONField()

    class Meta:
        db_table = "ops_service_log"


class BeatRow(models.Model):
    """One beat a minute of every worker: that its loop ran, how late it came and what it had counted.

    The role's own summary for the pages is left out: it is large, in a schema of its own, and its history lies in rate
    samples and decisions.
    """

    pk = models.CompositePrimaryKey("time", "role", "name")
    time = TimescaleDateTimeField(interval="7 days", help_text="When the worker wrote it, by its wall clock.")
    role = models.CharField(max_length=32)
    name = models.CharField(max_length=64)
    pid = models.IntegerField()
    boot_id = models.CharField(max_length=64, help_text="With pid and start time it names the process for ever.")
    started_at = models.DateTimeField()
    loops = models.BigIntegerField()
    lag_ms = models.IntegerField(help_text="How late its loop came.")
    state = models.CharField(max_length=64)
    last_event = models.TextField(blank=True)
    counters = models.JSONField(default=dict)

    class Meta:
        db_table = "ops_beat"
