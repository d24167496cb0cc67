"""An iteration whose worker is killed goes on where it was, and so does the one after one that failed; a cancelled one
leaves nothing."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import numpy as np
import pytest
from django.conf import settings
from django.db import OperationalError, connection
from django.utils import timezone

from apps.engine import descriptors, durable
from apps.engine.arrays import JOINED_NAME, write_array
from apps.engine.nn import pretrained
from apps.models.models import TrainingRun
from apps.models.pipelines import iteration, measuring, publishing
from apps.models.selectors import FAILED_ITERATION, latest_embedding, model_folder
from apps.models.services import start_iteration
from apps.models.tasks import run_iteration
from apps.models.work import amount_done
from apps.objects.selectors import patch_reader
from apps.projects.files import folder, project_folder
from apps.projects.jobs import MOST_DEATHS, Report, cancel_job, requeue_lost_jobs
from apps.projects.models import Job, Project
from apps.projects.services import Learning, update_project_learning
from apps.workspace.housekeeping import ABANDONED_ITERATION, keep_house
from tests.conftest import World
from tests.factories import make_image

# Another process sees only what is committed.
pytestmark = pytest.mark.django_db(transaction=True)

REPOSITORY = Path(__file__).resolve().parents[2]
WORKER = """
import os, signal, sys
import django
django.setup()
from pathlib import Path
from django.conf import settings
from apps.engine.nn import pretrained
from apps.models.pipelines import iteration
from apps.models.tasks import run_iteration
from apps.models.work import amount_done
from apps.projects.jobs import Report

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def die_after_an_epoch(report):
    if list(Path(settings.MEDIA_ROOT).glob("*/*/work/job-*/new/states/epoch-*")):
        die()
    return False

if sys.argv[2] == "in training":
    Report.should_stop = die_after_an_epoch
elif sys.argv[2] == "in the first map":
    iteration.reduce_to_plot = die
elif sys.argv[2] == "in the second map":
    pretrained.SEEN_WITHIN_SECONDS = {"cpu": 0, "cuda": 0}
    draw, drawn = iteration.reduce_to_plot, []

    def die_in_the_second(*args, **kwargs):
        if drawn:
            die()
        drawn.append(True)
        return draw(*args, **kwargs)

    iteration.reduce_to_plot = die_in_the_second
else:
    Report.is_owner = die  # which is asked for when all is published
run_iteration(int(sys.argv[1]))
"""


def die_in_an_iteration(
    job: Job, when: Literal["in the first map", "in the second map", "in training", "when published"]
) -> None:
    """A worker on the test's database and files takes the job and is killed while an early map is drawn, after the first epochs, or at
    the end."""
    database = settings.DATABASES["default"]
    url = f"postgresql://{database['USER']}@/{connection.settings_dict['NAME']}?host={quote(str(database['HOST']), safe='')}"
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "DJANGO_SETTINGS_MODULE": "patchsorter_site.settings",
        "PATCHSORTER_DATA": str(Path(settings.MEDIA_ROOT).parent),
    }
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(job.pk), when],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    job.refresh_from_db()
    assert job.state == Job.State.RUNNING
    Job.objects.filter(pk=job.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))


def work_folders(project: Project) -> list[str]:
    return sorted(path.name for path in (project_folder(project) / "work").iterdir())


def test_a_killed_iteration_goes_on_with_what_it_began_with(world: World) -> None:
    make_image(world.project)
    job = start_iteration(project=world.project, requested_by=world.manager, epochs=4)
    die_in_an_iteration(job, "in training")
    make_image(world.project)  # comes too late for this one
    keep_house()
    assert work_folders(world.project) == [f"job-{job.pk}-1"], "what it has done is kept for the next attempt"
    assert requeue_lost_jobs() == 1

    run_iteration(job.pk)

    job.refresh_from_db()
    assert (job.state, job.attempt, job.result["objects"]) == (Job.State.FINISHED, 2, 20)
    assert "went on after epoch" in job.log
    assert len(TrainingRun.objects.get(job=job).losses) == 4
    assert world.project.embeddings.order_by("-number").first().n == 20
    assert work_folders(world.project) == []


@pytest.mark.parametrize("would_make_another", [True, False])
def test_a_first_map_goes_on_unless_another_would_be_made_by_now(
    world: World, monkeypatch: pytest.MonkeyPatch, would_make_another: bool
) -> None:
    """There may be more objects than the pretrained network sees within seconds."""
    make_image(world.project)
    job = start_iteration(project=world.project, requested_by=world.manager, epochs=1)
    die_in_an_iteration(job, "in the first map")
    assert requeue_lost_jobs() == 1
    make_image(world.project)
    most = dict.fromkeys(("cpu", "cuda"), 20 if would_make_another else 40)
    monkeypatch.setattr(pretrained, "SEEN_WITHIN_SECONDS", most)

    run_iteration(job.pk)

    job.refresh_from_db()
    assert job.state == Job.State.FINISHED, job.error
    *early, trained = ((each.n, each.dimension) for each in world.project.embeddings.order_by("number"))
    alone, beside = descriptors.N_DESCRIPTORS, descriptors.N_DESCRIPTORS + pretrained.N_FEATURES
    assert early == ([(40, alone), (40, beside)] if would_make_another else [(20, beside)])
    assert trained == (40, beside + 512)


def test_a_second_map_goes_on_and_the_first_is_not_made_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "SEEN_WITHIN_SECONDS", {"cpu": 0, "cuda": 0})
    make_image(world.project)
    job = start_iteration(project=world.project, requested_by=world.manager, epochs=1)
    die_in_an_iteration(job, "in the second map")
    assert world.project.embeddings.count() == 1
    assert requeue_lost_jobs() == 1
    make_image(world.project)  # comes too late for the map that was begun

    run_iteration(job.pk)

    job.refresh_from_db()
    assert job.state == Job.State.FINISHED, job.error
    alone, beside = descriptors.N_DESCRIPTORS, descriptors.N_DESCRIPTORS + pretrained.N_FEATURES
    made = [(each.n, each.dimension) for each in world.project.embeddings.order_by("number")]
    assert made == [(20, alone), (20, beside), (40, beside + 512)]
    assert "second_map" in job.result["seconds"] and "first_map" not in job.result["seconds"]
    assert work_folders(world.project) == []


def test_an_iteration_killed_when_it_has_published_only_ends(world: World) -> None:
    make_image(world.project)
    job = start_iteration(project=world.project, requested_by=world.manager, epochs=2)
    die_in_an_iteration(job, "when published")
    embeddings = list(world.project.embeddings.order_by("number"))
    assert len(embeddings) == 2, "from measurements, and from the training"
    Job.objects.filter(pk=job.pk).update(deaths=MOST_DEATHS, cancel_requested=True)  # too late: it is done
    assert requeue_lost_jobs() == 1
    job.refresh_from_db()
    cancel_job(job=job, cancelled_by=world.manager)  # and this as well

    run_iteration(job.pk)

    job.refresh_from_db()
    assert (job.state, job.result["embedding"], job.result["epochs"]) == (Job.State.FINISHED, 2, 2)
    assert list(world.project.embeddings.order_by("number")) == embeddings, "nothing was published a second time"
    keep_house()
    assert work_folders(world.project) == []


def test_a_cancelled_iteration_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    make_image(world.project)
    job = start_iteration(project=world.project, requested_by=world.manager, epochs=50)

    def cancelled_in_training(report: Report) -> bool:
        return any((project_folder(world.project) / "work").glob("job-*/new/states/epoch-*"))

    monkeypatch.setattr(Report, "should_stop", cancelled_in_training)
    run_iteration(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.CANCELLED
    assert work_folders(world.project) == []


@contextmanager
def disk_full_after_the_training() -> Iterator[None]:
    """No file takes a byte while features are computed."""
    embed = iteration.embed_objects

    def embed_without_space(approach: str, *arguments: Any, **others: Any) -> Any:
        if approach == "instant":  # the map before the training
            return embed(approach, *arguments, **others)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
        try:
            return embed(approach, *arguments, **others)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(iteration, "embed_objects", embed_without_space)
        yield


def fail_for_want_of_space(world: World, epochs: int = 3) -> Job:
    job = start_iteration(project=world.project, requested_by=world.manager, epochs=epochs)
    with disk_full_after_the_training():
        run_iteration(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.FAILED and "File too large" in job.error
    assert str(settings.MEDIA_ROOT) not in job.error + job.log
    return job


def run_again(world: World, epochs: int = 3) -> Job:
    job = start_iteration(project=world.project, requested_by=world.manager, epochs=epochs)
    run_iteration(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.FINISHED, job.error
    assert work_folders(world.project) == []
    return job


def test_no_training_is_lost_to_a_full_disk(world: World) -> None:
    make_image(world.project)
    fail_for_want_of_space(world)
    keep_house()
    world.label(1, range(10))  # and a training that came to its end is not made anew for a few labels
    job = run_again(world)
    assert "went on after epoch 3" in job.log
    assert len(TrainingRun.objects.get(job=job).losses) == 3


def test_no_training_is_lost_to_a_disk_that_is_still_full(world: World) -> None:
    make_image(world.project)
    fail_for_want_of_space(world)
    fail_for_want_of_space(world)
    assert "went on after epoch 3" in run_again(world).log


def test_what_failed_twice_at_the_same_point_is_begun_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    make_image(world.project)
    left = []
    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(measuring, "predict_objects", lambda *_, **__: 1 // 0)
            patch.setattr(iteration, "_plans_before", lambda *_: [])  # the fault is in the training's map
            job = start_iteration(project=world.project, requested_by=world.manager, epochs=3)
            run_iteration(job.pk)
        left.append(work_folders(world.project))
    assert left == [[FAILED_ITERATION], []]
    job.refresh_from_db()
    assert "went on after epoch 3" in job.log
    assert "went on after epoch" not in run_again(world).log


def test_what_failed_with_other_settings_waits_for_an_iteration_with_the_same(world: World) -> None:
    make_image(world.project)
    fail_for_want_of_space(world)
    job = start_iteration(project=world.project, requested_by=world.manager, epochs=2)
    Project.objects.filter(pk=world.project.pk).update(classifier="of_a_package_that_was_removed")
    run_iteration(job.pk)
    Project.objects.filter(pk=world.project.pk).update(classifier="kernel")
    assert "went on after epoch 3" in run_again(world).log


def test_a_failed_iteration_is_not_gone_on_with_when_there_are_more_objects(world: World) -> None:
    make_image(world.project)
    fail_for_want_of_space(world)
    make_image(world.project)
    job = start_iteration(project=world.project, requested_by=world.manager, epochs=3)
    run_iteration(job.pk)
    job.refresh_from_db()
    assert job.result["objects"] == 40 and "goes on" not in job.log


def test_no_training_is_lost_to_a_fault_while_publishing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    make_image(world.project)
    run_again(world, epochs=2)  # so that the fault is not the first map's
    publish = publishing.publish_predictions

    def broken(**arguments: Any) -> None:
        publish(**arguments)
        raise OperationalError("the connection was lost")

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "publish_predictions", broken)
        job = start_iteration(project=world.project, requested_by=world.manager, epochs=3)
        run_iteration(job.pk)
    world.label(1, range(10))
    job = run_again(world)
    assert "went on after epoch 3" in job.log
    assert job.result["model_version"] == world.project.model_versions.count() == 3


def test_what_a_failed_iteration_left_is_cleared_after_a_week(world: World) -> None:
    make_image(world.project)
    fail_for_want_of_space(world)
    (left,) = (project_folder(world.project) / "work").iterdir()
    for path in [left, *left.rglob("*")]:
        os.utime(path, times=(time.time() - ABANDONED_ITERATION.total_seconds() - 60,) * 2)
    keep_house()
    assert work_folders(world.project) == []


def test_half_a_training_is_not_gone_on_with_when_there_are_other_labels(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_image(world.project)
    job = start_iteration(project=world.project, requested_by=world.manager, epochs=4)

    def broken(report: Report) -> bool:
        if any((project_folder(world.project) / "work").glob("job-*/new/states/epoch-*")):
            raise OSError(5, "Input/output error")
        return False

    monkeypatch.setattr(Report, "should_stop", broken)
    run_iteration(job.pk)
    monkeypatch.undo()
    job.refresh_from_db()
    assert job.state == Job.State.FAILED and "Input/output error" in job.error
    world.label(1, range(10))
    job = run_again(world, epochs=4)
    assert "went on after epoch" not in job.log
    assert job.result["labeled"] == 10


def test_an_iteration_leaves_the_database_its_part_of_the_disk(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    make_image(world.project)
    job = start_iteration(project=world.project, requested_by=world.manager, epochs=2)
    with monkeypatch.context() as patch:
        patch.setattr(durable, "DISK_RESERVE_BYTES", 10**18)
        run_iteration(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.FAILED
    assert job.error == "the server's disk is full, but for what the database needs; tell its administrator"
    run_again(world)


def test_nothing_is_trained_where_the_classifier_is_not_there(world: World) -> None:
    make_image(world.project)
    Project.objects.filter(pk=world.project.pk).update(classifier="of_a_package_that_was_removed")
    job = start_iteration(project=world.project, requested_by=world.manager, epochs=2)
    run_iteration(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.FAILED
    assert "There is no classifier called 'of_a_package_that_was_removed'" in job.error
    assert "training" not in job.log
    assert latest_embedding(world.project) is None


def test_an_iteration_without_the_pretrained_network_s_weights_ends_before_it_trains(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_image(world.project)
    monkeypatch.setattr(pretrained, "PACKAGE", "no_such_package_of_weights")
    job = start_iteration(project=world.project, requested_by=world.manager, epochs=2)
    run_iteration(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.FAILED
    assert "install no_such_package_of_weights" in job.error
    assert "training" not in job.log
    assert not (project_folder(world.project) / "work").exists(), "nor is another's work taken over"
    world.project.approach_settings = {"pretrained": False}
    world.project.save(update_fields=["approach_settings"])
    job = start_iteration(project=world.project, requested_by=world.manager, epochs=2)
    run_iteration(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.FINISHED, job.error


def test_what_was_measured_before_an_iteration_stopped_is_not_measured_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(descriptors, "BATCH_SIZE", 5)
    monkeypatch.setattr(descriptors, "KEPT_TOGETHER", 10)
    make_image(world.project)
    make_image(world.project)
    measured = folder(
        world.project, "descriptors", f"{descriptors.DESCRIPTORS_VERSION}-{world.project.patch_size_px}px"
    )
    job = start_iteration(project=world.project, requested_by=world.manager, epochs=2)
    monkeypatch.setattr(Report, "should_stop", lambda report: any(measured.glob("*.npy")))
    run_iteration(job.pk)
    monkeypatch.undo()
    (kept,) = measured.iterdir()
    before = kept.stat().st_mtime_ns, np.load(kept)
    assert len(before[1]) == 10

    again = start_iteration(project=world.project, requested_by=world.manager, epochs=2)
    run_iteration(again.pk)

    assert latest_embedding(world.project).n == 40
    assert kept.stat().st_mtime_ns == before[0]
    files = sorted(measured.iterdir(), key=lambda path: int(path.stem))
    at_once = descriptors.describe_objects(patch_reader(world.project, n_objects=40))
    assert (np.concatenate([np.load(path) for path in files]) == at_once).all()


@pytest.mark.parametrize("kind", ["descriptors", "recognized"])
def test_what_was_measured_is_measured_anew_where_its_file_is_damaged(world: World, kind: str) -> None:
    make_image(world.project)
    run_iteration(start_iteration(project=world.project, requested_by=world.manager, epochs=2).pk)
    (measured,) = folder(world.project, kind).rglob("0.npy")
    whole = np.load(measured)
    measured.write_bytes(measured.read_bytes()[:1000])

    job = start_iteration(project=world.project, requested_by=world.manager, epochs=2)
    run_iteration(job.pk)

    job.refresh_from_db()
    assert job.state == Job.State.FINISHED
    assert "0.npy is damaged" in job.log
    np.testing.assert_array_equal(np.load(measured), whole)


def test_an_iteration_that_was_given_up_leaves_its_epochs_to_the_next(world: World) -> None:
    make_image(world.project)
    job = start_iteration(project=world.project, requested_by=world.manager, epochs=3)
    die_in_an_iteration(job, "in training")
    Job.objects.filter(pk=job.pk).update(deaths=MOST_DEATHS - 1, furthest=1.0)
    requeue_lost_jobs()
    job.refresh_from_db()
    assert job.state == Job.State.FAILED and "died 3 times" in job.error
    keep_house()
    assert "went on after epoch" in run_again(world).log


def test_features_that_were_joined_are_more_than_the_shards_they_were_made_of(tmp_path: Path) -> None:
    """What was taken over with some shards, and failed with all of them joined, got further."""
    shards = tmp_path / "new" / "shards" / "of-this-model"
    write_array(shards / "000000000000.npy", np.zeros((5, 2), np.float16))
    (shards / ".half-written.partial").touch()
    assert amount_done(tmp_path) == 1
    write_array(shards / "000000000005.npy", np.zeros((5, 2), np.float16))
    with_shards = amount_done(tmp_path)
    for shard in list(shards.glob("0*.npy")):
        shard.unlink()
    write_array(shards / JOINED_NAME, np.zeros((10, 2), np.float16))
    assert amount_done(tmp_path) > with_shards == 2


def test_of_attempts_that_died_the_newest_with_a_plan_is_kept(world: World) -> None:
    make_image(world.project)
    job = start_iteration(project=world.project, requested_by=world.manager, epochs=3)
    die_in_an_iteration(job, "in training")
    stray = folder(
        world.project, "work", f"job-{job.pk}-0", "new", "states", "epoch-000009"
    )  # of a worker thought dead
    Job.objects.filter(pk=job.pk).update(deaths=MOST_DEATHS - 1, furthest=1.0)
    requeue_lost_jobs()
    assert stray.exists()
    keep_house()
    assert "went on after epoch" in run_again(world).log


def test_a_version_that_cannot_be_read_is_not_gone_on_from(world: World, caplog: pytest.LogCaptureFixture) -> None:
    make_image(world.project)
    run_again(world, epochs=2)
    (version,) = world.project.model_versions.filter(approach="simclr")
    (model_folder(version) / "model.json").unlink()
    run_again(world, epochs=2)
    assert f"Version {version.number} of project {world.project.pk} is not gone on from" in caplog.text
    (newest, *_) = world.project.model_versions.order_by("-number")
    assert newest.number > version.number


def test_what_is_measured_can_be_asked_for_from_an_object_on(world: World) -> None:
    """Objects that are placed on a map come at the end, and in a file of their own."""
    for _ in range(3):
        make_image(world.project)
        report = Report(Job.objects.create(project=world.project, kind="place", task="", queue="gpu"))
        patches = patch_reader(world.project, n_objects=Project.objects.get(pk=world.project.pk).n_objects)
        measured = measuring.measure(world.project, patches, report)
    for first in (0, 10, 20, 45):
        np.testing.assert_array_equal(measuring.measure(world.project, patches, report, first=first), measured[first:])
    files = project_folder(world.project).glob("descriptors/*/*.npy")
    assert sorted(int(path.stem) for path in files) == [0, 20, 40]


def test_the_disk_that_is_full_is_named_where_a_file_is_large(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    make_image(world.project)
    job = start_iteration(project=world.project, requested_by=world.manager, epochs=2)
    with monkeypatch.context() as patch:
        patch.setattr(durable, "has_space", lambda place, n_bytes=0: n_bytes < 1_000_000)  # of the weights and moments
        run_iteration(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.FAILED
    assert job.error == "the server's disk is full, but for what the database needs; tell its administrator"
    run_again(world)


def test_what_a_job_left_that_was_cancelled_after_its_worker_died_is_cleared(world: World) -> None:
    make_image(world.project)
    job = start_iteration(project=world.project, requested_by=world.manager)
    left = folder(world.project, "work", f"job-{job.pk}-1")
    keep_house()
    assert left.exists(), "the job may still be taken up again"
    cancel_job(job=job, cancelled_by=world.manager)
    keep_house()
    assert not left.exists()


def test_an_iteration_begins_anew_where_its_settings_were_changed_after_its_worker_died(world: World) -> None:
    make_image(world.project)
    job = start_iteration(project=world.project, requested_by=world.manager, epochs=4)
    die_in_an_iteration(job, "in training")
    update_project_learning(
        project=world.project,
        learning=Learning("simclr", {"temperature": 0.2}),
        updated_by=world.manager,
    )
    assert requeue_lost_jobs() == 1

    run_iteration(job.pk)

    job.refresh_from_db()
    assert job.state == Job.State.FINISHED, job.error
    assert "went on after epoch" not in job.log
    assert "begins anew" in job.log
    run = TrainingRun.objects.get(job=job)
    assert run.settings["settings"]["temperature"] == 0.2
    assert len(run.losses) == 4
    assert work_folders(world.project) == []
