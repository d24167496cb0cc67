from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET
from django.views.decorators.vary import vary_on_headers

from apps.common.requests import AuthenticatedRequest
from apps.models.selectors import map_records, maps_of
from apps.projects.access import get_project_for_user
from apps.projects.views import render_project_page

MAPS_PER_PAGE = 25


@login_required
@require_GET
@vary_on_headers("HX-Request")
def model_list(request: AuthenticatedRequest, project_id: int) -> HttpResponse:
    """Every map that a project has had, with the model behind it and how good both are; of one of them, the measures in full.
    To htmx, which asks again when something happened, only the part that changes."""
    project = get_project_for_user(request.user, project_id)
    page = Paginator(maps_of(project), MAPS_PER_PAGE).get_page(request.GET.get("page"))
    records = map_records(page.object_list)
    shown = records[0] if records else None
    if asked := request.GET.get("map"):
        number = int(asked) if asked.isdecimal() and len(asked) < 10 else 0
        (shown,) = map_records([get_object_or_404(maps_of(project), number=number)])
    context = {"page": page, "records": records, "shown": shown, "tab": "models"}
    template = "models/_models.html" if request.htmx else "models/models.html"
    return render_project_page(request, project, template, context)
