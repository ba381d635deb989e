from __future__ import annotations

from django.apps import AppConfig


class TradersConfig(AppConfig):
    name = "traders"

    def ready(self) -> None:
        """Let every strategy file register itself before a form or a worker asks for one."""
        from traders.core import registry

        registry.load()
