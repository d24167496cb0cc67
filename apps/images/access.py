from __future__ import annotations

from django.shortcuts import get_object_or_404

from apps.accounts.models import User
from apps.images.models import Upload
from apps.images.selectors import uploads_of
from apps.projects.access import get_project_for_user
from apps.projects.permissions import Permission


def get_upload_for_user(user: User, project_id: int, upload_id: int) -> Upload:
    """One of the project's uploads, for somebody who may upload."""
    project = get_project_for_user(user, project_id, needs=Permission.UPLOAD)
    return get_object_or_404(uploads_of(project), pk=upload_id)
