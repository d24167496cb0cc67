from __future__ import annotations

from django.http import Http404, HttpResponse, HttpResponseNotModified
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.common.api import Conflict, Fields, OrdinalsField, buffer_response, read_ordinals, with_ordinals
from apps.common.requests import ApiRequest
from apps.common.wire import encode_images, gzipped
from apps.engine.atlas import CONTEXT_FACTOR, atlas, single_patch
from apps.engine.masks import MaskKind
from apps.images.access import get_upload_for_user
from apps.images.api import review_state
from apps.images.review import review_upload
from apps.images.services import FilesGone, UploadClosed
from apps.objects import selectors
from apps.objects.services import NotReady, import_reviewed
from apps.projects.access import get_project_for_user
from apps.projects.jobs import job_state
from apps.projects.services import note_view

MAX_ATLAS_TILES = 1024
VIEWS = ["patch", "context"]


class Atlas(APIView):
    """A screenful of patches as one JPEG: tiles row by row, at most 32 a row."""

    class Input(Fields):
        tile_px = serializers.IntegerField(min_value=16, max_value=256, default=64)
        view = serializers.ChoiceField(VIEWS, default="patch")
        outline = serializers.BooleanField(default=False)
        ordinals = OrdinalsField()

    @extend_schema(request=with_ordinals(Input), responses={(200, "image/jpeg"): OpenApiTypes.BINARY})
    def post(self, request: ApiRequest, project_id: int) -> HttpResponse:
        project = get_project_for_user(request.user, project_id)
        serializer = self.Input(data=request.data)
        serializer.is_valid(raise_exception=True)
        ordinals = read_ordinals(request)
        if len(ordinals) > MAX_ATLAS_TILES:
            raise ValidationError({"detail": f"at most {MAX_ATLAS_TILES} patches in one atlas"})
        if ordinals.max() >= project.n_objects:
            raise ValidationError({"detail": f"the project has {project.n_objects} objects"})
        is_context = serializer.validated_data["view"] == "context"
        note_view(request.user, project)
        content = atlas(
            selectors.patch_reader(project),
            ordinals,
            tile_px=serializer.validated_data["tile_px"],
            patch_size_px=project.patch_size_px * CONTEXT_FACTOR if is_context else None,
            outline=serializer.validated_data["outline"],
        )
        return HttpResponse(content, content_type="image/jpeg", headers={"Cache-Control": "private, no-store"})


class Patch(APIView):
    """One object's patch or context region, with its outline where asked."""

    class Input(Fields):
        px = serializers.IntegerField(min_value=16, max_value=1024, default=256)
        view = serializers.ChoiceField(VIEWS, default="patch")
        outline = serializers.BooleanField(default=False)

    @extend_schema(
        parameters=[OpenApiParameter("px", int), OpenApiParameter("view", str), OpenApiParameter("outline", bool)],
        responses={(200, "image/jpeg"): OpenApiTypes.BINARY},
    )
    def get(self, request: ApiRequest, project_id: int, ordinal: int) -> HttpResponse:
        project = get_project_for_user(request.user, project_id)
        serializer = self.Input(data=request.query_params)
        serializer.is_valid(raise_exception=True)
        asked = serializer.validated_data
        if ordinal >= project.n_objects:
            raise Http404("no such object")
        etag = f'"{ordinal}-{project.patch_size_px}-{asked["view"]}-{asked["px"]}-{asked["outline"]}"'
        headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
        note_view(request.user, project)
        if request.headers.get("If-None-Match") == etag:
            return HttpResponseNotModified(headers=headers)
        content = single_patch(
            selectors.patch_reader(project),
            ordinal,
            size_px=asked["px"],
            context=asked["view"] == "context",
            outline=asked["outline"],
        )
        return HttpResponse(content, content_type="image/jpeg", headers=headers)


class ImageNames(APIView):
    """The project's images in the order in which they were imported: what the ids of `objects/images` are called."""

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: ApiRequest, project_id: int) -> Response:
        project = get_project_for_user(request.user, project_id)
        return Response({"images": selectors.image_names(project)})


class ObjectImages(APIView):
    """Which image each object is on (PSI1)."""

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request: ApiRequest, project_id: int) -> HttpResponse:
        project = get_project_for_user(request.user, project_id)
        etag = f"images-{project.pk}-{project.n_objects}"
        if request.headers.get("If-None-Match") == f'"{etag}"':
            return HttpResponseNotModified()
        return buffer_response(gzipped(encode_images(selectors.image_id_by_ordinal(project))), etag=etag)


class ImportUpload(APIView):
    """Import what an upload's review shows. `classes` names what the values or colors of labeled masks mean, as "1" or "#rrggbb",
    where neither a table nor the project says so."""

    class Input(Fields):
        mask_kind = serializers.ChoiceField([kind.value for kind in MaskKind], required=False)
        classes = serializers.DictField(child=serializers.CharField(max_length=80), required=False)
        first_map = serializers.BooleanField(default=True)

    @extend_schema(request=Input, responses={201: OpenApiTypes.OBJECT, 409: OpenApiTypes.OBJECT})
    def post(self, request: ApiRequest, project_id: int, upload_id: int) -> Response:
        upload = get_upload_for_user(request.user, project_id, upload_id)
        serializer = self.Input(data=request.data)
        serializer.is_valid(raise_exception=True)
        asked = serializer.validated_data
        if upload.imported_at is not None:
            raise Conflict("These files are imported, or are being imported.")
        names = {_key_of(value): name for value, name in asked.get("classes", {}).items()}
        review = review_upload(upload, asked.get("mask_kind"), names)
        try:
            job = import_reviewed(upload=upload, review=review, requested_by=request.user, first_map=asked["first_map"])
        except NotReady as error:
            answer = {"detail": str(error), "review": review_state(review)}
            return Response(answer, status.HTTP_400_BAD_REQUEST)
        except (UploadClosed, FilesGone) as error:
            raise Conflict(str(error)) from error
        return Response(job_state(job), status.HTTP_201_CREATED)


def _key_of(value: str) -> str:
    """As the review calls it."""
    return f"color_{value[1:].lower()}" if value.startswith("#") else f"value_{value}"
