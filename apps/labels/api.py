from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, HttpResponseNotModified
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts.models import ApiToken, User
from apps.common.api import Fields, OrdinalsField, buffer_response, read_ordinals, read_payload, with_ordinals
from apps.common.requests import ApiRequest
from apps.common.wire import encode_changes, encode_labels, gzipped
from apps.labels import selectors, services
from apps.labels.models import LEFT_OUT, ON_SCREEN, TOKEN, WORKED, LabelAction, LabelSet
from apps.labels.quick_review import take_up_quick_review
from apps.labels.services import Gesture, LabelError, NothingToUndo
from apps.labels.sessions import as_json, session_records, sessions_for
from apps.projects.access import get_project_for_user
from apps.projects.permissions import Permission


def get_label_set_for_user(user: User, label_set_id: int, *, needs: Permission = Permission.VIEW) -> LabelSet:
    """The label set, if the user may do `needs` in its project and is not blinded to it; else 404 or 403.

    Gestures go into the shared set or one's own; what was imported stays as it was imported.
    """
    label_set = get_object_or_404(LabelSet.objects.select_related("project"), pk=label_set_id)
    project = get_project_for_user(user, label_set.project_id, needs=needs)
    label_set = get_object_or_404(
        selectors.label_sets_visible_to(user, project).select_related("project"), pk=label_set_id
    )
    if needs == Permission.LABEL and label_set.kind != LabelSet.Kind.SHARED and label_set.rater_id != user.pk:
        raise PermissionDenied("labels are given in the shared set, or in one's own")
    return label_set


def token_of(request: ApiRequest) -> str:
    """The beginning of the token that a script bears; "" for a page."""
    return request.auth.token_key if isinstance(request.auth, ApiToken) else ""


class WorkedField(serializers.FloatField):
    """Seconds that somebody was at work for a gesture, since the one before. In tenths: what the database gives back is what the
    action's hash was made of."""

    def __init__(self) -> None:
        super().__init__(required=False, allow_null=True, min_value=0, max_value=24 * 60 * 60)

    def to_internal_value(self, data: Any) -> float:
        return round(super().to_internal_value(data), 1) + 0.0


class LabelClasses(APIView):
    """The class of every object in a label set, as one buffer (PSL2)."""

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request: ApiRequest, label_set_id: int) -> HttpResponse:
        label_set = get_label_set_for_user(request.user, label_set_id)
        n_objects = label_set.project.n_objects
        revision = selectors.shown_revision(label_set)
        etag = f"labels-{label_set.pk}-{revision}-{n_objects}"
        if request.headers.get("If-None-Match") == f'"{etag}"':
            return HttpResponseNotModified()
        values, sources = selectors.labels_with_sources(label_set, n_objects)
        unseen = selectors.accepted_unseen(selectors.sample_claims(label_set), np.arange(n_objects), sources)
        return buffer_response(gzipped(encode_labels(values, unseen, revision), level=1), etag=etag)


class LabelChanges(APIView):
    """The labels that changed after a revision (PSC2)."""

    class Input(Fields):
        since = serializers.IntegerField(min_value=0)

    @extend_schema(
        parameters=[OpenApiParameter("since", int)],
        responses={(200, "application/octet-stream"): OpenApiTypes.BINARY},
    )
    def get(self, request: ApiRequest, label_set_id: int) -> HttpResponse:
        label_set = get_label_set_for_user(request.user, label_set_id)
        serializer = self.Input(data=request.query_params)
        serializer.is_valid(raise_exception=True)
        # The revision first: what is committed in between arrives twice rather than never.
        revision = selectors.shown_revision(label_set)
        since = serializer.validated_data["since"]
        ordinals, values, sources = selectors.changes_since(label_set, since)
        unseen = selectors.accepted_unseen(selectors.sample_claims(label_set), ordinals, sources)
        return buffer_response(gzipped(encode_changes(ordinals, values, unseen, revision), level=1), etag=f"{revision}")


class SelectionField(serializers.JSONField):
    """The context of a gesture, kept with the action: what was lassoed, filtered, shown; `left_out` are the ordinals of the
    patches on a confirmed page that were seen and are not of its class, `on_screen` which of the labeled ones were on the screen."""

    MAX_BYTES = 1_000_000
    MAX_DEPTH = 8
    MOST_LEFT_OUT = 10_000  # more than anybody has looked at on one page

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict):
            raise serializers.ValidationError("expected an object")
        if reserved := {TOKEN, WORKED} & set(data):
            raise serializers.ValidationError(f"{min(reserved)}: this is no part of what a page says of a selection")
        canonical = _canonical(data, depth=self.MAX_DEPTH)
        if len(json.dumps(canonical)) > self.MAX_BYTES:
            raise serializers.ValidationError("more than a megabyte; send fewer corners")
        left_out = canonical.get(LEFT_OUT, [])
        if not _are_ordinals(left_out):
            raise serializers.ValidationError(f"{LEFT_OUT}: expected ordinals")
        on_screen = canonical.get(ON_SCREEN, {"n": 0})
        n = on_screen.get("n") if isinstance(on_screen, dict) else None
        if type(n) is not int or n < 0 or not _are_ordinals(on_screen.get("ordinals", [])):
            raise serializers.ValidationError(f"{ON_SCREEN}: expected n, and ordinals unless all were on the screen")
        if len(left_out) > self.MOST_LEFT_OUT:
            raise serializers.ValidationError(f"{LEFT_OUT}: more than {self.MOST_LEFT_OUT:,} objects")
        return canonical


def _are_ordinals(value: Any) -> bool:
    return isinstance(value, list) and all(type(ordinal) is int and ordinal >= 0 for ordinal in value)


def _canonical(value: Any, *, depth: int) -> Any:
    """Floats at six decimals and no text that the database can not keep: what it gives back is then what the action's
    hash was made of."""
    if depth < 0:
        raise serializers.ValidationError("nested too deeply")
    if isinstance(value, float):
        if not math.isfinite(value) or abs(value) > 1e9:
            raise serializers.ValidationError("a number out of range")
        return round(value, 6) + 0.0  # and no -0.0, which the database does not know
    if isinstance(value, int) and abs(value) > 2**53:
        raise serializers.ValidationError("a number out of range")
    if isinstance(value, str) and any(character == "\0" or "\ud800" <= character <= "\udfff" for character in value):
        raise serializers.ValidationError("a text with characters that can not be kept")
    if isinstance(value, dict):
        return {_canonical(str(key), depth=0): _canonical(item, depth=depth - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item, depth=depth - 1) for item in value]
    return value


class LabelActions(APIView):
    """Label objects, or take their labels away: one gesture, whatever its size. Without any objects, who is `left_out` alone: a page
    of which nothing is of its class."""

    class Input(Fields):
        kind = serializers.ChoiceField(["label", "remove"])
        class_value = serializers.IntegerField(required=False, allow_null=True)
        provenance = serializers.ChoiceField(["single", "bulk"])
        only_unlabeled = serializers.BooleanField(default=False)
        selection = SelectionField(default=dict)
        client_key = serializers.UUIDField(required=False)
        reason = serializers.CharField(required=False, max_length=400)
        worked_s = WorkedField()
        ordinals = OrdinalsField()

    @extend_schema(request=with_ordinals(Input, "action"), responses={201: OpenApiTypes.OBJECT})
    def post(self, request: ApiRequest, label_set_id: int) -> Response:
        label_set = get_label_set_for_user(request.user, label_set_id, needs=Permission.LABEL)
        serializer = self.Input(data=read_payload(request, "action"))
        serializer.is_valid(raise_exception=True)
        asked = serializer.validated_data
        label_class = None
        if asked["kind"] == "label":
            label_class = label_set.project.label_classes.filter(value=asked.get("class_value")).first()
            if label_class is None:
                raise ValidationError({"detail": f"the project has no class {asked.get('class_value')}"})
        gesture = Gesture(
            provenance=asked["provenance"],
            selection=asked["selection"],
            client_key=asked.get("client_key"),
            reason=asked.get("reason", ""),
            token=token_of(request),
            worked_s=asked.get("worked_s"),
        )
        try:
            action = services.label_objects(
                label_set=label_set,
                label_class=label_class,
                ordinals=read_ordinals(request, at_least=0 if LEFT_OUT in gesture.selection else 1),
                actor=request.user,
                gesture=gesture,
                only_unlabeled=asked["only_unlabeled"],
            )
        except LabelError as error:
            raise ValidationError({"detail": str(error)}) from error
        return Response(action_result(action, label_set, request.user), status.HTTP_201_CREATED)


class Undo(APIView):
    """Take back one's last gesture on a label set."""

    revert = staticmethod(services.undo)

    class Input(Fields):
        client_key = serializers.UUIDField(required=False)
        action_id = serializers.IntegerField(
            required=False, allow_null=True
        )  # what is to be taken back, as the page knows it
        worked_s = WorkedField()

    @extend_schema(request=Input, responses={201: OpenApiTypes.OBJECT, 409: OpenApiTypes.OBJECT})
    def post(self, request: ApiRequest, label_set_id: int) -> Response:
        label_set = get_label_set_for_user(request.user, label_set_id, needs=Permission.LABEL)
        serializer = self.Input(data=request.data)
        serializer.is_valid(raise_exception=True)
        asked = serializer.validated_data
        try:
            action = self.revert(
                label_set=label_set,
                actor=request.user,
                client_key=asked.get("client_key"),
                expected_id=asked.get("action_id"),
                token=token_of(request),
                worked_s=asked.get("worked_s"),
            )
        except NothingToUndo as error:
            return Response({"detail": str(error)}, status.HTTP_409_CONFLICT)
        except LabelError as error:
            raise ValidationError({"detail": str(error)}) from error
        return Response(action_result(action, label_set, request.user), status.HTTP_201_CREATED)


class Redo(Undo):
    """Take back one's last undo."""

    revert = staticmethod(services.redo)


class QuickReviews(APIView):
    """Begin one's quick review of the project, or go on with it: a label set of one's own, and the objects that are still to be looked
    at, in their order."""

    @extend_schema(request=None, responses={200: OpenApiTypes.OBJECT})
    def post(self, request: ApiRequest, project_id: int) -> Response:
        project = get_project_for_user(request.user, project_id, needs=Permission.LABEL)
        if not project.n_objects:
            raise ValidationError({"detail": "the project has no objects yet"})
        review = take_up_quick_review(project=project, rater=request.user)
        classes = list(project.label_classes.order_by("value"))
        return Response(
            {
                "label_set": review.label_set.pk,
                "n": review.n,
                "ordinals": review.ordinals.tolist(),
                "classes": [{"value": c.value, "name": c.name, "color": c.color, "key": c.key} for c in classes],
            }
        )


class Sessions(APIView):
    """The newest thousand labeling sessions: everybody's for whoever may read the audit trail, else one's own."""

    MOST = 1000

    @extend_schema(responses={200: OpenApiTypes.OBJECT})
    def get(self, request: ApiRequest, project_id: int) -> Response:
        project = get_project_for_user(request.user, project_id)
        records = session_records(project, sessions_for(project, request.user)[: self.MOST])
        return Response({"sessions": [as_json(record) for record in records]})


def action_result(action: LabelAction, label_set: LabelSet, user: User) -> dict[str, Any]:
    """What the page is told after a gesture. The revision is the gesture's own, to a repetition too: what others did since
    the page has to fetch, or its own classes would stand over theirs."""
    return {
        "action_id": action.pk,
        "sequence": action.sequence,
        "revision": action.sequence,
        "n": action.n_asked,
        "n_changed": action.n,
        "n_skipped": action.n_asked - action.n if action.undoes_id else 0,
        "undo": selectors.describe_action(selectors.last_undoable(label_set, user)),
        "redo": selectors.describe_action(selectors.last_redoable(label_set, user)),
        "session": selectors.session_state(selectors.current_session(label_set, user)),
    }
