from django.urls import include, path

from apps.models import views

urlpatterns = [
    path("projects/<int:project_id>/models/", views.model_list, name="model_list"),
    path("api/v1/", include("apps.models.api_urls")),
]
