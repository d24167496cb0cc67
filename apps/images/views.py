from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_GET, require_POST

from apps.audit.services import record_read
from apps.common.requests import AuthenticatedRequest
from apps.engine.errors import BadInput
from apps.engine.masks import MaskKind
from apps.images.access import get_upload_for_user
from apps.images.forms import MaskKindForm
from apps.images.models import Image, Upload
from apps.images.review import MASK_KIND_TEXT, Review, review_upload
from apps.images.selectors import files_of, images_of, thumbnail, unfinished_uploads
from apps.images.services import UploadClosed, discard_upload, remove_file, start_upload, take_for_mask
from apps.projects.access import get_project_for_user
from apps.projects.models import Project
from apps.projects.permissions import Permission
from apps.projects.selectors import trains_a_network
from apps.projects.services import note_view
from apps.projects.views import render_project_page

IMAGES_PER_PAGE = 60
THUMBNAIL_SIZES_PX = (128, 256, 512, 1024, 2048, 4096)
LISTED_PX = 512  # the largest that the list of images shows


@login_required
@require_GET
def image_list(request: AuthenticatedRequest, project_id: int) -> HttpResponse:
    project = get_project_for_user(request.user, project_id)
    note_view(request.user, project)
    page = Paginator(images_of(project), IMAGES_PER_PAGE).get_page(request.GET.get("page"))
    context = {"page": page, "tab": "images", "unfinished": unfinished_uploads(project, request.user)}
    return render_project_page(request, project, "images/list.html", context)


@login_required
@require_GET
def image_detail(request: AuthenticatedRequest, project_id: int, image_id: int) -> HttpResponse:
    project = get_project_for_user(request.user, project_id)
    image = get_object_or_404(images_of(project).select_related("created_by", "project"), pk=image_id)
    _note_read(request, image)
    return render_project_page(request, project, "images/detail.html", {"image": image, "tab": "images"})


@login_required
@require_GET
def image_thumbnail(request: AuthenticatedRequest, project_id: int, image_id: int) -> HttpResponse:
    """A JPEG whose longer side has `px` pixels, rounded up to a size that is kept."""
    project = get_project_for_user(request.user, project_id)
    image = get_object_or_404(images_of(project).select_related("project"), pk=image_id)
    asked = request.GET.get("px", "256")
    wanted = int(asked) if asked.isdecimal() and len(asked) < 6 else 256
    size_px = next((size for size in THUMBNAIL_SIZES_PX if size >= wanted), THUMBNAIL_SIZES_PX[-1])
    if size_px > min(LISTED_PX, max(image.width, image.height) - 1):  # all that a small image has is there at once
        _note_read(request, image)
    else:
        note_view(request.user, project)
    etag = f'"{image.store_key}-{size_px}"'
    if request.headers.get("If-None-Match") == etag:
        response = HttpResponse(status=304)
    else:
        response = HttpResponse(thumbnail(image, size_px), content_type="image/jpeg")
    response["ETag"] = etag
    response["Cache-Control"] = "private, max-age=3600"  # pixels never change, but who may see them does
    return response


def _note_read(request: AuthenticatedRequest, image: Image) -> None:
    record_read(
        actor=request.user,
        action="image.view",
        subject=image.name,
        organization_id=image.project.organization_id,
        project_id=image.project_id,
    )


@login_required
@require_POST
def upload_start(request: AuthenticatedRequest, project_id: int) -> HttpResponse:
    project = get_project_for_user(request.user, project_id, needs=Permission.UPLOAD)
    upload = start_upload(project=project, created_by=request.user)
    return redirect("upload_detail", project.pk, upload.pk)


@login_required
@require_GET
def upload_detail(request: AuthenticatedRequest, project_id: int, upload_id: int) -> HttpResponse:
    project, upload = upload_for(request, project_id, upload_id)
    review = review_upload(upload) if upload.imported_at is None else None
    return render_project_page(
        request, project, "images/upload.html", _review_context(upload, review) | {"tab": "images"}
    )


@login_required
@require_POST
def upload_file_remove(request: AuthenticatedRequest, project_id: int, upload_id: int, file_id: int) -> HttpResponse:
    project, upload = upload_for(request, project_id, upload_id)
    file = get_object_or_404(upload.files, pk=file_id)
    form = MaskKindForm(request.POST)
    mask_kind = form.cleaned_data["mask_kind"] if form.is_valid() else None
    # What was only guessed, perhaps from the file that goes, is guessed anew.
    is_guess = mask_kind == review_upload(upload).mask_kind
    try:
        remove_file(file=file, removed_by=request.user)
    except UploadClosed as error:
        messages.error(request, str(error))
    if not request.htmx:
        return redirect("upload_detail", project.pk, upload.pk)
    written = written_names(request.POST)
    review = review_upload(upload, None if is_guess else mask_kind, written)
    return render_review(request, project, upload, review, written=written, is_chosen=bool(mask_kind) and not is_guess)


@login_required
@require_POST
def upload_file_is_mask(request: AuthenticatedRequest, project_id: int, upload_id: int, file_id: int) -> HttpResponse:
    """What came as an image is a mask: the user has looked."""
    project, upload = upload_for(request, project_id, upload_id)
    file = get_object_or_404(files_of(upload), pk=file_id)
    problem = ""
    try:
        take_for_mask(file=file, taken_by=request.user)
    except (BadInput, UploadClosed) as error:
        problem = str(error)
    if not request.htmx:
        if problem:
            messages.error(request, problem)
        return redirect("upload_detail", project.pk, upload.pk)
    form = MaskKindForm(request.POST)
    mask_kind = form.cleaned_data["mask_kind"] if form.is_valid() else None
    # "None" was right while there was no mask, and would now leave this one unused.
    written = written_names(request.POST)
    review = review_upload(upload, mask_kind if mask_kind != MaskKind.NONE else None, written)
    return render_review(request, project, upload, review, problem=problem, written=written)


@login_required
@require_GET
def upload_review(request: AuthenticatedRequest, project_id: int, upload_id: int) -> HttpResponse:
    """The fragment that shows what would be imported; asked for after each batch of files and change of mask kind."""
    project, upload = upload_for(request, project_id, upload_id)
    form = MaskKindForm(request.GET)
    mask_kind = form.cleaned_data["mask_kind"] if form.is_valid() else None
    written = written_names(request.GET)
    review = review_upload(upload, mask_kind, written)
    return render_review(request, project, upload, review, written=written, is_chosen=bool(mask_kind))


@login_required
@require_POST
def upload_discard(request: AuthenticatedRequest, project_id: int, upload_id: int) -> HttpResponse:
    project, upload = upload_for(request, project_id, upload_id)
    try:
        discard_upload(upload=upload, discarded_by=request.user)
    except UploadClosed as error:
        messages.error(request, str(error))
    else:
        messages.success(request, "The upload is discarded.")
    return redirect("image_list", project.pk)


def written_names(sent: QueryDict, *, also_empty: bool = False) -> dict[str, str]:
    """The classes that somebody has written for values and colors of masks; what is empty is as the files say, unless it is meant."""
    names = {name: str(value) for name, value in sent.items() if name.startswith(("value_", "color_"))}
    return {name: value for name, value in names.items() if value or also_empty}


def upload_for(request: AuthenticatedRequest, project_id: int, upload_id: int) -> tuple[Project, Upload]:
    """The project and one of its uploads, for somebody who may upload."""
    upload = get_upload_for_user(request.user, project_id, upload_id)
    return upload.project, upload


def render_review(
    request: AuthenticatedRequest,
    project: Project,
    upload: Upload,
    review: Review,
    *,
    missing: frozenset[str] = frozenset(),
    problem: str = "",
    status: int = 200,
    written: Mapping[str, str] = MappingProxyType({}),
    is_chosen: bool = False,
) -> HttpResponse:
    """The review; `missing` are the values that still need a class, `problem` is why the import could not begin. `written` names that this kind
    of masks has no field for are kept beside it; `is_chosen`: the kind is the person's, and no guess."""
    template = "images/_review.html" if request.htmx else "images/upload.html"
    context = _review_context(upload, review) | {
        "missing": missing,
        "problem": problem,
        "tab": "images",
        "is_chosen": is_chosen and review.mask_kind != MaskKind.NONE,  # none is right only until a mask comes
        "written_elsewhere": {
            name: value for name, value in written.items() if name not in {row.key for row in review.value_rows}
        },
    }
    return render_project_page(request, project, template, context, status=status)


def _review_context(upload: Upload, review: Review | None) -> dict[str, Any]:
    return {
        "upload": upload,
        "review": review,
        "is_trained": trains_a_network(upload.project),
        "mask_kinds": [(kind.value, text) for kind, text in MASK_KIND_TEXT.items()],
    }
