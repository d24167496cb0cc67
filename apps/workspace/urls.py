from django.urls import include, path

from apps.workspace import views

urlpatterns = [
    path("projects/<int:project_id>/", views.overview, name="project_overview"),
    path("projects/<int:project_id>/workspace/", views.workspace, name="workspace"),
    path("projects/<int:project_id>/train/", views.train, name="project_train"),
    path("projects/<int:project_id>/export/", views.export, name="project_export"),
    path("api/v1/", include("apps.workspace.api_urls")),
]
