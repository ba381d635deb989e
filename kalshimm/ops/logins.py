"""The way in for whoever runs this machine: no password to choose, lose or leak."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.contrib.auth.models import User

from kalshimm.ops.models import LoginLink

FIRST = "admin"


def first_administrator() -> User:
    """Return the oldest active administrator, made without a usable password where there is none."""
    users = get_user_model().objects
    found = users.filter(is_superuser=True, is_active=True).order_by("pk").first()
    return found or users.create_superuser(FIRST, password=None)


def login_url(user: User, *, port: int) -> str:
    """Return an address on this machine that logs `user` in once."""
    return f"http://127.0.0.1:{port}/login/once/{LoginLink.issue(user)}/"
