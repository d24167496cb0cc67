"""What apps above may want to hear of."""

from __future__ import annotations

from django.dispatch import Signal

# Sent inside the transaction, with `organization`, `user` and `removed_by`, when somebody leaves an organization.
organization_member_removed = Signal()
