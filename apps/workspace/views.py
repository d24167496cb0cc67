from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET, require_POST
from django.views.decorators.vary import vary_on_headers

from apps.common.requests import AuthenticatedRequest
from apps.images.selectors import images_of, unfinished_uploads
from apps.labels.selectors import shared_label_set
from apps.models.services import IterationRefused, start_iteration
from apps.projects.access import get_project_for_user, permissions_of
from apps.projects.jobs import TooManyJobs
from apps.projects.permissions import Permission
from apps.workspace.overview import project_overview
from apps.workspace.services import start_export


@login_required
@require_GET
@vary_on_headers("HX-Request")
def overview(request: AuthenticatedRequest, project_id: int) -> HttpResponse:
    """How far the project is; to htmx, which asks again when something happened, only the part that changes."""
    project = get_project_for_user(request.user, project_id)
    context = {
        "project": project,
        "permissions": permissions_of(request.user, project),
        "overview": project_overview(project, request.user),
        "unfinished": unfinished_uploads(project, request.user),
        "tab": "overview",
    }
    return render(request, "workspace/_overview.html" if request.htmx else "workspace/overview.html", context)


@login_required
@require_GET
@ensure_csrf_cookie
def workspace(request: AuthenticatedRequest, project_id: int) -> HttpResponse:
    """The labeling screen: one island that asks the API for everything else. `image`: of whose objects it begins with."""
    project = get_project_for_user(request.user, project_id)
    image, asked = None, request.GET.get("image")
    if asked is not None:
        image = get_object_or_404(images_of(project), pk=asked if asked.isdecimal() and len(asked) < 19 else 0)
    context = {"project": project, "label_set": shared_label_set(project), "image": image}
    return render(request, "workspace/workspace.html", context)


@login_required
@require_POST
def train(request: AuthenticatedRequest, project_id: int) -> HttpResponse:
    project = get_project_for_user(request.user, project_id, needs=Permission.TRAIN)
    try:
        start_iteration(project=project, requested_by=request.user)
    except IterationRefused as error:
        messages.error(request, f"Not started: {error}.")
    else:
        messages.success(request, "The new map is being made. You can label in the meantime.")
    return redirect("project_overview", project.pk)


@login_required
@require_POST
def export(request: AuthenticatedRequest, project_id: int) -> HttpResponse:
    project = get_project_for_user(request.user, project_id, needs=Permission.EXPORT)
    try:
        job = start_export(
            project=project,
            label_set=None,
            without_sampled="without_sampled" in request.POST,
            requested_by=request.user,
        )
    except TooManyJobs as error:
        messages.error(request, f"Not exported: {error}.")
        return redirect("project_overview", project.pk)
    return redirect("job_detail", project.pk, job.pk)
