"""`python -m tests.benchmarks NAME [--json] [--full] [--device cpu|cuda]`: one measurement of ours against a peer."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from tests.benchmarks.report import Options, Result, as_json, as_table


class Module(Protocol):
    """What the file of a benchmark holds."""

    def run(self, options: Options) -> Result: ...


@dataclass(frozen=True)
class Benchmark:
    """`needs_site`: with a database and Django, which have to be there before the benchmark's file is imported.
    `one_core`: this process and whatever it starts, PostgreSQL too, share one core."""

    name: str
    summary: str
    needs_site: bool
    one_core: bool = False

    def load(self) -> Module:
        return cast("Module", importlib.import_module(f"tests.benchmarks.{self.name}"))


BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark("extract", "image and mask files to rows and pixel store, one core", needs_site=True, one_core=True),
        Benchmark("read", "random batches of 256 patches from the pixel store", needs_site=False),
        Benchmark("train", "patches through training with augmentation", needs_site=False),
        Benchmark("embed", "patches to features", needs_site=False),
        Benchmark("reduce", "a map of features that drifted, started from the map before", needs_site=False),
        Benchmark("first_map", "from uploading images to a map that one can label on", needs_site=True),
        Benchmark("label", "10,000 of 1,000,000 objects labeled by one request", needs_site=True),
        Benchmark("refit", "from a label to the renewed predictions of 100,000 objects", needs_site=True),
        Benchmark("predict", "what predictions are worth after so many labels", needs_site=False),
        Benchmark("plot", "1,000,000 points of a map to the browser", needs_site=True),
        Benchmark("similar", "the 200 most similar of 100,000 objects", needs_site=True),
        Benchmark("maps", "what features and maps are worth after equal seconds of training", needs_site=False),
        Benchmark("labeling", "a simulated person labels whole projects", needs_site=False),
        Benchmark("thumbnails", "1,000 patches to the browser", needs_site=True),
    )
}


def main() -> int:
    """Returns the exit code: 0 also where a goal is missed, because a figure is an answer and no fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", choices=sorted(BENCHMARKS))
    parser.add_argument("--json", action="store_true", help="only the JSON line, which is always the last")
    parser.add_argument(
        "--full", action="store_true", help="more repeats and larger inputs: minutes, of labeling an hour"
    )
    parser.add_argument("--device", default="auto", help="for train, embed, maps and labeling: auto, cpu, cuda")
    parser.add_argument("--out", type=Path, help="for labeling and maps: a folder for their curves and pictures")
    arguments = parser.parse_args()
    if arguments.name is None:
        for benchmark in BENCHMARKS.values():
            print(f"{benchmark.name:<11} {benchmark.summary}")
        return 0
    benchmark = BENCHMARKS[arguments.name]
    with ExitStack() as held:
        if benchmark.one_core and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        if benchmark.needs_site:
            # Here, so that the others run where there is no Django.
            from tests.benchmarks.installation import installation

            held.enter_context(installation())
        result = benchmark.load().run(Options(full=arguments.full, device=arguments.device, out=arguments.out))
    if not arguments.json:
        print(as_table(result))
    print(as_json(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
