from __future__ import annotations

import pytest
import redis
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from tests.fixtures import fleet

NOWHERE = "redis://127.0.0.1:1/0"


def test_livez_asks_nobody(client: Client) -> None:
    assert client.get("/livez").json() == {"status": "ok"}


@pytest.mark.django_db
def test_healthz_is_200_when_everything_serves(client: Client, redis_client: redis.Redis) -> None:
    answer = client.get("/healthz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "web": "ok", "database": "ok", "redis": "ok"}


@pytest.mark.django_db
def test_healthz_names_the_store_that_does_not_serve(client: Client, settings: Settings) -> None:
    settings.REDIS_URL = NOWHERE
    answer = client.get("/healthz")
    assert answer.status_code == 503
    body = answer.json()
    assert (body["status"], body["database"]) == ("failing", "ok")
    assert "127.0.0.1:1" in body["redis"]


@pytest.mark.django_db
def test_readyz_names_every_reason(client: Client, redis_client: redis.Redis) -> None:
    fleet.write_beats(redis_client, fleet.a_beat("gateway", "local"))
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["reasons"] == [
        "writer is silent",
        "supervisor is silent",
        "the gateway has written no feed entry",
    ]


@pytest.mark.django_db
def test_readyz_is_200_once_the_feed_is_fresh_and_the_workers_beat(client: Client, redis_client: redis.Redis) -> None:
    fleet.write_beats(redis_client, *(fleet.a_beat(role, role) for role in ("gateway", "writer", "supervisor")))
    fleet.write_feed(redis_client, fleet.a_feed())
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"ready": True, "reasons": []}


@pytest.mark.django_db
def test_readyz_does_not_trust_an_old_feed_entry(client: Client, redis_client: redis.Redis) -> None:
    fleet.write_beats(redis_client, *(fleet.a_beat(role, role) for role in ("gateway", "writer", "supervisor")))
    fleet.write_feed(redis_client, fleet.a_feed(written_us=fleet.now_us() - 4_000_000))
    assert "newest feed entry" in client.get("/readyz").json()["reasons"][0]


@pytest.mark.django_db
def test_readyz_without_redis_says_only_that(client: Client, settings: Settings) -> None:
    settings.REDIS_URL = NOWHERE
    assert len(client.get("/readyz").json()["reasons"]) == 1


@pytest.mark.django_db
def test_a_probe_costs_no_session(
    client: Client, redis_client: redis.Redis, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(1):
        client.get("/healthz")


@pytest.mark.parametrize(("path", "queries"), [("/livez", 0), ("/healthz", 1)])
def test_D8_a_probe_from_a_browser_that_is_logged_in_asks_for_no_user(
    browser: Client,
    redis_client: redis.Redis,
    django_assert_num_queries: DjangoAssertNumQueries,
    path: str,
    queries: int,
) -> None:
    """Else it would break without the database, in place of saying so."""
    with django_assert_num_queries(queries):
        assert browser.get(path).status_code == 200


@pytest.mark.django_db
def test_a_beat_of_another_version_silences_only_itself(client: Client, redis_client: redis.Redis) -> None:
    fleet.write_beats(redis_client, *(fleet.a_beat(role, role) for role in ("gateway", "writer", "supervisor")))
    fleet.write_feed(redis_client, fleet.a_feed())
    redis_client.set("kmm:beat:celery:worker", b"of another version")
    assert client.get("/readyz").status_code == 200
