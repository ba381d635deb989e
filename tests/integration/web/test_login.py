from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from kalshimm.ops.models import AuditRow, LoginLink

pytestmark = pytest.mark.django_db


def link(user: User) -> str:
    return reverse("login_once", args=[LoginLink.issue(user)])


def test_a_login_link_leads_to_the_overview(client: Client, operator: User) -> None:
    answer = client.get(link(operator))
    assert answer.status_code == 302
    assert answer["Location"] == reverse("overview")
    assert client.session["_auth_user_id"] == str(operator.pk)
    assert AuditRow.objects.get().action == "login_once"


def test_a_login_link_works_only_once(client: Client, operator: User) -> None:
    once = link(operator)
    client.get(once)
    again = Client().get(once)
    assert again.status_code == 410
    assert b"manage.py up" in again.content
    assert "_auth_user_id" not in again.client.session


def test_an_expired_login_link_is_refused(client: Client, operator: User) -> None:
    once = link(operator)
    LoginLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert client.get(once).status_code == 410


def test_a_login_link_of_a_switched_off_user_is_refused(client: Client, operator: User) -> None:
    once = link(operator)
    User.objects.update(is_active=False)
    assert client.get(once).status_code == 410


def test_an_invented_login_link_is_refused(client: Client) -> None:
    assert client.get(reverse("login_once", args=["invented"])).status_code == 410


def test_a_password_logs_in(client: Client, operator: User) -> None:
    answer = client.post(reverse("login"), {"username": "operator", "password": "correct horse"})
    assert answer["Location"] == reverse("overview")


def test_a_wrong_password_is_answered_in_words(client: Client, operator: User) -> None:
    answer = client.post(reverse("login"), {"username": "operator", "password": "wrong"})
    assert answer.status_code == 200
    assert 'role="alert"' in answer.text


OPEN = {"livez", "healthz", "readyz", "login", "login_once", "admin:login", "admin:jsi18n", ""}  # "": the icon
ARGUMENTS = {"pk": "1", "object_id": "1", "app_label": "traders", "url": "x", "content_type_id": "1", "token": "x"}


def every_path(
    patterns: list[URLPattern | URLResolver], prefix: str = "", namespace: str = ""
) -> Iterator[tuple[str, str]]:
    """Return (name with namespaces, path) of every URL there is, with something put in for its arguments."""
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            inner = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            yield from every_path(pattern.url_patterns, route, inner)
        else:
            yield namespace + (pattern.name or ""), "/" + _filled(route)


def _filled(route: str) -> str:
    if "(?P<" in route:  # the admin's own
        route = re.sub(r"\(\?P<(\w+)>(?:[^()]|\([^()]*\))*\)", lambda found: ARGUMENTS[found[1]], route)
        return re.sub(r"[\^$\\]", "", route)
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: ARGUMENTS.get(found[1], "1"), route)


def test_no_url_shows_anything_without_a_login(client: Client) -> None:
    paths = [(name, path) for name, path in every_path(get_resolver().url_patterns) if name not in OPEN]
    assert ("overview", "/") in paths
    assert "/admin/traders/trader/" in dict(paths).values()
    shown = []
    for name, path in paths:
        for answer in (client.get(path), client.post(path)):
            to_login = answer.status_code == 302 and "login" in answer["Location"]
            if not to_login and answer.status_code != 405:
                shown.append((name, path, answer.status_code))
    assert shown == []


def test_logging_out_takes_a_post(browser: Client) -> None:
    assert browser.get(reverse("logout")).status_code == 405
    assert browser.post(reverse("logout"))["Location"] == reverse("login")
    assert browser.get(reverse("overview")).status_code == 302


def test_every_answer_forbids_inline_scripts_and_other_hosts(client: Client) -> None:
    policy = client.get(reverse("login"))["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
