"""Every benchmark as its user starts it, small: one line of JSON with both sides of the comparison and the machine."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.__main__ import BENCHMARKS
from tests.shared_data import ROOT, needs_examples

REPOSITORY = Path(__file__).parents[2]
OF_SECONDS = {"read"}
LONGEST_S = 900


@needs_examples
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in OF_SECONDS else [pytest.mark.slow]) for name in BENCHMARKS]
)
def test_a_benchmark_prints_one_line_of_json(name: str, tmp_path: Path) -> None:
    ran = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks", name, "--json", "--out", tmp_path],
        cwd=REPOSITORY,
        env={**os.environ, "PATCHSORTER_SHARED_DATA": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        printed, errors = ran.communicate(timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        os.killpg(ran.pid, signal.SIGKILL)  # its database and its helpers, too
        raise
    assert ran.returncode == 0, errors[-2000:]
    (line,) = printed.splitlines()
    said = json.loads(line)
    assert said["name"] == name
    for number in ("value", "peer_value", "ratio", "goal"):
        assert math.isfinite(said[number]) and said[number] > 0, number
    assert said["peer"] and said["unit"] and said["machine"]["cores"]
    assert isinstance(said["reached"], bool) and said["figures"]
