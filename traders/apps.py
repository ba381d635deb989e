from __future__ import annotations

import logging

from django.apps import AppConfig

logger = logging.getLogger(__name__)


class TradersConfig(AppConfig):
    name = "traders"

    def ready(self) -> None:
        """Let every strategy file register itself before a form or a worker asks for one."""
        from traders.core import registry

        registry.load()
        for plugin, why in registry.BROKEN.items():
            logger.warning("%s could not be loaded: %s", plugin, why, extra={"action": "plugin_broken"})
