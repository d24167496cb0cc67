"""A thousand patches on the screen: one atlas request, against one request per patch, from the same web server."""

from __future__ import annotations

import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from apps.engine.masks import LabelValues, MaskKind
from apps.objects.pipelines import ImageSource, SourceFile, import_sources
from apps.objects.selectors import patch_reader
from tests.benchmarks.browser import Browser, multipart
from tests.benchmarks.report import Options, Result, significant, spread
from tests.benchmarks.server import web_server
from tests.benchmarks.tiles import find_tiles
from tests.factories import make_member, make_organization, make_project

N_PATCHES = 1_000
TILE_PX = 64
COLUMNS = 32
CONNECTIONS = 6  # what browsers open to one server


def run(options: Options) -> Result:
    """Other random objects each time, over connections that are open already."""
    member = make_member(make_organization(), "Rater")
    project = make_project(member.organization, member.user, patch_size_px=TILE_PX)
    with tempfile.TemporaryDirectory(prefix="patchsorter-benchmark-") as temporary:
        tiles = find_tiles(27 if options.full else 8, Path(temporary))
        import_sources(
            project=project,
            sources=[
                ImageSource(SourceFile(tile.image, tile.image.name), SourceFile(tile.mask, tile.mask.name))
                for tile in tiles.tiles
            ],
            mask_kind=MaskKind.INDEXED,
            label_values=LabelValues(),
            imported_by=None,
            on_progress=lambda stage, fraction, message: None,
        )
    project.refresh_from_db()
    rng = np.random.default_rng(0)
    base = f"/api/v1/projects/{project.pk}/patches"
    with web_server() as address:
        browsers = [Browser(address, member.user) for _ in range(CONNECTIONS)]
        content = _atlas(browsers[0], base, np.arange(N_PATCHES))[1]
        _check(content, patch_reader(project).read(np.arange(N_PATCHES), mirrored=False))
        for browser in browsers:
            browser.get(f"{base}/0.jpg?px={TILE_PX}")
        ours, sizes, peers, peer_sizes = [], [], [], []
        for _ in range(7 if options.full else 3):
            for _ in range(5):
                milliseconds, content = _atlas(browsers[0], base, rng.permutation(project.n_objects)[:N_PATCHES])
                ours.append(milliseconds)
                sizes.append(len(content))
            milliseconds, n_bytes = _one_by_one(browsers, base, rng.permutation(project.n_objects)[:N_PATCHES])
            peers.append(milliseconds)
            peer_sizes.append(n_bytes)
        for browser in browsers:
            browser.close()
    value, peer_value = statistics.median(ours), statistics.median(peers)
    return Result(
        name="thumbnails",
        value=value,
        unit="ms",
        peer=f"one request per patch to our own endpoint (JPEG; the original sends PNG), {CONNECTIONS} kept connections",
        peer_value=peer_value,
        ratio=peer_value / value,
        goal=15.0,
        bound=100.0,
        figures={
            "ours": spread(ours),
            "one_by_one": spread(peers),
            "requests_per_s_one_by_one": significant(N_PATCHES / peer_value * 1000),
            "kilobytes_ours": round(statistics.median(sizes) / 1000),
            "kilobytes_one_by_one": round(statistics.median(peer_sizes) / 1000),
            "patches": N_PATCHES,
            "tile_px": TILE_PX,
            "input": tiles.source,
            "objects": project.n_objects,
            "way": "the uvicorn process of `manage.py run`, client on the same machine and cores",
        },
    )


def _atlas(browser: Browser, base: str, ordinals: npt.NDArray[np.integer]) -> tuple[float, bytes]:
    body, content_type = multipart({"tile_px": str(TILE_PX), "view": "patch"}, ordinals)
    started = time.perf_counter()
    content = browser.post(f"{base}/atlas", body, content_type)
    return (time.perf_counter() - started) * 1000, content


def _one_by_one(browsers: list[Browser], base: str, ordinals: npt.NDArray[np.integer]) -> tuple[float, int]:
    """(milliseconds until the last has come, bytes of the pictures)"""

    def fetch(browser: Browser, share: list[int]) -> int:
        return sum(len(browser.get(f"{base}/{ordinal}.jpg?px={TILE_PX}")[2]) for ordinal in share)

    shares = [part.tolist() for part in np.array_split(ordinals, len(browsers))]
    with ThreadPoolExecutor(len(browsers)) as pool:
        started = time.perf_counter()
        n_bytes = sum(pool.map(fetch, browsers, shares))
        return (time.perf_counter() - started) * 1000, n_bytes


def _check(content: bytes, patches: npt.NDArray[np.uint8]) -> None:
    """The atlas shows those patches, in this order, as a JPEG can."""
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    sheet = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
    rows = -(-N_PATCHES // COLUMNS)
    tiles = sheet.reshape(rows, TILE_PX, COLUMNS, TILE_PX, 3).swapaxes(1, 2).reshape(-1, TILE_PX, TILE_PX, 3)
    difference = np.abs(tiles[:N_PATCHES].astype(np.int16) - patches).mean()
    assert difference < 6, f"mean difference {difference:.1f}"
