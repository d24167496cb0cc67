from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.urls import reverse

from apps.common.faults import is_for_api


class PasswordChangeRequired:
    """Who signed in with a one-time password chooses one of their own before anything else."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.open_paths = {reverse("account_change_password"), reverse("account_logout"), reverse("account_login")}

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user = request.user
        if not user.is_authenticated or not user.must_change_password or request.path in self.open_paths:
            return self.get_response(request)
        if is_for_api(request):
            return JsonResponse({"detail": "Choose a password of your own first: sign in on the website."}, status=403)
        return redirect("account_change_password")
