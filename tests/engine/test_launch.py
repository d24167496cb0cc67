"""Training by several processes for a program that has one: it starts them, follows them, and leaves none behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from apps.engine.errors import EngineError, Stopped
from apps.engine.masks import MaskKind, find_objects
from apps.engine.nn import launch
from apps.engine.nn.config import TrainConfig
from apps.engine.nn.launch import embed_on_this_machine, processes_for, train_on_this_machine
from apps.engine.pixels import PatchReader, StoredImage, write_image
from tests.engine.fake_patches import make_patches

REPOSITORY = Path(__file__).resolve().parents[2]
N = 24
CONFIG = TrainConfig(encoder_size_px=16, epochs=1, batch_size=16, device="cpu", precision="fp32", threads=1)


@pytest.fixture
def patches(tmp_path: Path) -> PatchReader:
    mask = np.zeros((32, 16 * N), np.uint16)
    for i in range(N):
        mask[12:20, 16 * i + 4 : 16 * i + 12] = i + 1
    pixels = np.random.default_rng(0).integers(0, 256, (*mask.shape, 3), np.uint8)
    found = find_objects(mask, MaskKind.INDEXED, name="row.png")
    write_image(tmp_path / "pixels", "row", pixels, found)
    return PatchReader([StoredImage(0, N, tmp_path / "pixels", "row")], 16)


def alive_with(text: str) -> list[int]:
    """Processes that have this in their command line."""
    pids = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text in path.read_text() and int(path.parent.name) != os.getpid():
                pids.append(int(path.parent.name))
        except OSError:
            continue
    return pids


def wait_until_gone(text: str) -> None:
    deadline = time.monotonic() + 30
    while alive_with(text):
        assert time.monotonic() < deadline, "processes were left behind"
        time.sleep(0.1)


def test_two_processes_train_and_embed_and_say_how_it_goes(tmp_path: Path, patches: PatchReader) -> None:
    values = (1 + np.arange(N) % 2).astype(np.uint8)
    said: list[tuple[str, float, str]] = []
    options = {"on_progress": lambda *progress: said.append(progress), "processes": 2}
    trained = train_on_this_machine(
        CONFIG, patches, class_values=values, checkpoint=tmp_path / "model", states=tmp_path / "states", **options
    )
    assert (trained.epochs, trained.n_labeled) == (1, N)
    several = embed_on_this_machine(tmp_path / "model", patches, shards=tmp_path / "shards", **options)
    assert [said[0][0], said[-1][:2]] == ["training", ("embedding", 1.0)]
    one = embed_on_this_machine(tmp_path / "model", patches, shards=tmp_path / "others", processes=1)
    np.testing.assert_array_equal(several, one)
    wait_until_gone(str(tmp_path))


def test_what_libraries_say_beside_the_processes_is_passed_over() -> None:
    lines = ["a remark", "5", "null", '{"progress": ["training", 0.5, ""]}', '{"result": {"n": 3}}']
    process = subprocess.Popen(["printf", "%s\\n", *lines], stdout=subprocess.PIPE, text=True)
    heard: list[tuple[str, float, str]] = []
    result = launch._follow(process, lambda *progress: heard.append(progress), lambda: False)
    assert process.wait() == 0
    assert (heard, result) == ([("training", 0.5, "")], {"n": 3})


@pytest.mark.slow  # starts four processes that import torch
def test_stopping_ends_all_processes_and_leaves_no_model(tmp_path: Path, patches: PatchReader) -> None:
    said: list[str] = []
    with pytest.raises(Stopped):
        train_on_this_machine(
            replace(CONFIG, epochs=1000),
            patches,
            checkpoint=tmp_path / "model",
            states=tmp_path / "states",
            processes=2,
            on_progress=lambda stage, _fraction, _message: said.append(stage),
            should_stop=lambda: bool(said),
        )
    wait_until_gone(str(tmp_path))
    assert not (tmp_path / "model").exists()


STARTER = """
import sys
from pathlib import Path
from tests.engine.test_launch import CONFIG, StoredImage, PatchReader, replace, train_on_this_machine
folder = Path(sys.argv[1])
train_on_this_machine(
    replace(CONFIG, epochs=1000), PatchReader([StoredImage(0, int(sys.argv[2]), folder / "pixels", "row")], 16),
    checkpoint=folder / "model", states=folder / "states", processes=2,
    on_progress=lambda *progress: print(progress, flush=True),
)
"""


@pytest.mark.slow  # starts four processes that import torch
def test_when_the_program_is_killed_its_processes_end(tmp_path: Path, patches: PatchReader) -> None:
    command = [sys.executable, "-c", STARTER, str(tmp_path), str(len(patches))]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline(), "they are at work"
        assert len(alive_with(str(tmp_path))) >= 4
        starter.send_signal(signal.SIGKILL)
    wait_until_gone(str(tmp_path))


@pytest.mark.slow  # starts four processes that import torch
def test_a_fault_in_the_processes_is_the_program_s(tmp_path: Path, patches: PatchReader) -> None:
    (tmp_path / "pixels" / "row.pixels.npy").unlink()
    with pytest.raises(EngineError, match=r"row\.pixels\.npy is missing"):
        train_on_this_machine(CONFIG, patches, checkpoint=tmp_path / "m", states=tmp_path / "states", processes=2)
    wait_until_gone(str(tmp_path))


def test_several_processes_are_for_several_gpus_and_many_stored_objects(
    patches: PatchReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch.torch.cuda, "device_count", lambda: 4)
    assert processes_for(patches) == 1
    monkeypatch.setattr(PatchReader, "__len__", lambda _self: 70_000)
    assert processes_for(patches) == 3
    monkeypatch.setattr(PatchReader, "__len__", lambda _self: 1_000_000)
    assert processes_for(patches) == 4
    assert processes_for(make_patches(3)[0]) == 1
