from django.urls import include, path

from apps.objects import views

urlpatterns = [
    path("projects/<int:project_id>/uploads/<int:upload_id>/import", views.upload_import, name="upload_import"),
    path("projects/<int:project_id>/imports/<int:job_id>/", views.import_detail, name="import_detail"),
    path("api/v1/", include("apps.objects.api_urls")),
]
