from __future__ import annotations

import psycopg
import pytest
import redis
from django.conf import settings
from django.db import connection


@pytest.mark.django_db
def test_it_talks_to_the_sessions_own_postgres() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database(), current_setting('TimeZone'), current_setting('listen_addresses')")
        name, zone, addresses = cursor.fetchone()
    assert name.startswith("test_")
    assert (zone, addresses) == ("UTC", "127.0.0.1")


def test_it_gives_each_test_process_an_empty_valkey_of_its_own(redis_client: redis.Redis, redis_url: str) -> None:
    assert redis_url == settings.REDIS_URL
    folder = redis_client.config_get("dir")["dir"]
    assert folder == str(settings.KALSHIMM_HOME / "valkey")
    assert redis_client.dbsize() == 0


def test_it_gives_the_address_of_the_test_database(database_url: str) -> None:
    with psycopg.connect(database_url) as other, connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        assert other.execute("SELECT current_database()").fetchone() == cursor.fetchone()
