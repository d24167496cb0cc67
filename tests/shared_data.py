"""Real images with real labels, which are not part of the repository: tests that use them are skipped without them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("PATCHSORTER_SHARED_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
EXAMPLES = ROOT / "patchsorter_examples"

needs_examples = pytest.mark.skipif(
    not EXAMPLES.is_dir(), reason="needs the shared example data (set PATCHSORTER_SHARED_DATA)"
)
