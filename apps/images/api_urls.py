from django.urls import path

from apps.images import api

_UPLOADS = "projects/<int:project_id>/uploads"
_UPLOAD = f"{_UPLOADS}/<int:upload_id>"

urlpatterns = [
    path(_UPLOADS, api.Uploads.as_view(), name="api_uploads"),
    path(_UPLOAD, api.UploadDetail.as_view(), name="api_upload"),
    path(f"{_UPLOAD}/files", api.UploadFiles.as_view(), name="upload_file"),
    path(f"{_UPLOAD}/files/<int:file_id>", api.UploadedFileDetail.as_view(), name="api_uploaded_file"),
]
