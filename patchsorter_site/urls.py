from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView


def healthz(request: HttpRequest) -> HttpResponse:
    """Answers once the web process and its database do."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return HttpResponse("ok", content_type="text/plain")


handler404 = "apps.common.faults.not_found"
handler500 = "apps.common.faults.server_error"

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
