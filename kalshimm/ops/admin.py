"""Admin of operations, and what every admin of kalshimm is built from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest

from kalshimm.ops.models import AuditRow, LoginLink
from kalshimm.ops.services import audit

admin.site.site_header = "kalshimm"
admin.site.site_title = "kalshimm admin"
admin.site.index_title = "Configuration and records"


if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[models.Model]
else:
    ModelAdmin = admin.ModelAdmin  # takes a parameter only for the type checker


class ReadOnlyAdmin(ModelAdmin):
    """Shows rows that the system alone writes."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False


class AuditedAdmin(ModelAdmin):
    """Writes an audit row beside every change, in the same transaction (Django's own around each admin view)."""

    def save_model(self, request: HttpRequest, obj: models.Model, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        changed = {name: _fact(form.cleaned_data.get(name)) for name in form.changed_data}
        before = {name: _fact(form.initial.get(name)) for name in form.changed_data} if change else {}
        self._audit(request, "changed" if change else "added", obj, to=changed, **({"was": before} if change else {}))

    def delete_model(self, request: HttpRequest, obj: models.Model) -> None:
        self._audit(request, "deleted", obj)
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[models.Model]) -> None:
        for obj in queryset:
            self._audit(request, "deleted", obj)
        super().delete_queryset(request, queryset)

    def _audit(self, request: HttpRequest, action: str, obj: models.Model, **detail: Any) -> None:
        kind = str(obj._meta.verbose_name)
        audit(request.user.get_username(), f"admin_{action}", f"{kind} {obj}", **detail)


def _fact(value: Any) -> Any:
    """Return a value as JSON can hold it."""
    if isinstance(value, models.Model):
        return str(value)
    return value if value is None or isinstance(value, bool | int | str | dict | list) else str(value)


@admin.register(AuditRow)
class AuditRowAdmin(ReadOnlyAdmin):
    list_display = ("time", "actor", "action", "subject")
    list_filter = ("action",)
    search_fields = ("actor", "subject")
    date_hierarchy = "time"


@admin.register(LoginLink)
class LoginLinkAdmin(ReadOnlyAdmin):
    list_display = ("user", "expires_at", "used_at")
    list_select_related = ("user",)
    exclude = ("token_hash",)
