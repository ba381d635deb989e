"""Where each environment of the venue answers. Keys belong to one environment and are not interchangeable.

Demo hosts end in `kalshi.co`, production's in `kalshi.com`; one letter is all that is between play money and real, so
an address of one is refused under the name of the other, and both want TLS. Source: facts.md section 1.
"""

from __future__ import annotations

from urllib.parse import urlsplit

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


DOMAINS = {"demo": "kalshi.co", "prod": "kalshi.com"}


def resolve(name: str, rest_url: str = "", ws_url: str = "") -> Environment:
    """Return the environment `name`, with given addresses in place of its own.

    Raises:
        ConfigurationError: An address belongs to another environment, or is missing: the local exchange has no fixed
            one.
    """
    known = {"demo": DEMO, "prod": PROD}.get(name)
    for variable, url in (("KALSHI_REST_URL", rest_url), ("KALSHI_WS_URL", ws_url)):
        if not url and known is None:
            raise ConfigurationError(
                variable, "the local exchange has no fixed address; take it from the line `manage.py exchange` prints"
            )
        if url and not answers_at(name, url):
            expected = f"TLS to a host of {DOMAINS[name]}" if known else "a host that is not Kalshi's"
            raise ConfigurationError(variable, f"is no address of KALSHI_ENV={name}, which means {expected}")
    if known is not None:
        rest_url, ws_url = rest_url or known.rest_url, ws_url or known.ws_url
    return Environment(name, rest_url.rstrip("/"), ws_url)


def answers_at(name: str, url: str) -> bool:
    """Return whether an address belongs to the environment `name`."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    owner = next((name for name, domain in DOMAINS.items() if f".{host}".endswith(f".{domain}")), "local")
    return owner == name and (owner == "local" or parts.scheme in ("https", "wss"))
