"""Eight sets of strategies, live and dry, on two scenarios, through faults of every kind at once.

Two traders a set, so sixteen processes on one exchange. The checker finds nothing (I1 to I4, I9), a dry-run trader has
sent nothing (I6), and every order answers why with figures, a live one with the book that it was decided on. By hand,
for as long as one likes:

    SOAK_MINUTES=60 make test-long ARGS="-n 0 -s -k busy tests/faults/test_soak.py"
"""

from __future__ import annotations

import contextlib
import os
import pprint
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from django.conf import settings
from django.db import connections
from psycopg import sql

from tests.faults.liverig import LiveOptions, LiveRig
from tests.faults.soak import Soak
from traders.models import Mode, Order
from traders.queries import why_of

STRETCH_S = 60.0
EVERY_S = 1.5
MINUTES = float(os.environ.get("SOAK_MINUTES", "0"))
SEED = int(os.environ.get("SOAK_SEED", "1"))

pytestmark = [pytest.mark.long, pytest.mark.django_db, pytest.mark.timeout(400 + 120 * MINUTES)]


@pytest.fixture
def own_database(django_db_setup: None) -> Iterator[str]:
    """A migrated database of this test alone: one exchange's orders and positions are not another's."""
    name, template = f"soak_{uuid.uuid4().hex[:12]}", str(settings.DATABASES["default"]["NAME"])
    url = os.environ["DATABASE_URL"]
    connections.close_all()  # a template must have no visitors
    with psycopg.connect(url, autocommit=True) as admin:
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        admin.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
        yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(params=["busy", "news"])
def soak(request: pytest.FixtureRequest, tmp_path: Path, own_database: str) -> Iterator[Soak]:
    options = LiveOptions(scenario=request.param, traders=())
    with contextlib.ExitStack() as ended:
        rig = ended.enter_context(contextlib.closing(LiveRig(tmp_path, own_database, options)))
        yield ended.enter_context(contextlib.closing(Soak(rig, seed=SEED, every_s=EVERY_S)))


@contextlib.contextmanager
def models_of(database_url: str) -> Iterator[None]:
    """Have the models read a rig's database."""
    own = connections["default"]
    rig = connections.create_connection("default")
    rig.settings_dict = {**own.settings_dict, "NAME": urlsplit(database_url).path.removeprefix("/")}
    connections["default"] = rig
    try:
        yield
    finally:
        rig.close()
        connections["default"] = own


def why_not_told(order: Order) -> str:
    """Return what is missing of the decision that an order of ours was sent on; empty when nothing is."""
    decision = why_of(order)
    if decision is None:
        return f"{order.mode} order {order.client_order_id} ({order.status}) answers no decision"
    named = ["why", "basis"] if order.mode == Mode.LIVE else ["why"]
    missing = [name for name in named if not decision.figures.get(name)]
    return f"{order.mode} order {order.client_order_id}: no {missing} in {decision.figures}" if missing else ""


def every_order_says_why(database_url: str, *, since_us: int) -> dict[str, int]:
    """Ask each order that changed since then, and return how many answered, by mode."""
    with models_of(database_url):
        since = datetime.fromtimestamp(since_us / 1_000_000, UTC)
        orders = list(Order.objects.filter(is_external=False, updated_at__gte=since))
        silent = [problem for order in orders if (problem := why_not_told(order))]
    assert not silent, "\n".join(silent[:5])
    return {mode: sum(order.mode == mode for order in orders) for mode in (Mode.LIVE, Mode.DRY_RUN)}


def test_after_whatever_befell_eight_traders_the_ledgers_agree_and_every_order_says_why(
    soak: Soak, django_db_blocker: Any
) -> None:
    end_s = time.monotonic() + 60 * MINUTES
    soak.begin()
    while True:
        soak.stretch(STRETCH_S)
        soak.calm()
        pprint.pp(soak.figures(), width=120)
        soak.judge()
        with django_db_blocker.unblock():
            asked = every_order_says_why(soak.rig.database_url, since_us=soak.case.mark.at_us)
        print("orders asked why:", asked)
        assert all(asked.values())
        if time.monotonic() > end_s:
            break
        soak.go_on()
