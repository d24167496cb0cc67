"""A map of a million points with its predictions: the two binary buffers that pages load, against JSON rows as the
original sends them."""

from __future__ import annotations

import gzip
import statistics
import time
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from apps.models.models import Embedding, ModelVersion
from apps.models.pipelines.publishing import write_embedding
from apps.models.selectors import embedding_folder
from tests.benchmarks import original
from tests.benchmarks.browser import Browser
from tests.benchmarks.report import Options, Result, significant, spread
from tests.benchmarks.server import web_server
from tests.factories import make_member, make_organization, make_project, predict

N_POINTS = 1_000_000
N_CLUSTERS = 24
N_CLASSES = 6
PLOT_HEADER_BYTES, PREDICTIONS_HEADER_BYTES = 24, 16
MAP = (
    f"{N_CLUSTERS} Gaussian clusters of unequal size and spread, in random order of the objects (the least "
    f"compressible), {N_CLASSES} classes, 3 % of the points with a class not their cluster's, confidence mostly high"
)


def run(options: Options) -> Result:
    """The server's time is that of the whole request, from the client, after the first."""
    member = make_member(make_organization(), "Rater")
    project = make_project(member.organization, member.user)
    points, classes, confidence = synthetic_map(N_POINTS, seed=0)
    version = ModelVersion.objects.create(project=project, number=1, approach="none: synthetic", quality={})
    embedding = Embedding.objects.create(project=project, number=1, model_version=version, n=N_POINTS, dimension=1)
    folder = embedding_folder(embedding)
    folder.parent.mkdir(parents=True)
    started = time.perf_counter()
    write_embedding(folder, np.zeros((N_POINTS, 1), np.float16), None, points)
    predict(embedding, classes, np.rint(confidence * 255).astype(np.uint8))
    writing_s = time.perf_counter() - started

    api = f"/api/v1/projects/{project.pk}"
    paths = (f"{api}/embeddings/1/plot", f"{api}/predictions")
    with web_server() as address:
        browser = Browser(address, member.user)
        first_ms, first = _timed(browser, paths)
        assert all(headers["Content-Encoding"] == "gzip" for _, headers, _ in first)
        bodies = [body for _, _, body in first]
        contents = [gzip.decompress(body) for body in bodies]
        _check(contents[0], contents[1], points, classes)
        timed = [_timed(browser, paths) for _ in range(41 if options.full else 15)]
        etags = [headers["ETag"] for _, headers, _ in first]
        unchanged = [_timed(browser, paths, etags) for _ in range(15)]
        assert all([len(answer[2]) for answer in answers] == list(map(len, bodies)) for _, answers in timed)
        assert all(answer[0] == 304 for _, answers in unchanged for answer in answers)
        browser.close()

    started = time.perf_counter()
    rows = original.plot_json(points, classes, confidence)
    peer_ms = (time.perf_counter() - started) * 1000
    short = original.plot_json(points, classes, confidence, shown=_two_decimals)
    server_ms = [milliseconds for milliseconds, _ in timed]
    value, peer_value = sum(map(len, bodies)) / N_POINTS, len(rows) / N_POINTS
    return Result(
        name="plot",
        value=value,
        unit="bytes per point",
        peer="JSON rows [patch id, x, y, label, prediction, score] of float16 values, uncompressed as the original "
        "sends them (for all points; it itself sends 5,000)",
        peer_value=peer_value,
        ratio=peer_value / value,
        goal=10.0,
        bound=5.0,
        bounds={"server_ms": 200.0},
        figures={
            "server_ms": significant(statistics.median(server_ms)),
            "server_ms_spread": spread(server_ms),
            "server_ms_first": significant(first_ms),
            "server_ms_not_modified": spread([milliseconds for milliseconds, _ in unchanged]),
            "peer_ms_to_make_the_json": significant(peer_ms),
            "peer_bytes_gzip_6": significant(len(zlib.compress(rows, 6)) / N_POINTS),
            "peer_bytes_if_two_decimals": significant(len(short) / N_POINTS),
            "bytes_by_plane": _by_plane(contents[0], contents[1]),
            "made_once_per_map_s": significant(writing_s),
            "points": N_POINTS,
            "map": MAP,
        },
    )


def synthetic_map(
    n: int, *, seed: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Coordinates (n, 2), class values (n,) from 1, confidences (n,) in 0 to 1."""
    rng = np.random.default_rng(seed)
    cluster = rng.choice(N_CLUSTERS, n, p=rng.dirichlet(np.full(N_CLUSTERS, 2.0)))
    centers, widths = rng.uniform(-10, 10, (N_CLUSTERS, 2)), rng.uniform(0.3, 1.5, (N_CLUSTERS, 2))
    points = centers[cluster] + widths[cluster] * rng.standard_normal((n, 2))
    class_of = rng.integers(1, N_CLASSES + 1, N_CLUSTERS)
    strays = rng.random(n) < 0.03
    classes = np.where(strays, rng.integers(1, N_CLASSES + 1, n), class_of[cluster])
    confidence = np.where(strays, rng.uniform(0.3, 0.8, n), rng.beta(8, 1, n))
    return points.astype(np.float32), classes.astype(np.uint8), confidence.astype(np.float32)


def _timed(
    browser: Browser, paths: Sequence[str], etags: Sequence[str] = ("", "")
) -> tuple[float, list[tuple[int, Any, bytes]]]:
    started = time.perf_counter()
    answers = [browser.get(path, **{"If-None-Match": etag}) for path, etag in zip(paths, etags, strict=True)]
    return (time.perf_counter() - started) * 1000, answers


def _planes(plot: bytes, predictions: bytes, n: int) -> npt.NDArray[np.uint8]:
    places = np.frombuffer(plot, np.uint8, 4 * n, PLOT_HEADER_BYTES).reshape(4, n)
    return np.concatenate([places, np.frombuffer(predictions, np.uint8, 2 * n, PREDICTIONS_HEADER_BYTES).reshape(2, n)])


def _check(plot: bytes, predictions: bytes, points: npt.NDArray[np.float32], classes: npt.NDArray[np.uint8]) -> None:
    """Every point is where it was, to a step of 1/65535 of the map, and has its class."""
    x0, _, width, _ = np.frombuffer(plot, "<f4", 4, 8)
    planes = _planes(plot, predictions, len(points))
    x = x0 + width * (planes[0].astype(np.float64) * 256 + planes[1]) / 65535
    assert np.abs(x - points[:, 0]).max() <= width / 65535
    assert np.array_equal(planes[4], classes)


def _by_plane(plot: bytes, predictions: bytes) -> dict[str, float]:
    names = ("x_high", "x_low", "y_high", "y_low", "class", "confidence")
    planes = _planes(plot, predictions, N_POINTS)
    return {
        name: significant(len(zlib.compress(plane.tobytes(), 6)) / N_POINTS, 3)
        for name, plane in zip(names, planes, strict=True)
    }


def _two_decimals(values: npt.NDArray[np.float16]) -> list[float]:
    return [round(value, 2) for value in values.tolist()]
