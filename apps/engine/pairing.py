"""Which mask and which CSV belong to which image: by rules on the file stem that a person can check, never by
likeness.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from apps.engine.errors import BadInput
from apps.engine.formats import IMAGE_SUFFIXES

MASK_SUFFIXES = ("_mask", "-mask", ".mask", "_labels", "_instances")
CSV_SUFFIXES = ("_points", "-points", ".points")
MASK_FOLDERS = ("mask", "masks")
KNOWN_FOLDERS = (*MASK_FOLDERS, "image", "images", "csv", "points")
MAX_NAME_BYTES = 200
FORMULA_SIGNS = ("=", "+", "-", "@")  # with which a spreadsheet begins a formula


@dataclass(frozen=True)
class Pair:
    """An image with what belongs to it; names as the caller gave them, None where there is none."""

    image: str
    mask: str | None = None
    csv: str | None = None


@dataclass(frozen=True)
class Pairing:
    """pairs: every usable image, in the given order. unpaired: masks and CSVs without an image. errors: texts for the
    user.

    A file that an error names is in no pair, and never in `unpaired`.
    """

    pairs: list[Pair]
    unpaired: list[str]
    errors: list[str]


def safe_name(name: str) -> str:
    """A plain file name, NFC-normalized, that can be shown and stored. Raises BadInput where the name is anything
    else.
    """
    shown = "".join(c if c.isprintable() else "?" for c in name)[:120] or "(no name)"
    if any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in name):
        raise BadInput(shown, "the file name holds control characters")
    if "/" in name or "\\" in name or name in (".", "..") or name[1:2] == ":":
        raise BadInput(shown, "the file name holds a path; a plain name is expected")
    plain = unicodedata.normalize("NFC", name).strip()
    if not plain or plain.startswith("."):
        raise BadInput(shown, "the file name is empty or starts with a dot")
    if plain.startswith(FORMULA_SIGNS):
        raise BadInput(shown, f"the file name starts with {plain[0]}, which spreadsheets take for a formula; rename it")
    if len(plain.encode()) > MAX_NAME_BYTES:
        raise BadInput(shown, f"the file name is longer than {MAX_NAME_BYTES} bytes")
    return plain


def sort_files(names: Iterable[str]) -> tuple[list[str], list[str], list[str], list[str]]:
    """(images, masks, csvs, others) of a mixed folder or upload: a mask lies in a folder masks/ or has a mask's
    suffix.
    """
    images: list[str] = []
    masks: list[str] = []
    csvs: list[str] = []
    others: list[str] = []
    for name in names:
        *folders, last = name.replace("\\", "/").split("/")
        stem, dot, extension = last.lower().rpartition(".")
        if dot + extension == ".csv":
            csvs.append(name)
        elif dot + extension not in IMAGE_SUFFIXES:
            others.append(name)
        elif stem.endswith(MASK_SUFFIXES) or (folders and folders[-1].lower() in MASK_FOLDERS):
            masks.append(name)
        else:
            images.append(name)
    return images, masks, csvs, others


def pair(image_names: Sequence[str], mask_names: Sequence[str], csv_names: Sequence[str] = ()) -> Pairing:
    """Pair by stem: a mask has its image's stem, or that plus _mask, -mask, .mask, _labels or _instances; a CSV has it,
    or that plus _points. Folders images/, masks/, csv/ and points/ before a name are ignored. Where two files could be
    meant, none is taken and an error names both. The result does not depend on the order of masks and CSVs.
    """
    errors: list[str] = []
    images = _stems(image_names, errors)
    masks = _stems(mask_names, errors)
    csvs = _stems(csv_names, errors)

    by_stem: dict[str, list[str]] = defaultdict(list)
    for name, stem in images.items():
        by_stem[stem].append(name)
    for stem, names in by_stem.items():
        if len(names) > 1:
            errors.append(f"{_both(names)} have the same name {stem!r} but for their extension or folder; keep one")
    unique = {stem: names[0] for stem, names in by_stem.items() if len(names) == 1}

    mask_of, lost_masks = _assign(masks, by_stem, unique, MASK_SUFFIXES, "masks", errors)
    csv_of, lost_csvs = _assign(csvs, by_stem, unique, CSV_SUFFIXES, "CSV files", errors)
    pairs = [
        Pair(image, mask_of[image][0] if image in mask_of else None, csv_of[image][0] if image in csv_of else None)
        for image, stem in images.items()
        if stem in unique and len(mask_of.get(image, [])) < 2 and len(csv_of.get(image, [])) < 2
    ]
    return Pairing(pairs, sorted(lost_masks) + sorted(lost_csvs), errors)


def _stems(names: Sequence[str], errors: list[str]) -> dict[str, str]:
    """Name as given -> stem of its safe base name. Unsafe names become errors."""
    stems: dict[str, str] = {}
    for name in names:
        *folders, last = name.split("/")
        if name in stems:
            errors.append(f"{_shown(name)} was given twice")
            continue
        try:
            plain = safe_name(last if all(folder.lower() in KNOWN_FOLDERS for folder in folders) else name)
        except BadInput as error:
            errors.append(str(error))
            continue
        stems[name] = plain.rpartition(".")[0] or plain
    return stems


def _shown(name: str) -> str:
    """A name that can stand in a message, whatever it holds."""
    return "".join(c if c.isprintable() else "?" for c in name)[:120]


def _assign(
    files: dict[str, str],
    by_stem: dict[str, list[str]],
    unique: dict[str, str],
    suffixes: tuple[str, ...],
    what: str,
    errors: list[str],
) -> tuple[dict[str, list[str]], list[str]]:
    assigned: dict[str, list[str]] = defaultdict(list)
    lost: list[str] = []
    for name in sorted(files):
        stem = files[name]
        stems = [stem, *(stem.removesuffix(suffix) for suffix in suffixes if stem.endswith(suffix))]
        meant = [candidate for candidate in dict.fromkeys(stems) if candidate in by_stem]
        if not meant:
            lost.append(name)
        elif len(meant) > 1:
            of = _both([image for candidate in meant for image in by_stem[candidate]])
            errors.append(f"{name} could belong to {of}; rename one of them")
        elif meant[0] in unique:  # otherwise the two images of that stem are an error already
            assigned[unique[meant[0]]].append(name)
    for image, names in assigned.items():
        if len(names) > 1:
            errors.append(f"{image} has {len(names)} {what}: {_both(names)}; keep one")
    return dict(assigned), lost


def _both(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1]
