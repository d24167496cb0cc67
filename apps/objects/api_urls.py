from django.urls import path

from apps.objects import api

urlpatterns = [
    path(
        "projects/<int:project_id>/uploads/<int:upload_id>/import",
        api.ImportUpload.as_view(),
        name="api_import",
    ),
    path("projects/<int:project_id>/patches/atlas", api.Atlas.as_view(), name="atlas"),
    path("projects/<int:project_id>/patches/<int:ordinal>.jpg", api.Patch.as_view(), name="patch"),
    path("projects/<int:project_id>/images", api.ImageNames.as_view(), name="image_names"),
    path("projects/<int:project_id>/objects/images", api.ObjectImages.as_view(), name="object_images"),
]
