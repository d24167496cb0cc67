"""What a benchmark says: one JSON object, and the same as a short table."""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

# Read before a benchmark ties itself to one of them.
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@dataclass(frozen=True)
class Options:
    """How a benchmark is to run."""

    full: bool = False
    device: str = "auto"
    out: Path | None = None
    """A folder for the files that a benchmark writes; None for a temporary one."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One measured comparison. `ratio` over 1 means that ours is better, whatever the unit."""

    name: str
    value: float
    unit: str
    peer: str
    peer_value: float
    ratio: float
    goal: float
    """The ratio that is wanted."""
    bound: float | None = None
    """What `value` may be at most, where there is such a limit."""
    bounds: dict[str, float] = field(default_factory=dict)
    """What figures may be at most, by their name."""
    floors: dict[str, float] = field(default_factory=dict)
    """What figures have to be at least, by their name."""
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def faults(self) -> list[str]:
        """What was not reached, in words."""
        faults = [] if self.ratio >= self.goal else [f"ratio {self.ratio:.3g} is below {self.goal:g}"]
        if self.bound is not None and self.value > self.bound:
            faults.append(f"{self.value:.4g} {self.unit} is above {self.bound:g}")
        faults += [f"{name} {self.figures[name]} is above {at_most:g}" for name, at_most in self.bounds.items()
                   if self.figures[name] > at_most]  # fmt: skip
        faults += [f"{name} {self.figures[name]} is below {at_least:g}" for name, at_least in self.floors.items()
                   if self.figures[name] < at_least]  # fmt: skip
        return faults

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values, with the machine it was measured on."""
        return {
            "name": self.name,
            "value": significant(self.value),
            "unit": self.unit,
            "peer": self.peer,
            "peer_value": significant(self.peer_value),
            "ratio": significant(self.ratio),
            "goal": self.goal,
            **({"bound": self.bound} if self.bound is not None else {}),
            **({"bounds": self.bounds} if self.bounds else {}),
            **({"floors": self.floors} if self.floors else {}),
            "reached": not self.faults,
            "figures": self.figures,
            "machine": machine(),
        }


def significant(number: float, digits: int = 4) -> float:
    """Rounded to so many digits; what is beyond them is noise."""
    return float(f"{number:.{digits}g}")


def spread(samples: Sequence[float]) -> dict[str, Any]:
    """Median, lowest and highest of repeated measurements, with their number."""
    return {
        "median": significant(statistics.median(samples)),
        "low": significant(min(samples)),
        "high": significant(max(samples)),
        "repeats": len(samples),
    }


def machine() -> dict[str, Any]:
    """What the figures depend on. `load` is the machine's one-minute average, this benchmark's own work included."""
    return {
        "cpu": _cpu_model(),
        "cores": CORES,
        "ram_gib": _ram_gib(),
        "gpu": _gpu(),
        "python": platform.python_version(),
        "torch": _version("torch"),
        "numpy": _version("numpy"),
        "system": platform.platform(terse=True),
        "load": round(os.getloadavg()[0], 2),
    }


def _cpu_model() -> str:
    """The kernel's name for it, and what tells processors of one name apart."""
    try:
        lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
    except OSError:
        return platform.processor() or platform.machine()
    known = {name.strip(): text.strip() for name, _, text in reversed(lines)}
    name = known.get("model name") or platform.machine()
    wanted = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in known.get("flags", "").split()]
    return f"{name}, family {known.get('cpu family')} model {known.get('model')} ({' '.join(wanted)})"


def _ram_gib() -> float:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)


def _gpu() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return "none"
    asked = subprocess.run(
        [program, "--query-gpu=name,driver_version", "--format=csv,noheader"], capture_output=True, text=True
    )
    return asked.stdout.strip().replace("\n", "; ") if asked.returncode == 0 and asked.stdout.strip() else "none"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def as_json(result: Result) -> str:
    """The one line that other programs read."""
    return json.dumps(result.to_json())


def as_table(result: Result) -> str:
    """The same for a person."""
    lines = [
        ("ours", f"{result.value:,.4g} {result.unit}" + (f" (at most {result.bound:g})" if result.bound else "")),
        ("peer", f"{result.peer_value:,.4g} {result.unit}: {result.peer}"),
        ("ratio", f"{result.ratio:.3g} (goal {result.goal:g})"),
        *(
            (name, _shown(value, result.bounds.get(name), result.floors.get(name)))
            for name, value in result.figures.items()
        ),
        ("goal", "reached" if not result.faults else "NOT reached: " + "; ".join(result.faults)),
    ]
    width = max(len(name) for name, _ in lines)
    return "\n".join([result.name, *(f"  {name:<{width}}  {text}" for name, text in lines)])


def _shown(value: Any, at_most: float | None, at_least: float | None) -> str:
    if isinstance(value, dict) and "median" in value:
        text = f"{value['median']:,.4g} ({value['low']:,.4g} to {value['high']:,.4g}, {value['repeats']} repeats)"
    elif isinstance(value, float | int) and not isinstance(value, bool):
        text = f"{value:,.4g}" if isinstance(value, float) else f"{value:,}"
    else:
        text = str(value)
    text += f" (at most {at_most:g})" if at_most is not None else ""
    return text + (f" (at least {at_least:g})" if at_least is not None else "")
