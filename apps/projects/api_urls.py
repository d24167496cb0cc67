from django.urls import path

from apps.projects import api

urlpatterns = [
    path("organizations", api.Organizations.as_view(), name="api_organizations"),
    path("organizations/<int:organization_id>/projects", api.NewProject.as_view(), name="api_new_project"),
    path("projects", api.Projects.as_view(), name="api_projects"),
    path("projects/<int:project_id>", api.ProjectDetail.as_view(), name="api_project"),
    path("projects/<int:project_id>/label-classes", api.Classes.as_view(), name="api_new_class"),
]
