"""The append-only trail of everything but labels, which carry their own (apps.labels)."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class AuditChain(models.Model):
    """The head of one organization's hash chain; locked while an event is added, so sequences have no gaps."""

    organization_id = models.BigIntegerField(primary_key=True)  # 0: the installation itself
    sequence = models.BigIntegerField(default=0)
    hash = models.CharField(max_length=64, default="")


class AuditEvent(models.Model):
    """One thing that somebody did. The database refuses UPDATE, DELETE and TRUNCATE on this table."""

    organization_id = models.BigIntegerField()
    project_id = models.BigIntegerField(null=True)
    sequence = models.BigIntegerField()
    at = models.DateTimeField()
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    action = models.CharField(max_length=60)
    subject = models.CharField(max_length=400)
    detail = models.JSONField(default=dict)
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization_id", "sequence"], name="audit_sequence_unique")]
        indexes = [models.Index(fields=["project_id", "-at"], name="audit_by_project")]

    def __str__(self) -> str:
        return f"{self.sequence} {self.action} {self.subject}"
