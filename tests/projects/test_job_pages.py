"""A job's page says what came of it, whatever kind of job it was."""

from __future__ import annotations

import os
import time

import pytest

from apps.projects.files import export_archive, write_bytes
from apps.projects.models import Job
from apps.workspace.housekeeping import keep_house
from tests.factories import make_image

pytestmark = pytest.mark.django_db
RESULTS = {
    "import": (
        {
            "images": [{"name": "a.png", "n_objects": 12, "notes": ["one id in two pieces"]}],
            "errors": [{"file": "b.png", "cause": "the file is truncated"}],
            "already_imported": [{"name": "c.png", "as": "d.png"}],
        },
        ["one id in two pieces", "the file is truncated", "d.png"],
    ),
    "export": ({"images": 3, "objects": 1200, "labeled": 7, "archive": "labels-1.zip"}, ["7 of 1,200", "Download"]),
    "iteration": (
        {
            "objects": 1200,
            "labeled": 7,
            "model_version": 4,
            "embedding": 5,
            "epochs": 3,
            "seconds": {"train": 12.3, "map": 4.0, "second_map": 3.0},
            "accuracy": 0.9,
            "balanced_accuracy": 0.875,
            "patches_per_second": 1155,
            "input_share": 0.023,
            "quality": {"balanced_accuracy": 0.875},
        },
        [
            "Model v4, map 5",
            "second map 3.0, train 12.3, map 4.0",
            "1,155 objects a second",
            "2.3% of the time",
            'data-embedding="5"',
        ],
    ),
}


def test_an_iteration_that_trained_no_network_says_nothing_of_epochs(world, signed_in, make_job):
    result = {"objects": 12, "labeled": 7, "model_version": 1, "embedding": 1, "epochs": 0, "seconds": {"map": 4.0}}
    job = make_job(kind="iteration", state=Job.State.FINISHED, result=result)
    page = signed_in(world.manager).get(f"/projects/{world.project.pk}/jobs/{job.pk}/").content.decode()
    assert "Model v1, map 1" in page and "map 4.0" in page
    assert "epoch" not in page and "Waited for patches" not in page


@pytest.mark.parametrize("kind", RESULTS)
def test_the_result_of_a_finished_job_is_shown(world, signed_in, make_job, kind):
    result, shown = RESULTS[kind]
    job = make_job(kind=kind, state=Job.State.FINISHED, result=result)
    write_bytes(export_archive(job), b"zip")
    page = signed_in(world.manager).get(f"/projects/{world.project.pk}/jobs/{job.pk}/").content.decode()
    assert [text for text in shown if text not in page] == []


def test_a_failed_job_shows_its_cause(world, signed_in, make_job):
    job = make_job(kind="export", state=Job.State.FAILED, error="the disk is full")
    assert (
        "the disk is full"
        in signed_in(world.viewer).get(f"/projects/{world.project.pk}/jobs/{job.pk}/").content.decode()
    )


def make_export(make_job, **params):
    job = make_job(kind="export", state=Job.State.FINISHED, result=RESULTS["export"][0], params=params)
    write_bytes(export_archive(job), b"zip")
    return job


def test_an_export_is_offered_for_thirty_days(world, signed_in, make_job):
    job = make_export(make_job, label_set=None)
    manager = signed_in(world.manager)
    pages = f"/projects/{world.project.pk}/jobs/{job.pk}/", f"/projects/{world.project.pk}/"
    download = f"/api/v1/exports/{job.pk}/download"
    make_image(world.project)
    world.label(1, [0])
    archive = export_archive(job)
    os.utime(archive, times=(time.time() - 29 * 24 * 60 * 60,) * 2)
    keep_house()
    assert [download in manager.get(page).content.decode() for page in pages] == [True, True]
    os.utime(archive, times=(time.time() - 31 * 24 * 60 * 60,) * 2)
    keep_house()
    assert [download in manager.get(page).content.decode() for page in pages] == [False, False]
    assert "kept for 30 days" in manager.get(pages[0]).content.decode()
    gone = manager.get(download)
    assert gone.status_code == 404 and "kept for 30 days" in gone.content.decode()


def test_the_last_export_of_everything_is_offered_with_what_it_leaves_out(world, signed_in, make_job):
    make_image(world.project)
    world.label(1, [0])
    job = make_export(make_job, label_set=None, without_sampled=True)
    rater_s = world.project.label_sets.create(name="blind", kind="rater", rater=world.lead, is_blinded=True)
    make_export(make_job, label_set=rater_s.pk)
    page = signed_in(world.manager).get(f"/projects/{world.project.pk}/").content.decode()
    offered = page[page.index("/api/v1/exports/") :]
    assert offered.startswith(f"/api/v1/exports/{job.pk}/download")
    assert offered[: offered.index("</a>")].endswith("Download the last one, without those by sample")


def test_a_viewer_is_offered_no_download(world, signed_in, make_job):
    job = make_export(make_job, label_set=None)
    assert (
        "Download" not in signed_in(world.viewer).get(f"/projects/{world.project.pk}/jobs/{job.pk}/").content.decode()
    )


def test_pictures_that_were_searched_with_do_not_fill_the_list_of_jobs(world, signed_in, make_job):
    make_job(kind="picture", state=Job.State.FINISHED)
    failed = make_job(kind="picture", state=Job.State.FAILED)
    page = signed_in(world.viewer).get(f"/projects/{world.project.pk}/jobs/").content.decode()
    assert page.count("Picture search") == 1 and f"/jobs/{failed.pk}/" in page
