from django.urls import path

from apps.labels import api

urlpatterns = [
    path("projects/<int:project_id>/quick-review", api.QuickReviews.as_view(), name="api_quick_review"),
    path("projects/<int:project_id>/sessions", api.Sessions.as_view(), name="api_sessions"),
    path("label-sets/<int:label_set_id>/classes", api.LabelClasses.as_view(), name="label_classes"),
    path("label-sets/<int:label_set_id>/changes", api.LabelChanges.as_view(), name="label_changes"),
    path("label-sets/<int:label_set_id>/actions", api.LabelActions.as_view(), name="label_actions"),
    path("label-sets/<int:label_set_id>/undo", api.Undo.as_view(), name="undo"),
    path("label-sets/<int:label_set_id>/redo", api.Redo.as_view(), name="redo"),
]
