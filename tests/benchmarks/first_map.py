"""From image files to the first map on the screen, against the least that the original does before it shows one.

A map is of use as soon as one can label on it. Ours comes from measurements, while the first training runs behind it; the
original can draw one from a network of random weights, which is what is timed here, though it is made to train first. What either map is worth is `maps`.
"""

from __future__ import annotations

import gzip
import tempfile
import time
import uuid
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from apps.engine.masks import MaskKind
from apps.projects.jobs import cancel_job
from apps.projects.models import Job
from tests.benchmarks import original
from tests.benchmarks.browser import Browser
from tests.benchmarks.embed import embed_originally
from tests.benchmarks.original_training import create_network
from tests.benchmarks.report import Options, Result, significant
from tests.benchmarks.server import Events, running, web_server
from tests.benchmarks.tiles import Tile, Tiles, find_tiles, multiply
from tests.factories import make_member, make_organization, make_project

PATCH_SIZE_PX = 64
FULL_TIMES = 7  # of 27 tiles: some 109,000 nuclei
PATIENCE_S = 1200.0


@dataclass(frozen=True)
class Measured:
    """Seconds since the first byte of the upload."""

    uploaded: float
    imported: float
    shown: float
    n_objects: int


def run(options: Options) -> Result:
    """Both once: a first map is made once in a project. The training that follows ours is cancelled."""
    with tempfile.TemporaryDirectory(prefix="patchsorter-benchmark-") as temporary:
        work = Path(temporary)
        tiles = find_tiles(27 if options.full else 4, work)
        if options.full:
            tiles = multiply(tiles, FULL_TIMES, work)
        with web_server() as address, running("worker-cpu", _at_once), running("worker-gpu", _at_once):
            measure(address, Tiles(tiles.tiles[:1], ""))  # in use, the workers have long been up
            ours = measure(address, tiles)
        peer = _original(tiles, work / "patches.h5")
    peer_s = sum(peer.values())
    return Result(
        name="first_map",
        value=ours.shown,
        unit="s",
        peer="the original's way, rebuilt: patches one by one to a PyTables file, each read alone and embedded by a ResNet18 of "
        "random weights, umap-learn's default with what it compiles in a new process; without its server, its browser, "
        "and the training that it is made to do before",
        peer_value=peer_s,
        ratio=peer_s / ours.shown,
        goal=1.0,
        bound=180.0 if options.full else None,
        figures={
            "uploaded_after_s": significant(ours.uploaded),
            "imported_after_s": significant(ours.imported),
            "shown_after_s": significant(ours.shown),
            "original_s": {stage: significant(seconds) for stage, seconds in peer.items()},
            "objects": ours.n_objects,
            "images": len(tiles.tiles),
            "input": tiles.source,
            "patch_size_px": PATCH_SIZE_PX,
            "way": "one file after another by HTTP, import, and GET plot when the event comes; web server, workers and "
            "PostgreSQL as `manage.py run` starts them, which have made one map before",
        },
    )


def measure(address: str, tiles: Tiles) -> Measured:
    """One person who uploads all tiles to a project of their own and waits for its map."""
    member = make_member(make_organization(), "Lead")
    project = make_project(member.organization, member.user, patch_size_px=PATCH_SIZE_PX)
    with closing(Events()) as events, closing(Browser(address, member.user)) as browser:
        started = time.perf_counter()
        upload = browser.submit(f"/projects/{project.pk}/uploads/", {})
        for tile in tiles.tiles:
            _send(browser, f"/api/v1{upload}files", tile)
        uploaded = time.perf_counter() - started
        browser.submit(f"{upload}import", {"mask_kind": MaskKind.INDEXED.value, "first_map": "on"})
        events.wait_for("job.finished", PATIENCE_S)
        imported = time.perf_counter() - started
        made = events.wait_for("embedding.ready", PATIENCE_S)
        plot = gzip.decompress(browser.get(f"/api/v1/projects/{project.pk}/embeddings/{made['number']}/plot")[2])
        shown = time.perf_counter() - started
        project.refresh_from_db()
        assert made["n"] == project.n_objects == int(np.frombuffer(plot, "<u4", 1, 4)[0])
        cancel_job(job=Job.objects.get(project=project, kind="iteration"), cancelled_by=member.user)
        events.wait_for("job.finished", PATIENCE_S)
    return Measured(uploaded, imported, shown, project.n_objects)


def _at_once(log: Path) -> bool:
    """A worker does not say when it is ready; it takes what has been queued by then."""
    return True


def _send(browser: Browser, path: str, tile: Tile) -> None:
    for role, file, name in (("image", tile.image, tile.image.name), ("mask", tile.mask, tile.image.name)):
        boundary = uuid.uuid4().hex
        fields = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
            for field, value in (("role", role), ("name", name))
        )
        head = f'{fields}--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        body = head.encode() + file.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        browser.post(path, body, f"multipart/form-data; boundary={boundary}")


def _original(tiles: Tiles, path: Path) -> dict[str, float]:
    """Seconds of each of its steps."""
    started = time.perf_counter()
    n = original.extract_all(path, [(tile.image, tile.mask) for tile in tiles.tiles], patch_size_px=PATCH_SIZE_PX)
    extracted = time.perf_counter()
    features = embed_originally(create_network().eval(), path, n, torch.device("cpu"))
    embedded = time.perf_counter()
    from umap import UMAP  # here, as loading and compiling it is a part of what a job of the original's takes

    assert UMAP().fit_transform(features).shape == (n, 2)
    drawn = time.perf_counter()
    return {"patches": extracted - started, "features": embedded - extracted, "map": drawn - embedded}
