from apps.objects import pipelines
from apps.projects.jobs import run_job


def import_images(job_id: int) -> None:
    run_job(job_id, pipelines.import_job)
    pipelines.close_upload(job_id)
