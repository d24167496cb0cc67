from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST
from django.views.decorators.vary import vary_on_headers

from apps.common.requests import AuthenticatedRequest
from apps.images.review import review_upload
from apps.images.services import FilesGone, UploadClosed
from apps.images.views import render_review, upload_for, written_names
from apps.objects.forms import ImportForm
from apps.objects.services import NotReady, import_reviewed
from apps.projects.access import get_project_for_user, permissions_of
from apps.projects.selectors import jobs_of


@login_required
@require_POST
def upload_import(request: AuthenticatedRequest, project_id: int, upload_id: int) -> HttpResponse:
    """Import what the review shows. The pairs are made anew here, so a page that is out of date imports nothing wrong."""
    project, upload = upload_for(request, project_id, upload_id)
    if upload.imported_at is not None:
        return _go_to(request, reverse("job_list", args=[project.pk]))
    form = ImportForm(request.POST)
    written = written_names(request.POST, also_empty=True)
    review = review_upload(upload, request.POST.get("mask_kind"), written)
    if not form.is_valid():
        return render_review(
            request, project, upload, review, problem=str(form.errors["mask_kind"][0]), status=422, written=written
        )
    try:
        job = import_reviewed(
            upload=upload, review=review, requested_by=request.user, first_map=form.cleaned_data["first_map"]
        )
    except NotReady as error:
        return render_review(request, project, upload, review, missing=error.missing, problem=str(error), status=422)
    except UploadClosed:
        return _go_to(request, reverse("job_list", args=[project.pk]))
    except FilesGone as error:
        review = review_upload(upload, request.POST.get("mask_kind"), written)
        return render_review(request, project, upload, review, problem=str(error), status=422)
    return _go_to(request, reverse("import_detail", args=[project.pk, job.pk]))


@login_required
@require_GET
@vary_on_headers("HX-Request")
def import_detail(request: AuthenticatedRequest, project_id: int, job_id: int) -> HttpResponse:
    """An import's progress, then what came of each file; to htmx only the part that changes."""
    project = get_project_for_user(request.user, project_id)
    job = get_object_or_404(jobs_of(project), pk=job_id)
    if job.kind != "import":
        return redirect("job_detail", project.pk, job.pk)
    # After the job: an import that ended between the two would be shown with the number from before it, and for good.
    project.refresh_from_db(fields=["n_objects"])
    template = "objects/_import.html" if request.htmx else "objects/import.html"
    context = {
        "project": project,
        "permissions": permissions_of(request.user, project),
        "job": job,
        "tab": "images",
        # Objects come onto a project's map by themselves, once one was asked for.
        "has_map": job.params.get("first_map", False) or jobs_of(project).filter(kind="iteration").exists(),
    }
    return render(request, template, context)


def _go_to(request: AuthenticatedRequest, url: str) -> HttpResponse:
    """A redirect that htmx follows as a whole page."""
    if not request.htmx:
        return redirect(url)
    response = HttpResponse(status=204)
    response["HX-Redirect"] = url
    return response
