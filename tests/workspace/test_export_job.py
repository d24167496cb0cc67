"""An export as a job: a zip that is there once it is whole, or a reason why it is not."""

from __future__ import annotations

import shutil
import zipfile
from types import SimpleNamespace

import pytest

from apps.engine.masks import LabelValues, MaskKind
from apps.objects.pipelines import ImageSource, SourceFile, import_sources
from apps.projects.files import DISK_RESERVE_BYTES, export_archive, folder
from apps.projects.models import Job
from apps.workspace.services import start_export
from apps.workspace.tasks import export_labels
from tests.conftest import World
from tests.factories import blobs, picture, png

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def job(world: World) -> Job:
    place = folder(world.project, "x")
    (place / "a.png").write_bytes(png(picture()))
    (place / "a_mask.png").write_bytes(png(blobs()))
    import_sources(
        project=world.project,
        sources=[ImageSource(SourceFile(place / "a.png", "a.png"), SourceFile(place / "a_mask.png", "a_mask.png"))],
        mask_kind=MaskKind.INDEXED,
        label_values=LabelValues(),
        imported_by=None,
        on_progress=lambda *_: None,
    )
    return start_export(project=world.project, label_set=None, requested_by=world.manager)


def test_the_first_export_of_a_project_is_a_zip_of_masks_and_tables(job: Job) -> None:
    export_labels(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error) == (Job.State.FINISHED, "")
    with zipfile.ZipFile(export_archive(job)) as archive:
        assert archive.testzip() is None
        assert {"objects.csv", "legend.csv", "images.csv", "EXPORT_README.txt"} <= set(archive.namelist())


def test_an_export_that_the_disk_has_no_room_for_is_not_begun_to_be_packed(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=DISK_RESERVE_BYTES + 100))
    export_labels(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.FAILED and "disk is full" in job.error
    assert not export_archive(job).exists()
