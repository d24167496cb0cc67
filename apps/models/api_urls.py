from django.urls import path

from apps.models import api

urlpatterns = [
    path("projects/<int:project_id>/embeddings/<int:number>/plot", api.Plot.as_view(), name="plot"),
]
