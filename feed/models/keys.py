"""The exchange keys of this installation as far as a database may know them: never the key itself."""

from __future__ import annotations

from django.db import models


class ExchangeKey(models.Model):
    """One key of one account. Its file lies encrypted under KALSHIMM_HOME/keys (feed.keys)."""

    name = models.CharField(max_length=64, unique=True)
    account = models.CharField(max_length=64)
    environment = models.CharField(max_length=8)
    key_id = models.CharField(max_length=128, help_text="The venue's id of it; not secret.")
    scopes = models.JSONField(default=list, help_text="As the venue lists them; empty = not tested yet.")
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of the public half, hex.")
    created_at = models.DateTimeField(auto_now_add=True)
    tested_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["account", "name"]

    def __str__(self) -> str:
        return self.name
