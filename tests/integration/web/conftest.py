from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

if TYPE_CHECKING:  # models cannot be imported before Django is set up, and this file is
    from django.contrib.auth.models import User


@pytest.fixture
def operator(db: None) -> User:
    return get_user_model().objects.create_superuser("operator", password="correct horse")


@pytest.fixture
def browser(operator: User, client: Client) -> Client:
    """A client that is logged in."""
    client.force_login(operator)
    return client
