from __future__ import annotations

from django.apps import AppConfig


class KalshimmConfig(AppConfig):
    name = "kalshimm"
