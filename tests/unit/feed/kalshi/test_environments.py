from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from feed.kalshi.environments import DEMO, PROD, Environment, answers_at, resolve
from feed.kalshi.errors import WrongEnvironment
from feed.kalshi.signing import Signer
from kalshimm.errors import ConfigurationError

LOCAL = ("http://127.0.0.1:9000/trade-api/v2", "ws://127.0.0.1:9000/trade-api/ws/v2")


def test_each_environment_has_its_addresses() -> None:
    assert (resolve("demo"), resolve("prod")) == (DEMO, PROD)
    assert resolve("local", *LOCAL) == Environment("local", *LOCAL)
    older = resolve("prod", "https://api.elections.kalshi.com/trade-api/v2/")
    assert (older.rest_url, older.ws_url) == ("https://api.elections.kalshi.com/trade-api/v2", PROD.ws_url)


@pytest.mark.parametrize(
    ("name", "rest", "ws", "variable"),
    [
        ("prod", DEMO.rest_url, "", "KALSHI_REST_URL"),
        ("prod", "", DEMO.ws_url, "KALSHI_WS_URL"),
        ("demo", PROD.rest_url, "", "KALSHI_REST_URL"),
        ("demo", "https://demo-api.kalshi.com/trade-api/v2", "", "KALSHI_REST_URL"),
        ("prod", "http://external-api.kalshi.com/trade-api/v2", "", "KALSHI_REST_URL"),
        ("prod", "https://kalshi.com.example/trade-api/v2", "", "KALSHI_REST_URL"),
        ("prod", "https://notkalshi.com/trade-api/v2", "", "KALSHI_REST_URL"),
        ("prod", LOCAL[0], "", "KALSHI_REST_URL"),
        ("local", PROD.rest_url, LOCAL[1], "KALSHI_REST_URL"),
        ("local", LOCAL[0], DEMO.ws_url, "KALSHI_WS_URL"),
        ("local", "", LOCAL[1], "KALSHI_REST_URL"),
        ("local", LOCAL[0], "", "KALSHI_WS_URL"),
    ],
)
def test_an_address_of_another_environment_is_refused_by_its_variable(
    name: str, rest: str, ws: str, variable: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        resolve(name, rest, ws)
    assert refused.value.variable == variable


@pytest.mark.parametrize("environment", ["local", "demo", "prod"])
def test_a_key_signs_for_its_own_environment_alone(environment: str) -> None:
    signer = Signer(environment, "id", Ed25519PrivateKey.generate())
    for other, url in (("local", LOCAL[0]), ("demo", DEMO.rest_url), ("prod", PROD.rest_url), ("prod", PROD.ws_url)):
        if other == environment:
            assert signer.headers("GET", url, wall_ms=1)
        else:
            with pytest.raises(WrongEnvironment, match="id is for"):
                signer.headers("GET", url, wall_ms=1)


def test_the_owner_of_an_address_is_read_from_its_host_alone() -> None:
    assert answers_at("prod", "https://KALSHI.com./x")
    assert not answers_at("prod", "https://demo-api.kalshi.co/?kalshi.com")
    assert not answers_at("prod", "https://kalshi.com@127.0.0.1/")
    assert answers_at("local", "https://kalshi.com@127.0.0.1/")
