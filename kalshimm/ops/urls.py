from __future__ import annotations

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from kalshimm.ops import views

urlpatterns = [
    path("livez", views.livez, name="livez"),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    path("login/", LoginView.as_view(template_name="ops/login.html", redirect_authenticated_user=True), name="login"),
    path("login/once/<str:token>/", views.login_once, name="login_once"),
    path("logout/", LogoutView.as_view(), name="logout"),
]
