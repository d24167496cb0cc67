from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpRequest, QueryDict
from rest_framework.request import Request

if TYPE_CHECKING:
    from django_htmx.middleware import HtmxDetails

    from apps.accounts.models import User


class AuthenticatedRequest(HttpRequest):
    """A request that `login_required` has let through."""

    user: User
    htmx: HtmxDetails


class ApiRequest(Request):
    """A request that the API's default permission, IsAuthenticated, has let through."""

    user: User


def posted(request: HttpRequest) -> QueryDict | None:
    """What a form is bound to: an empty POST is a form without its fields, not a first look at the page."""
    return request.POST if request.method == "POST" else None
