"""A simulated person labels whole projects: one by one, in the original's loop, and in ours.

It ranks ways of working. It is no claim about pathologists: the times are a model's, the person never tires, errs only by
overlooking an odd one on a page, and knows every object's class at once. The figures depend on the features (how well a
linear head tells the classes apart, and where it doubts), on the time that a look at a patch takes, and on the share of
odd ones that are overlooked; `simulation/annotator.py` holds all of the person's constants with their sources.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from apps.engine.reduce import reduce_to_plot
from tests.benchmarks.report import Options, Result, significant
from tests.benchmarks.simulation.annotator import Annotator
from tests.benchmarks.simulation.figure import Panel, write_curves
from tests.benchmarks.simulation.measures import measure
from tests.benchmarks.simulation.session import ORIGINAL_SCREEN, OUR_SCREEN, Screen, Session
from tests.benchmarks.simulation.strategies import Floats, OurLoop, SampledLoop, one_by_one, original_loop
from tests.benchmarks.simulation.worlds import SYNTHETIC_WORLDS, SyntheticWorld

# The goals of the design, each above a first sketch's or near it: theta of human time.
GOALS_SEEN = {"nuclei": 12.0, "tubules": 4.3, "glomeruli": 7.2}
GOALS_SAMPLED = {"nuclei": 17.0, "tubules": 9.0, "glomeruli": 14.0}
MOST_TRUE_ERROR = 0.02
GOAL_HUMAN = 1.6
MAX_SAMPLED_ERROR = 0.05  # what the project's manager allows a clean sample to bound

# Patches that a person confirms at once; of doubtful ones, few, so that the next ones come from a head that knows better.
PAGE_SIZE = 300
DOUBTFUL_PAGE_SIZE = 100

ONE_BY_ONE = "one by one"
ORIGINAL = "original, pages of 50"
ORIGINAL_LARGE = "original, pages of 300"
OURS = "ours, every patch seen"
OURS_SAMPLED = "ours, with acceptance by sample"


class FixedFeatures:
    """A learner that never learns, for worlds in which only the way of working differs."""

    def __init__(self, features: Floats) -> None:
        self._features = features

    def features(self, session: Session) -> Floats:
        """The same at any time."""
        return self._features

    def draw_map(self, session: Session) -> Floats:
        """The original's map, (n, 2): UMAP, supervised by the labels so far."""
        return reduce_to_plot(self._features, class_values=session.labels if session.labels.any() else None)


@dataclass(frozen=True)
class Way:
    """A way of working: the screen it needs, and what is done there."""

    screen: Screen
    work: Callable[[Session, FixedFeatures], None]


WAYS = {
    ONE_BY_ONE: Way(OUR_SCREEN, lambda session, _: one_by_one(session)),
    ORIGINAL: Way(ORIGINAL_SCREEN, lambda session, learner: original_loop(session, learner.draw_map, page_size=50)),
    ORIGINAL_LARGE: Way(
        ORIGINAL_SCREEN, lambda session, learner: original_loop(session, learner.draw_map, page_size=300)
    ),
    OURS: Way(OUR_SCREEN, lambda session, learner: OurLoop(session, learner, page_size=PAGE_SIZE).run()),
    OURS_SAMPLED: Way(
        OUR_SCREEN,
        lambda session, learner: SampledLoop(
            session, learner, page_size=DOUBTFUL_PAGE_SIZE, max_error=MAX_SAMPLED_ERROR
        ).run(),
    ),
}


def simulate(world: SyntheticWorld, ways: Mapping[str, Way] = WAYS, *, seed: int = 0) -> dict[str, Session]:
    """A finished session for each way of working, by its name."""
    features, truth = world.make()
    sessions = {}
    for name, way in ways.items():
        sessions[name] = Session(truth, world.use_case, way.screen, np.random.default_rng(seed))
        way.work(sessions[name], FixedFeatures(features))
    return sessions


def run(options: Options) -> Result:
    """Simulate every way of working in every world, and write the curves."""
    sessions = {world.use_case.name: simulate(world) for world in SYNTHETIC_WORLDS}
    measured = {name: {way: measure(session) for way, session in of.items()} for name, of in sessions.items()}
    seen = {name: of[OURS]["theta_human"] for name, of in measured.items()}
    sampled = {name: of[OURS_SAMPLED]["theta_human"] for name, of in measured.items()}
    errors = {name: 1 - of[OURS_SAMPLED]["concordance"] for name, of in measured.items()}
    original = measured["nuclei"][ORIGINAL]["theta_human"]
    folder = options.out or Path(tempfile.mkdtemp(prefix="patchsorter-labeling-"))
    panels = [
        Panel(f"{world.use_case.name}, linear probe {world.probe:g}", sessions[world.use_case.name],
              world.use_case.quick_review_per_s)
        for world in SYNTHETIC_WORLDS
    ]  # fmt: skip
    written = write_curves(panels, folder)
    return Result(
        name="labeling",
        value=seen["nuclei"],
        unit="theta (labels a second over quick review's), synthetic nuclei, every patch seen",
        peer="the original's loop in the same world: a lasso round the purest group of its map (UMAP, supervised by the "
        "labels), pages of 50, no waiting for training counted",
        peer_value=original,
        ratio=seen["nuclei"] / original,
        goal=GOAL_HUMAN,
        floors={
            **{f"seen_{name}": goal for name, goal in GOALS_SEEN.items()},
            **{f"sampled_{name}": goal for name, goal in GOALS_SAMPLED.items()},
        },
        bounds={f"sampled_error_{name}": MOST_TRUE_ERROR for name in GOALS_SAMPLED},
        figures={
            **{f"seen_{name}": theta for name, theta in seen.items()},
            **{f"sampled_{name}": theta for name, theta in sampled.items()},
            **{f"sampled_error_{name}": significant(error) for name, error in errors.items()},
            "worlds": measured,
            "annotator": {**asdict(Annotator()), "use_cases": [asdict(world.use_case) for world in SYNTHETIC_WORLDS]},
            "depends_on": " ".join((__doc__ or "").split()),
            "files": [str(path) for path in written],
        },
    )
