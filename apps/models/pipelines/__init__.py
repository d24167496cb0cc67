"""What a worker does for a project's models: an iteration, the places of new objects, the vector of a picture."""

from apps.models.pipelines.iteration import run_iteration
from apps.models.pipelines.picture import embed_picture
from apps.models.pipelines.placing import place_new_objects

__all__ = ["embed_picture", "place_new_objects", "run_iteration"]
