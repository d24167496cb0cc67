"""What answers where there is nothing, or where something broke: a page for people, JSON for scripts, who need not parse a page."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import defaults


def is_for_api(request: HttpRequest) -> bool:
    """Whether a script or a page's code asks, and not somebody who is to read the answer."""
    return request.path.startswith("/api/")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404."""
    if is_for_api(request):
        return JsonResponse({"detail": "The API has nothing at this address."}, status=404)
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """500; the cause is in the server's log."""
    if is_for_api(request):
        return JsonResponse({"detail": "The server made a mistake, which is in its log."}, status=500)
    return defaults.server_error(request)
