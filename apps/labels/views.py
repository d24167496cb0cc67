from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpResponse, HttpResponseBadRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET, require_POST

from apps.audit.selectors import in_pages
from apps.audit.services import record_download
from apps.common.requests import AuthenticatedRequest
from apps.common.tables import table_response
from apps.labels.forms import LabelHistoryFilterForm
from apps.labels.models import LabelAction
from apps.labels.selectors import label_history as history_of
from apps.labels.services import LabelError, remove_label_class
from apps.labels.sessions import (
    SessionRecord,
    all_session_records,
    as_json,
    may_see_everybody,
    people_records,
    session_records,
    sessions_for,
)
from apps.labels.templatetags.gestures import how_it_was_done, what_was_done
from apps.projects.access import get_project_for_user
from apps.projects.models import LabelClass, Project
from apps.projects.permissions import Permission
from apps.projects.views import NO_SUCH_FILTER, render_project_page, trail_page

SESSIONS_PER_PAGE = 50
HISTORY_COLUMNS = (
    "number",
    "at",
    "actor_id",
    "actor",
    "actor_email",
    "what",
    "class",
    "objects_changed",
    "objects",
    "label_set",
    "provenance",
    "how",
    "previous_hash",
    "hash",
)


@login_required
@require_POST
def label_class_remove(request: AuthenticatedRequest, project_id: int, value: int) -> HttpResponse:
    """Only a class that nothing was ever labeled with: the labels' history decides."""
    project = get_project_for_user(request.user, project_id, needs=Permission.EDIT_PROJECT)
    label_class = get_object_or_404(LabelClass, project=project, value=value)
    try:
        remove_label_class(label_class=label_class, removed_by=request.user)
    except LabelError as error:
        messages.error(request, str(error))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, f"{label_class.name} was removed.")
        return redirect("project_settings", project.pk)
    return redirect("label_class_edit", project.pk, value)


@login_required
@require_GET
def session_list(request: AuthenticatedRequest, project_id: int) -> HttpResponse:
    """Who labeled when, how much and how quickly: everybody's sessions for whoever may read the trail, else one's own."""
    project = get_project_for_user(request.user, project_id)
    sessions = sessions_for(project, request.user)
    page = Paginator(sessions, SESSIONS_PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "page": page,
        "records": session_records(project, page.object_list),
        "people": people_records(project, sessions),
        "everybody": may_see_everybody(request.user, project),
        "tab": "sessions",
    }
    return render_project_page(request, project, "labels/sessions.html", context)


@login_required
@require_GET
@ensure_csrf_cookie
def quick_review(request: AuthenticatedRequest, project_id: int) -> HttpResponse:
    """One patch after the other: one island that asks the API for everything else."""
    project = get_project_for_user(request.user, project_id, needs=Permission.LABEL)
    return render_project_page(request, project, "labels/quick_review.html", {"tab": "sessions"})


@login_required
@require_GET
def session_table(request: AuthenticatedRequest, project_id: int) -> HttpResponseBase:
    """The same as a CSV file."""
    project = get_project_for_user(request.user, project_id)
    columns = [field.name for field in fields(SessionRecord)]
    records = all_session_records(project, sessions_for(project, request.user))
    rows = ([values[column] for column in columns] for values in map(as_json, records))
    return table_response(f"sessions-project-{project.pk}.csv", columns, rows)


@login_required
@require_GET
def label_history(request: AuthenticatedRequest, project_id: int) -> HttpResponse:
    """Every gesture that gave, took away or took back labels, for whoever may read the audit trail."""
    project = get_project_for_user(request.user, project_id, needs=Permission.VIEW_AUDIT)
    form, actions = _filtered(request, project)
    return render_project_page(request, project, "labels/history.html", trail_page(request, form, actions, tab="audit"))


@login_required
@require_GET
def label_history_table(request: AuthenticatedRequest, project_id: int) -> HttpResponseBase:
    """What the page shows, all of it, as a CSV file."""
    project = get_project_for_user(request.user, project_id, needs=Permission.VIEW_AUDIT)
    form, actions = _filtered(request, project)
    if form.errors:
        return HttpResponseBadRequest(NO_SUCH_FILTER)
    record_download(
        actor=request.user,
        what="labels given",
        organization_id=project.organization_id,
        project_id=project.pk,
        query=request.GET.urlencode(),
    )
    return table_response(f"labels-given-project-{project.pk}.csv", HISTORY_COLUMNS, _rows(actions))


def _filtered(request: AuthenticatedRequest, project: Project) -> tuple[LabelHistoryFilterForm, QuerySet[LabelAction]]:
    form = LabelHistoryFilterForm(request.GET or None, project=project, user=request.user)
    chosen: dict[str, Any] = form.cleaned_data if form.is_valid() else {}
    since, until = form.period
    label_class, actor = chosen.get("label_class"), chosen.get("actor")
    return form, history_of(project, request.user, label_class=label_class, actor=actor, since=since, until=until)


def _rows(actions: QuerySet[LabelAction]) -> Iterator[tuple[object, ...]]:
    """Of HISTORY_COLUMNS, the newest first."""
    for action in in_pages(actions):
        yield (
            action.sequence,
            action.at.isoformat(),
            action.actor_id or "",
            str(action.actor) if action.actor else "the server",
            action.actor.email if action.actor else "",
            what_was_done(action),
            action.label_class.name if action.kind == LabelAction.Kind.LABEL and action.label_class else "",
            action.n,
            action.n_asked,
            action.label_set.name,
            action.provenance,
            how_it_was_done(action),
            action.previous_hash,
            action.hash,
        )
