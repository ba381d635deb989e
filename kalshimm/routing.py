"""Sockets: which hub feeds which path, and who may open one at all."""

from __future__ import annotations

from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.urls import path

from feed.consumers import TopicConsumer
from feed.hub import Hub
from traders.fragments import TOPIC, OverviewSource

overview_hub = Hub(TOPIC, OverviewSource)

websocket = AllowedHostsOriginValidator(
    AuthMiddlewareStack(URLRouter([path("ws/overview", TopicConsumer.as_asgi(hub=overview_hub))]))
)
