from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
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


@pytest.mark.parametrize("path", ["/", "/admin/", "/admin/traders/trader/", "/logout/", "/no-such-page/"])
def test_nothing_is_shown_without_a_login(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code in (302, 404, 405)
    if answer.status_code == 302:
        assert "login" in answer["Location"]


def test_logging_out_takes_a_post(browser: Client) -> None:
    assert browser.get(reverse("logout")).status_code == 405
    assert browser.post(reverse("logout"))["Location"] == reverse("login")
    assert browser.get(reverse("overview")).status_code == 302


def test_every_answer_forbids_inline_scripts_and_other_hosts(client: Client) -> None:
    policy = client.get(reverse("login"))["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
