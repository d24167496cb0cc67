"""An import as a job: each image wholly or not at all, whatever happens to the worker, the disk or the files."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from django.core.files.base import ContentFile
from django.test import Client

from apps.accounts.models import User
from apps.engine.durable import DISK_RESERVE_BYTES
from apps.engine.masks import LabelValues, MaskKind
from apps.images.models import Image, Upload
from apps.images.services import FilesGone, UploadClosed, receive_file, remove_file, start_upload
from apps.objects import pipelines, views
from apps.objects.pipelines import ImageSource, SourceFile, import_sources
from apps.objects.services import start_import
from apps.objects.signals import import_finished
from apps.objects.tasks import import_images
from apps.projects.files import folder
from apps.projects.jobs import Report
from apps.projects.models import Job, Project
from apps.workspace.pipelines import file_stems
from tests.conftest import World
from tests.factories import blobs, picture, png

FULL = "the server's disk is full, but for what the database needs; tell its administrator"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def upload(world: World) -> Upload:
    """Three images with their masks."""
    upload = start_upload(project=world.project, created_by=world.manager)
    for number in range(3):
        for name, pixels in ((f"i{number}.png", picture(seed=number)), (f"i{number}_mask.png", blobs())):
            receive_file(upload=upload, name=name, content=ContentFile(png(pixels), name), received_by=world.manager)
    return upload


def start(upload: Upload) -> Job:
    by_name = {file.name: file.pk for file in upload.files.all()}
    pairs = [
        {"image_file_id": by_name[f"i{n}.png"], "mask_file_id": by_name[f"i{n}_mask.png"], "points_file_id": None}
        for n in range(3)
    ]
    return start_import(
        upload=upload, mask_kind="indexed", label_values=[], pairs=pairs, requested_by=upload.created_by
    )


def stored(project: Project) -> list[str]:
    return sorted(path.name for path in folder(project, "pixels").iterdir())


def test_an_upload_becomes_images_and_its_files_are_cleared_away(world, upload):
    job = start(upload)
    import_images(job.pk)
    job.refresh_from_db()
    assert [image["n_objects"] for image in job.result["images"]] == [20, 20, 20]
    assert not any(folder(world.project, "uploads", upload.pk).iterdir())
    with pytest.raises(UploadClosed):
        start(upload)


def test_a_full_disk_ends_the_import_and_the_same_files_can_be_imported_later(world, upload, monkeypatch):
    original = pipelines.write_image

    def write_but_not_the_second(target: Path, key: str, *rest: object) -> None:
        original(target, key, *rest)
        if key.startswith("i1"):
            raise OSError(errno.ENOSPC, "No space left on device")

    heard = []
    import_finished.connect(lambda **_: heard.append(Image.objects.count()), weak=False, dispatch_uid="test")
    monkeypatch.setattr(pipelines, "write_image", write_but_not_the_second)
    job = start(upload)
    import_images(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error) == (Job.State.FAILED, FULL)
    assert list(Image.objects.values_list("name", flat=True)) == ["i0.png"]
    assert heard == [1], "what is in is predicted and placed"
    assert not [name for name in stored(world.project) if name.startswith("i1")]
    assert [path.name for path in folder(world.project, "images").iterdir() if path.name.startswith("i1")] == []

    monkeypatch.setattr(pipelines, "write_image", original)
    again = start(upload)
    import_images(again.pk)
    again.refresh_from_db()
    assert sorted(Image.objects.values_list("name", flat=True)) == ["i0.png", "i1.png", "i2.png"]
    assert [image["name"] for image in again.result["already_imported"]] == ["i0.png"]
    assert import_finished.disconnect(dispatch_uid="test")


def test_an_image_is_not_begun_where_the_disk_has_no_room_for_all_of_it(world, upload, monkeypatch):
    at_a_time = picture(seed=0).nbytes
    free = SimpleNamespace(free=DISK_RESERVE_BYTES + at_a_time)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    monkeypatch.setattr(pipelines, "write_image", lambda *_: pytest.fail("it was begun"))
    job = start(upload)
    import_images(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error) == (Job.State.FAILED, FULL)


def test_what_can_not_be_stored_for_another_reason_stops_no_other_image(world, upload, monkeypatch):
    original = pipelines.write_image

    def write_but_not_the_second(target: Path, key: str, *rest: object) -> None:
        if key.startswith("i1"):
            raise OSError(errno.EIO, "Input/output error")
        original(target, key, *rest)

    monkeypatch.setattr(pipelines, "write_image", write_but_not_the_second)
    job = start(upload)
    import_images(job.pk)
    job.refresh_from_db()
    assert job.result["errors"] == [{"file": "i1.png", "cause": "could not be stored: Input/output error"}]
    assert sorted(Image.objects.values_list("name", flat=True)) == ["i0.png", "i2.png"]


def test_an_interruption_after_the_commit_keeps_the_image_s_pixels(world, upload, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("apps.projects.events.send_event", interrupted)
    source = SourceFile(folder(world.project, "x") / "a.png", "a.png")
    source.path.write_bytes(png(picture()))
    with pytest.raises(KeyboardInterrupt):
        import_sources(
            project=world.project,
            sources=[ImageSource(source)],
            mask_kind=MaskKind.NONE,
            label_values=LabelValues(),
            imported_by=None,
            on_progress=lambda *_: None,
        )
    assert Image.objects.count() == 1
    assert len(stored(world.project)) == 3


def test_a_worker_that_lost_the_job_imports_nothing_more(world, upload, monkeypatch):
    job = start(upload)
    original = pipelines.add_image
    taken_up = []

    def lose_the_job_after_the_first(**arguments: object) -> Image:
        image = original(**arguments)
        if not taken_up:
            taken_up.append(True)
            Job.objects.filter(pk=job.pk).update(state="queued")
            import_images(job.pk)  # another worker
        return image

    monkeypatch.setattr(pipelines, "add_image", lose_the_job_after_the_first)
    import_images(job.pk)
    job.refresh_from_db()
    assert job.state == "finished"
    assert job.attempt == 2
    assert [entry["name"] for entry in job.result["already_imported"]] == ["i0.png"]
    assert [image["name"] for image in job.result["images"]] == ["i1.png", "i2.png"]
    assert Image.objects.count() == 3
    numbers = world.project.histo_objects.order_by("ordinal").values_list("ordinal", flat=True)
    assert list(numbers) == list(range(60))


def test_a_job_taken_up_when_all_is_imported_and_the_files_are_gone_says_so(world, upload):
    job = start(upload)
    import_images(job.pk)
    shutil.rmtree(folder(world.project, "uploads", upload.pk))
    Job.objects.filter(pk=job.pk).update(state="queued", result={})  # its worker died before the end
    import_images(job.pk)
    job.refresh_from_db()
    assert job.result["errors"] == []
    assert len(job.result["already_imported"]) == 3


def test_an_import_that_failed_can_be_started_again(world, upload, monkeypatch):
    def fails(job: Job, report: Report) -> dict[str, object]:
        raise RuntimeError("broken")

    job = start(upload)
    with monkeypatch.context() as patched:
        patched.setattr(pipelines, "import_job", fails)
        import_images(job.pk)
    upload.refresh_from_db()
    second = start(upload)
    import_images(second.pk)
    second.refresh_from_db()
    assert len(second.result["images"]) == 3


def test_a_file_removed_after_the_review_is_told_of_before_anything_starts(world, upload):
    by_name = {file.name: file for file in upload.files.all()}
    pair = {"image_file_id": by_name["i0.png"].pk, "mask_file_id": by_name["i0_mask.png"].pk, "points_file_id": None}
    remove_file(file=by_name["i0_mask.png"], removed_by=world.manager)
    with pytest.raises(FilesGone):
        start_import(upload=upload, mask_kind="indexed", label_values=[], pairs=[pair], requested_by=world.manager)
    assert not world.project.jobs.exists()


def test_a_mask_of_another_size_fails_its_image_only(world):
    sources = []
    place = folder(world.project, "x")
    for number, mask in enumerate([blobs(), np.ones((5, 5), np.uint16)]):
        image, mask_path = place / f"{number}.png", place / f"{number}_mask.png"
        image.write_bytes(png(picture(seed=number)))
        mask_path.write_bytes(png(mask))
        sources.append(ImageSource(SourceFile(image, image.name), SourceFile(mask_path, mask_path.name)))
    result = import_sources(
        project=world.project,
        sources=sources,
        mask_kind=MaskKind.INDEXED,
        label_values=LabelValues(),
        imported_by=None,
        on_progress=lambda *_: None,
    )
    assert [image["name"] for image in result.images] == ["0.png"]
    assert result.errors[0]["file"] == "1_mask.png"
    assert "5 rows x 5 columns" in result.errors[0]["cause"]
    assert len(stored(world.project)) == 3


def test_every_image_has_a_file_stem_of_its_own():
    stems = file_stems({1: "a.png", 2: "a.tif", 3: "a-1.png", 4: "A.png", 5: "b.png"})
    assert stems[5] == "b"
    assert len({stem.casefold() for stem in stems.values()}) == 5


def test_the_page_of_an_import_that_ends_while_it_is_made_has_the_number_from_after_it(
    world: World, upload: Upload, signed_in: Callable[[User], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = start(upload)
    jobs_of = views.jobs_of

    def ending_just_now(project: Project) -> Any:
        import_images(job.pk)
        return jobs_of(project)

    monkeypatch.setattr(views, "jobs_of", ending_just_now)
    page = signed_in(world.manager).get(f"/projects/{world.project.pk}/imports/{job.pk}/").content.decode()
    assert "The project has 60 objects now" in page
