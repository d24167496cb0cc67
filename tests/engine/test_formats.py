"""Files in, arrays out: a supported format has the pixels another reader sees, a bad file says what is wrong."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from apps.engine.errors import BadInput
from apps.engine.formats import read_image, read_mask, read_size

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (37, 53, 3), dtype=np.uint8)
GRAY = RNG.integers(0, 256, (37, 53), dtype=np.uint8)
RGB16 = RNG.integers(0, 65536, (37, 53, 3), dtype=np.uint16)
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(array: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, metadata=None, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def filtered(rows: np.ndarray, pixel_bytes: int, kinds: list[int]) -> bytes:
    """Rows of bytes with the PNG filters `kinds` in turn, by the definitions in the standard."""
    out = b""
    above = np.zeros(rows.shape[1], np.int64)
    for i, row in enumerate(rows.astype(np.int64)):
        left = np.concatenate([np.zeros(pixel_bytes, np.int64), row[:-pixel_bytes]]) if len(row) else row
        corner = np.concatenate([np.zeros(pixel_bytes, np.int64), above[:-pixel_bytes]]) if len(row) else row
        kind = kinds[i % len(kinds)]
        a, b, c = abs(above - corner), abs(left - corner), abs(left + above - 2 * corner)
        paeth = np.where((a <= b) & (a <= c), left, np.where(b <= c, above, corner))
        predicted = [0 * row, left, above, (left + above) // 2, paeth][kind]
        out += bytes([kind]) + ((row - predicted) % 256).astype(np.uint8).tobytes()
        above = row
    return out


def hand_made_png(samples: np.ndarray, color_type: int, bits: int, interlaced: bool, kinds: list[int]) -> bytes:
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    raw = b""
    for row, column, row_step, column_step in ADAM7 if interlaced else ((0, 0, 1, 1),):
        part = samples[row::row_step, column::column_step]
        if part.size == 0:
            continue
        if bits == 16:
            rows = part.astype(">u2").reshape(len(part), -1).view(np.uint8)
        elif bits == 8:
            rows = part.astype(np.uint8).reshape(len(part), -1)
        else:
            digits = (part[:, :, None] >> np.arange(bits - 1, -1, -1)) & 1
            rows = np.packbits(digits.reshape(len(part), -1).astype(np.uint8), axis=1)
        raw += filtered(rows, max(1, channels * bits // 8), kinds)
    header = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], bits, color_type, 0, 0, int(interlaced))
    palette = (
        chunk(b"PLTE", np.arange(768, dtype=np.uint8).tobytes()[: 3 * 2 ** min(bits, 8)]) if color_type == 3 else b""
    )
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + palette
        + chunk(b"IDAT", zlib.compress(raw))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(
    ("color_type", "bits"),
    [
        (0, 1),
        (0, 2),
        (0, 4),
        (0, 8),
        (0, 16),
        (2, 8),
        (2, 16),
        (3, 1),
        (3, 2),
        (3, 4),
        (3, 8),
        (4, 8),
        (4, 16),
        (6, 8),
        (6, 16),
    ],
)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (19, 23)])
def test_every_png_layout_and_filter_gives_the_samples_that_were_written(color_type, bits, interlaced, shape):
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color_type]
    samples = RNG.integers(0, 2**bits, (*shape, channels) if channels > 1 else shape, dtype=np.uint16)
    data = hand_made_png(samples, color_type, bits, interlaced, [4, 1, 0, 3, 2])
    image = read_image(data, name="a.png")
    assert image.shape == (*shape, 3)
    assert image.dtype == np.uint8
    if bits <= 8:
        np.testing.assert_array_equal(image, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    else:
        kept = samples if channels == 1 else samples[..., : 1 if channels == 2 else 3]
        expected = np.rint(kept / 257).astype(np.uint8)
        np.testing.assert_array_equal(image, np.broadcast_to(expected.reshape(*shape, -1), image.shape))
    if color_type in (0, 3):
        scale = {2: 85, 4: 17}.get(bits, 1) if color_type == 0 else 1
        np.testing.assert_array_equal(read_mask(data, name="a.png"), samples * scale)
    assert read_size(data) == shape


IMAGES = {
    "rgb.png": saved(Image.fromarray(RGB), "PNG"),
    "rgba.png": saved(Image.fromarray(np.dstack([RGB, GRAY])), "PNG"),
    "gray.png": saved(Image.fromarray(GRAY), "PNG"),
    "palette.png": saved(Image.fromarray(RGB).quantize(17), "PNG"),
    "bit.png": saved(Image.fromarray(GRAY > 99), "PNG"),
    "rgb.jpg": saved(Image.fromarray(RGB), "JPEG", quality=90),
    "progressive.jpg": saved(Image.fromarray(RGB), "JPEG", quality=90, progressive=True),
    "gray.jpg": saved(Image.fromarray(GRAY), "JPEG", quality=90),
    "cmyk.jpg": saved(Image.fromarray(RGB).convert("CMYK"), "JPEG", quality=95),
    "rgb.bmp": saved(Image.fromarray(RGB), "BMP"),
    "gray.bmp": saved(Image.fromarray(GRAY), "BMP"),
    "palette.bmp": saved(Image.fromarray(RGB).quantize(17), "BMP"),
    "bit.bmp": saved(Image.fromarray(GRAY > 99), "BMP"),
    "rgb.tif": saved(Image.fromarray(RGB), "TIFF"),
    "rgba.tif": saved(Image.fromarray(np.dstack([RGB, GRAY])), "TIFF"),
    "lzw.tif": saved(Image.fromarray(RGB), "TIFF", compression="tiff_lzw"),
    "deflate.tif": saved(Image.fromarray(RGB), "TIFF", compression="tiff_adobe_deflate"),
    "palette.tif": saved(Image.fromarray(RGB).quantize(17), "TIFF"),
    "bit.tif": saved(Image.fromarray(GRAY > 99), "TIFF", compression="group4"),
    "gray.tif": saved(Image.fromarray(GRAY), "TIFF"),
    "cmyk.tif": saved(Image.fromarray(RGB).convert("CMYK"), "TIFF"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_has_the_pixels_that_pillow_reads(name):
    expected = np.asarray(Image.open(io.BytesIO(IMAGES[name])).convert("RGB"))
    image = read_image(IMAGES[name], name=name)
    np.testing.assert_array_equal(image, expected)
    assert image.flags.c_contiguous
    assert read_size(IMAGES[name], name=name) == (37, 53)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_tiff_tiles_planes_big_endian_and_bigtiff(planar):
    shown = np.moveaxis(RGB, -1, 0) if planar == "separate" else RGB
    for options in (
        {"tile": (16, 16)},
        {"byteorder": ">"},
        {"bigtiff": True},
        {"predictor": True, "compression": "zlib"},
    ):
        data = tiff(shown, photometric="rgb", planarconfig=planar, **options)
        np.testing.assert_array_equal(read_image(data, name="a.tif"), RGB)


def test_white_is_zero_tiff_is_turned_round():
    np.testing.assert_array_equal(read_image(tiff(255 - GRAY, photometric="miniswhite"))[..., 0], GRAY)


def test_sixteen_bits_are_scaled_and_not_cut():
    expected = np.rint(RGB16 / 257).astype(np.uint8)
    done, png = cv2.imencode(".png", RGB16[:, :, ::-1])
    assert done
    np.testing.assert_array_equal(read_image(png.tobytes(), name="a.png"), expected)
    np.testing.assert_array_equal(read_image(tiff(RGB16, photometric="rgb"), name="a.tif"), expected)
    extremes = np.array([[0, 128, 129, 65535]], np.uint16)
    assert read_image(imagecodecs.png_encode(extremes))[0, :, 0].tolist() == [0, 0, 1, 255]


def test_orientation_tags_are_ignored_for_images_and_masks_alike():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(Image.fromarray(RGB), "JPEG", quality=90, exif=exif)
    assert read_image(data).shape == (37, 53, 3)
    assert read_size(data) == (37, 53)
    assert read_mask(saved(Image.fromarray(GRAY), "TIFF", tiffinfo={274: 6})).shape == (37, 53)


def test_the_extension_does_not_matter_where_the_content_is_an_image(tmp_path: Path):
    path = tmp_path / "really_a_jpeg.png"
    path.write_bytes(IMAGES["rgb.jpg"])
    assert read_image(path).shape == (37, 53, 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.int32, np.float32, np.float64, np.int64])
def test_a_mask_keeps_its_numbers_whatever_their_type(dtype):
    top = {np.uint8: 255, np.uint16: 65535, np.float32: 2**24, np.int32: 2**31 - 1}.get(dtype, 2**32 - 1)
    values = np.array([[0, 1, 2], [100, 200, top]]).astype(dtype)
    mask = read_mask(tiff(values, photometric="minisblack"), name="m.tif")
    assert mask.dtype in (np.uint8, np.uint16, np.uint32)
    np.testing.assert_array_equal(mask, values.astype(np.uint32))


def test_a_palette_mask_gives_indices_or_colors():
    picture = Image.fromarray(np.array([[0, 1], [2, 7]], np.uint8), "P")
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, *[9] * 12, 1, 2, 3])
    data = saved(picture, "PNG")
    assert read_mask(data).tolist() == [[0, 1], [2, 7]]
    assert read_mask(data, colors=True).tolist() == [[[0, 0, 0], [255, 0, 0]], [[0, 255, 0], [1, 2, 3]]]


def test_equal_channels_are_one_and_transparent_pixels_are_background():
    assert read_mask(saved(Image.fromarray(np.dstack([GRAY] * 3)), "PNG")).tolist() == GRAY.tolist()
    alpha = np.where(GRAY > 99, 255, 0).astype(np.uint8)
    mask = read_mask(saved(Image.fromarray(np.dstack([RGB, alpha])), "PNG"))
    np.testing.assert_array_equal(mask, RGB * (alpha[..., None] > 0))


def tiff_around(image: bytes, compression: int) -> bytes:
    """A TIFF of 37 x 53 pixels whose one strip is this compressed image, whatever size that has."""
    return tiff(iter([image]), shape=RGB.shape, dtype=np.uint8, photometric="rgb", compression=compression)


@pytest.mark.parametrize(
    ("image", "compression"),
    [
        (lambda pixels: imagecodecs.jpeg8_encode(pixels), 7),
        (lambda pixels: imagecodecs.jpeg2k_encode(pixels, codecformat="J2K"), 33005),
        (lambda pixels: imagecodecs.jpeg2k_encode(pixels, codecformat="JP2"), 34712),
    ],
    ids=["JPEG", "Aperio's JPEG 2000", "JPEG 2000"],
)
def test_an_image_inside_a_tiff_is_no_larger_than_images_may_be(image, compression) -> None:
    gray = np.add.outer(np.arange(37), np.arange(53)).astype(np.uint8)
    smooth = np.dstack([gray, gray, gray])
    read = read_image(tiff_around(image(smooth), compression), name="a.tif", max_pixels=2000)
    assert np.abs(read.astype(int) - smooth).mean() < 3
    large = tiff_around(image(np.zeros((1000, 900, 3), np.uint8)), compression)
    tracemalloc.start()
    with pytest.raises(BadInput, match=r"a\.tif: 1000 rows x 900 columns"):
        read_image(large, name="a.tif", max_pixels=2000)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    cut = tiff_around(image(RGB)[:15], compression)
    with pytest.raises(BadInput, match="does not say how large it is"):
        read_image(cut, name="a.tif")


@pytest.mark.parametrize(
    ("bomb", "cause"),
    [
        (lambda: tiff(np.zeros((1, 1), np.uint8), tile=(4000, 4000), compression="zlib"), "tiles of 4000 x 4000"),
        (lambda: tiff(np.zeros((8, 8, 4), np.float64), compression="zlib", photometric="rgb"), "256 bits a pixel"),
        (lambda: tiff_around(imagecodecs.jpeg8_encode(np.zeros((4000, 4000, 3), np.uint8)), 7), "4000 rows x 4000"),
    ],
)
def test_a_small_tiff_takes_no_more_memory_than_its_pixels_may(bomb: Callable[[], bytes], cause: str) -> None:
    data = bomb()
    for read in (read_image, read_mask):
        tracemalloc.start()
        with pytest.raises(BadInput, match=cause):
            read(data, name="a.tif")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
        tracemalloc.stop()


def pages_in_a_circle(n: int) -> bytes:
    """Of a TIFF: each names the next, the last one the second."""
    page = struct.pack("<HHHII", 1, 256, 3, 1, 1)
    begins = [8 + i * (len(page) + 4) for i in range(n)]
    return b"II*\0" + struct.pack("<I", 8) + b"".join(page + struct.pack("<I", at) for at in [*begins[1:], begins[1]])


def lerc_of_another_size() -> bytes:
    inside = imagecodecs.lerc_encode(np.zeros((512, 512), np.uint8))
    return tiff(iter([inside]), shape=(16, 16), dtype=np.uint8, photometric="minisblack", compression=34887)


def strips_in_one_place(n: int) -> bytes:
    """A TIFF whose strips, a row each, all lie in the same bytes."""
    data = bytearray(tiff(np.zeros((n, 64), np.uint8), photometric="minisblack", rowsperstrip=1))
    with tifffile.TiffFile(io.BytesIO(data)) as tif:
        offsets, counts = (tif.pages.first.tags[name] for name in ("StripOffsets", "StripByteCounts"))
        begin = tif.pages.first.dataoffsets[0]
    kind = {3: "H", 4: "I"}[counts.dtype]
    data[offsets.valueoffset : offsets.valueoffset + 4 * n] = struct.pack(f"<{n}I", *[begin] * n)
    size = struct.calcsize(f"<{n}{kind}")
    data[counts.valueoffset : counts.valueoffset + size] = struct.pack(f"<{n}{kind}", *[64 * n] * n)
    return bytes(data)


def jpeg_with(segments: int) -> bytes:
    jpeg = saved(Image.fromarray(RGB), "JPEG")
    return jpeg[:2] + (b"\xff\xe1" + struct.pack(">H", 40) + b"Exif\0\0" + bytes(32)) * segments + jpeg[2:]


def jpeg_of_scans(n: int) -> bytes:
    """The last scan of a progressive one n times."""
    jpeg = saved(Image.fromarray(RGB), "JPEG", progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:last] + jpeg[last:-2] * n + jpeg[-2:]


@pytest.mark.parametrize(
    ("picture", "cause"),
    [
        (lambda: pages_in_a_circle(150), "several pages"),
        (lerc_of_another_size, "compression 34887 are not supported"),
        (lambda: strips_in_one_place(400), "overlap"),
        (
            lambda: tiff(np.zeros((1, 60_000), np.uint8), tile=(2048, 2048), compression="zlib"),
            "hold 125,829,120 pixels",
        ),
        (lambda: jpeg_with(2000), "says too much before its pixels"),
        (lambda: jpeg_of_scans(200), "more than 100 scans"),
        (lambda: b"\xff\xd8" + b"\xff" * 30_000_000, "says too much before its pixels"),
        (lambda: b"\xff\xd8\xff\xd9" + bytes(30_000_000), "says too much before its pixels"),
        (lambda: b"\xff\xd8\xff\xf0\xff\xff" + jpeg_with(2000), "damaged .a marker 0xf0"),
    ],
    ids=[
        "circle of pages",
        "LERC",
        "overlapping strips",
        "tiles beyond the image",
        "segments",
        "scans",
        "bytes that fill",
        "bytes that say nothing",
        "segments within another",
    ],
)
def test_a_small_picture_keeps_nobody_busy_for_long(picture: Callable[[], bytes], cause: str) -> None:
    data = picture()
    started = time.perf_counter()
    with pytest.raises(BadInput, match=cause):
        read_image(data, name="a")
    assert time.perf_counter() - started < 2


def test_a_jpeg_with_the_usual_pieces_and_a_progressive_one_are_read() -> None:
    for jpeg in (jpeg_with(3), jpeg_of_scans(1), saved(Image.fromarray(RGB), "JPEG", icc_profile=bytes(200_000))):
        with Image.open(io.BytesIO(jpeg)) as image:
            np.testing.assert_array_equal(read_image(jpeg), np.asarray(image))
        assert read_size(jpeg) == (37, 53)


def test_a_png_in_pieces_of_a_byte_takes_no_more_memory_than_itself() -> None:
    stream = zlib.compress(RNG.integers(0, 256, (300, 301), np.uint8).tobytes(), 0)
    header = struct.pack(">IIBBBBB", 300, 300, 8, 0, 0, 0, 0)
    pieces = b"".join(chunk(b"IDAT", stream[i : i + 1]) for i in range(len(stream)))
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pieces + chunk(b"IEND", b"")
    tracemalloc.start()
    with contextlib.suppress(BadInput):  # of its filters, random bytes are not known
        read_image(png, name="a.png")
    assert tracemalloc.get_traced_memory()[1] < len(png)
    tracemalloc.stop()


def test_a_small_image_in_one_large_tile_is_read() -> None:
    read = read_image(tiff(RGB, tile=(1024, 1024), photometric="rgb"), name="a.tif")
    np.testing.assert_array_equal(read, RGB)


def test_a_tiff_around_an_image_that_does_not_belong_there_is_refused() -> None:
    png_inside = tiff_around(saved(Image.fromarray(RGB), "PNG"), 34933)
    with pytest.raises(BadInput, match="compression 34933 are not supported"):
        read_image(png_inside, name="a.tif")


LARGE = saved(Image.fromarray(RNG.integers(0, 256, (200, 200, 3), dtype=np.uint8)), "PNG")


def broken(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def bomb() -> bytes:
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 10)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "empty"),
        (b"image,label_id,class_name\ntrain_1,1,a\n", "looks like text"),
        (b"GIF89a" + b"\0" * 50, "GIF"),
        (b"\x01\x02\x00\xff" * 50, "supported format"),
        (LARGE[:20], "truncated"),
        (LARGE[:-5], "truncated"),
        (LARGE[: len(LARGE) // 2], "truncated"),
        (broken(LARGE, 5000), "damaged"),
        (broken(LARGE, 18), "damaged"),
        (bomb(), "100000 rows x 100000 columns"),
        (hand_made_png(np.zeros((2, 2), int), 3, 8, False, [0]).replace(b"PLTE", b"PLTX"), "damaged|palette"),
        (IMAGES["rgb.jpg"][:-300], "truncated"),
        (IMAGES["rgb.jpg"][:30], "truncated|damaged"),
        (IMAGES["rgb.bmp"][:-300], "truncated|damaged"),
        (IMAGES["rgb.tif"][:-300], "truncated|damaged"),
        (IMAGES["deflate.tif"][:1000], "truncated|damaged"),
        (IMAGES["rgb.tif"][:8], "truncated|damaged|pages"),
        (tiff(np.zeros((3, 20, 30), np.uint8), photometric="minisblack"), "several pages"),
        (tiff(np.zeros((20, 30), np.float32), photometric="minisblack"), "float32"),
        (tiff(np.zeros((20, 30), np.uint32), photometric="minisblack"), "uint32"),
        (tiff(np.zeros((20, 30, 7), np.uint8), photometric="minisblack", planarconfig="contig"), "7 channels"),
        (saved(Image.fromarray(RGB), "PNG", save_all=True, append_images=[Image.fromarray(255 - RGB)]), "animated"),
    ],
)
def test_a_bad_image_says_its_name_and_the_cause(data, cause, tmp_path: Path):
    path = tmp_path / "tile.png"
    path.write_bytes(data)
    with pytest.raises(BadInput, match=cause) as caught:
        read_image(path)
    assert caught.value.file == "tile.png"
    assert str(caught.value) == f"tile.png: {caught.value.cause}"
    assert str(tmp_path) not in str(caught.value)


def test_a_whole_slide_is_refused_as_one():
    pages = np.zeros((3, 20, 30), np.uint8)
    slide = tiff(pages, photometric="minisblack", description="Aperio Image Library v11.2.1")
    for name, data in (("slide.ndpi", tiff(pages, photometric="minisblack")), ("renamed.tif", slide)):
        with pytest.raises(BadInput, match="whole slides are not read"):
            read_image(data, name=name)


@pytest.mark.parametrize("name", ["rgb.png", "rgb.jpg", "rgb.bmp", "rgb.tif", "deflate.tif", "palette.png"])
def test_no_cut_and_no_flipped_byte_escapes_as_anything_but_bad_input(name):
    data = IMAGES[name]
    for i in range(0, len(data), max(1, len(data) // 60)):
        for damaged in (data[:i], broken(data, i)):
            for read in (read_image, read_mask, read_size):
                with contextlib.suppress(BadInput):  # a flipped byte may well leave a readable file
                    read(damaged, name=name)


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        (np.array([[0.0, 1.5]], np.float32), "fractions"),
        (np.array([[0.0, np.nan]], np.float32), "not numbers"),
        (np.array([[0, -3]], np.int16), "negative"),
        (np.array([[0, 2**33]], np.int64), "4,294,967,295"),
        (np.array([[0, 2**32]], np.float32), "4,294,967,295"),
    ],
)
def test_a_mask_of_other_numbers_is_refused(values, cause):
    with pytest.raises(BadInput, match=cause):
        read_mask(tiff(values, photometric="minisblack"), name="m.tif")


def test_a_missing_file_and_a_too_large_one_are_named(tmp_path: Path):
    with pytest.raises(BadInput, match=r"a\.png: the file cannot be read"):
        read_image(tmp_path / "a.png")
    with pytest.raises(BadInput, match="at most 1,000"):
        read_image(IMAGES["rgb.tif"], name="a.tif", max_pixels=1000)
    with pytest.raises(BadInput, match="at most 1,000"):
        read_size(IMAGES["rgb.jpg"], name="a.jpg", max_pixels=1000)


@pytest.mark.parametrize("name", ["rgb.png", "rgb.jpg", "rgb.bmp", "rgb.tif"])
def test_the_size_of_a_large_file_costs_no_memory(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(IMAGES[name])
    os.truncate(path, 100_000_000)
    tracemalloc.start()
    try:
        assert read_size(path) == RGB.shape[:2]
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_a_tiff_of_brightness_and_color_differences_has_its_colors_whatever_it_is_compressed_with():
    stored = np.array(Image.fromarray(RGB).convert("YCbCr"))
    for compression in (None, "zlib"):
        read = read_image(tiff(stored, photometric="ycbcr", compression=compression), name="a.tif")
        assert np.abs(read.astype(int) - RGB).max() <= 3


def test_a_large_image_of_16_bits_or_with_a_palette_takes_little_more_than_its_pixels():
    deep = tiff(RNG.integers(0, 65536, (1500, 2000), dtype=np.uint16))
    few = Image.fromarray(RNG.integers(0, 7, (1500, 2000), dtype=np.uint8), "P")
    few.putpalette([k for k in range(7) for _ in range(3)])
    for data in (deep, saved(few, "PNG")):
        tracemalloc.start()
        read_image(data, name="a")
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < 30e6, "indices of 8 bytes would be 24 MB beside the rest"
