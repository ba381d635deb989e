"""Read settings from the environment, and fail loudly with the variable's name.

A `.env` beside manage.py is read first; a variable that is already set wins over it.
Secrets may also come from a file named by `<VARIABLE>_FILE`.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from kalshimm.errors import ConfigurationError

TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off", ""}


def load_dotenv(path: Path, *, is_tolerant: bool = False) -> None:
    """Put the `NAME=value` lines of `path` into the environment, unless already set there.

    Args:
        is_tolerant: Pass over what is none.

    Raises:
        ConfigurationError: A line is neither blank, a comment nor an assignment.
    """
    if not path.is_file():
        return
    for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        line = raw.strip().removeprefix("export ").strip()
        if not line or line.startswith("#"):
            continue
        name, separator, value = line.partition("=")
        if not separator or not name.strip().isidentifier():
            if is_tolerant:
                continue
            raise ConfigurationError(f"{path}, line {number}", "expected NAME=value")
        os.environ.setdefault(name.strip(), value.strip().strip("'\""))


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def boolean(name: str, *, default: bool = False) -> bool:
    raw = os.environ.get(name)
    if raw is None:
        return default
    value = raw.strip().lower()
    if value in TRUE:
        return True
    if value in FALSE:
        return False
    raise ConfigurationError(name, f"expected 1 or 0, found {raw!r}")


def integer(name: str, default: int, *, minimum: int, maximum: int) -> int:
    raw = os.environ.get(name, "").strip()
    if not raw:
        return default
    try:
        value = int(raw)
    except ValueError as exc:
        raise ConfigurationError(name, f"expected a whole number, found {raw!r}") from exc
    if not minimum <= value <= maximum:
        raise ConfigurationError(name, f"expected {minimum} to {maximum}, found {value}")
    return value


def choice(name: str, options: tuple[str, ...], default: str) -> str:
    value = text(name, default)
    if value not in options:
        raise ConfigurationError(name, f"expected one of {', '.join(options)}, found {value!r}")
    return value


def secret(name: str) -> str | None:
    """Return the secret `name`, or the content of the file that `<name>_FILE` names, or None."""
    path = text(f"{name}_FILE")
    if path:
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as exc:
            raise ConfigurationError(f"{name}_FILE", f"cannot read {path} ({exc.strerror})") from exc
    return text(name) or None


def database(url: str) -> dict[str, object]:
    """Return Django's connection settings for a `postgresql://user:password@host:port/name` URL.

    Raises:
        ConfigurationError: The URL names no PostgreSQL database.
    """
    expected = "expected postgresql://user:password@host:port/name"
    parts, port = _split("DATABASE_URL", url, expected)
    if parts.scheme not in ("postgres", "postgresql"):
        raise ConfigurationError("DATABASE_URL", f"{expected}, found the scheme {parts.scheme!r}")
    name = parts.path.lstrip("/")
    if not name or not parts.hostname:
        raise ConfigurationError("DATABASE_URL", f"{expected}; the host or the database name is missing")
    # A server that does not answer must not hold a page or a command for ever.
    options = {"connect_timeout": "5"} | dict(parse_qsl(parts.query))
    from psycopg.pq import Conninfo  # here: `kill` reads the environment, too, and must begin at once

    unknown = sorted(set(options) - {option.keyword.decode() for option in Conninfo.get_defaults()})
    if unknown:
        raise ConfigurationError(
            "DATABASE_URL", f"expected options that PostgreSQL knows after ?, found {unknown[0]!r}"
        )
    return {
        "ENGINE": "kalshimm.db",
        "NAME": unquote(name),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname,
        "PORT": port or 5432,
        "OPTIONS": options,
    }


def redis_url(url: str) -> str:
    """Return `url` if it is a Redis address, else raise ConfigurationError."""
    expected = "expected redis://[:password@]host:port/number or unix://[:password@]/path?db=number"
    parts, _ = _split("REDIS_URL", url, expected)
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ConfigurationError("REDIS_URL", expected)
    return url


def celery_url(url: str) -> str:
    """Return a Redis address in Celery's own words, which has others for a socket file."""
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return url
    query = dict(parse_qsl(parts.query))
    name, password = (getattr(parts, key) or quote(query.get(key, ""), safe="") for key in ("username", "password"))
    login = f"{name}:{password}@" if name or password else ""
    return f"redis+socket://{login}{parts.path}?virtual_host={query.get('db', '0')}"


def _split(variable: str, url: str, expected: str) -> tuple[SplitResult, int | None]:
    """Return the parts of a URL and its port; what is wrong with it may quote a password, so it is not told."""
    try:
        parts = urlsplit(url)
        return parts, parts.port
    except ValueError:
        raise ConfigurationError(variable, f"{expected}; the host or the port makes no sense") from None
