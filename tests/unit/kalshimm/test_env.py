from __future__ import annotations

import os
from pathlib import Path

import pytest

from kalshimm import env
from kalshimm.errors import ConfigurationError
from kalshimm.runtime.database import conninfo


@pytest.mark.parametrize(("raw", "value"), [("1", True), ("on", True), ("No", False), ("0", False), ("", False)])
def test_booleans_are_read(monkeypatch: pytest.MonkeyPatch, raw: str, value: bool) -> None:
    monkeypatch.setenv("X_FLAG", raw)
    assert env.boolean("X_FLAG") is value


@pytest.mark.parametrize(
    ("read", "raw"),
    [
        (lambda: env.boolean("X"), "perhaps"),
        (lambda: env.integer("X", 1, minimum=1, maximum=9), "ten"),
        (lambda: env.integer("X", 1, minimum=1, maximum=9), "10"),
        (lambda: env.choice("X", ("local", "prod"), "local"), "production"),
    ],
)
def test_nonsense_is_refused_with_the_name_of_the_variable(
    monkeypatch: pytest.MonkeyPatch, read: object, raw: str
) -> None:
    monkeypatch.setenv("X", raw)
    with pytest.raises(ConfigurationError, match=r"^X: expected") as caught:
        read()  # type: ignore[operator]
    assert caught.value.exit_code == 2


def test_a_secret_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("hush\n")
    monkeypatch.setenv("X_FILE", str(tmp_path / "s"))
    assert env.secret("X") == "hush"


def test_a_secret_file_that_is_missing_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X_FILE", "/nowhere/at/all")
    with pytest.raises(ConfigurationError, match=r"^X_FILE"):
        env.secret("X")


def test_dotenv_fills_only_what_is_not_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# comment\nX_A=from file\nexport X_B='quoted'\n\n")
    monkeypatch.setenv("X_A", "already")
    monkeypatch.delenv("X_B", raising=False)
    env.load_dotenv(tmp_path / ".env")
    assert (env.text("X_A"), env.text("X_B")) == ("already", "quoted")
    monkeypatch.delenv("X_B")


def test_a_broken_dotenv_line_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("X=1\nnonsense\n")
    with pytest.raises(ConfigurationError, match="line 2"):
        env.load_dotenv(tmp_path / ".env")


def test_a_database_url_becomes_django_settings() -> None:
    settings = env.database("postgresql://kmm:p%40ss@db.local:5433/kalshi?sslmode=disable")
    assert settings == {
        "ENGINE": "kalshimm.db",
        "NAME": "kalshi",
        "USER": "kmm",
        "PASSWORD": "p@ss",
        "HOST": "db.local",
        "PORT": 5433,
        "OPTIONS": {"connect_timeout": "5", "sslmode": "disable"},
    }


def test_options_of_a_database_url_reach_the_workers_too() -> None:
    settings = env.database("postgresql://u:p@h/d?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem")
    dsn = conninfo(settings)
    assert "sslmode=verify-full" in dsn
    assert "sslrootcert=/etc/ca.pem" in dsn


@pytest.mark.parametrize(
    "url", ["mysql://h/d", "postgresql://h", "postgresql:///d", "postgresql://h:port/d", "nonsense"]
)
def test_a_wrong_database_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^DATABASE_URL: expected postgresql://"):
        env.database(url)


def test_a_wrong_redis_url_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"^REDIS_URL: expected redis://"):
        env.redis_url("localhost:6379")


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1:many/0", "redis://:hid/den@127.0.0.1/0", "redis://127.0.0.1:99999/0"]
)
def test_a_redis_url_with_a_wrong_port_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^REDIS_URL: expected redis://") as caught:
        env.redis_url(url)
    assert "hid" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "celerys"),
    [
        ("redis://:pw@127.0.0.1:6379/2", "redis://:pw@127.0.0.1:6379/2"),
        ("unix://:pw@/a%20home/socket?db=3", "redis+socket://:pw@/a%20home/socket?virtual_host=3"),
        ("unix:///socket?password=p%2Fw&db=1", "redis+socket://:p%2Fw@/socket?virtual_host=1"),
        ("unix://me@/socket?password=pw", "redis+socket://me:pw@/socket?virtual_host=0"),
        ("unix:///socket", "redis+socket:///socket?virtual_host=0"),
    ],
)
def test_celery_has_other_words_for_a_socket_file(url: str, celerys: str) -> None:
    assert env.celery_url(url) == celerys


def test_a_password_taken_for_a_port_is_not_shown() -> None:
    with pytest.raises(ConfigurationError) as caught:
        env.database("postgresql://u:hid/den@h/d")
    assert "hid" not in str(caught.value)


def test_an_option_that_postgresql_does_not_know_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"^DATABASE_URL: .*'foo'"):
        env.database("postgresql://u:hidden@h/d?foo=1")


def test_a_tolerant_reader_passes_over_what_is_no_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KALSHIMM_AFTER", raising=False)
    (tmp_path / ".env").write_text("no setting\nKALSHIMM_AFTER=here\n")
    with pytest.raises(ConfigurationError, match="line 1"):
        env.load_dotenv(tmp_path / ".env")
    env.load_dotenv(tmp_path / ".env", is_tolerant=True)
    assert os.environ.pop("KALSHIMM_AFTER") == "here"
