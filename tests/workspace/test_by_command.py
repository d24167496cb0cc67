"""The main job by command, as a script does it, on real input; and what the original tool got wrong on it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from skimage.io import imread
from skimage.measure import label as components

from apps.audit.models import AuditEvent
from apps.engine.demonstration import NAME, demonstration_image, segment_nuclei
from apps.models.models import ModelVersion
from apps.models.selectors import coordinates, current_predictions, latest_embedding
from apps.projects.jobs import Report
from apps.projects.models import Job, Project
from apps.projects.services import Learning, update_project_learning
from apps.projects.views import STAGES
from tests.factories import make_image, make_organization, make_project, make_user, png
from tests.shared_data import EXAMPLES, needs_examples

# A job's lease is kept by a thread with its own connection, which sees only what is committed.
pytestmark = pytest.mark.django_db(transaction=True)
EXAMPLE_KINDS = {"binary": "binary", "indexed": "indexed", "labeled": "labelled"}  # ours: the example's folder


def run(*arguments: Any, **options: Any) -> dict[str, Any]:
    out = io.StringIO()
    call_command(*map(str, arguments), stdout=out, **options)
    lines = out.getvalue().splitlines()
    assert len(lines) == 1, "one JSON line is promised"
    parsed: dict[str, Any] = json.loads(lines[0])
    return parsed


def make(name: str = "nuclei", classes: str = "a,b", **options: Any) -> int:
    project: int = run("create_project", name, organization="Lab", classes=classes, **options)["project"]
    return project


def example_folder(tmp_path: Path, kind: str) -> Path:
    """The original's own example with one of its masks, laid out as images/ and masks/."""
    folder = tmp_path / kind
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    shutil.copy(EXAMPLES / "train_6.png", folder / "images" / "train_6.png")
    shutil.copy(EXAMPLES / EXAMPLE_KINDS[kind] / "train_6_mask.png", folder / "masks" / "train_6.png")
    return folder


def label_values(tmp_path: Path, folder: Path) -> Path:
    mask = imread(folder / "masks" / "train_6.png")
    rows = np.unique(mask.reshape(-1, mask.shape[-1]) if mask.ndim == 3 else mask.reshape(-1, 1), axis=0)
    path = tmp_path / "values.csv"
    names = ["a", "b"]
    with path.open("w") as file:
        file.write("color,class_name\n" if mask.ndim == 3 else "value,class_name\n")
        for row in rows:
            if row.any():
                shown = " ".join(map(str, row[:3])) if mask.ndim == 3 else str(row[0])
                file.write(f"{shown},{names.pop(0)}\n")
    return path


@needs_examples
@pytest.mark.parametrize("kind", EXAMPLE_KINDS)
def test_every_mask_kind_of_the_example_gives_510_objects_and_a_right_export(tmp_path, kind):
    """The original: 251 of 501 right for the indexed mask, 187 of 500 for the labeled one."""
    folder = example_folder(tmp_path, kind)
    project_id = make(kind)
    options = {"label_values": label_values(tmp_path, folder)} if kind == "labeled" else {}
    imported = run("import_images", project_id, folder, mask_kind=kind, **options)
    assert (imported["images"], imported["objects"]) == (1, 510)

    project = Project.objects.get(pk=project_id)
    centroids = [(o.ordinal, int(o.row + 0.5), int(o.column + 0.5)) for o in project.histo_objects.order_by("ordinal")]
    classes = np.random.default_rng(0).integers(1, 3, 510)
    table = tmp_path / "classes.csv"
    rows = "".join(f"train_6.png,{o.source_id},{'ab'[classes[o.ordinal] - 1]}\n" for o in project.histo_objects.all())
    table.write_text("image,label_id,class_name\n" + rows)
    labeled = run("import_labels", project_id, table, label_set="drawn by lot")
    assert (labeled["labeled"], labeled["unmatched_rows"]) == (510, 0)

    exported = run("export_labels", project_id, tmp_path / "out")
    assert exported["labeled"] == 510
    mask = imread(tmp_path / "out" / "class_masks" / "train_6.png")
    ids = imread(tmp_path / "out" / "instance_masks" / "train_6.png")
    assert mask.dtype == np.uint16
    source_ids = dict(project.histo_objects.values_list("ordinal", "source_id"))
    for ordinal, _, _ in centroids:
        assert set(mask[ids == source_ids[ordinal]].tolist()) == {classes[ordinal]}
    at_centroids = [(mask[row, column], ids[row, column], ordinal) for ordinal, row, column in centroids]
    own = [(value, ordinal) for value, id_, ordinal in at_centroids if id_ == source_ids[ordinal]]
    assert len(own) >= 495, "a centroid lies outside of few, sickle-shaped nuclei"
    assert all(value == classes[ordinal] for value, ordinal in own)


def test_a_table_of_which_most_rows_match_nothing_is_summed_up(tmp_path):
    project = make_project(make_organization())
    make_image(project, "a.png")
    table = tmp_path / "classes.csv"
    table.write_text(
        "image,label_id,class_name\na.png,1,epithelial\n" + "".join(f"b.png,{n},x\n" for n in range(1, 501))
    )
    labeled = run("import_labels", project.pk, table)
    assert (labeled["labeled"], labeled["unmatched_rows"]) == (1, 500)
    assert labeled["unmatched_by_cause"] == {"the project has no such image": 500}
    assert len(labeled["first_unmatched"]) == 20, "the rest says nothing more"


def test_a_class_that_the_project_does_not_have_is_added_only_where_that_was_asked_for(tmp_path):
    project = make_project(make_organization(), classes=["epithelial"])
    make_image(project, "a.png")
    table = tmp_path / "classes.csv"
    table.write_text("image,label_id,class_name\na.png,1, Epithelial\na.png,2,lymphocite\n")
    with pytest.raises(CommandError, match=r"no class 'lymphocite'; --add-classes adds what is missing"):
        run("import_labels", project.pk, table)
    assert list(project.label_classes.values_list("name", flat=True)) == ["epithelial"]
    assert not project.label_sets.filter(name="imported").exists()
    labeled = run("import_labels", project.pk, table, add_classes=True)
    assert (labeled["labeled"], labeled["classes_added"]) == (2, ["lymphocite"])


@needs_examples
def test_objects_are_connected_components_where_the_mask_has_no_ids(tmp_path):
    folder = example_folder(tmp_path, "binary")
    run("import_images", make(), folder, mask_kind="binary")
    mask = imread(folder / "masks" / "train_6.png")
    expected = components(mask if mask.ndim == 2 else mask[..., 0], connectivity=2).max()
    assert Project.objects.get(name="nuclei").n_objects == expected == 510


@pytest.fixture
def nuclei_folder(tmp_path: Path) -> Path:
    """The demonstration's image and nuclei as files."""
    folder = tmp_path / "nuclei"
    folder.mkdir()
    image = demonstration_image()
    (folder / NAME).write_bytes(png(image))
    (folder / NAME.replace(".png", "_mask.png")).write_bytes(png(segment_nuclei(image)))
    return folder


def test_ctrl_c_cancels_an_iteration(nuclei_folder, monkeypatch):
    make("colon", classes="epithelial,stromal", patch_size=32)
    run("import_images", "Lab/colon", nuclei_folder)
    was_sent, progress = threading.Event(), Report.progress
    # As in a terminal; what runs in the background begins with Ctrl-C ignored, and it stays so.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt_the_training(report: Report, stage: str, *arguments: Any, **others: Any) -> None:
        if stage == "training" and not was_sent.is_set():
            was_sent.set()
            os.kill(os.getpid(), signal.SIGINT)
        progress(report, stage, *arguments, **others)

    monkeypatch.setattr(Report, "progress", interrupt_the_training)
    try:
        with pytest.raises(CommandError, match="the iteration was cancelled"):
            run("run_iteration", "colon", epochs=200)
        assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    job = Job.objects.get(kind="iteration")
    assert job.state == Job.State.CANCELLED and job.finished_at is not None


class Terminal(io.StringIO):
    """Where a person looks on."""

    def isatty(self) -> bool:
        return True


def test_an_iteration_shows_on_a_terminal_how_far_it_is(few_nuclei_folder, monkeypatch):
    make("few", patch_size=32)
    run("import_images", "few", few_nuclei_folder)
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    out = io.StringIO()
    call_command("run_iteration", "few", epochs=1, stdout=out, stderr=terminal)
    lines = terminal.getvalue().splitlines()
    shares = [int(share) for share in re.findall(r"(\d+)%", terminal.getvalue())]
    assert len(shares) == len(lines) > 5 and shares == sorted(shares)
    assert any(line.startswith("training") for line in lines)
    assert json.loads(out.getvalue())["epochs"] == 1


def test_the_whole_job_from_files_to_files(tmp_path, nuclei_folder):
    project_id = make("colon", classes="epithelial,stromal", patch_size=32)
    imported = run("import_images", "Lab/colon", nuclei_folder)
    assert imported["objects"] > 300

    unlabeled = run("run_iteration", "colon", epochs=1)
    assert unlabeled["objects"] == imported["objects"]
    assert unlabeled["accuracy"] is None
    assert set(unlabeled["seconds"]) == {"first_map", "train", "measure", "recognize", "embed", "predict", "map"}
    assert set(unlabeled["seconds"]) <= set(STAGES), "what the job's page shows of them"
    assert unlabeled["model_version"] == 2, "the first map comes before the training, from measurements alone"

    # Brown cytoplasm around a nucleus makes it epithelial: a truth that the image itself states.
    project = Project.objects.get(pk=project_id)
    image = demonstration_image().astype(int)
    table = tmp_path / "classes.csv"
    lines = ["image,row,column,class_name", f"{NAME},0,0,stromal", "other.png,5,5,stromal"]
    for histo_object in project.histo_objects.all():
        row, column = int(histo_object.row + 0.5), int(histo_object.column + 0.5)
        around = image[max(0, row - 12) : row + 12, max(0, column - 12) : column + 12].reshape(-1, 3).mean(axis=0)
        lines.append(f"{NAME},{row},{column},{'epithelial' if around[0] > around[2] else 'stromal'}")
    table.write_text("\n".join(lines) + "\n")
    labeled = run("import_labels", project_id, table)
    assert labeled["label_set"] == "imported"
    refused = {row["why"] for row in labeled["first_unmatched"]}
    assert "the project has no such image" in refused and "there is no object" in refused
    assert labeled["labeled"] + labeled["unmatched_rows"] == labeled["rows"]
    event = AuditEvent.objects.get(action="labels.import")
    assert (event.project_id, event.detail["file"]) == (project_id, "classes.csv")
    assert event.detail["labeled"] == labeled["labeled"]

    trained = run("run_iteration", project_id, approach="simclr", epochs=2)
    assert trained["model_version"] == 3
    assert "first_map" not in trained["seconds"]
    assert trained["balanced_accuracy"] > 0.7, "brown and blue are easy to tell apart"

    run("export_labels", project_id, tmp_path / "out")
    legend = list(csv.DictReader((tmp_path / "out" / "legend.csv").open()))
    assert [(row["value"], row["class_name"]) for row in legend] == [("1", "epithelial"), ("2", "stromal")]
    rows = list(csv.DictReader((tmp_path / "out" / "objects.csv").open()))
    assert len(rows) == imported["objects"]
    assert {row["provenance"] for row in rows if row["class_name"]} == {"import"}
    assert all(row["prediction"] and 0 < float(row["confidence"]) <= 1 for row in rows)

    (image,) = csv.DictReader((tmp_path / "out" / "images.csv").open())
    assert image["image"] == NAME and int(image["objects"]) == len(rows)
    assert int(image["labeled"]) == sum(row["class_name"] != "" for row in rows) < len(rows)
    for name in ("epithelial", "stromal"):
        assert int(image[f"{name}, labeled"]) == sum(row["class_name"] == name for row in rows)
        shown = sum((row["class_name"] or row["prediction"]) == name for row in rows)
        assert int(image[f"{name}, labeled or predicted"]) == shown

    again = make("again", classes="epithelial,stromal", patch_size=32)
    (tmp_path / "re" / "images").mkdir(parents=True)
    shutil.copy(nuclei_folder / NAME, tmp_path / "re" / "images" / NAME)
    shutil.copytree(tmp_path / "out" / "instance_masks", tmp_path / "re" / "masks")
    run("import_images", again, tmp_path / "re")
    run("import_labels", again, tmp_path / "out" / "objects.csv")
    run("export_labels", again, tmp_path / "out2")
    first, second = (imread(tmp_path / out / "class_masks" / NAME) for out in ("out", "out2"))
    assert (first == second).all(), "an export that is imported again gives the same labels"
    verified = run("verify_labels", project_id)
    assert verified["faults"] == 0 and verified["actions"] > 0 and verified["audit_events"] > 0


@pytest.fixture
def few_nuclei_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "few"
    folder.mkdir()
    image = demonstration_image()[:160, :160]
    (folder / "few.png").write_bytes(png(image))
    (folder / "few_mask.png").write_bytes(png(segment_nuclei(image)))
    return folder


def kept_settings(project_id: int) -> tuple[str, dict[str, Any]]:
    """Approach and settings of the newest model."""
    version = ModelVersion.objects.filter(project_id=project_id).latest("number")
    return version.approach, version.settings["settings"]


def test_each_run_keeps_its_approach_and_settings_with_the_model(few_nuclei_folder):
    made = run(
        "create_project", "few", organization="Lab", classes="a,b", patch_size=32,
        approach="autoencoder", set=["reconstruction_px=16", "augment.stain=0.2"],
    )  # fmt: skip
    project_id = made["project"]
    assert made["approach"] == "autoencoder"
    assert made["approach_settings"]["augment"]["stain"] == 0.2
    run("import_images", project_id, few_nuclei_folder)

    trained = run("run_iteration", project_id, set=["epochs=2", "object_mask=channel"])
    assert trained["epochs"] == 2 and trained["patches_per_second"] > 0 and 0 < trained["input_share"] < 1
    approach, settings = kept_settings(project_id)
    assert (approach, settings["reconstruction_px"], settings["object_mask"]) == ("autoencoder", 16, "channel")
    run("run_iteration", project_id, approach="simclr", set=["temperature=0.2"], epochs=1)
    approach, settings = kept_settings(project_id)
    assert (approach, settings["temperature"], settings["object_mask"]) == ("simclr", 0.2, "none")
    assert Project.objects.get(pk=project_id).approach == "autoencoder", "for this run only"

    frozen = run("run_iteration", project_id, approach="frozen")
    again = run("run_iteration", project_id, approach="frozen")
    assert frozen["epochs"] == again["epochs"] == 0
    assert frozen["model_version"] == again["model_version"], "what trains nothing is the same each time"
    assert again["embedding"] == frozen["embedding"] + 1


@pytest.mark.usefixtures("elsewhere")
def test_a_project_learns_draws_and_predicts_with_what_another_package_brings(few_nuclei_folder, tmp_path):
    project_id = make("few", patch_size=32)
    imported = run("import_images", project_id, few_nuclei_folder)
    project = Project.objects.get(pk=project_id)
    chosen = Learning("agreement", {"strength": 2}, reducer="spiral", classifier="nearest")
    update_project_learning(project=project, learning=chosen, updated_by=make_user())
    table = tmp_path / "classes.csv"
    rows = [f"few.png,{o.source_id},{'ab'[o.ordinal % 2]}\n" for o in project.histo_objects.filter(ordinal__lt=6)]
    table.write_text("image,label_id,class_name\n" + "".join(rows))
    run("import_labels", project_id, table)
    assert run("run_iteration", project_id, epochs=1)["objects"] == imported["objects"]
    assert kept_settings(project_id)[0] == "agreement"
    embedding = latest_embedding(project)
    assert embedding is not None
    predicted = current_predictions(Project.objects.get(pk=project_id))
    assert set(predicted.classes) <= {1, 2} and (predicted.confidence == 255).all()
    steps = np.linalg.norm(np.diff(coordinates(embedding), axis=0), axis=1)
    assert (np.diff(steps) > 0).mean() > 0.9, "a spiral widens"


def test_importing_a_folder_twice_changes_nothing(nuclei_folder):
    project_id = make()
    first = run("import_images", project_id, nuclei_folder)
    second = run("import_images", project_id, nuclei_folder)
    assert second["images"] == 0
    assert second["already_imported"] == [{"name": NAME, "as": NAME}]
    assert second["objects_in_project"] == first["objects"]


def test_more_images_can_be_added_and_ordinals_stay(tmp_path, nuclei_folder):
    project_id = make(patch_size=32)
    first = run("import_images", project_id, nuclei_folder)
    run("run_iteration", project_id, epochs=1)
    before = list(Project.objects.get(pk=project_id).histo_objects.order_by("ordinal").values_list("ordinal", "row"))
    more = tmp_path / "more"
    more.mkdir()
    image = demonstration_image()[:256, ::-1]
    (more / "second.png").write_bytes(png(image))
    (more / "second_mask.png").write_bytes(png(segment_nuclei(image)))
    second = run("import_images", project_id, more)
    objects = Project.objects.get(pk=project_id).histo_objects.order_by("ordinal").values_list("ordinal", "row")
    assert list(objects[: len(before)]) == before
    assert [ordinal for ordinal, _ in objects] == list(range(first["objects"] + second["objects"]))
    assert run("run_iteration", project_id, epochs=1)["objects"] == second["objects_in_project"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["import_images", "nothing", "."], "there is no project 'nothing'"),
        (["run_iteration", "nuclei"], "has no objects yet"),
        (["import_images", "nuclei", "no-such-folder"], "there is no such folder"),
        (["import_labels", "nuclei", "no-such-file.csv"], "no-such-file.csv"),
        (["export_labels", "nuclei", "out", "--label-set", "x"], "no label set 'x'"),
        (["create_project", "nuclei", "--organization", "Lab", "--classes", "a"], "already exists"),
        (
            ["run_iteration", "nuclei", "--approach", "alchemy"],
            "There is no approach called 'alchemy'; there are simclr",
        ),
        (["run_iteration", "nuclei", "--approach", "instant", "--epochs", "3"], "instant trains nothing"),
        (["run_iteration", "nuclei", "--set", "warmth=1"], "There is no setting warmth; there are backbone"),
        (["run_iteration", "nuclei", "--set", "temperature=0"], "temperature is 0, but has to be a number above 0"),
        (["run_iteration", "nuclei", "--set", "temperature"], "write NAME=VALUE"),
        (
            ["create_project", "odd", "--organization", "Lab", "--classes", "a", "--approach", "alchemy"],
            "There is no approach called 'alchemy'",
        ),
        (
            ["create_project", "odd", "--organization", "Lab", "--classes", "a", "--set", "epochs=0"],
            "epochs is 0, but has to be a whole number at least 1",
        ),
        (["create_project", "odd", "--organization", "Lab", "--classes", "a", "--patch-size", "33"], "even number"),
    ],
)
def test_what_can_not_be_done_is_said_in_one_line(arguments, said):
    make()
    with pytest.raises(CommandError) as error:
        call_command(*arguments)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_an_empty_folder_of_images_is_named(tmp_path):
    make()
    (tmp_path / "images").mkdir()
    (tmp_path / "beside.png").write_bytes(png(np.zeros((8, 8), np.uint8)))
    with pytest.raises(CommandError, match="its folder images/ holds no image"):
        call_command("import_images", "nuclei", tmp_path)


def test_a_name_that_two_projects_have_has_to_be_said_with_its_organization():
    make("same")
    run("create_project", "same", organization="Other lab", classes="a")
    with pytest.raises(CommandError, match="names 2 projects"):
        call_command("run_iteration", "same")


def test_folders_outside_the_allowed_roots_are_refused(settings, nuclei_folder, tmp_path):
    settings.IMPORT_ROOTS = [tmp_path / "allowed"]
    with pytest.raises(CommandError, match="PATCHSORTER_IMPORT_ROOTS"):
        call_command("import_images", str(make()), str(nuclei_folder))
