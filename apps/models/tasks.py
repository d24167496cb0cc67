from apps.models import pipelines
from apps.projects.jobs import run_job


def run_iteration(job_id: int) -> None:
    run_job(job_id, pipelines.run_iteration)


def place_new_objects(job_id: int) -> None:
    run_job(job_id, pipelines.place_new_objects)


def embed_picture(job_id: int) -> None:
    run_job(job_id, pipelines.embed_picture)
