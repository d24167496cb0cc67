from __future__ import annotations

from django.http import HttpResponse, HttpResponseNotModified
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.views import APIView

from apps.common.api import buffer_response
from apps.common.requests import ApiRequest
from apps.models.models import Embedding
from apps.models.selectors import embedding_folder
from apps.projects.access import get_project_for_user


class Plot(APIView):
    """One map's points, as one immutable buffer (PSE1): coordinates, predicted class and confidence by ordinal."""

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request: ApiRequest, project_id: int, number: int) -> HttpResponse:
        project = get_project_for_user(request.user, project_id)
        embedding = get_object_or_404(Embedding, project=project, number=number)
        etag = f"plot-{project.pk}-{number}"
        if request.headers.get("If-None-Match") == f'"{etag}"':
            return HttpResponseNotModified()
        return buffer_response((embedding_folder(embedding) / "plot.bin.gz").read_bytes(), etag=etag, immutable=True)
