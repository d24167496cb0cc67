from django.urls import path

from apps.models import api

urlpatterns = [
    path("projects/<int:project_id>/embeddings", api.Maps.as_view(), name="embeddings"),
    path("projects/<int:project_id>/embeddings/<int:number>/plot", api.Plot.as_view(), name="plot"),
    path(
        "projects/<int:project_id>/embeddings/<int:number>/quality",
        api.PredictionQuality.as_view(),
        name="embedding_quality",
    ),
    path("projects/<int:project_id>/jobs/<int:job_id>/preview", api.Preview.as_view(), name="preview"),
    path("projects/<int:project_id>/predictions", api.Predictions.as_view(), name="predictions"),
    path("projects/<int:project_id>/predictions/quality", api.PredictionQuality.as_view(), name="prediction_quality"),
]
