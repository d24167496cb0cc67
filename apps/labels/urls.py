from django.urls import include, path

from apps.labels import views

urlpatterns = [
    path("projects/<int:project_id>/sessions/", views.session_list, name="session_list"),
    path("projects/<int:project_id>/sessions/quick-review/", views.quick_review, name="quick_review"),
    path("projects/<int:project_id>/sessions/sessions.csv", views.session_table, name="session_table"),
    path("projects/<int:project_id>/classes/<int:value>/remove/", views.label_class_remove, name="label_class_remove"),
    path("projects/<int:project_id>/audit/labels/", views.label_history, name="label_history"),
    path("projects/<int:project_id>/audit/labels.csv", views.label_history_table, name="label_history_table"),
    path("api/v1/", include("apps.labels.api_urls")),
]
