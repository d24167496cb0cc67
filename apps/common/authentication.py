"""Who asks the API."""

from __future__ import annotations

from typing import Any

from drf_spectacular.authentication import SessionScheme
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import NotAuthenticated
from rest_framework.request import Request

PAGE_USER_HEADER = "X-PatchSorter-User"


class PageAuthentication(SessionAuthentication):
    """The session's user, unless the page that asks was made for another.

    On a shared computer somebody may sign in while a page of the person before still has gestures to send; they must not
    be recorded under the new name. Scripts, which have no page, leave the header out.
    """

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        found: tuple[Any, Any] | None = super().authenticate(request)
        page_user = request.headers.get(PAGE_USER_HEADER)
        if found is not None and page_user is not None and page_user != str(found[0].pk):
            raise NotAuthenticated("Somebody else has signed in.")
        return found


class PageScheme(SessionScheme):
    """For the API's description: a session, as before."""

    target_class = "apps.common.authentication.PageAuthentication"
