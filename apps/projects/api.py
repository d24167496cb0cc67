"""Organizations, projects and their classes, for scripts."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts.access import MANAGING_ROLES, get_organization_for_user
from apps.accounts.selectors import memberships_of
from apps.common.api import Fields, refused
from apps.common.requests import ApiRequest
from apps.projects.access import get_project_for_user, permissions_of
from apps.projects.models import LabelClass, Project
from apps.projects.permissions import Permission
from apps.projects.selectors import label_classes_of, projects_by_organization
from apps.projects.services import MAX_DESCRIPTION, MAX_SIZE_PX, MIN_SIZE_PX, Learning, add_label_class, create_project


class Organizations(APIView):
    """One's organizations, and whether one may make projects in them."""

    @extend_schema(responses={200: OpenApiTypes.OBJECT})
    def get(self, request: ApiRequest) -> Response:
        found = [
            {
                "id": member.organization_id,
                "name": member.organization.name,
                "role": member.role,
                "may_create_projects": member.role in MANAGING_ROLES,
            }
            for member in memberships_of(request.user)
        ]
        return Response({"organizations": found})


class Projects(APIView):
    """All projects that one may see."""

    @extend_schema(operation_id="projects_list", responses={200: OpenApiTypes.OBJECT})
    def get(self, request: ApiRequest) -> Response:
        found = [_summary(project) for _, _, projects in projects_by_organization(request.user) for project in projects]
        return Response({"projects": found})


class NewProject(APIView):
    """Make a project with its classes, by name: valued 1, 2, ... in the order given. Who makes it manages it."""

    class Input(Fields):
        name = serializers.CharField(max_length=120)
        classes = serializers.ListField(child=serializers.CharField(max_length=80), min_length=1, max_length=254)
        description = serializers.CharField(required=False, allow_blank=True, max_length=MAX_DESCRIPTION)
        patch_size_px = serializers.IntegerField(min_value=MIN_SIZE_PX, max_value=MAX_SIZE_PX, default=64)
        encoder_size_px = serializers.IntegerField(min_value=MIN_SIZE_PX, max_value=MAX_SIZE_PX, default=64)
        approach = serializers.CharField(default=Learning.approach)
        approach_settings = serializers.DictField(required=False)
        reducer = serializers.CharField(default=Learning.reducer)
        classifier = serializers.CharField(default=Learning.classifier)

    @extend_schema(request=Input, responses={201: OpenApiTypes.OBJECT})
    def post(self, request: ApiRequest, organization_id: int) -> Response:
        organization = get_organization_for_user(request.user, organization_id, to_manage=True)
        serializer = self.Input(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            project = create_project(organization=organization, created_by=request.user, **serializer.validated_data)
        except ValidationError as error:
            raise refused(error) from error
        return Response(_detail(project, request), status.HTTP_201_CREATED)


class ProjectDetail(APIView):
    """A project with its classes and what one may do in it. What the labeling page shows is at `state`."""

    @extend_schema(responses={200: OpenApiTypes.OBJECT})
    def get(self, request: ApiRequest, project_id: int) -> Response:
        return Response(_detail(get_project_for_user(request.user, project_id), request))


class Classes(APIView):
    """Add a class. Its value is never used for another."""

    class Input(Fields):
        name = serializers.CharField(max_length=80)
        color = serializers.RegexField(r"^#[0-9a-fA-F]{6}$", required=False)
        is_uncertain = serializers.BooleanField(default=False)
        is_non_object = serializers.BooleanField(default=False)

    @extend_schema(request=Input, responses={201: OpenApiTypes.OBJECT})
    def post(self, request: ApiRequest, project_id: int) -> Response:
        project = get_project_for_user(request.user, project_id, needs=Permission.EDIT_PROJECT)
        serializer = self.Input(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            label_class = add_label_class(project=project, added_by=request.user, **serializer.validated_data)
        except ValidationError as error:
            raise refused(error) from error
        return Response(_class(label_class), status.HTTP_201_CREATED)


def _summary(project: Project) -> dict[str, Any]:
    return {
        "id": project.pk,
        "name": project.name,
        "organization": {"id": project.organization_id, "name": project.organization.name},
        "n_objects": project.n_objects,
        "patch_size_px": project.patch_size_px,
        "approach": project.approach,
    }


def _detail(project: Project, request: ApiRequest) -> dict[str, Any]:
    return {
        **_summary(project),
        "description": project.description,
        "encoder_size_px": project.encoder_size_px,
        "approach_settings": project.approach_settings,
        "reducer": project.reducer,
        "classifier": project.classifier,
        "classes": [_class(label_class) for label_class in label_classes_of(project)],
        "permissions": sorted(permissions_of(request.user, project)),
    }


def _class(label_class: LabelClass) -> dict[str, Any]:
    fields = ("value", "name", "color", "is_uncertain", "is_non_object")
    return {field: getattr(label_class, field) for field in fields}
