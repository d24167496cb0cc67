from apps.projects.jobs import run_job
from apps.workspace import pipelines


def export_labels(job_id: int) -> None:
    run_job(job_id, pipelines.export_job)
