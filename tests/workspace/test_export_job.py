"""An export as a job: a zip that is there once it is whole, or a reason why it is not."""

from __future__ import annotations

import csv
import io
import shutil
import zipfile
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse

from apps.engine.durable import DISK_RESERVE_BYTES
from apps.engine.masks import LabelValues, MaskKind
from apps.labels.selectors import shared_label_set
from apps.objects.pipelines import ImageSource, SourceFile, import_sources
from apps.projects.files import export_archive, folder
from apps.projects.models import Job
from apps.workspace.services import start_export
from apps.workspace.tasks import export_labels
from tests.conftest import World
from tests.factories import blobs, make_image, picture, png

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


def test_the_legend_says_which_classes_are_uncertain_or_no_object(job: Job) -> None:
    job.project.label_classes.filter(value=1).update(is_uncertain=True)
    job.project.label_classes.filter(value=2).update(is_non_object=True)
    export_labels(job.pk)
    with zipfile.ZipFile(export_archive(job)) as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read("legend.csv").decode())))
    assert [(row["is_uncertain"], row["is_non_object"]) for row in rows[:2]] == [("1", "0"), ("0", "1")]


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


def test_an_export_says_which_labeled_patches_were_on_the_screen(world: World, job: Job, signed_in: Any) -> None:
    """Of a large region that was labeled at once most were not."""
    label_set = shared_label_set(world.project)
    url = reverse("label_actions", args=[label_set.pk])
    for ordinals, on_screen in (([0], {"n": 1}), ([1, 2, 3], {"n": 1, "ordinals": [2]}), ([4], None)):
        sent = {"kind": "label", "class_value": 1, "provenance": "bulk", "ordinals": ordinals}
        sent["selection"] = {} if on_screen is None else {"on_screen": on_screen}
        assert signed_in(world.rater).post(url, sent, content_type="application/json").status_code == 201
    export_labels(job.pk)
    with zipfile.ZipFile(export_archive(job)) as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read("objects.csv").decode())))
    assert [row["on_screen"] for row in rows[:6]] == ["1", "0", "1", "0", "", ""]
    detail = signed_in(world.rater).get(reverse("object_detail", args=[world.project.pk, 3])).json()
    assert detail["label"]["on_screen"] is False


@pytest.mark.parametrize(
    "on_screen",
    [
        5,
        {},
        {"n": -1},
        {"n": "all"},
        {"n": True},
        {"n": 0},
        {"n": 2},
        {"n": 1, "ordinals": ["0"]},
        {"n": 1, "ordinals": [1]},
        {"n": 1, "ordinals": []},
        {"n": 2, "ordinals": [0, 0]},
    ],
)
def test_what_was_on_the_screen_are_some_of_the_labeled(world: World, signed_in: Any, on_screen: Any) -> None:
    make_image(world.project)
    sent = {
        "kind": "label",
        "class_value": 1,
        "provenance": "bulk",
        "ordinals": [0],
        "selection": {"on_screen": on_screen},
    }
    url = reverse("label_actions", args=[shared_label_set(world.project).pk])
    assert signed_in(world.rater).post(url, sent, content_type="application/json").status_code == 400
