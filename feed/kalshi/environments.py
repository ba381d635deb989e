"""Where each environment of the venue answers. Keys belong to one environment and are not interchangeable."""

from __future__ import annotations

import msgspec

from kalshimm.errors import ConfigurationError

REST_PATH = "/trade-api/v2"
WS_PATH = "/trade-api/ws/v2"


class Environment(msgspec.Struct, frozen=True):
    """Addresses of one environment, without a trailing slash."""

    name: str
    rest_url: str
    ws_url: str


DEMO = Environment(
    "demo",
    f"https://external-api.demo.kalshi.co{REST_PATH}",
    f"wss://external-api-ws.demo.kalshi.co{WS_PATH}",
)
PROD = Environment(
    "prod",
    f"https://external-api.kalshi.com{REST_PATH}",
    f"wss://external-api-ws.kalshi.com{WS_PATH}",
)


def resolve(name: str, rest_url: str = "", ws_url: str = "") -> Environment:
    """Return the environment `name`, with given addresses in place of its own.

    Raises:
        ConfigurationError: The local exchange has no fixed address and none was given.
    """
    if name in ("demo", "prod"):
        known = DEMO if name == "demo" else PROD
        return Environment(name, (rest_url or known.rest_url).rstrip("/"), ws_url or known.ws_url)
    for variable, value in (("KALSHI_REST_URL", rest_url), ("KALSHI_WS_URL", ws_url)):
        if not value:
            raise ConfigurationError(
                variable, "the local exchange has no fixed address; take it from the line `manage.py exchange` prints"
            )
    return Environment(name, rest_url.rstrip("/"), ws_url)
