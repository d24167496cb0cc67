from __future__ import annotations

from django.http import Http404, HttpResponse, HttpResponseNotModified
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.common.api import Fields, OrdinalsField, buffer_response, read_ordinals, with_ordinals
from apps.common.requests import ApiRequest
from apps.common.wire import encode_images, gzipped
from apps.engine.atlas import CONTEXT_FACTOR, atlas, single_patch
from apps.objects import selectors
from apps.projects.access import get_project_for_user
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
        if request.headers.get("If-None-Match") == etag:
            return HttpResponseNotModified(headers=headers)
        note_view(request.user, project)
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
