from __future__ import annotations

from django.http import Http404, HttpResponse, HttpResponseNotModified
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.common.api import buffer_response
from apps.common.requests import ApiRequest
from apps.common.wire import encode_predictions, gzipped
from apps.models import selectors
from apps.models.models import Embedding
from apps.models.selectors import embedding_folder
from apps.projects.access import get_project_for_user
from apps.projects.models import Job


class Plot(APIView):
    """One map's points, as one immutable buffer (PSE1): coordinates by ordinal."""

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request: ApiRequest, project_id: int, number: int) -> HttpResponse:
        project = get_project_for_user(request.user, project_id)
        embedding = get_object_or_404(Embedding, project=project, number=number)
        etag = f"plot-{project.pk}-{number}"
        if request.headers.get("If-None-Match") == f'"{etag}"':
            return HttpResponseNotModified()
        return buffer_response((embedding_folder(embedding) / "plot.bin.gz").read_bytes(), etag=etag, immutable=True)


class Maps(APIView):
    """The newest hundred maps, the newest first: the model behind each, and how good both are."""

    @extend_schema(responses={200: OpenApiTypes.OBJECT})
    def get(self, request: ApiRequest, project_id: int) -> Response:
        project = get_project_for_user(request.user, project_id)
        return Response({"maps": selectors.map_records(selectors.maps_of(project)[:100])})


class Preview(APIView):
    """Where the points of a layout are that still runs, as one buffer (PSE1). 404 once it has ended, and before it has
    anything to show: the map itself is then what to ask for."""

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request: ApiRequest, project_id: int, job_id: int) -> HttpResponse:
        project = get_project_for_user(request.user, project_id)
        job = get_object_or_404(Job, project=project, pk=job_id, state=Job.State.RUNNING)
        try:
            written = selectors.preview_file(job)
            content, changed = written.read_bytes(), written.stat().st_mtime_ns
        except FileNotFoundError as error:
            raise Http404("this job has no layout to show") from error
        return buffer_response(content, etag=f"preview-{job.pk}-{changed}")


class Predictions(APIView):
    """The predictions that hold, as one buffer (PSP1): predicted class and confidence by ordinal."""

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request: ApiRequest, project_id: int) -> HttpResponse:
        project = get_project_for_user(request.user, project_id)
        current = selectors.current_prediction_set(project)
        if current is None:
            raise Http404("nothing is predicted before there is a map")
        etag = f"predictions-{project.pk}-{current.revision}"
        if request.headers.get("If-None-Match") == f'"{etag}"':
            return HttpResponseNotModified()
        classes, confidence = selectors.stored_predictions(current)
        buffer = encode_predictions(classes, confidence, revision=current.revision, embedding=current.embedding.number)
        return buffer_response(gzipped(buffer, level=1), etag=etag)


class PredictionQuality(APIView):
    """How good predictions are on labels they were not made from, and how that grew with the labels: of those that hold, or
    of the last ones on an earlier map."""

    @extend_schema(responses={200: OpenApiTypes.OBJECT})
    def get(self, request: ApiRequest, project_id: int, number: int | None = None) -> Response:
        project = get_project_for_user(request.user, project_id)
        if number is not None:
            get_object_or_404(Embedding, project=project, number=number)
        current = selectors.current_prediction_set(project, embedding_number=number)
        return Response(
            {
                "n_labels": current.n_labels if current else 0,
                "classes": list(project.label_classes.values("value", "name", "color")),
                "quality": (current.quality_to_tell or None) if current else None,
                "history": selectors.quality_history(current.embedding) if current else [],
            }
        )
