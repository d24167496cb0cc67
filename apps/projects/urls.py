from django.urls import include, path

from apps.projects import views

_PROJECT = "projects/<int:project_id>/"

urlpatterns = [
    path("", views.project_list, name="project_list"),
    path("organizations/<int:organization_id>/projects/new/", views.project_create, name="project_create"),
    path(f"{_PROJECT}settings/", views.project_settings, name="project_settings"),
    path(f"{_PROJECT}settings/sampled/", views.project_sampled, name="project_sampled"),
    path(f"{_PROJECT}learning/", views.project_learning, name="project_learning"),
    path(f"{_PROJECT}classes/", views.label_class_add, name="label_class_add"),
    path(f"{_PROJECT}classes/<int:value>/", views.label_class_edit, name="label_class_edit"),
    path(f"{_PROJECT}members/", views.project_member_list, name="project_members"),
    path(f"{_PROJECT}members/<int:member_id>/", views.project_member_edit, name="project_member_edit"),
    path(f"{_PROJECT}members/<int:member_id>/remove/", views.project_member_remove, name="project_member_remove"),
    path(f"{_PROJECT}jobs/", views.job_list, name="job_list"),
    path(f"{_PROJECT}jobs/<int:job_id>/", views.job_detail, name="job_detail"),
    path(f"{_PROJECT}jobs/<int:job_id>/cancel/", views.job_cancel, name="job_cancel"),
    path(f"{_PROJECT}audit/", views.project_audit, name="project_audit"),
    path(f"{_PROJECT}audit/events.csv", views.project_audit_table, name="project_audit_table"),
    path("organizations/<int:organization_id>/audit/", views.organization_audit, name="organization_audit"),
    path(
        "organizations/<int:organization_id>/audit/events.csv",
        views.organization_audit_table,
        name="organization_audit_table",
    ),
    path("api/v1/", include("apps.projects.api_urls")),
]
