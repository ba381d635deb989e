"""Probes without a login, and the two ways in."""

from __future__ import annotations

from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_safe

from kalshimm.ops import health
from kalshimm.ops.models import LoginLink
from kalshimm.ops.services import audit


@require_safe
@never_cache
@login_not_required
def livez(request: HttpRequest) -> JsonResponse:
    """Answer that this process runs, whatever else does."""
    return JsonResponse({"status": health.OK})


@require_safe
@never_cache
@login_not_required
def healthz(request: HttpRequest) -> JsonResponse:
    """Answer 200 when web, database and Redis serve, else 503 with which does not and why."""
    parts = {"web": health.OK, **health.stores()}
    is_serving = all(state == health.OK for state in parts.values())
    status = health.OK if is_serving else "failing"
    return JsonResponse({"status": status, **parts}, status=200 if is_serving else 503)


@require_safe
@never_cache
@login_not_required
def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 when quotes can be worked, else 503 with the reasons."""
    reasons = health.reasons_not_ready(int(timezone.now().timestamp() * 1_000_000))
    return JsonResponse({"ready": not reasons, "reasons": reasons}, status=503 if reasons else 200)


@require_GET
@never_cache
@login_not_required
def login_once(request: HttpRequest, token: str) -> HttpResponse:
    """Log in by a link that works once; a used or expired one says where the next comes from."""
    with transaction.atomic():
        user = LoginLink.redeem(token)
        if not isinstance(user, User) or not user.is_active:
            return render(request, "ops/link_used.html", status=410)
        audit(user.get_username(), "login_once", f"user {user.get_username()}")
    login(request, user)
    return redirect("overview")
