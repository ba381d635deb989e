from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from django.conf import settings
from django.db import connections
from psycopg import sql

from tests.faults.fleetrig import FleetCase, FleetRig
from tests.faults.liverig import LiveCase, LiveOptions, LiveRig
from tests.faults.rig import Case, Options, Rig

FAILED = pytest.StashKey[bool]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let pytest-django migrate its database, which it does only for tests that say they need one."""
    for item in items:
        if "module_database" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.django_db)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if report.when == "call":
        item.stash[FAILED] = not report.passed
    return report


@pytest.fixture(scope="module")
def module_database(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """A migrated database of this module alone: its processes outlive single tests."""
    name, template = f"faults_{uuid.uuid4().hex[:12]}", str(settings.DATABASES["default"]["NAME"])
    with django_db_blocker.unblock():
        connections.close_all()  # a template must have no visitors
    url = os.environ["DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as admin:
        create = "CREATE DATABASE {} TEMPLATE {}"
        admin.execute(sql.SQL(create).format(sql.Identifier(name), sql.Identifier(template)))
        yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def rig_options() -> Options:
    """A module overrides it for a rig of another make."""
    return Options()


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, module_database: str, rig_options: Options) -> Iterator[Rig]:
    rig = Rig(tmp_path_factory.mktemp("rig"), module_database, rig_options)
    yield rig
    rig.close()


@pytest.fixture
def case(rig: Rig, request: pytest.FixtureRequest) -> Iterator[Case]:
    """One row on the module's rig; a row that passes without a verdict fails."""
    case = Case(rig)
    yield case
    rig.make_whole()
    assert case.is_judged or request.node.stash.get(FAILED, True), "the row was not judged"


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    """A module overrides it for a live rig of another make."""
    return LiveOptions()


@pytest.fixture(scope="module")
def live_rig(
    tmp_path_factory: pytest.TempPathFactory, module_database: str, live_options: LiveOptions
) -> Iterator[LiveRig]:
    rig = LiveRig(tmp_path_factory.mktemp("live"), module_database, live_options)
    yield rig
    rig.close()


@pytest.fixture
def live_on(live_rig: LiveRig, request: pytest.FixtureRequest) -> Iterator[Callable[..., LiveCase]]:
    """Begin the row on the module's rig: on the trader at a place of its options; a row without a verdict fails.

    The other traders stop unless they belong to it, too.
    """
    cases: list[LiveCase] = []

    def begin(place: int = 0, *, quotes: bool = True, others: bool = False) -> LiveCase:
        trader = live_rig.traders[place]
        if not others:
            live_rig.end_all_but(trader)
        case = LiveCase(live_rig, trader, quotes=quotes)
        cases.append(case)
        return case

    yield begin
    live_rig.make_whole()
    if request.node.stash.get(FAILED, True):
        for case in cases:
            live_rig.replace(case.trader)
    assert request.node.stash.get(FAILED, True) or all(case.is_judged for case in cases), "the row was not judged"


@pytest.fixture
def live(live_on: Callable[..., LiveCase]) -> LiveCase:
    """One row on the module's first trader, which quotes."""
    return live_on()


@pytest.fixture(scope="module")
def fleet_rig(
    tmp_path_factory: pytest.TempPathFactory, module_database: str, live_options: LiveOptions
) -> Iterator[FleetRig]:
    """The whole fleet on a rig, with the traders that the module's options plan, granted and not yet started."""
    rig = FleetRig(tmp_path_factory.mktemp("fleet"), module_database, live_options)
    for plan in live_options.traders:
        rig.make(plan)
    yield rig
    rig.close()


@pytest.fixture
def fleet_on(fleet_rig: FleetRig, request: pytest.FixtureRequest) -> Iterator[Callable[..., FleetCase]]:
    """Begin the row on one of the rig's traders, which quotes; a row without a verdict fails.

    After a row that failed the trader is stopped, and another one takes its place.
    """
    cases: list[FleetCase] = []

    def begin(place: int = 0, *, quotes: bool = True) -> FleetCase:
        case = FleetCase(fleet_rig, fleet_rig.fleet[place], quotes=quotes)
        cases.append(case)
        return case

    yield begin
    fleet_rig.make_whole()
    if request.node.stash.get(FAILED, True):
        for case in cases:
            fleet_rig.replace(case.trader)
    assert request.node.stash.get(FAILED, True) or all(case.is_judged for case in cases), "the row was not judged"
