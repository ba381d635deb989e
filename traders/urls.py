from __future__ import annotations

from django.urls import path

from traders import views

urlpatterns = [path("", views.overview, name="overview")]
