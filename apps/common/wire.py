"""The binary buffers between server and browser; frontend/src/api mirrors them, and docs/api.md has their table. Everything is little-endian.

Planes rather than records, because equal kinds of bytes side by side compress: a million points with their predictions
take under five bytes each. x = x0 + width * (256 * high + low) / 65535; that is 30 times finer than a screen.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONFIDENCE_STEP = 16  # of 255: the screen tells no finer steps apart, and the bytes are half of what 256 steps take
_COARSE = np.minimum(np.rint(np.arange(256) / CONFIDENCE_STEP) * CONFIDENCE_STEP, 255).astype(np.uint8)


def encode_plot(coordinates: NDArray[np.float32]) -> bytes:
    """A PSE1 buffer from plot coordinates (n, 2)."""
    n = len(coordinates)
    low = coordinates.min(axis=0) if n else np.zeros(2, np.float32)
    extent = (coordinates.max(axis=0) - low) if n else np.ones(2, np.float32)
    extent = np.where(extent > 0, extent, 1).astype(np.float32)
    steps = np.rint((coordinates - low) / extent * 65535).astype("<u2")
    header = struct.pack("<4sI4f", b"PSE1", n, low[0], low[1], extent[0], extent[1])
    x, y = steps[:, 0], steps[:, 1]
    planes = [(x >> 8), (x & 255), (y >> 8), (y & 255)]
    return header + b"".join(np.ascontiguousarray(plane, np.uint8).tobytes() for plane in planes)


def encode_predictions(
    classes: NDArray[np.uint8], confidence: NDArray[np.uint8], *, revision: int, embedding: int
) -> bytes:
    """A PSP1 buffer from class values (n,), confidences (n,) in 1/255, their revision and their embedding's number."""
    header = struct.pack("<4sIII", b"PSP1", len(classes), revision, embedding)
    return header + classes.tobytes() + _COARSE[confidence].tobytes()


def encode_labels(values: NDArray[np.uint8], unseen: NDArray[np.bool_], revision: int) -> bytes:
    """A PSL2 buffer from class values (n,) and whether each was accepted unseen (n,)."""
    return struct.pack("<4sII", b"PSL2", len(values), revision) + values.tobytes() + _bits(unseen)


def encode_changes(
    ordinals: NDArray[Any], values: NDArray[np.uint8], unseen: NDArray[np.bool_], revision: int
) -> bytes:
    """A PSC2 buffer from ordinals (k,), class values (k,) and whether each was accepted unseen (k,)."""
    header = struct.pack("<4sII", b"PSC2", len(ordinals), revision)
    return header + ordinals.astype("<u4").tobytes() + values.tobytes() + _bits(unseen)


def _bits(flags: NDArray[np.bool_]) -> bytes:
    return np.packbits(flags, bitorder="little").tobytes()


def encode_similar(ordinals: NDArray[Any], similarities: NDArray[Any], embedding: int) -> bytes:
    """A PSS1 buffer from ordinals (k,) and cosine similarities (k,) by the vectors of the embedding of this number."""
    header = struct.pack("<4sII", b"PSS1", len(ordinals), embedding)
    return header + ordinals.astype("<u4").tobytes() + similarities.astype("<f4").tobytes()


def encode_images(image_ids: NDArray[Any]) -> bytes:
    """A PSI1 buffer from image ids (n,)."""
    return struct.pack("<4sI", b"PSI1", len(image_ids)) + image_ids.astype("<u4").tobytes()


def encode_groups(groups: NDArray[np.int16], embedding: int) -> bytes:
    """A PSG1 buffer from the groups of an embedding's objects (n,), -1 for none and at most 254: a byte each, 0 for none."""
    return struct.pack("<4sII", b"PSG1", len(groups), embedding) + (groups + 1).astype(np.uint8).tobytes()


def encode_image_objects(
    first_ordinal: int,
    boxes: NDArray[Any],
    outlines: Sequence[bytes],
    labels: NDArray[np.uint8],
    classes: NDArray[np.uint8],
    confidence: NDArray[np.uint8],
) -> bytes:
    """A PSO1 buffer from the boxes' tops and lefts (n, 2), the outlines as they are stored, labels (n,), predicted classes (n,) and
    confidences (n,) in 1/255."""
    header = struct.pack("<4sII", b"PSO1", len(labels), first_ordinal)
    corners = np.array([len(outline) // 4 for outline in outlines])
    numbers = b"".join(column.astype("<u4").tobytes() for column in (boxes[:, 0], boxes[:, 1], corners))
    return b"".join([header, numbers, *outlines, labels.tobytes(), classes.tobytes(), confidence.tobytes()])


def gzipped(content: bytes, *, level: int = 6) -> bytes:
    """For Content-Encoding: gzip; the same content gives the same bytes."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, 31)
    return compressor.compress(content) + compressor.flush()
