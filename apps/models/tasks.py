from apps.models import pipelines
from apps.projects.jobs import run_job


def run_iteration(job_id: int) -> None:
    run_job(job_id, pipelines.run_iteration)


def embed_picture(job_id: int) -> None:
    run_job(job_id, pipelines.embed_picture)
