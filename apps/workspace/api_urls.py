from django.urls import path

from apps.workspace import api

urlpatterns = [
    path("projects/<int:project_id>/state", api.State.as_view(), name="state"),
    path("projects/<int:project_id>/objects/<int:ordinal>", api.ObjectDetail.as_view(), name="object_detail"),
    path("projects/<int:project_id>/images/<int:image_id>/objects", api.ImageObjects.as_view(), name="image_objects"),
    path("projects/<int:project_id>/objects/order", api.Order.as_view(), name="object_order"),
    path("projects/<int:project_id>/objects/similar", api.Similar.as_view(), name="similar"),
    path("projects/<int:project_id>/objects/similar/picture", api.PictureSearch.as_view(), name="picture_search"),
    path("projects/<int:project_id>/objects/groups", api.ObjectGroups.as_view(), name="object_groups"),
    path("projects/<int:project_id>/suggestions", api.SuggestionList.as_view(), name="suggestions"),
    path("projects/<int:project_id>/suggestions/page", api.SuggestedPage.as_view(), name="suggested_page"),
    path("projects/<int:project_id>/jobs", api.Jobs.as_view(), name="api_jobs"),
    path("jobs/<int:job_id>", api.JobDetail.as_view(), name="api_job"),
    path("jobs/<int:job_id>/cancel", api.CancelJob.as_view(), name="api_cancel_job"),
    path("label-sets/<int:label_set_id>/samples", api.Samples.as_view(), name="samples"),
    path("samples/<int:sample_id>", api.SampleDetail.as_view(), name="sample"),
    path("samples/<int:sample_id>/wrong", api.SampleMarks.as_view(), name="sample_wrong"),
    path("samples/<int:sample_id>/more", api.SampleMore.as_view(), name="sample_more"),
    path("samples/<int:sample_id>/accept", api.SampleAcceptance.as_view(), name="sample_accept"),
    path("samples/<int:sample_id>/end", api.SampleEnd.as_view(), name="sample_end"),
    path("projects/<int:project_id>/exports", api.Exports.as_view(), name="api_exports"),
    path("exports/<int:job_id>/download", api.ExportDownload.as_view(), name="export_download"),
]
