"""Row D8 at the screen: without PostgreSQL a page says that it broke, and it comes back by itself."""

from __future__ import annotations

import http.cookiejar
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from kalshimm.embedded.ports import free_port
from tests.faults.base import HEAL_S
from tests.faults.fleetrig import Web
from tests.faults.log import FaultLog
from tests.faults.person import Person
from tests.faults.tap import Tap, wait_until

pytestmark = pytest.mark.long

PAGES = ("/", "/admin/traders/trader/")
INSIDE = ("Traceback", "OperationalError", "psycopg", "SELECT")


class Answer(NamedTuple):
    status: int
    text: str


class Screen:
    """A browser without scripts: it keeps cookies and follows redirects."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))

    def get(self, path: str) -> Answer:
        try:
            with self._opener.open(self._base + path, timeout=20) as answer:
                return Answer(answer.status, answer.read().decode())
        except urllib.error.HTTPError as refused:
            return Answer(refused.code, refused.read().decode())

    def reaches(self, path: str) -> bool:
        try:
            return self.get(path).status == 200
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False


class WebGround(NamedTuple):
    """The web process, somebody who is logged in, the tap before PostgreSQL and the password behind it."""

    web: Web
    screen: Screen
    database: Tap
    password: str


@pytest.fixture
def ground(tmp_path: Path, module_database: str, redis_url: str) -> Iterator[WebGround]:
    log, port = FaultLog(), free_port()
    database, password = Tap.before("web_db", module_database, log), urlsplit(module_database).password
    assert password, "there is a secret to tell"
    settings = {
        "KALSHIMM_HOME": str(tmp_path / "home"),
        "REDIS_URL": redis_url,
        "DATABASE_URL": database.url_through(module_database),
    }
    web = Web(port, settings, folder=tmp_path, log=log)
    person = Person(settings, folder=tmp_path, log=log)
    screen = Screen(port)
    try:
        web.start()
        wait_until(lambda: screen.reaches("/livez"), "the web answers", within_s=HEAL_S)
        link = person.types("login_link", "--port", str(port)).strip()
        assert screen.get(link[link.index("/login") :]).status == 200
        yield WebGround(web, screen, database, password)
    finally:
        for worker in (web, person):
            worker.close()
        database.close()


def test_D8_without_the_database_a_page_says_that_it_broke_and_comes_back_without_a_restart(ground: WebGround) -> None:
    web, screen, database, password = ground
    pid, before = web.pid, [screen.get(page) for page in PAGES]
    assert [answer.status for answer in before] == [200, 200]
    database.refuse()
    for page in PAGES:
        broken = screen.get(page)
        assert broken.status == 500
        assert "<b>Something broke.</b>" in broken.text, "in our own words"
        assert [word for word in (*INSIDE, password, str(database.port)) if word in broken.text] == []
    assert screen.get("/livez").status == 200
    health = screen.get("/healthz")
    assert (health.status, password in health.text) == (503, False)
    assert password not in web.output(), "nor does the log tell it"
    assert "OperationalError" in web.output(), "but why the page could not be made"
    database.pass_all()
    assert [screen.get(page).status for page in PAGES] == [200, 200], "at once, as the same person"
    assert screen.get("/healthz").status == 200
    assert web.is_running
    assert web.pid == pid
