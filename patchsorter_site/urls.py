from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path
from django.views.defaults import page_not_found
from drf_spectacular.views import SpectacularAPIView


def healthz(request: HttpRequest) -> HttpResponse:
    """Answers once the web process and its database do."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return HttpResponse("ok", content_type="text/plain")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """A page for people; for a script that misspelled its address, what the API answers to it everywhere else."""
    if request.path.startswith("/api/"):
        return JsonResponse({"detail": "The API has nothing at this address."}, status=404)
    return page_not_found(request, exception)


handler404 = not_found

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("accounts/", include("apps.accounts.urls")),
    path("", include("apps.projects.urls")),
    path("", include("apps.images.urls")),
    path("", include("apps.objects.urls")),
    path("", include("apps.labels.urls")),
    path("", include("apps.models.urls")),
    path("", include("apps.workspace.urls")),
    path("api/v1/schema", SpectacularAPIView.as_view(), name="schema"),
]
