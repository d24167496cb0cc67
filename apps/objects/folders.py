"""Images and masks in a folder of the server, as an import's sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from apps.engine.errors import BadInput
from apps.engine.pairing import pair, safe_name, sort_files
from apps.objects.pipelines import ImageSource, SourceFile

SUBFOLDERS = ("images", "masks", "points")
NOT_POINTS = frozenset(
    {"classes.csv", "objects.csv", "images.csv", "legend.csv", "values.csv"}
)  # tables about the whole folder


@dataclass(frozen=True)
class FolderContent:
    """What can be imported from a folder, and what was found there that can not."""

    sources: list[ImageSource]
    unpaired: list[str]
    ignored: list[str]
    errors: list[str]


def read_folder(folder: Path, *, roots: Sequence[Path] | None = None) -> FolderContent:
    """Pair the files of a folder: images/ and masks/ (and points/) with equal names, or one folder with suffixes.

    Links that lead out of the folder are refused. Raises BadInput for a folder that is not there, holds no image, or
    lies outside `roots` (settings.IMPORT_ROOTS), where there are any.
    """
    roots = settings.IMPORT_ROOTS if roots is None else roots
    folder = folder.resolve()
    if not folder.is_dir():
        raise BadInput(str(folder), "there is no such folder")
    if roots and not any(folder.is_relative_to(root) for root in roots):
        raise BadInput(str(folder), "lies outside the folders that PATCHSORTER_IMPORT_ROOTS allows")
    nested = (folder / "images").is_dir()
    listed = [path for name in SUBFOLDERS for path in (folder / name).glob("*")] if nested else list(folder.glob("*"))
    paths = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(listed)
        if path.is_file() and not path.name.startswith(".") and path.resolve().is_relative_to(folder)
    }
    for path in paths.values():
        safe_name(path.name)  # the rules of an upload hold for a folder too
    images, masks, points, others = sort_files(paths)
    pairing = pair(images, masks, [name for name in points if Path(name).name not in NOT_POINTS])
    if not images:
        kinds = "PNG, JPEG, BMP or TIFF"
        reason = f"there is no image ({kinds}), nor a folder images/ with some"
        raise BadInput(str(folder), f"its folder images/ holds no image ({kinds})" if nested else reason)

    def source(name: str | None) -> SourceFile | None:
        return SourceFile(paths[name], paths[name].name) if name else None

    sources = [
        ImageSource(SourceFile(paths[item.image], paths[item.image].name), source(item.mask), source(item.csv))
        for item in pairing.pairs
    ]
    return FolderContent(sources, pairing.unpaired, others, pairing.errors)
