"""What every part of kalshimm may use of operations: the audit, and which workers there should be."""

from __future__ import annotations

from typing import Any

from kalshimm.ops.models import AuditRow

NEEDED_ROLES = ("gateway", "writer", "supervisor")  # without one of these nothing is traded or stored
EXPECTED_ROLES = (*NEEDED_ROLES, "desk", "spawner", "celery", "web")


def audit(actor: str, action: str, subject: str, **detail: Any) -> None:
    """Note who did what to whom; call it inside the transaction of the change.

    Args:
        actor: User name, or the command or worker that acted.
        detail: JSON-able facts, old and new values above all; never a secret.
    """
    AuditRow.objects.create(actor=actor, action=action, subject=subject, detail=detail)
