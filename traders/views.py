from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from traders import queries


@require_safe
@never_cache
def overview(request: HttpRequest) -> HttpResponse:
    """Show the whole fleet; its live parts then move over the page's socket."""
    now = timezone.now()
    return render(request, "traders/overview.html", {"page": queries.overview(now), "now": now})
