"""Image and mask files -> arrays. PNG, JPEG, BMP and TIFF, recognized by content, not by extension.

Every fault is a BadInput that names the file. The size is checked before anything is decoded, so a decompression bomb
costs nothing. Orientation tags (EXIF, TIFF) are ignored for images and masks alike: rows and columns are those stored
in the file, which is what the tools that make masks see. Alpha is dropped from images. 16-bit samples are scaled
linearly (65535 -> 255), never stretched.
"""

from __future__ import annotations

import io
import math
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import starmap
from operator import add
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import numpy.typing as npt
import tifffile
from PIL import BmpImagePlugin, Image, ImageFile, JpegImagePlugin

from apps.engine import png
from apps.engine.errors import BadInput

MAX_PIXELS = 400_000_000
HEADER_BYTES = 1024  # what a format is recognized by, and all of a PNG's header
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
SLIDE_SUFFIXES = (".svs", ".ndpi", ".scn", ".bif")  # whole slides that are TIFFs, too
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MOST_BITS = 64  # of a TIFF's pixel: four channels of 16, or a mask's numbers as float64
LOOKED_UP_TOGETHER = 1 << 20  # samples
LARGE_TILE_PX = 2048 * 2048  # as they are used for slides; small images may have them, too
MOST_PARTS = 1 << 20  # strips or tiles of a TIFF
# Compressions of a TIFF whose decoders give no more bytes than they are asked for: none, CCITT, LZW, Deflate, PackBits, LZMA, Zstandard.
BOUNDED_IN_TIFF = (1, 2, 3, 4, 5, 8, 32946, 32773, 34925, 34926, 50000)
# Those that put whole images into it: JPEG; JPEG 2000 as Aperio writes it and as others do.
JPEG_IN_TIFF = 7
JPEG_2000_IN_TIFF = (33003, 33004, 33005, 34712)
# Markers of a JPEG: what a frame starts with; what stands alone; what states its length: frames, tables, what programs add, comments;
# and the start of a scan.
JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
JPEG_ALONE = {*range(0xD0, 0xDA)}
JPEG_WITH_LENGTH = {*JPEG_FRAMES, 0xC4, 0xCC, 0xDB, 0xDC, 0xDD, *range(0xE0, 0xF0), 0xFE}
JPEG_SCAN = 0xDA
# Before its pixels a JPEG holds what cameras and scanners say of it. Readers join what is in pieces, each time all of it anew.
MOST_JPEG_SEGMENTS, MOST_JPEG_HEADER_BYTES = 1000, 16 << 20
MOST_JPEG_SCANS = 100  # progressive ones have some ten; each goes over the whole image, however little it says
KNOWN_OTHERS = (
    (b"GIF8", "GIF"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "ZIP"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\x89HDF", "HDF5"),
    (b"\x93NUMPY", "NumPy"),
)

Source = str | os.PathLike[str] | bytes


@dataclass(frozen=True)
class Raw:
    """Samples as the file states them.

    samples: (h, w), (h, w, 2) gray + alpha, (h, w, 3) or (h, w, 4), any dtype; bool for 1 bit.
    maximum: the sample value that means white. palette: (k, 3) uint8 where samples are palette indices.
    """

    samples: npt.NDArray[np.generic]
    maximum: int
    palette: npt.NDArray[np.uint8] | None = None


def read_image(source: Source, *, name: str | None = None, max_pixels: int = MAX_PIXELS) -> npt.NDArray[np.uint8]:
    """The image as RGB, (h, w, 3) uint8, C-contiguous. source: a path, or the file's bytes. Raises BadInput."""
    data, shown = _load(source, name)
    raw = _decode(data, shown, max_pixels)
    samples = raw.samples
    if raw.palette is not None:
        return _apply_palette(samples, raw.palette, shown)
    if samples.ndim == 3 and samples.shape[2] in (2, 4):
        samples = samples[:, :, :-1] if samples.shape[2] == 4 else samples[:, :, 0]
    pixels = _to_8_bits(samples, raw.maximum, shown)
    if pixels.ndim == 2:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), dtype=np.uint8)
    return np.ascontiguousarray(pixels)


def read_mask(
    source: Source, *, name: str | None = None, colors: bool = False, max_pixels: int = MAX_PIXELS
) -> npt.NDArray[np.generic]:
    """The mask's values: (h, w) uint8, uint16 or uint32, or (h, w, 3) uint8 where the file holds colors.

    A palette gives its indices, or its colors with colors=True. 1 bit gives 0 and 1. Three equal channels give one.
    Fully transparent pixels are background (0). Float TIFF is accepted where every value is a whole number.
    source: a path, or the file's bytes. Raises BadInput.
    """
    data, shown = _load(source, name)
    raw = _decode(data, shown, max_pixels)
    samples = raw.samples
    if raw.palette is not None:
        return _apply_palette(samples, raw.palette, shown) if colors else _whole_numbers(samples, shown)
    if samples.ndim == 3:
        samples = _without_alpha(samples)
    if samples.ndim == 3:
        if np.array_equal(samples[:, :, 0], samples[:, :, 1]) and np.array_equal(samples[:, :, 0], samples[:, :, 2]):
            samples = samples[:, :, 0]
        elif samples.dtype != np.uint8:
            raise BadInput(shown, "a color mask must have 8 bits per channel; save it with one channel or as 8-bit RGB")
        else:
            return np.ascontiguousarray(samples)
    return _whole_numbers(samples, shown)


def read_size(source: Source, *, name: str | None = None, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(height, width) from the header alone. Raises BadInput for what is no supported image or too large."""
    shown = _shown(source, name)
    with _opened(source, shown) as file:
        start = file.read(HEADER_BYTES)
        if not start:
            raise BadInput(shown, "the file is empty (0 bytes)")
        kind = _kind_of(start, shown)
        file.seek(0)
        with _readable_errors(kind, shown):
            if kind == "PNG":
                header = png.read_header(start, shown)
                height, width = header.height, header.width
            elif kind == "TIFF":
                with _open_tiff(file) as tif:
                    height, width = _tiff_size(tif, shown)
            else:
                width, height = _open_with_pillow(file, kind, shown).size
    _check_size(height, width, shown, max_pixels)
    return height, width


def _shown(source: Source, name: str | None) -> str:
    return name or ("file" if isinstance(source, bytes) else Path(source).name)


@contextmanager
def _opened(source: Source, name: str) -> Iterator[BinaryIO]:
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file:
            yield file
    except OSError as error:
        raise BadInput(name, f"the file cannot be read ({error.strerror or type(error).__name__})") from error


def _load(source: Source, name: str | None) -> tuple[bytes, str]:
    shown = _shown(source, name)
    with _opened(source, shown) as file:
        data = file.read()
    if not data:
        raise BadInput(shown, "the file is empty (0 bytes)")
    return data, shown


def _kind_of(data: bytes, name: str) -> str:
    if data.startswith(png.SIGNATURE):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(TIFF_SIGNATURES):
        return "TIFF"
    if data.startswith(b"BM") and len(data) >= 26:
        return "BMP"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        raise BadInput(name, "this is a WebP file; PNG, JPEG, BMP and TIFF are supported")
    for signature, other in KNOWN_OTHERS:
        if data.startswith(signature):
            raise BadInput(name, f"this is a {other} file; PNG, JPEG, BMP and TIFF are supported")
    if _looks_like_text(data[:1024]):
        raise BadInput(name, "this is not an image but looks like text; PNG, JPEG, BMP and TIFF are supported")
    raise BadInput(name, "this is not an image in a supported format (PNG, JPEG, BMP, TIFF), or its header is damaged")


def _looks_like_text(start: bytes) -> bool:
    text = start.decode("utf-8", errors="replace").replace("\ufffd", "", 1)  # a character may be cut at the end
    return all(c.isprintable() or c in "\t\r\n\f" for c in text) and "\ufffd" not in text


def _check_size(height: int, width: int, name: str, max_pixels: int) -> None:
    if height < 1 or width < 1:
        raise BadInput(name, f"the image has no pixels ({height} x {width})")
    if height * width > max_pixels:
        raise BadInput(
            name, f"{height} rows x {width} columns are {height * width:,} pixels; at most {max_pixels:,} are accepted"
        )


@contextmanager
def _readable_errors(kind: str, name: str) -> Iterator[None]:
    """Whatever a decoder raises on a damaged file becomes a BadInput; decoders raise nearly every type there is."""
    try:
        yield
    except BadInput:
        raise
    except MemoryError as error:
        raise BadInput(name, "there is not enough memory to decode this image") from error
    except Exception as error:
        text = str(error) or type(error).__name__
        cause = f"the file is truncated ({text})" if "truncated" in text.lower() else f"the {kind} is damaged ({text})"
        raise BadInput(name, cause) from error


def _decode(data: bytes, name: str, max_pixels: int) -> Raw:
    kind = _kind_of(data, name)
    with _readable_errors(kind, name):
        if kind == "PNG":
            return _decode_png(data, name, max_pixels)
        if kind == "TIFF":
            return _decode_tiff(data, name, max_pixels)
        return _decode_with_pillow(data, kind, name, max_pixels)


def _decode_png(data: bytes, name: str, max_pixels: int) -> Raw:
    header = png.read_header(data, name)
    _check_size(header.height, header.width, name, max_pixels)
    decoded = png.decode(data, name)
    maximum = 65535 if decoded.samples.dtype == np.uint16 else 1 if decoded.samples.dtype == np.bool_ else 255
    return Raw(decoded.samples, maximum, decoded.palette if header.color_type == png.PALETTE else None)


def _open_with_pillow(file: BinaryIO, kind: str, name: str) -> ImageFile.ImageFile:
    # The plugin's class, not Image.open: that one refuses or warns about sizes by a limit of its own.
    if kind == "BMP":
        return BmpImagePlugin.BmpImageFile(file)
    _jpeg_header(file, name)
    file.seek(0)
    return JpegImagePlugin.JpegImageFile(file)


def _jpeg_header(file: BinaryIO, name: str) -> tuple[tuple[int, int] | None, int]:
    """What a JPEG says before its pixels: the height and width of its frame, if it has one, and where its first scan begins, or the file
    ends. Raises BadInput for one that says too much, and for markers that not every reader takes for the same: what one passes over, another
    would read."""
    size: tuple[int, int] | None = None
    at = 2
    for _ in range(MOST_JPEG_SEGMENTS):
        file.seek(at)
        start = file.read(9)  # 0xff, marker, length; of a frame also precision, height, width
        if at > MOST_JPEG_HEADER_BYTES:
            break
        if len(start) < 4 or start.startswith(bytes((0xFF, JPEG_SCAN))):
            return size, at
        if start[0] != 0xFF or start[1] == 0xFF:  # what readers pass over, and what fills
            at += 1
        elif start[1] in JPEG_ALONE:
            at += 2
        elif start[1] in JPEG_WITH_LENGTH:
            if start[1] in JPEG_FRAMES and len(start) == 9:
                height, width = struct.unpack_from(">HH", start, 5)
                size = height, width
            at += 2 + int.from_bytes(start[2:4], "big")
        else:
            raise BadInput(name, f"the JPEG is damaged (a marker {start[1]:#04x} before its pixels)")
    raise BadInput(name, "the JPEG says too much before its pixels; save it without what cameras or programs added")


def _check_scans(data: bytes, begin: int, name: str) -> None:
    """`begin`: where the first scan of a JPEG begins. Within scans the marker's bytes mean nothing else."""
    if data.count(bytes((0xFF, JPEG_SCAN)), begin) > MOST_JPEG_SCANS:
        raise BadInput(name, f"the JPEG has more than {MOST_JPEG_SCANS} scans; save it without progressive display")


def _decode_with_pillow(data: bytes, kind: str, name: str, max_pixels: int) -> Raw:
    image: Image.Image = _open_with_pillow(io.BytesIO(data), kind, name)
    _check_size(image.height, image.width, name, max_pixels)
    if kind == "JPEG":
        _check_scans(data, _jpeg_header(io.BytesIO(data), name)[1], name)
    image.load()
    if image.mode in ("CMYK", "RGBX", "YCbCr"):
        image = image.convert("RGB")
    if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
        raise BadInput(name, f"{kind} files with pixels of type {image.mode} are not supported")
    samples = np.array(image)
    if image.mode == "P":
        palette = np.asarray(image.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
        return Raw(samples, 255, palette)
    return Raw(samples, 1 if image.mode == "1" else 255)


def _open_tiff(file: BinaryIO) -> tifffile.TiffFile:
    # Of these kinds tifffile would follow every page at once; here they are files like others.
    return tifffile.TiffFile(file, is_lsm=False, is_ndpi=False, is_scanimage=False)


def _tiff_size(tif: tifffile.TiffFile, name: str) -> tuple[int, int]:
    # One page after the other is asked for: pages that name each other as the next can be counted without end.
    if not _has_page(tif, 0):
        raise BadInput(name, "the file is truncated or damaged: the TIFF holds no image")
    is_stack = tif.is_imagej and int((tif.imagej_metadata or {}).get("images", 1)) > 1
    if is_stack or _has_page(tif, 1):
        if Path(name).suffix.lower() in SLIDE_SUFFIXES or tif.is_svs:
            raise BadInput(
                name, "whole slides are not read; export their regions of interest, each as an image of its own"
            )
        raise BadInput(name, "the TIFF has several pages; save the one that is meant as a single-page file")
    page = tif.pages.first
    if page.imagedepth != 1:
        raise BadInput(name, "the TIFF is a volume; save one plane as a single-page file")
    return int(page.imagelength), int(page.imagewidth)


def _has_page(tif: tifffile.TiffFile, index: int) -> bool:
    try:
        return tif.pages[index] is not None
    except IndexError:
        return False


def _decode_tiff(data: bytes, name: str, max_pixels: int) -> Raw:
    with _open_tiff(io.BytesIO(data)) as tif:
        height, width = _tiff_size(tif, name)
        _check_size(height, width, name, max_pixels)
        page = tif.pages.first
        if page.samplesperpixel > 4:
            raise BadInput(name, f"the TIFF has {page.samplesperpixel} channels; gray, RGB and RGBA are supported")
        n_bits = page.samplesperpixel * int(page.bitspersample)
        if n_bits > MOST_BITS:
            raise BadInput(name, f"the TIFF has {n_bits} bits a pixel; at most {MOST_BITS} are supported")
        _check_parts(page, data, (height, width), name, max_pixels)
        samples = np.asarray(page.asarray())
        if page.planarconfig == 2 and page.samplesperpixel > 1:
            samples = np.moveaxis(samples, 0, -1)
        if samples.ndim == 3 and samples.shape[2] == 1:
            samples = samples[:, :, 0]
        if samples.shape[:2] != (height, width) or samples.ndim > 3:
            raise BadInput(name, f"the TIFF's layout is not supported (shape {samples.shape})")
        photometric = page.photometric.name if hasattr(page.photometric, "name") else str(page.photometric)
        bits = int(page.bitspersample)
        maximum = 1 if samples.dtype == np.bool_ else (1 << min(bits, 32)) - 1
        if photometric == "PALETTE":
            colormap = np.asarray(page.colormap)  # (3, k) uint16
            # The high byte: some writers store a color v as 256 v, some as 257 v.
            return Raw(samples, maximum, (colormap.T >> 8).astype(np.uint8))
        if photometric == "MINISWHITE":
            samples = ~samples if samples.dtype == np.bool_ else (maximum - samples).astype(samples.dtype)
        elif photometric == "SEPARATED":
            if samples.dtype != np.uint8 or samples.ndim != 3 or samples.shape[2] != 4:
                raise BadInput(name, "CMYK TIFF is supported with 8 bits and 4 channels only")
            samples = np.array(Image.fromarray(samples, "CMYK").convert("RGB"))
        elif photometric == "YCBCR" and page.compression not in tifffile.TIFF.IMAGE_COMPRESSIONS:
            # Whatever is compressed as an image comes as RGB; this is as it was stored.
            if samples.dtype != np.uint8 or samples.ndim != 3 or samples.shape[2] != 3:
                raise BadInput(name, "YCbCr TIFF is supported with 8 bits and 3 channels only")
            samples = np.array(Image.fromarray(samples, "YCbCr").convert("RGB"))
        elif photometric not in ("MINISBLACK", "RGB", "YCBCR"):
            raise BadInput(name, f"TIFF files with colors of type {photometric} are not supported")
        if samples.ndim == 3 and samples.shape[2] not in (2, 3, 4):
            raise BadInput(name, f"the TIFF has {samples.shape[2]} channels; gray, RGB and RGBA are supported")
        if samples.dtype == np.uint8 and bits < 8:
            samples, maximum = _scale(samples, maximum), 255
        return Raw(samples, maximum)


def _check_parts(page: tifffile.TiffPage, data: bytes, size: tuple[int, int], name: str, max_pixels: int) -> None:
    """Raises BadInput unless the strips or tiles of a TIFF lie in the file, each in a place of its own, and hold not much more than the
    image. A part is decoded whole, however little of it lies in the image."""
    offsets, counts = page.dataoffsets, page.databytecounts
    if not 0 < len(offsets) == len(counts) <= min(MOST_PARTS, math.prod(page.chunked)):
        raise BadInput(name, f"the TIFF is damaged: it has {len(offsets):,} strips or tiles")
    # tifffile fills what is missing with zeros, which would be background nobody drew.
    if max(starmap(add, zip(offsets, counts, strict=True))) > len(data) or min(counts) == 0:
        raise BadInput(name, "the file is truncated: the TIFF's pixels reach beyond its end")
    if sum(counts) > 2 * len(data):
        raise BadInput(name, "the TIFF is damaged: its strips or tiles overlap")
    n_pixels = size[0] * size[1]
    most_of_a_part = min(max_pixels, max(LARGE_TILE_PX, 4 * n_pixels))
    if page.is_tiled and page.tilelength * page.tilewidth > most_of_a_part:
        raise BadInput(name, f"the TIFF has tiles of {page.tilelength} x {page.tilewidth} pixels")
    compression = int(page.compression)
    if compression == JPEG_IN_TIFF or compression in JPEG_2000_IN_TIFF:
        in_parts = 0
        for start, n in zip(offsets, counts, strict=True):
            height, width = _embedded_size(data[start : start + n], compression, name)
            _check_size(height, width, name, most_of_a_part)
            in_parts += height * width
    elif compression in BOUNDED_IN_TIFF:
        in_parts = len(offsets) * page.tilelength * page.tilewidth if page.is_tiled else n_pixels
    else:
        raise BadInput(
            name, f"TIFF files with compression {compression} are not supported; save it as LZW, Deflate or JPEG"
        )
    if in_parts > 4 * max(LARGE_TILE_PX, n_pixels * page.samplesperpixel):
        raise BadInput(name, f"the TIFF's strips or tiles hold {in_parts:,} pixels, the image {n_pixels:,}")


def _embedded_size(image: bytes, compression: int, name: str) -> tuple[int, int]:
    """Height and width that an image inside a TIFF says it has: its decoder goes by that, not by the TIFF."""
    if compression == JPEG_IN_TIFF:
        size, begin = _jpeg_header(io.BytesIO(image), name)
        _check_scans(image, begin, name)
        if size:
            return size
    else:
        # Wherever a codestream begins, so that no other one can stand before the one that is decoded.
        begins = [found.end() for found in re.finditer(rb"\xff\x4f\xff\x51", image) if found.end() + 12 <= len(image)]
        sizes = [struct.unpack_from(">II", image, begin + 4)[::-1] for begin in begins]
        if sizes:
            return max(height for height, _ in sizes), max(width for _, width in sizes)
    raise BadInput(name, "the file is damaged: a compressed part of the TIFF does not say how large it is")


def _scale(samples: npt.NDArray[np.generic], maximum: int) -> npt.NDArray[np.uint8]:
    """0..maximum -> 0..255, rounded to nearest. By a table: 16-bit images are as quick as 8-bit ones."""
    steps = np.arange(maximum + 1, dtype=np.uint64)
    table = ((steps * 255 + maximum // 2) // maximum).astype(np.uint8)
    return _looked_up(table, samples)


def _to_8_bits(samples: npt.NDArray[np.generic], maximum: int, name: str) -> npt.NDArray[np.uint8]:
    if samples.dtype == np.bool_:
        return np.where(samples, np.uint8(255), np.uint8(0))
    if samples.dtype == np.uint8 and maximum == 255:
        return np.ascontiguousarray(samples, dtype=np.uint8)
    if samples.dtype == np.uint16:
        return _scale(samples, maximum)
    raise BadInput(
        name, f"images of type {samples.dtype} are not supported; save the image with 8 or 16 bits per channel"
    )


def _apply_palette(
    samples: npt.NDArray[np.generic], palette: npt.NDArray[np.uint8], name: str
) -> npt.NDArray[np.uint8]:
    largest = int(samples.max(initial=0))
    if samples.size and largest >= len(palette):
        raise BadInput(name, f"a pixel has palette index {largest}, but the palette has {len(palette)} colors")
    return _looked_up(palette, samples)


def _looked_up(table: npt.NDArray[np.uint8], samples: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """table[samples], some rows at a time: numpy makes indices of 8 bytes of all it is given, which of a large image is gigabytes."""
    found = np.empty(samples.shape + table.shape[1:], np.uint8)
    together = max(1, LOOKED_UP_TOGETHER // max(1, samples[:1].size))
    for first in range(0, len(samples), together):
        rows = samples[first : first + together]
        found[first : first + together] = np.take(table, rows.astype(np.intp), axis=0, mode="clip")
    return found


def _without_alpha(samples: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    if samples.shape[2] not in (2, 4):
        return samples
    visible = samples[:, :, -1] != 0
    kept = np.where(visible[:, :, None], samples[:, :, :-1], samples.dtype.type(0))
    return kept[:, :, 0] if kept.shape[2] == 1 else kept


def _whole_numbers(samples: npt.NDArray[np.generic], name: str) -> npt.NDArray[np.generic]:
    """The smallest of uint8, uint16 and uint32 that holds a mask's values; unsigned types up to 32 bits stay as they
    are.
    """
    if samples.dtype == np.bool_:
        return np.ascontiguousarray(samples).view(np.uint8)
    if samples.dtype in (np.uint8, np.uint16, np.uint32):
        return np.ascontiguousarray(samples)
    numbers = np.asarray(samples)
    if numbers.dtype.kind == "f":
        if not np.isfinite(numbers).all():
            raise BadInput(name, "the mask holds values that are not numbers (NaN or infinite)")
        if not np.array_equal(numbers, np.rint(numbers)):
            raise BadInput(name, "the mask holds fractions; mask values must be whole numbers")
    elif numbers.dtype.kind not in "iu":
        raise BadInput(name, f"masks of type {samples.dtype} are not supported")
    low, high = int(numbers.min()), int(numbers.max())  # Python's own: a float32 cannot tell 2**32 - 1 from 2**32
    if low < 0:
        raise BadInput(name, f"the mask holds negative values (lowest {low})")
    if high > 2**32 - 1:
        raise BadInput(name, f"the mask holds values above 4,294,967,295 (highest {high})")
    return numbers.astype(np.uint8 if high < 256 else np.uint16 if high < 65536 else np.uint32)
