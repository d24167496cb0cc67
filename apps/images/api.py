"""Files on their way in: what the upload page sends, and what a script sends instead of it."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.parsers import MultiPartParser
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.common.api import Conflict, Fields
from apps.common.requests import ApiRequest
from apps.engine.errors import BadInput
from apps.engine.masks import MaskKind
from apps.images.access import get_upload_for_user
from apps.images.review import Review, Row, review_upload
from apps.images.selectors import unfinished_uploads
from apps.images.services import UploadClosed, discard_upload, receive_file, remove_file, start_upload
from apps.projects.access import get_project_for_user
from apps.projects.permissions import Permission


class Uploads(APIView):
    """Begin to collect files: images with masks or points, which are then imported together."""

    @extend_schema(operation_id="projects_uploads_list", responses={200: OpenApiTypes.OBJECT})
    def get(self, request: ApiRequest, project_id: int) -> Response:
        project = get_project_for_user(request.user, project_id, needs=Permission.UPLOAD)
        waiting = [
            {"id": upload.pk, "n_files": upload.n_files}  # type: ignore[attr-defined]  # by the selector
            for upload in unfinished_uploads(project, request.user)
        ]
        return Response({"uploads": waiting})

    @extend_schema(request=None, responses={201: OpenApiTypes.OBJECT})
    def post(self, request: ApiRequest, project_id: int) -> Response:
        project = get_project_for_user(request.user, project_id, needs=Permission.UPLOAD)
        return Response({"id": start_upload(project=project, created_by=request.user).pk}, status.HTTP_201_CREATED)


class UploadDetail(APIView):
    """What of an upload belongs together, what is wrong with it, and what an import would make of it."""

    class Input(Fields):
        mask_kind = serializers.ChoiceField([kind.value for kind in MaskKind], required=False)

    @extend_schema(parameters=[OpenApiParameter("mask_kind", str)], responses={200: OpenApiTypes.OBJECT})
    def get(self, request: ApiRequest, project_id: int, upload_id: int) -> Response:
        upload = get_upload_for_user(request.user, project_id, upload_id)
        serializer = self.Input(data=request.query_params)
        serializer.is_valid(raise_exception=True)
        if upload.imported_at is not None:
            raise Conflict("These files are imported, or are being imported.")
        return Response(review_state(review_upload(upload, serializer.validated_data.get("mask_kind"))))

    @extend_schema(responses={204: None, 409: OpenApiTypes.OBJECT})
    def delete(self, request: ApiRequest, project_id: int, upload_id: int) -> Response:
        upload = get_upload_for_user(request.user, project_id, upload_id)
        try:
            discard_upload(upload=upload, discarded_by=request.user)
        except UploadClosed as error:
            raise Conflict(str(error)) from error
        return Response(status=status.HTTP_204_NO_CONTENT)


class UploadFiles(APIView):
    """Takes one file; whatever is wrong with it is said at once, and the files beside it are not affected. The same file sent again is
    taken once."""

    parser_classes = [MultiPartParser]

    class Input(Fields):
        file = serializers.FileField(allow_empty_file=True, max_length=1000)
        name = serializers.CharField(
            required=False,
            allow_blank=True,
            trim_whitespace=False,
            max_length=1000,
            help_text="With its folder: masks/a.png is the mask of images/a.png",
        )
        role = serializers.ChoiceField(["", "image", "mask", "csv", "values"], required=False)

    @extend_schema(request=Input, responses={201: OpenApiTypes.OBJECT, 409: OpenApiTypes.OBJECT})
    def post(self, request: ApiRequest, project_id: int, upload_id: int) -> Response:
        upload = get_upload_for_user(request.user, project_id, upload_id)
        serializer = self.Input(data=request.data)
        serializer.is_valid(raise_exception=True)
        sent = serializer.validated_data
        try:
            file = receive_file(
                upload=upload,
                name=sent.get("name") or sent["file"].name,
                said_role=sent.get("role", ""),
                content=sent["file"],
                received_by=request.user,
            )
        except BadInput as error:
            raise ValidationError({"detail": error.cause, "file": error.file}) from error
        except UploadClosed as error:
            raise Conflict(str(error)) from error
        answer = {"id": file.pk, "name": file.name, "role": file.role, "size": file.size}
        return Response(answer, status.HTTP_201_CREATED)


class UploadedFileDetail(APIView):
    """Take a file out of an upload that was not imported yet."""

    @extend_schema(responses={204: None, 409: OpenApiTypes.OBJECT})
    def delete(self, request: ApiRequest, project_id: int, upload_id: int, file_id: int) -> Response:
        file = get_object_or_404(get_upload_for_user(request.user, project_id, upload_id).files, pk=file_id)
        try:
            remove_file(file=file, removed_by=request.user)
        except UploadClosed as error:
            raise Conflict(str(error)) from error
        return Response(status=status.HTTP_204_NO_CONTENT)


def review_state(review: Review) -> dict[str, Any]:
    """A review as JSON. `values` are those of labeled masks: where `class_name` is empty, the import has to be told it."""
    return {
        "mask_kind": review.mask_kind,
        "reason": review.reason,
        "images": [_image(row) for row in review.rows],
        "importable": len(review.importable),
        "values": [{**row.as_json(), "in_masks": row.n_masks} for row in review.value_rows],
        "new_classes": review.new_classes,
        "blockers": review.blockers,
        "unclear": review.unclear,
        "look_like_masks": [{"id": file.pk, "name": file.name} for file in review.doubtful],
        "without_image": [{"id": file.pk, "name": file.name} for file in review.unpaired],
        "refused": [{"id": file.pk, "name": file.name, "cause": file.error} for file in review.refused],
    }


def _image(row: Row) -> dict[str, Any]:
    return {
        "id": row.image.pk,
        "name": row.image.name,
        "mask": row.mask.name if row.mask else None,
        "points": row.points.name if row.points else None,
        "problem": row.problem,
        "notes": row.notes,
    }
