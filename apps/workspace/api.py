"""What the labeling page asks for that needs labels, objects and models together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from django.http import Http404, HttpResponse, HttpResponseNotModified, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from numpy.typing import NDArray
from rest_framework import serializers, status
from rest_framework.exceptions import PermissionDenied, Throttled, ValidationError
from rest_framework.parsers import MultiPartParser
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts.models import ApiToken, User
from apps.audit.services import record
from apps.common.api import Conflict, Fields, OrdinalsField, buffer_response, read_ordinals, read_payload, with_ordinals
from apps.common.requests import ApiRequest
from apps.common.wire import encode_groups, encode_similar, gzipped
from apps.engine.errors import BadInput
from apps.engine.formats import read_image
from apps.engine.pixels import middle_square
from apps.images.selectors import images_of
from apps.labels import acceptance
from apps.labels.api import SelectionField, WorkedField, action_result, get_label_set_for_user
from apps.labels.models import StratumSample
from apps.labels.selectors import label_sets_visible_to
from apps.labels.services import LabelError
from apps.models.selectors import has_vectors, latest_embedding, object_groups
from apps.models.services import IterationRefused, SearchRefused, start_iteration, start_picture_search
from apps.projects.access import check_may_cancel, get_project_for_user, permissions_of
from apps.projects.files import EXPORT_KEPT, export_archive
from apps.projects.jobs import TooManyJobs, cancel_job, job_state
from apps.projects.models import Job, Project
from apps.projects.permissions import Permission
from apps.projects.selectors import listed_jobs
from apps.workspace import selectors
from apps.workspace.services import start_export
from apps.workspace.similar import Among, similar_to_objects, similar_to_picture
from apps.workspace.suggestions import KINDS, suggested_page, suggestions

PIECE_BYTES = 1 << 20
MAX_PICTURE_BYTES = 32 << 20
MAX_PICTURE_PIXELS = 4096 * 4096
MIN_PICTURE_PX = 8
# Patch widths: a picture of one object that somebody cut out by hand has less.
SHRUNK_MUCH = 4


class State(APIView):
    """Everything small that the labeling page shows; asked for at the start and after a lost connection."""

    @extend_schema(responses={200: OpenApiTypes.OBJECT})
    def get(self, request: ApiRequest, project_id: int) -> Response:
        project = get_project_for_user(request.user, project_id)
        return Response(selectors.workspace_state(project, request.user))


class ObjectDetail(APIView):
    """One object: where it is, what the model says, what people said."""

    @extend_schema(responses={200: OpenApiTypes.OBJECT})
    def get(self, request: ApiRequest, project_id: int, ordinal: int) -> Response:
        project = get_project_for_user(request.user, project_id)
        return Response(selectors.object_detail(project, ordinal, request.user))


class ImageObjects(APIView):
    """Outlines, labels and predictions of the objects of one image (PSO1)."""

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request: ApiRequest, project_id: int, image_id: int) -> HttpResponse:
        project = get_project_for_user(request.user, project_id)
        image = get_object_or_404(images_of(project), pk=image_id)
        # Before the labels: a later one is then fetched twice rather than never.
        etag = selectors.image_objects_state(image, request.user)
        if request.headers.get("If-None-Match") == f'"{etag}"':
            return HttpResponseNotModified()
        return buffer_response(gzipped(selectors.image_objects(image, request.user), level=1), etag=etag)


class Order(APIView):
    """The given objects in another order, as uint32 ordinals."""

    class Input(Fields):
        order = serializers.ChoiceField(["similarity", "confidence", "uncertain", "image"])
        ordinals = OrdinalsField()

    @extend_schema(request=with_ordinals(Input), responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def post(self, request: ApiRequest, project_id: int) -> HttpResponse:
        project = get_project_for_user(request.user, project_id)
        serializer = self.Input(data=request.data)
        serializer.is_valid(raise_exception=True)
        ordered = selectors.ordered(project, _own_ordinals(request, project), serializer.validated_data["order"])
        return HttpResponse(ordered.astype("<u4").tobytes(), content_type="application/octet-stream")


class Similar(APIView):
    """The objects most similar to the mean of the given ones, or to the picture of a finished `picture` job, nearest first
    (PSS1)."""

    class Input(Fields):
        k = serializers.IntegerField(min_value=1, max_value=5000, default=200)
        unlabeled = serializers.BooleanField(default=False)
        class_value = serializers.IntegerField(required=False, allow_null=True)
        image = serializers.IntegerField(required=False, allow_null=True)
        with_themselves = serializers.BooleanField(default=False)
        picture_job = serializers.IntegerField(required=False, allow_null=True)
        ordinals = OrdinalsField()

    @extend_schema(request=with_ordinals(Input), responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def post(self, request: ApiRequest, project_id: int) -> HttpResponse:
        project = get_project_for_user(request.user, project_id)
        serializer = self.Input(data=request.data)
        serializer.is_valid(raise_exception=True)
        asked = serializer.validated_data
        among = Among(
            unlabeled=asked["unlabeled"],
            class_value=asked.get("class_value"),
            image=get_object_or_404(project.images, pk=asked["image"]) if asked.get("image") else None,
        )
        try:
            if asked.get("picture_job"):
                job = get_object_or_404(project.jobs, pk=asked["picture_job"], kind="picture")
                found = similar_to_picture(job, k=asked["k"], among=among)
            else:
                found = similar_to_objects(
                    project,
                    _own_ordinals(request, project),
                    k=asked["k"],
                    among=among,
                    with_themselves=asked["with_themselves"],
                )
        except SearchRefused as error:
            raise ValidationError({"detail": str(error)}) from error
        content = encode_similar(found.neighbors.ordinals, found.neighbors.similarities, found.embedding.number)
        return HttpResponse(content, content_type="application/octet-stream")


def _own_ordinals(request: ApiRequest, project: Project) -> NDArray[np.int64]:
    """The request's ordinals, each once, ascending. Raises ValidationError for one that the project does not have."""
    ordinals = np.unique(read_ordinals(request)).astype(np.int64)
    if ordinals[-1] >= project.n_objects:
        raise ValidationError({"detail": f"the project has {project.n_objects} objects"})
    return ordinals


class PictureSearch(APIView):
    """Search with a picture of one object, in its middle: a worker reads it, then `Similar` takes the job's number.

    `shrunk_from_px`: the side of the picture's middle, where that is so much larger than a patch that it hardly shows one object.
    """

    parser_classes = [MultiPartParser]

    class Input(Fields):
        picture = serializers.FileField()

    @extend_schema(request=Input, responses={201: OpenApiTypes.OBJECT})
    def post(self, request: ApiRequest, project_id: int) -> Response:
        project = get_project_for_user(request.user, project_id, needs=Permission.LABEL)
        serializer = self.Input(data=request.data)
        serializer.is_valid(raise_exception=True)
        file = serializer.validated_data["picture"]
        if file.size > MAX_PICTURE_BYTES:
            raise ValidationError({"detail": f"{file.name}: at most {MAX_PICTURE_BYTES >> 20} MB"})
        try:
            pixels = read_image(file.read(), name=file.name, max_pixels=MAX_PICTURE_PIXELS)
            if min(pixels.shape[:2]) < MIN_PICTURE_PX:
                raise BadInput(file.name, f"a picture of at least {MIN_PICTURE_PX} x {MIN_PICTURE_PX} pixels is needed")
            picture = middle_square(pixels, project.patch_size_px)
            job = start_picture_search(project=project, picture=picture, requested_by=request.user)
        except (BadInput, SearchRefused) as error:
            raise ValidationError({"detail": str(error)}) from error
        except TooManyJobs as error:
            raise Throttled(detail=str(error)) from error
        side = min(pixels.shape[:2])
        shrunk_from_px = side if side > SHRUNK_MUCH * project.patch_size_px else None
        return Response({**job_state(job), "shrunk_from_px": shrunk_from_px}, status.HTTP_201_CREATED)


class ObjectGroups(APIView):
    """Which group of similar objects each is in, by the newest map's features (PSG1): the groups that typical objects are proposed
    from."""

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request: ApiRequest, project_id: int) -> HttpResponse:
        project = get_project_for_user(request.user, project_id)
        embedding = latest_embedding(project)
        if embedding is None or not has_vectors(embedding):
            raise Http404("this project has no map yet")
        etag = f"groups-{embedding.pk}-{project.patch_size_px}"
        if request.headers.get("If-None-Match") == f'"{etag}"':
            return HttpResponseNotModified()
        return buffer_response(gzipped(encode_groups(object_groups(embedding).group, embedding.number)), etag=etag)


class SuggestionList(APIView):
    """What to look at next: the recommended page first, each with why."""

    @extend_schema(responses={200: OpenApiTypes.OBJECT})
    def get(self, request: ApiRequest, project_id: int) -> Response:
        project = get_project_for_user(request.user, project_id)
        return Response(asdict(suggestions(project)))


class SuggestedPage(APIView):
    """The objects of a proposal in the order to show them, as uint32 ordinals. `ordinals` in the request are left out: what
    the person has seen and passed over."""

    class Input(Fields):
        kind = serializers.ChoiceField(KINDS)
        class_value = serializers.IntegerField(required=False, allow_null=True)
        group = serializers.IntegerField(required=False, allow_null=True)
        ordinals = OrdinalsField()

    @extend_schema(request=with_ordinals(Input), responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def post(self, request: ApiRequest, project_id: int) -> HttpResponse:
        project = get_project_for_user(request.user, project_id)
        serializer = self.Input(data=request.data)
        serializer.is_valid(raise_exception=True)
        asked = serializer.validated_data
        page = suggested_page(
            project,
            asked["kind"],
            class_value=asked.get("class_value"),
            group=asked.get("group"),
            passed=_own_ordinals(request, project) if "ordinals" in request.data else None,
        )
        return HttpResponse(page.astype("<u4").tobytes(), content_type="application/octet-stream")


class Jobs(APIView):
    """A project's jobs, newest first; POST starts training and a new map."""

    class IterationParams(Fields):
        epochs = serializers.IntegerField(required=False, allow_null=True)
        train = serializers.BooleanField(default=True)

    class Input(Fields):
        kind = serializers.ChoiceField(["iteration"])
        params = serializers.DictField(required=False)

    @extend_schema(responses={200: OpenApiTypes.OBJECT})
    def get(self, request: ApiRequest, project_id: int) -> Response:
        project = get_project_for_user(request.user, project_id)
        return Response([job_state(job) for job in listed_jobs(project)[:100]])

    @extend_schema(request=Input, responses={201: OpenApiTypes.OBJECT})
    def post(self, request: ApiRequest, project_id: int) -> Response:
        project = get_project_for_user(request.user, project_id, needs=Permission.TRAIN)
        serializer = self.Input(data=request.data)
        serializer.is_valid(raise_exception=True)
        params = self.IterationParams(data=serializer.validated_data.get("params") or {})
        params.is_valid(raise_exception=True)
        try:
            job = start_iteration(
                project=project,
                requested_by=request.user,
                epochs=params.validated_data.get("epochs"),
                train=params.validated_data["train"],
            )
        except IterationRefused as error:
            raise ValidationError({"detail": str(error)}) from error
        return Response(job_state(job), status.HTTP_201_CREATED)


def get_job_for_user(user: User, job_id: int) -> Job:
    """The job, if the user may see its project."""
    job = get_object_or_404(Job.objects.select_related("project", "requested_by"), pk=job_id)
    get_project_for_user(user, job.project_id)
    return job


class JobDetail(APIView):
    @extend_schema(responses={200: OpenApiTypes.OBJECT})
    def get(self, request: ApiRequest, job_id: int) -> Response:
        job = get_job_for_user(request.user, job_id)
        # The log has paths and tracebacks, for those who run the project.
        log = job.log if Permission.TRAIN in permissions_of(request.user, job.project) else ""
        return Response({**job_state(job), "log": log, "result": job.result})


class CancelJob(APIView):
    @extend_schema(request=None, responses={200: OpenApiTypes.OBJECT})
    def post(self, request: ApiRequest, job_id: int) -> Response:
        job = get_job_for_user(request.user, job_id)
        check_may_cancel(request.user, job)
        cancel_job(job=job, cancelled_by=request.user)
        job.refresh_from_db()
        return Response(job_state(job))


class InPerson(IsAuthenticated):
    """Of a sample somebody looks at each object: no script does."""

    message = "Samples are looked at and accepted by people: sign in on the website."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return super().has_permission(request, view) and not isinstance(request.auth, ApiToken)


class Samples(APIView):
    """Draw a random sample of a selection, to accept all of it for one class."""

    permission_classes = [InPerson]

    class Input(Fields):
        class_value = serializers.IntegerField()
        selection = SelectionField(default=dict)
        client_key = serializers.UUIDField(required=False)
        ordinals = OrdinalsField()

    @extend_schema(
        request=with_ordinals(Input, "sample"), responses={201: OpenApiTypes.OBJECT, 409: OpenApiTypes.OBJECT}
    )
    def post(self, request: ApiRequest, label_set_id: int) -> Response:
        label_set = get_label_set_for_user(request.user, label_set_id, needs=Permission.LABEL)
        serializer = self.Input(data=read_payload(request, "sample"))
        serializer.is_valid(raise_exception=True)
        asked = serializer.validated_data
        label_class = label_set.project.label_classes.filter(value=asked["class_value"]).first()
        if label_class is None:
            raise ValidationError({"detail": f"the project has no class {asked['class_value']}"})
        with answering_sample_errors():
            sample = acceptance.draw_sample(
                label_set=label_set,
                label_class=label_class,
                ordinals=read_ordinals(request),
                drawn_by=request.user,
                embedding=newest_map(label_set.project),
                selection=asked["selection"],
                client_key=asked.get("client_key"),
            )
        return Response(_judged(sample), status.HTTP_201_CREATED)


@contextmanager
def answering_sample_errors() -> Iterator[None]:
    """403 where the project does not allow it, 409 where the sample is closed, 400 for all else that makes no sense."""
    try:
        yield
    except acceptance.SampleNotAllowed as error:
        raise PermissionDenied(str(error)) from error
    except acceptance.SampleClosed as error:
        raise Conflict(str(error)) from error
    except LabelError as error:
        raise ValidationError({"detail": str(error)}) from error


def newest_map(project: Project) -> int | None:
    """Its number; None before the first."""
    embedding = latest_embedding(project)
    return embedding.number if embedding else None


def get_sample_for_user(user: User, sample_id: int, *, needs: Permission) -> StratumSample:
    """The user's own sample, if they may do `needs` in its project; another one's is not there."""
    found = StratumSample.objects.select_related("label_set__project", "project", "label_class")
    sample = get_object_or_404(found, pk=sample_id)
    get_project_for_user(user, sample.project_id, needs=needs)
    if sample.drawn_by_id != user.pk:
        raise Http404("no such sample")
    return sample


def _asked_of_sample(
    request: ApiRequest, sample_id: int, form: type[serializers.Serializer[Any]]
) -> tuple[StratumSample, dict[str, Any]]:
    """The user's own sample that they may label by, and what is asked of it."""
    sample = get_sample_for_user(request.user, sample_id, needs=Permission.LABEL)
    serializer = form(data=request.data)
    serializer.is_valid(raise_exception=True)
    return sample, serializer.validated_data


def _judged(sample: StratumSample) -> dict[str, Any]:
    is_open = sample.state == StratumSample.State.OPEN
    verdict = acceptance.judge(sample, newest_map(sample.project)) if is_open else None
    return selectors.sample_state(sample, verdict)


class SampleDetail(APIView):
    """One's sample: which objects are in it, in which order, and how it stands."""

    @extend_schema(responses={200: OpenApiTypes.OBJECT})
    def get(self, request: ApiRequest, sample_id: int) -> Response:
        return Response(_judged(get_sample_for_user(request.user, sample_id, needs=Permission.VIEW)))


class SampleMarks(APIView):
    """Mark sampled objects as wrong, and take marks back; what was marked elsewhere stays."""

    permission_classes = [InPerson]

    class Input(Fields):
        wrong = serializers.ListField(child=serializers.IntegerField(min_value=0), max_length=100_000, default=list)
        not_wrong = serializers.ListField(child=serializers.IntegerField(min_value=0), max_length=100_000, default=list)

    @extend_schema(request=Input, responses={200: OpenApiTypes.OBJECT, 409: OpenApiTypes.OBJECT})
    def post(self, request: ApiRequest, sample_id: int) -> Response:
        sample, asked = _asked_of_sample(request, sample_id, self.Input)
        with answering_sample_errors():
            sample = acceptance.mark_sampled(sample=sample, **asked)
        return Response(_judged(sample))


class SampleMore(APIView):
    """Look at more of a selection, as many in all as the wrong ones that were found ask for."""

    permission_classes = [InPerson]

    class Input(Fields):
        n = serializers.IntegerField(min_value=1)

    @extend_schema(request=Input, responses={200: OpenApiTypes.OBJECT, 409: OpenApiTypes.OBJECT})
    def post(self, request: ApiRequest, sample_id: int) -> Response:
        sample, asked = _asked_of_sample(request, sample_id, self.Input)
        with answering_sample_errors():
            sample = acceptance.look_at_more(sample=sample, n=asked["n"], embedding=newest_map(sample.project))
        return Response(_judged(sample))


class SampleAcceptance(APIView):
    """Label the selection but for what was found wrong: the explicit gesture, with the numbers that the user was shown."""

    permission_classes = [InPerson]

    class Input(Fields):
        size = serializers.IntegerField(min_value=1)
        seen = serializers.IntegerField(min_value=0)
        worked_s = WorkedField()

    @extend_schema(request=Input, responses={201: OpenApiTypes.OBJECT, 409: OpenApiTypes.OBJECT})
    def post(self, request: ApiRequest, sample_id: int) -> Response:
        sample, asked = _asked_of_sample(request, sample_id, self.Input)
        newest = newest_map(sample.project)
        with answering_sample_errors():
            sample = acceptance.accept_sample(
                sample=sample,
                size=asked["size"],
                seen=asked["seen"],
                embedding=newest,
                worked_s=asked.get("worked_s"),
            )
        if sample.action is None:
            verdict = acceptance.judge(sample, newest)
            detail = _why_not(len(verdict.wrong), sample.n, verdict.stale)
            state = selectors.sample_state(sample, verdict)
            return Response({"detail": detail, "sample": state}, status.HTTP_409_CONFLICT)
        return Response(action_result(sample.action, sample.label_set, request.user), status.HTTP_201_CREATED)


def _why_not(n_wrong: int, n: int, stale: str) -> str:
    if stale:
        return f"not accepted, because {stale}"
    return (
        f"{n_wrong:,} of {n:,} are wrong, too many: review the selection by exception, or sample a purer or larger one"
    )


class SampleEnd(APIView):
    """Leave a sample without accepting the selection."""

    permission_classes = [InPerson]

    @extend_schema(request=None, responses={200: OpenApiTypes.OBJECT})
    def post(self, request: ApiRequest, sample_id: int) -> Response:
        sample = get_sample_for_user(request.user, sample_id, needs=Permission.LABEL)
        return Response(selectors.sample_state(acceptance.end_sample(sample=sample), None))


class Exports(APIView):
    """Write a label set as masks and tables, in the background."""

    class Input(Fields):
        label_set = serializers.IntegerField(required=False, allow_null=True)
        without_sampled = serializers.BooleanField(default=False)

    @extend_schema(request=Input, responses={201: OpenApiTypes.OBJECT})
    def post(self, request: ApiRequest, project_id: int) -> Response:
        project = get_project_for_user(request.user, project_id, needs=Permission.EXPORT)
        serializer = self.Input(data=request.data)
        serializer.is_valid(raise_exception=True)
        visible = label_sets_visible_to(request.user, project)
        asked = serializer.validated_data.get("label_set")
        label_set = get_object_or_404(visible, pk=asked) if asked else None
        try:
            job = start_export(
                project=project,
                label_set=label_set,
                without_sampled=serializer.validated_data["without_sampled"],
                requested_by=request.user,
            )
        except TooManyJobs as error:
            raise Throttled(detail=str(error)) from error
        return Response(job_state(job), status.HTTP_201_CREATED)


class ExportDownload(APIView):
    """The finished export as one zip."""

    @extend_schema(responses={(200, "application/zip"): OpenApiTypes.BINARY, 409: OpenApiTypes.OBJECT})
    def get(self, request: ApiRequest, job_id: int) -> StreamingHttpResponse:
        job = get_object_or_404(Job.objects.select_related("project"), pk=job_id, kind="export")
        project = get_project_for_user(request.user, job.project_id, needs=Permission.EXPORT)
        if job.params.get("label_set"):
            get_object_or_404(label_sets_visible_to(request.user, project), pk=job.params["label_set"])
        if job.is_active:
            raise Conflict("this export is still being written")
        path = export_archive(job)
        if job.state != Job.State.FINISHED or not path.exists():
            raise Http404(f"this export is not there: each is kept for {EXPORT_KEPT.days} days")
        record(
            actor=request.user,
            action="export.download",
            subject=path.name,
            organization_id=project.organization_id,
            project_id=project.pk,
        )
        return StreamingHttpResponse(
            _read_in_pieces(path),
            content_type="application/zip",
            headers={
                "Content-Length": str(path.stat().st_size),
                "Content-Disposition": f'attachment; filename="{path.name}"',
            },
        )


async def _read_in_pieces(path: Path) -> AsyncIterator[bytes]:
    # Under ASGI, Django gathers what a synchronous iterator gives before it sends the first byte.
    with path.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
            yield piece
