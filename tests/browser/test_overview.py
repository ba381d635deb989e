"""The overview in a real browser: daphne on a free port, its stores, and beats written by the test."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from django.contrib.auth.models import User
from django.urls import reverse
from playwright.sync_api import Page, expect, sync_playwright

from kalshimm.ops.models import LoginLink
from kalshimm.runtime.heartbeat import Beat
from tests.fixtures import fleet
from traders.models import Trader

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 30.0
SEEN_MS = 30_000
# Chromium calls out by itself otherwise.
FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def chromium() -> str:
    found = shutil.which("chromium")
    if found:
        return found
    reason = os.environ.get("NO_BROWSER_BECAUSE", "chromium is missing; install it: apt-get install chromium")
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


class Fleet:
    """Workers and traders that beat while the test runs; `say` changes what one trader says."""

    def __init__(self, client: redis.Redis, traders: list[Trader]) -> None:
        self._client = client
        self.traders = traders
        self._views: dict[int, dict[str, object]] = {trader.pk: {} for trader in traders}
        self._is_over = threading.Event()

    def say(self, trader: Trader, **view: object) -> None:
        self._views[trader.pk] = view

    def _beats(self) -> list[Beat]:
        roles = ("gateway", "desk", "writer", "supervisor", "spawner", "celery")
        services = [fleet.a_beat(role, "main") for role in roles]
        return services + [fleet.trader_beat(trader, **self._views[trader.pk]) for trader in self.traders]

    @contextmanager
    def beating(self) -> Iterator[None]:
        thread = threading.Thread(target=self._beat)
        thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            thread.join()

    def _beat(self) -> None:
        while not self._is_over.wait(0.25):
            fleet.write_beats(self._client, *self._beats())
            fleet.write_feed(self._client, fleet.a_feed())


class Web:
    """daphne as `up` starts it, stopped and started at will."""

    def __init__(self, port: int, database_url: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._environment = os.environ | {"KALSHIMM_PORT": str(port), "DATABASE_URL": database_url}
        self._command = [sys.executable, "-m", "daphne", "-v", "0", "-b", "127.0.0.1", "-p", str(port)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen([*self._command, "kalshimm.asgi:application"], cwd=ROOT, env=self._environment)
        deadline = time.monotonic() + DEADLINE_S
        while not self._serves():
            assert self._process.poll() is None, "daphne ended"
            assert time.monotonic() < deadline, "daphne does not serve"
            time.sleep(0.1)

    def _serves(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/livez", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(DEADLINE_S)
            self._process = None


@pytest.fixture
def web(free_port: int, database_url: str) -> Iterator[Web]:
    server = Web(free_port, database_url)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def living(redis_client: redis.Redis, transactional_db: None) -> Iterator[Fleet]:
    living = Fleet(redis_client, fleet.seed())
    with living.beating():
        yield living


@pytest.fixture
def link(web: Web) -> str:
    """A fresh login link. Made before the browser starts: its event loop would forbid the database."""
    user = User.objects.create_superuser("operator")
    return web.url + reverse("login_once", args=[LoginLink.issue(user)])


class Watched:
    """A page, with what went wrong on it and where it sent requests."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        page.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))
        page.on("websocket", lambda socket: self.hosts.add(socket.url.split("/")[2]))


@contextmanager
def a_browser(chromium: str, **viewport: int) -> Iterator[Watched]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        try:
            size = {"width": 1_600, "height": 1_000} | viewport
            yield Watched(browser.new_page(viewport=size))
        finally:
            browser.close()


def test_the_fleet_is_seen_and_moves_by_itself(chromium: str, web: Web, living: Fleet, link: str) -> None:
    with a_browser(chromium) as watched:
        page = watched.page
        page.goto(link)
        expect(page).to_have_title("DRY-RUN | Overview | kalshimm")
        expect(page.locator("#fleet tbody tr[id^=tr-]")).to_have_count(len(living.traders))
        row = page.locator(f"#tr-{living.traders[0].pk}")
        expect(row).to_contain_text("+85", timeout=SEEN_MS)
        expect(page.locator("#services .silent")).to_have_count(0, timeout=SEEN_MS)

        living.say(living.traders[0], position_cx=-12_000, why="leans on the ask")
        expect(row).to_contain_text("−120", timeout=SEEN_MS)
        expect(row).to_contain_text("leans on the ask")

        assert watched.errors == []
        assert watched.hosts == {web.url.removeprefix("http://")}


def test_A14_a_page_says_that_its_web_process_is_gone_and_comes_back_by_itself(
    chromium: str, web: Web, living: Fleet, link: str
) -> None:
    with a_browser(chromium) as watched:
        page = watched.page
        page.goto(link)
        expect(page.locator("#fleet")).to_contain_text("+85")
        web.stop(signal.SIGKILL)
        expect(page.locator("#link")).to_contain_text("Disconnected", timeout=SEEN_MS)
        living.say(living.traders[0], position_cx=4_300)
        web.start()
        expect(page.locator(f"#tr-{living.traders[0].pk}")).to_contain_text("+43", timeout=SEEN_MS)
        expect(page.locator("#link")).to_be_hidden()


def test_a_page_that_stopped_answering_comes_back_whole(chromium: str, web: Web, living: Fleet, link: str) -> None:
    with a_browser(chromium) as watched:
        page = watched.page
        page.goto(link)
        row = page.locator(f"#tr-{living.traders[0].pk}")
        living.say(living.traders[0], position_cx=4_300)
        expect(row).to_contain_text("+43", timeout=SEEN_MS)
        page.evaluate("document.body.dataset.old = 'yes'; WebSocket.prototype.send = () => {}")
        expect(page.locator("body[data-old]")).to_have_count(0, timeout=SEEN_MS)
        living.say(living.traders[0], position_cx=4_400)
        expect(row).to_contain_text("+44", timeout=SEEN_MS)


def test_the_chosen_look_is_kept(chromium: str, web: Web, living: Fleet, link: str) -> None:
    with a_browser(chromium) as watched:
        page = watched.page
        page.goto(link)
        page.get_by_text("Light", exact=True).click()
        expect(page.locator("html")).to_have_attribute("data-theme", "light")
        page.reload()
        expect(page.locator("html")).to_have_attribute("data-theme", "light")
        expect(page.locator("#theme-light")).to_be_checked()


def test_on_a_phone_nothing_spills_over_the_side(chromium: str, web: Web, living: Fleet, link: str) -> None:
    with a_browser(chromium, width=360, height=740) as watched:
        page = watched.page
        page.goto(link)
        expect(page.locator(".modecell.dry")).to_have_text(re.compile("DRY-RUN"))
        spill = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert spill == 0
