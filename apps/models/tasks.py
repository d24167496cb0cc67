from apps.models import pipelines
from apps.models.services import start_placing
from apps.projects.jobs import run_job
from apps.projects.models import Job


def run_iteration(job_id: int) -> None:
    run_job(job_id, pipelines.run_iteration)
    _place_what_came_meanwhile(job_id)


def place_new_objects(job_id: int) -> None:
    run_job(job_id, pipelines.place_new_objects)
    _place_what_came_meanwhile(job_id)


def embed_picture(job_id: int) -> None:
    run_job(job_id, pipelines.embed_picture)


def _place_what_came_meanwhile(job_id: int) -> None:
    """Objects that were imported while a map was made are not on it."""
    job = Job.objects.select_related("project", "requested_by").get(pk=job_id)
    # What failed to place them once would fail again, without end.
    if job.state == Job.State.FINISHED or (job.kind == "iteration" and not job.is_active):
        start_placing(project=job.project, requested_by=job.requested_by)
