"""The hash chain that the audit trail and the label history share."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def chain_hash(previous_hash: str, header: dict[str, Any]) -> str:
    """SHA-256 over the previous hash and the canonical JSON of `header` (sorted keys, no blanks), as hex."""
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return hashlib.sha256(f"{previous_hash}\n{text}".encode()).hexdigest()
