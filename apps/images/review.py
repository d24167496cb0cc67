"""What an upload would become: which mask and points belong to which image, and what is wrong with them.

Nothing is imported here. Sizes come from headers; only labeled masks are read whole, for the values that they hold,
and of those not the large ones: they need a table of values.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from django.conf import settings
from django.core.cache import caches

from apps.engine.errors import BadInput
from apps.engine.formats import read_image, read_mask, read_size
from apps.engine.masks import (
    MOST_VALUES,
    NO_OBJECT_CAUSE,
    QUICK_ANNOTATOR_COLORS,
    UNLABELED_COLOR,
    UNLABELED_VALUE,
    LabelValues,
    MaskKind,
    Points,
    check_same_size,
    looks_like_mask,
    read_label_values,
    read_points,
    values_present,
    wants_colors,
)
from apps.engine.pairing import pair
from apps.images.models import Image, Upload, UploadedFile
from apps.images.selectors import files_of, refused_files
from apps.projects.models import MAX_LABEL_CLASSES, LabelClass, Project
from apps.projects.services import class_key, class_name_fault

Finding = UploadedFile.Finding

CACHE_SECONDS = 6 * 60 * 60
DECODE_AT_ONCE_PX = 25_000_000  # a tenth of a second or two
DECODE_AT_ONCE_BYTES = 8 * DECODE_AT_ONCE_PX  # what so many have at most, not compressed
# To tell their kind: the first ones may hold no object.
MASKS_LOOKED_INTO = 5
MOST_FAULTS = 3  # of class names, told at once
MASK_KIND_TEXT = {
    MaskKind.INDEXED: "Indexed: every object has its own number",
    MaskKind.BINARY: "Binary: object or background",
    MaskKind.LABELED: "Labeled: every value or color is a class",
    MaskKind.QUICK_ANNOTATOR: "QuickAnnotator: its colored masks",
    MaskKind.NONE: "None: points, or a regular tiling",
}


@dataclass(frozen=True)
class Content:
    """What one mask holds: values, or 0xRRGGBB where `is_color`, without background; see `values_present` for how many."""

    is_color: bool
    bits: int
    values: tuple[int, ...]

    @property
    def n_values(self) -> str:
        """How many, in words."""
        return f"{len(self.values)}" if len(self.values) <= MOST_VALUES else f"more than {MOST_VALUES}"


@dataclass
class Row:
    """One image with what was found for it."""

    image: UploadedFile
    mask: UploadedFile | None
    points: UploadedFile | None
    size: tuple[int, int] | None = None
    problem: str = ""
    notes: list[str] = field(default_factory=list)

    def as_pair(self) -> dict[str, int | None]:
        return {
            "image_file_id": self.image.pk,
            "mask_file_id": self.mask.pk if self.mask else None,
            "points_file_id": self.points.pk if self.points else None,
        }


@dataclass(frozen=True)
class ValueRow:
    """A value or color of the labeled masks and the class it stands for."""

    value: int
    is_color: bool
    n_masks: int
    class_name: str

    @property
    def key(self) -> str:
        """Its name in the form."""
        return f"color_{self.value:06x}" if self.is_color else f"value_{self.value}"

    @property
    def shown(self) -> str:
        return f"#{self.value:06x}" if self.is_color else str(self.value)

    def as_json(self) -> dict[str, Any]:
        entry = {"color": self.shown} if self.is_color else {"value": self.value}
        return {**entry, "class_name": self.class_name}


@dataclass
class Review:
    mask_kind: MaskKind | None
    """None while nothing says which kind the masks are: the user has to."""
    reason: str = ""
    rows: list[Row] = field(default_factory=list)
    unpaired: list[UploadedFile] = field(default_factory=list)
    """Masks and tables of which no image is there."""
    too_late: list[UploadedFile] = field(default_factory=list)
    """Of those, the ones whose image is in the project already."""
    tiled_beside_masks: int = 0
    """How many images would be cut into tiles, where others in the project have masks or points: most often theirs were forgotten."""
    unclear: list[str] = field(default_factory=list)
    """Files that could belong to more than one image, or twice to one: left out, never guessed."""
    doubtful: list[UploadedFile] = field(default_factory=list)
    """What came as an image and without a mask of its own, but looks like a mask."""
    blockers: list[str] = field(default_factory=list)
    """Faults of the table of values: nothing can be imported before they are solved."""
    refused: list[UploadedFile] = field(default_factory=list)
    value_rows: list[ValueRow] = field(default_factory=list)
    class_names: list[str] = field(default_factory=list)
    new_classes: list[str] = field(default_factory=list)
    """Names that the table of values or the points state and that are no class of the project yet: they become one, for good."""
    has_masks: bool = False

    @property
    def joins_touching(self) -> bool:
        """Whether objects of one value that touch each other become one: only numbers of objects keep them apart."""
        return self.mask_kind in (MaskKind.LABELED, MaskKind.BINARY)

    @property
    def importable(self) -> list[Row]:
        return [row for row in self.rows if not row.problem]

    @property
    def n_left_out(self) -> int:
        return len(self.rows) - len(self.importable)

    @property
    def is_empty(self) -> bool:
        return not (self.rows or self.unpaired or self.unclear or self.blockers or self.refused)


def review_upload(upload: Upload, mask_kind: str | None = None, class_names: dict[str, str] | None = None) -> Review:
    """Pair the upload's files and look for what would go wrong.

    `mask_kind` None: taken from the masks where they leave no doubt. `class_names`: what the user wrote in the table of a
    labeled mask so far, by ValueRow.key.
    """
    images, masks, tables = (
        {file.name: file for file in files_of(upload, role)}
        for role in (UploadedFile.Role.IMAGE, UploadedFile.Role.MASK, UploadedFile.Role.POINTS)
    )
    pairing = pair(list(images), list(masks), list(tables))
    with_mask = {p.image for p in pairing.pairs if p.mask}
    review = Review(
        mask_kind=None,
        rows=[
            Row(images[p.image], masks[p.mask] if p.mask else None, tables[p.csv] if p.csv else None)
            for p in pairing.pairs
        ],
        unpaired=[files[name] for name in pairing.unpaired for files in (masks, tables) if name in files],
        unclear=pairing.errors,
        refused=list(refused_files(upload)),
        doubtful=[file for file in images.values() if file.finding == Finding.MASK_LIKE and file.name not in with_mask],
        class_names=list(LabelClass.objects.filter(project=upload.project).values_list("name", flat=True)),
        has_masks=bool(masks),
    )
    table = _uploaded_table(upload, review)
    if mask_kind in set(MaskKind):
        review.mask_kind = MaskKind(mask_kind)
    else:
        review.mask_kind, review.reason = _suggest_kind(review, table)
    _check_rows(upload.project, review)
    _leave_out_whose_mask_was_refused(review)
    if review.mask_kind == MaskKind.LABELED:
        _fill_value_rows(upload.project, review, table, class_names or {})
    _find_new_classes(review)
    _find_what_was_forgotten(upload.project, review)
    return review


def _find_what_was_forgotten(project: Project, review: Review) -> None:
    """What an import could not mend later: an image keeps the objects that it came with."""
    images = Image.objects.filter(project=project)
    if review.unpaired:
        masks, tables = (
            {file.name: file for file in review.unpaired if file.role == role}
            for role in (UploadedFile.Role.MASK, UploadedFile.Role.POINTS)
        )
        there = pair(list(images.values_list("name", flat=True)), list(masks), list(tables))
        review.too_late = [masks[p.mask] for p in there.pairs if p.mask] + [tables[p.csv] for p in there.pairs if p.csv]
    if images.exclude(mask_kind=MaskKind.NONE).exists():
        tiled = [
            row for row in review.importable if not row.points and (review.mask_kind == MaskKind.NONE or not row.mask)
        ]
        review.tiled_beside_masks = len(tiled) if review.mask_kind else 0


def _leave_out_whose_mask_was_refused(review: Review) -> None:
    """Without its mask an image would be cut into tiles, which nobody meant who sent one."""
    refused = {file.name: file for file in review.refused if file.role == UploadedFile.Role.MASK}
    without = {row.image.name: row for row in review.rows if row.mask is None}
    for pair_of_names in pair(list(without), list(refused)).pairs:
        if pair_of_names.mask is not None:
            without[pair_of_names.image].problem = f"its mask was refused: {refused[pair_of_names.mask].error}"


def path_of(file: UploadedFile) -> Path:
    return Path(settings.MEDIA_ROOT) / file.path


def probe(path: Path, role: str, *, name: str, checksum: str) -> str:
    """Look at a file that has just arrived, so that its fault is told at once. Returns an UploadedFile.Finding, or "".
    Raises BadInput.

    Of a large image only the header is read: the rest comes to light when it is imported, in a worker.
    """
    if role in (UploadedFile.Role.IMAGE, UploadedFile.Role.MASK):
        size = read_size(path, name=name)
        caches["reviews"].set(f"image-size:{checksum}", size, CACHE_SECONDS)
        if not _takes_long(size, path.stat().st_size):
            if role == UploadedFile.Role.IMAGE:
                return Finding.MASK_LIKE if looks_like_mask(read_image(path, name=name)) else ""
            return "" if read_mask(path, name=name).any() else Finding.NO_OBJECT
    elif role == UploadedFile.Role.LABEL_VALUES:
        read_label_values(path, name=name)
    else:
        _keep_classes(checksum, read_points(path, name=name))
    return ""


def _size_of(file: UploadedFile) -> tuple[int, int]:
    """(height, width). A file's content never changes under its checksum, so it is looked at once."""
    key = f"image-size:{file.checksum}"
    size = caches["reviews"].get(key)
    if size is None:
        size = read_size(path_of(file), name=file.name)
        caches["reviews"].set(key, size, CACHE_SECONDS)
    return cast("tuple[int, int]", size)


def _is_large(file: UploadedFile) -> bool:
    return _takes_long(_size_of(file), file.size)


def _takes_long(size: tuple[int, int], n_bytes: int) -> bool:
    """Whether decoding a file takes longer, or more memory, than it should while somebody waits for a page."""
    height, width = size
    return height * width > DECODE_AT_ONCE_PX or n_bytes > DECODE_AT_ONCE_BYTES


def _content_of(file: UploadedFile, *, colors: bool) -> Content:
    key = f"mask-content:{file.checksum}:{colors:d}"
    content = caches["reviews"].get(key)
    if content is None:
        mask = read_mask(path_of(file), name=file.name, colors=colors)
        values = tuple(values_present(mask))
        content = Content(is_color=mask.ndim == 3, bits=8 * mask.dtype.itemsize, values=values)
        caches["reviews"].set(key, content, CACHE_SECONDS)
    return cast("Content", content)


def _uploaded_table(upload: Upload, review: Review) -> LabelValues:
    """The table values.csv, where one was uploaded with the masks."""
    files = list(files_of(upload, UploadedFile.Role.LABEL_VALUES))
    if len(files) > 1:
        review.blockers.append(f"{' and '.join(file.name for file in files)} both say what values mean; keep one")
        return LabelValues()
    try:
        return read_label_values(path_of(files[0]), name=files[0].name) if files else LabelValues()
    except BadInput as error:
        review.blockers.append(str(error))
        return LabelValues()


def _suggest_kind(review: Review, table: LabelValues) -> tuple[MaskKind | None, str]:
    """The kind that the masks with objects can only be, and why; None where it could be more than one, or they differ."""
    if not review.has_masks:
        return MaskKind.NONE, "No masks were uploaded."
    if table.by_value or table.by_color:
        return MaskKind.LABELED, "Because a table of values was uploaded."
    found: dict[MaskKind | None, str] = {}
    for mask in [row.mask for row in review.rows if row.mask][:MASKS_LOOKED_INTO]:
        try:
            if _is_large(mask):
                return None, f"{mask.name} is too large to look into here."
            content = _content_of(mask, colors=False)
        except BadInput:
            return None, ""
        if content.values:
            kind, why = _kind_of(mask.name, content)
            found.setdefault(kind, why)
    if MaskKind.INDEXED in found:
        found.pop(None, None)  # few objects here, many there
    if len(found) < 2:
        return next(iter(found.items()), (None, ""))
    return None, f"The masks differ: {'; '.join(why.removeprefix('Because ').rstrip('.') for why in found.values())}."


def _kind_of(name: str, content: Content) -> tuple[MaskKind | None, str]:
    if content.is_color and set(content.values) <= QUICK_ANNOTATOR_COLORS:
        return MaskKind.QUICK_ANNOTATOR, f"Because {name} has QuickAnnotator's colors only."
    if content.is_color:
        return MaskKind.LABELED, f"Because {name} has {content.n_values} colors."
    if len(content.values) == 1:
        return MaskKind.BINARY, f"Because {name} holds one value besides 0."
    if len(content.values) > MAX_LABEL_CLASSES or content.bits > 16:
        return MaskKind.INDEXED, f"Because {name} holds {content.n_values} different values."
    return None, f"In {name} there are {content.n_values} different values: object numbers, or classes?"


def _check_rows(project: Project, review: Review) -> None:
    images = Image.objects.filter(project=project)
    name_by_checksum = dict(
        images.filter(checksum__in=[row.image.checksum for row in review.rows]).values_list("checksum", "name")
    )
    taken_names = set(images.filter(name__in=[row.image.name for row in review.rows]).values_list("name", flat=True))
    for row in review.rows:
        if row.image.checksum in name_by_checksum:
            known_as = name_by_checksum[row.image.checksum]
            also = "" if known_as == row.image.name else f", as {known_as}"
            row.problem = f"this image is in the project already{also}"
        elif row.image.name in taken_names:
            row.problem = "the project has another image of this name; rename the file and add it again"
        else:
            row.problem = _problem_of(row, review.mask_kind)
        if row.mask and review.mask_kind == MaskKind.NONE:
            row.notes.append("the mask is not used with this kind")


def _problem_of(row: Row, mask_kind: MaskKind | None) -> str:
    try:
        row.size = _size_of(row.image)
        if row.mask and mask_kind != MaskKind.NONE:
            check_same_size(row.size, _size_of(row.mask), image_name=row.image.name, mask_name=row.mask.name)
    except BadInput as error:
        return error.cause
    # By kinds that go by colors, what is all 0 may still hold something.
    if row.mask and row.mask.finding == Finding.NO_OBJECT and mask_kind in (MaskKind.BINARY, MaskKind.INDEXED):
        return NO_OBJECT_CAUSE
    if not row.mask and not row.points and mask_kind not in (None, MaskKind.NONE):
        return "there is no mask for this image"
    return ""


def _fill_value_rows(project: Project, review: Review, table: LabelValues, written: dict[str, str]) -> None:
    """The values of all masks that would be imported, each with the class that the user, the table or the project
    gives it."""
    masks_with: dict[tuple[bool, int], int] = {}
    for row in review.rows:
        if row.problem or row.mask is None:
            continue
        try:
            values = _values_of(row.mask, table)
        except BadInput as error:
            row.problem = error.cause
            continue
        for key in values - {(False, UNLABELED_VALUE), (True, UNLABELED_COLOR)}:  # in exports of ours: no label
            masks_with[key] = masks_with.get(key, 0) + 1
        if len(masks_with) > MAX_LABEL_CLASSES:
            review.blockers.append(
                f"the masks hold more than {MAX_LABEL_CLASSES} different values, but a project has at most so many classes; "
                "are these the numbers of objects (an indexed mask)?"
            )
            return
    found = sorted(masks_with)
    names = _known_names(LabelClass.objects.filter(project=project), table)
    for is_color, value in found:
        entry = ValueRow(value, is_color, masks_with[is_color, value], names.get((is_color, value), ""))
        class_name = " ".join(written.get(entry.key, entry.class_name).split())
        review.value_rows.append(ValueRow(value, is_color, entry.n_masks, class_name))
        fault = class_name_fault(class_name) if class_name else ""  # one that is missing is asked for at its field
        if fault and fault not in review.blockers:
            review.blockers.append(fault)


def _find_new_classes(review: Review) -> None:
    """What the values, and the points of all images that would be imported, call their classes, and the project does not have yet."""
    in_project = {class_key(name) for name in review.class_names}
    of_values = {class_key(row.class_name): row.class_name for row in review.value_rows if row.class_name}
    of_values = {key: name for key, name in of_values.items() if key not in in_project}
    known = in_project | set(of_values)
    new: dict[str, str] = {}
    for row in review.importable:
        try:
            names = _classes_of(row.points) if row.points else ()
        except BadInput as error:
            row.problem = error.cause
            continue
        for name in names:
            if class_key(name) not in known:
                new.setdefault(class_key(name), name)
    if len(known) + len(new) > MAX_LABEL_CLASSES:
        source, why = ("points", "does their column class really hold classes?") if new else ("masks", "which are one?")
        n_free = max(0, MAX_LABEL_CLASSES - len(review.class_names))
        review.blockers.append(
            f"the {source} name more classes that the project does not have than the {n_free} that still fit in; {why}"
        )
        return
    review.new_classes = [*of_values.values(), *new.values()]
    review.blockers += [fault for name in new.values() if (fault := class_name_fault(name))][:MOST_FAULTS]


def _classes_of(points: UploadedFile) -> tuple[str, ...]:
    """The class names in a table of points, the first `MAX_LABEL_CLASSES` + 1 of them."""
    names = caches["reviews"].get(f"point-classes:{points.checksum}")
    if names is None:
        names = _keep_classes(points.checksum, read_points(path_of(points), name=points.name))
    return cast("tuple[str, ...]", names)


def _keep_classes(checksum: str, points: Points) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name for name in points.class_name if name))[: MAX_LABEL_CLASSES + 1]
    caches["reviews"].set(f"point-classes:{checksum}", names, CACHE_SECONDS)
    return names


def _values_of(mask: UploadedFile, table: LabelValues) -> set[tuple[bool, int]]:
    """(whether it is a color, value) for all that a labeled mask holds; for a large one what the table states."""
    if not _is_large(mask):
        content = _content_of(mask, colors=wants_colors(MaskKind.LABELED, table))
        return {(content.is_color, value) for value in content.values}
    stated = {(False, value) for value in table.by_value} | {(True, color) for color in table.by_color}
    if not stated:
        raise BadInput(
            mask.name,
            "the mask is too large to list its values here; upload a table values.csv that says what they mean",
        )
    return stated


def _known_names(label_classes: Iterable[LabelClass], table: LabelValues) -> dict[tuple[bool, int], str]:
    names: dict[tuple[bool, int], str] = {}
    if not (table.by_value or table.by_color):
        for label_class in label_classes:
            names[False, label_class.value] = label_class.name
            names[True, int(label_class.color.lstrip("#"), 16)] = label_class.name
    names.update({(False, value): name for value, name in table.by_value.items()})
    names.update({(True, color): name for color, name in table.by_color.items()})
    return names
