from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.views.decorators.http import require_GET

from apps.common.requests import AuthenticatedRequest
from apps.labels.forms import LabelHistoryFilterForm
from apps.labels.selectors import label_history as history_of
from apps.projects.access import get_project_for_user
from apps.projects.permissions import Permission
from apps.projects.views import render_project_page

ACTIONS_PER_PAGE = 50


@login_required
@require_GET
def label_history(request: AuthenticatedRequest, project_id: int) -> HttpResponse:
    """Every gesture that gave, took away or took back labels, for whoever may read the audit trail."""
    project = get_project_for_user(request.user, project_id, needs=Permission.VIEW_AUDIT)
    form = LabelHistoryFilterForm(request.GET or None, project=project, user=request.user)
    chosen: dict[str, Any] = form.cleaned_data if form.is_valid() else {}
    since, until = form.period
    actions = history_of(
        project,
        request.user,
        label_class=chosen.get("label_class"),
        actor=chosen.get("actor"),
        since=since,
        until=until,
    )
    page = Paginator(actions, ACTIONS_PER_PAGE).get_page(request.GET.get("page"))
    context = {"page": page, "form": form, "filtered": any(chosen.values()), "tab": "audit"}
    return render_project_page(request, project, "labels/history.html", context)
