"""Labels -> masks and tables that other programs read."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from django.db import transaction
from numpy.typing import NDArray

from apps.engine.durable import replacing
from apps.engine.pixels import read_raster
from apps.engine.render import (
    LegendRow,
    write_class_mask,
    write_color_mask,
    write_instance_mask,
    write_legend,
)
from apps.engine.tables import ImageRow, ObjectRow, write_images_csv, write_objects_csv
from apps.images.models import Image
from apps.images.selectors import stored_image
from apps.labels.models import LabelAction, LabelSet
from apps.labels.selectors import (
    SampleClaim,
    accepted_unseen,
    labels_with_sources,
    provenance_of,
    sample_claims,
    shared_label_set,
    shown_by,
)
from apps.models.selectors import Predictions, current_predictions
from apps.objects.models import HistoObject
from apps.projects.files import check_space, export_archive, folder
from apps.projects.jobs import Report
from apps.projects.models import Job, LabelClass, Project

README = Path(__file__).with_name("EXPORT_README.txt")  # a name that no folder of images has


def export_job(job: Job, report: Report) -> dict[str, Any]:
    """Write an export and pack it into the zip that the page offers."""
    project = Project.objects.get(pk=job.project_id)
    label_set = LabelSet.objects.get(pk=job.params["label_set"]) if job.params.get("label_set") else None
    archive = export_archive(job)
    with tempfile.TemporaryDirectory(dir=folder(project, "work"), prefix=f"job-{job.pk}-") as work:
        report.stage("writing masks", start=0.0, end=0.9)
        content = _content(project, label_set, without_sampled=bool(job.params.get("without_sampled")))
        _write(project, content, Path(work), report.progress)
        report.stage("packing", start=0.9, end=1.0)
        written = sorted(path for path in Path(work).rglob("*") if path.is_file())
        check_space(Path(work), sum(path.stat().st_size for path in written))
        with replacing(archive) as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as packed:  # PNG does not get smaller
                for k, path in enumerate(written):
                    report.progress("packing", k / len(written))
                    packed.write(path, path.relative_to(work))
            with transaction.atomic():
                report.confirm_ownership()
    return {**content.summary(), "archive": archive.name}


@dataclass(frozen=True)
class _Content:
    """Everything an export says about the project's objects, by ordinal."""

    images: list[Image]
    classes: dict[int, LabelClass]
    values: NDArray[np.uint8]
    sources: NDArray[np.int64]
    unseen: NDArray[np.bool_]
    """Labels that were accepted by sample."""
    claims: dict[int, SampleClaim]
    predictions: Predictions

    def summary(self) -> dict[str, Any]:
        return {
            "images": len(self.images),
            "objects": len(self.values),
            "labeled": int((self.values > 0).sum()),
            "by_sample": int((self.unseen & (self.values > 0)).sum()),
        }


def export_labels(
    *,
    project: Project,
    label_set: LabelSet | None,
    target: Path,
    on_progress: Callable[[str, float, str], None],
    without_sampled: bool = False,
) -> dict[str, Any]:
    """Write class_masks/, color_masks/, instance_masks/, legend.csv, objects.csv, images.csv and EXPORT_README.txt into the folder
    `target`.

    `label_set` None: everything stated about the project's objects (see `stated_labels`). `without_sampled`: labels
    that were accepted by sample, their patches unseen, are left out. Files of these names in
    `target` are replaced when all of them are written; a fault before that leaves them as they were.
    """
    content = _content(project, label_set, without_sampled=without_sampled)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix=".export-") as work:
        _write(project, content, Path(work), on_progress)
        for path in sorted(Path(work).rglob("*")):
            if path.is_file():
                final = target / path.relative_to(work)
                final.parent.mkdir(exist_ok=True)
                path.replace(final)
    return content.summary()


def _legend_row(item: LabelClass) -> LegendRow:
    return LegendRow(item.value, item.name, item.color, int(item.is_uncertain), int(item.is_non_object))


def _content(project: Project, label_set: LabelSet | None, *, without_sampled: bool) -> _Content:
    label_set = label_set or shared_label_set(project)
    values, sources = labels_with_sources(label_set, project.n_objects)
    claims = sample_claims(label_set)
    unseen = accepted_unseen(claims, np.arange(project.n_objects), sources)
    if without_sampled:
        values[unseen] = sources[unseen] = 0
    return _Content(
        images=list(project.images.filter(first_ordinal__lt=project.n_objects)),  # an import may have ended since
        classes={label_class.value: label_class for label_class in project.label_classes.all()},
        values=values,
        sources=sources,
        unseen=unseen,
        claims=claims,
        predictions=current_predictions(project),
    )


def _write(project: Project, content: _Content, work: Path, on_progress: Callable[[str, float, str], None]) -> None:
    stems = file_stems({image.pk: image.name for image in content.images})
    for position, image in enumerate(content.images):
        on_progress("writing masks", position / len(content.images), image.name)
        _write_masks(project, image, stems[image.pk], content, work)
    write_objects_csv(work / "objects.csv", _object_rows(project, content))
    write_images_csv(work / "images.csv", [item.name for item in content.classes.values()], _image_rows(content))
    write_legend(work / "legend.csv", [_legend_row(item) for item in content.classes.values()])
    shutil.copyfile(README, work / README.name)


def file_stems(names: dict[int, str]) -> dict[int, str]:
    """A file stem of its own for every image, by id, also where letter case does not count. Images that would share one
    get their id added."""
    often = Counter(PurePath(name).stem.casefold() for name in names.values())
    stems: dict[int, str] = {}
    taken: set[str] = set()
    for pk, name in names.items():
        stem = PurePath(name).stem
        if often[stem.casefold()] > 1:
            stem = f"{stem}-{pk}"
        while stem.casefold() in taken:
            stem = f"{stem}-{pk}"
        taken.add(stem.casefold())
        stems[pk] = stem
    return stems


def _write_masks(project: Project, image: Image, stem: str, content: _Content, work: Path) -> None:
    raster = read_raster(stored_image(image))
    own = slice(image.first_ordinal, image.first_ordinal + image.n_objects)
    colors = {value: label_class.color for value, label_class in content.classes.items()}
    write_class_mask(work / "class_masks" / f"{stem}.png", raster, content.values[own])
    write_color_mask(work / "color_masks" / f"{stem}.png", raster, content.values[own], colors)
    write_instance_mask(work / "instance_masks", stem, raster, _source_ids(project, image))


def _source_ids(project: Project, image: Image) -> NDArray[np.int64]:
    return np.fromiter((source_id for _, source_id, _, _ in _objects(project, image)), np.int64)


def _objects(project: Project, image: Image) -> Iterator[tuple[int, int, float, float]]:
    """Ordinal, number in the mask, row and column of the image's objects."""
    in_image = HistoObject.objects.filter(
        project=project, ordinal__gte=image.first_ordinal, ordinal__lt=image.first_ordinal + image.n_objects
    )
    return in_image.order_by("ordinal").values_list("ordinal", "source_id", "row", "column").iterator()


def _image_rows(content: _Content) -> Iterator[ImageRow]:
    values = list(content.classes)
    shown = np.where(content.values > 0, content.values, content.predictions.classes)
    for image in content.images:
        own = slice(image.first_ordinal, image.first_ordinal + image.n_objects)
        labeled, with_predictions = (np.bincount(of[own], minlength=256)[values] for of in (content.values, shown))
        yield ImageRow(image.name, image.n_objects, labeled, with_predictions)


def _object_rows(project: Project, content: _Content) -> Iterator[ObjectRow]:
    actions: dict[int, LabelAction] = {}
    for image in content.images:
        actions = _actions_of(image, content, actions)
        shown = {source: shown_by(action) for source, action in actions.items()}
        for ordinal, label_id, row, column in _objects(project, image):
            label_class = content.classes.get(int(content.values[ordinal]))
            source = int(content.sources[ordinal])
            action = actions.get(source)
            claim = content.claims.get(source) if content.unseen[ordinal] else None
            on_screen = shown[source](ordinal) if action else None
            predicted = content.classes.get(int(content.predictions.classes[ordinal]))
            yield ObjectRow(
                image=image.name,
                ordinal=ordinal,
                label_id=label_id,
                row=row,
                column=column,
                class_name=label_class.name if label_class else "",
                class_value=label_class.value if label_class else None,
                provenance=provenance_of(action, claim) if action else "",
                sample_n=claim.n if claim else None,
                sample_wrong=claim.wrong if claim else None,
                sample_size=claim.size if claim else None,
                error_bound=claim.bound if claim else None,
                on_screen=None if on_screen is None else int(on_screen),
                labeled_by=(action.actor.email if action.actor else "import") if action else "",
                labeled_at=action.at.isoformat() if action else "",
                prediction=predicted.name if predicted else "",
                confidence=int(content.predictions.confidence[ordinal]) / 255 if predicted else None,
            )


def _actions_of(image: Image, content: _Content, known: dict[int, LabelAction]) -> dict[int, LabelAction]:
    """The actions that labels on the image come from, by id; those that are `known`, from the image before, are not read again. All
    at once would be a gigabyte where objects were labeled one by one."""
    own = np.unique(content.sources[image.first_ordinal : image.first_ordinal + image.n_objects])
    ids = own[own > 0].tolist()
    kept = {action: known[action] for action in ids if action in known}
    rest = [action for action in ids if action not in kept]
    return kept | LabelAction.objects.select_related("actor").in_bulk(rest)
