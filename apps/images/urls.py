from django.urls import include, path

from apps.images import views

_IMAGES = "projects/<int:project_id>/images/"
_UPLOADS = "projects/<int:project_id>/uploads/"
_UPLOAD = f"{_UPLOADS}<int:upload_id>/"

urlpatterns = [
    path(_IMAGES, views.image_list, name="image_list"),
    path(f"{_IMAGES}<int:image_id>/", views.image_detail, name="image_detail"),
    path(f"{_IMAGES}<int:image_id>/thumbnail.jpg", views.image_thumbnail, name="image_thumbnail"),
    path(_UPLOADS, views.upload_start, name="upload_start"),
    path(_UPLOAD, views.upload_detail, name="upload_detail"),
    path(f"{_UPLOAD}files/<int:file_id>/remove/", views.upload_file_remove, name="upload_file_remove"),
    path(f"{_UPLOAD}files/<int:file_id>/is-mask/", views.upload_file_is_mask, name="upload_file_is_mask"),
    path(f"{_UPLOAD}review/", views.upload_review, name="upload_review"),
    path(f"{_UPLOAD}discard/", views.upload_discard, name="upload_discard"),
    path("api/v1/", include("apps.images.api_urls")),
]
