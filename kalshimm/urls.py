from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

# Browsers ask for it where a page names no icon of its own (the admin, the probes).
favicon = login_not_required(RedirectView.as_view(url=static("img/mark.svg")))

urlpatterns = [
    path("", include("traders.urls")),
    path("", include("kalshimm.ops.urls")),
    path("admin/", admin.site.urls),
    path("favicon.ico", favicon),
]
