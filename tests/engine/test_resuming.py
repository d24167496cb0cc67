"""A training that was killed goes on where it was and ends as if nothing had been; several processes train as one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from apps.engine.nn.checkpoints import load_checkpoint
from apps.engine.nn.train import train_model
from tests.engine.fake_patches import make_patches
from tests.engine.train_in_a_process import CONFIG, STEPS_PER_EPOCH, train

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = "tests.engine.train_in_a_process"


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *command], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=240
    )


def weights_of(out: Path) -> dict[str, torch.Tensor]:
    return dict(load_checkpoint(out / "model")[0].state_dict())


def result_of(out: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((out / "result.json").read_text())
    return result


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("uninterrupted")
    train(out)
    return out


def test_a_killed_training_resumes_and_ends_with_the_very_same_weights(tmp_path: Path, uninterrupted: Path) -> None:
    killed = run("-m", PROGRAM, str(tmp_path), str(3 * STEPS_PER_EPOCH + 2))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["states"]
    train(tmp_path)
    assert 1 <= result_of(tmp_path)["resumed_after"] <= 3
    assert result_of(tmp_path)["losses"] == result_of(uninterrupted)["losses"]
    expected, got = weights_of(uninterrupted), weights_of(tmp_path)
    assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    train(tmp_path)
    expected = weights_of(tmp_path)
    train(tmp_path)
    assert result_of(tmp_path)["resumed_after"] == CONFIG.epochs
    got = weights_of(tmp_path)
    assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_the_state_of_another_run_or_a_damaged_one_is_not_gone_on_with(tmp_path: Path) -> None:
    patches, kinds = make_patches(20)
    short = replace(CONFIG, epochs=1)
    states = tmp_path / "states"

    def resumed_after(config: Any, labels: Any) -> int:
        return train_model(
            config, patches, class_values=labels, checkpoint=tmp_path / "model", states=states
        ).resumed_after

    assert resumed_after(short, kinds) == 0
    assert resumed_after(short, kinds) == 1
    assert resumed_after(replace(short, seed=1), kinds) == 0
    assert resumed_after(replace(short, seed=1), np.where(np.arange(20) < 4, kinds, 0).astype(np.uint8)) == 0
    (kept,) = states.iterdir()  # the newest alone
    (kept / "model.safetensors").write_bytes(b"half of it")
    assert resumed_after(replace(short, seed=1), np.where(np.arange(20) < 4, kinds, 0).astype(np.uint8)) == 0


def test_two_processes_have_the_loss_curve_and_the_weights_of_one(tmp_path: Path, uninterrupted: Path) -> None:
    done = run("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", PROGRAM, str(tmp_path))
    assert done.returncode == 0, done.stderr
    one, two = result_of(uninterrupted), result_of(tmp_path)
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=2e-3)
    assert two["steps"] == one["steps"]
    expected, got = weights_of(uninterrupted), weights_of(tmp_path)
    for name in expected:
        torch.testing.assert_close(got[name], expected[name], rtol=0.02, atol=0.02, msg=name)
