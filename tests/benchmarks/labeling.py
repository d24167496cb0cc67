"""A simulated person labels whole projects: one by one, in the original's loop, and in ours.

It ranks ways of working. It is no claim about pathologists: the times are a model's, the person never tires, errs only by
overlooking an odd one on a page, and knows every object's class at once. The figures depend on the features (how well a
linear head tells the classes apart, and where it doubts), on the time that a look at a patch takes, and on the share of
odd ones that are overlooked; `simulation/annotator.py` holds the person's constants with their sources. They also depend on the screens
(`simulation/session.py`): a page of the original's takes 1.5 s to come and a gesture there more keys, ours 0.15 s; on the shares of
labeled objects at which both train anew; and on predictions that are renewed between two pages at no cost, where the product takes up
to a second or two, in which the next page may not know of the last one's labels. Beside the product, networks see patches of 32 px and
train for the stated seconds the first time, where a project begins with 64 px and two epochs; Next ranks a page's classes by the use case's
glance, where the product always takes that at nuclei; of a page of which less than two thirds are expected to be right the product selects
nothing, and a key labels one: the simulated person selects all of it, as one may there, gives it what most of it is and corrects the
others, where a key for each would take nearly three times as long in all; and nobody is sent to other images first, as labels lie in all of them. Many of the
engine's defaults were compared on CoNSeP, which is one of the worlds: the network's weight beside the measurements, the
augmentation, the stride of its stem, the epochs of a later training, how many components features have, how many neighbors around an
object count, by how many numbers, at which distances their classes do and how much, the head's shrinkage, kernel and landmarks, and
in this benchmark itself the pages of 300, of doubtful ones and when samples are proposed. Of these the head's, how much the classes
around count, and the pages of doubtful ones were compared on chula_rbc, too; the others had no part of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from apps.engine import suggest
from apps.engine.cores import usable_cores
from apps.engine.predict import fit_kernel_head
from apps.engine.reduce import reduce_to_plot
from tests.benchmarks.labeled_sets import LabeledSet, read_labeled_set
from tests.benchmarks.report import Options, Result, significant
from tests.benchmarks.simulation.annotator import NUCLEI, Annotator
from tests.benchmarks.simulation.figure import Panel, write_curves
from tests.benchmarks.simulation.learners import OriginalLearner, OurLearner
from tests.benchmarks.simulation.measures import measure, measure_all
from tests.benchmarks.simulation.session import ORIGINAL_SCREEN, OUR_SCREEN, ClassValues, Rows, Screen, Session
from tests.benchmarks.simulation.strategies import (
    ITERATIONS_AT,
    REGION,
    Floats,
    Learner,
    LeavingOutLoop,
    OurLoop,
    SampledLoop,
    one_by_one,
    original_loop,
)
from tests.benchmarks.simulation.worlds import SYNTHETIC_WORLDS, SyntheticWorld, make_objects
from tests.benchmarks.trainer import Trainer

# The goals of the design, each above a first sketch's or near it: theta of human time.
GOALS_SEEN = {"nuclei": 12.0, "tubules": 4.3, "glomeruli": 7.2}
GOALS_SAMPLED = {"nuclei": 17.0, "tubules": 9.0, "glomeruli": 14.0}
MOST_TRUE_ERROR = 0.02
GOAL_HUMAN, GOAL_TOTAL = 1.6, 4.0
# What the project's manager wants a sample to bound.
MAX_SAMPLED_ERROR = 0.05

# A GPU learns in these seconds what there is to learn.
LONGEST_ON_GPU_S = 20.0

# Patches that a person confirms at once.
PAGE_SIZE = suggest.PAGE

ONE_BY_ONE = "one by one"
ORIGINAL = "original, pages of 50"
ORIGINAL_LARGE = "original, pages of 300"
# With the patches that it cuts by default.
OWN_SCHEDULE_PX = 32
ORIGINAL_OWN_SCHEDULE = f"original, trained as long as it trains by itself, patches of {OWN_SCHEDULE_PX} px"
OURS = "ours, every patch seen"
OURS_LEAVING_OUT = "ours, wrong ones only left out"
OURS_SAMPLED = "ours, with acceptance by sample"
ALL_SAMPLED = f"all sessions of {OURS_SAMPLED}"
OURS_SAMPLED_AS_BEGUN = "ours, with samples that bound 2 % of wrong ones, as a project begins"


class FixedFeatures:
    """A learner that never learns, for worlds in which only the way of working differs."""

    def __init__(self, features: Floats) -> None:
        self._features = features
        self._maps: dict[bytes, Floats] = {}  # by the labels: ways of working begin with the same map

    def features(self, session: Session) -> Floats:
        """The same at any time."""
        return self._features

    def predictors(self, features: Floats) -> Floats:
        """Synthetic objects lie nowhere."""
        return features

    def with_classes_around(self, predictors: Floats, labels: ClassValues, denied: Mapping[int, Rows]) -> Floats:
        """Nor do others around them."""
        return predictors

    def draw_map(self, session: Session) -> Floats:
        """The original's map, (n, 2): UMAP, supervised by the labels so far."""
        key = session.labels.tobytes()
        if key not in self._maps:
            labels = session.labels if session.labels.any() else None
            self._maps[key] = reduce_to_plot(self._features, class_values=labels)
        return self._maps[key]


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
    OURS_LEAVING_OUT: Way(
        OUR_SCREEN, lambda session, learner: LeavingOutLoop(session, learner, page_size=PAGE_SIZE).run()
    ),
    OURS_SAMPLED: Way(OUR_SCREEN, lambda session, learner: _by_sample(session, learner, MAX_SAMPLED_ERROR)),
}


def simulate(world: SyntheticWorld, ways: Mapping[str, Way] = WAYS, *, seed: int = 0) -> dict[str, Session]:
    """A finished session for each way of working, by its name."""
    learner, truth = _learner_and_truth(world.class_distance, world.n, world.seed)
    sessions = {}
    for name, way in ways.items():
        sessions[name] = Session(truth, world.use_case, way.screen, np.random.default_rng(seed))
        way.work(sessions[name], learner)
    return sessions


@cache
def _learner_and_truth(class_distance: float, n: int, seed: int) -> tuple[FixedFeatures, ClassValues]:
    """Tubules and glomeruli are the same objects, looked at for another time: their maps are drawn once."""
    features, truth = make_objects(class_distance, n, seed)
    return FixedFeatures(features), truth


@dataclass(frozen=True)
class RealWorld:
    """A shared set, and the seconds of the first training of both, on a CPU; later ones take an epoch of ours.

    `own_schedule`: the original also trains as it would by itself, on a CPU, which takes up to an hour for CoNSeP.
    `n_sampled`: so many sessions by sample; one differs from the next by some 4 %.
    """

    set_name: str
    patch_size_px: int
    n_images: int | None
    training_s: float
    own_schedule: bool = False
    n_sampled: int = 1

    @property
    def name(self) -> str:
        return self.set_name if self.n_images is None else f"{self.set_name}, {self.n_images} images"

    def read(self, work: Path) -> LabeledSet:
        """Its objects, stored in the folder `work`."""
        return read_labeled_set(self.set_name, work, patch_size_px=self.patch_size_px, n_images=self.n_images)

    def seconds_for(self, trainer: Trainer) -> float:
        """Of the first training."""
        return min(self.training_s, LONGEST_ON_GPU_S) if trainer.on_gpu else self.training_s


FOUR_IMAGES = RealWorld("consep_train", 64, n_images=4, training_s=8.0)
SMALL = (FOUR_IMAGES,)
FULL = (
    RealWorld("consep_train", 64, n_images=None, training_s=60.0, own_schedule=True, n_sampled=3),
    RealWorld("chula_rbc", 80, n_images=None, training_s=60.0),
    FOUR_IMAGES,
)
MAX_ERRORS = {OURS_SAMPLED: MAX_SAMPLED_ERROR, OURS_SAMPLED_AS_BEGUN: 0.02}
REAL_WAYS = (ONE_BY_ONE, ORIGINAL, ORIGINAL_LARGE, OURS, OURS_LEAVING_OUT, *MAX_ERRORS)


@dataclass(frozen=True)
class RealSessions:
    """Both loops over one real set, with what the machine did for them."""

    sessions: dict[str, Session]
    machine: dict[str, Any]
    more_sampled: Sequence[Session] = ()
    """By sample, with other seeds."""

    def with_those_of(self, other: RealSessions) -> RealSessions:
        """Both's, of the same world."""
        return replace(self, sessions=self.sessions | other.sessions, machine=self.machine | other.machine)

    def measure(self) -> dict[str, Any]:
        """The figures of each way of working, of those by sample together, and what the machine did."""
        by_sample = measure_all([self.sessions[OURS_SAMPLED], *self.more_sampled])
        each = {way: measure(session) for way, session in self.sessions.items()}
        return {**each, ALL_SAMPLED: by_sample, "machine": self.machine}


def simulate_synthetic() -> dict[str, dict[str, Session]]:
    """A finished session for each way of working in each synthetic world, by their names."""
    return {world.use_case.name: simulate(world) for world in SYNTHETIC_WORLDS}


def simulate_real(world: RealWorld, work: Path, trainer: Trainer, *, seed: int = 0) -> RealSessions:
    """Ours, all ways, then the original with as many seconds for each training.

    A look at a nucleus or at a red blood cell is taken to be as quick as the paper's at nuclei.
    """
    objects = world.read(work)

    def session(screen: Screen) -> Session:
        return Session(objects.class_values, NUCLEI, screen, np.random.default_rng(seed))

    training_s = world.seconds_for(trainer)
    page_sizes = {ORIGINAL: 50, ORIGINAL_LARGE: 300}
    sessions = {way: session(ORIGINAL_SCREEN if way in page_sizes else OUR_SCREEN) for way in REAL_WAYS}
    one_by_one(sessions[ONE_BY_ONE])
    ours = OurLearner(objects, work / "models", training_s, trainer)
    OurLoop(sessions[OURS], ours, page_size=PAGE_SIZE).run()
    leaving = LeavingOutLoop(
        sessions[OURS_LEAVING_OUT],
        OurLearner(objects, work / "models-leaving-out", training_s, trainer),
        page_size=PAGE_SIZE,
    )
    leaving.run()
    for way, max_error in MAX_ERRORS.items():
        _by_sample(sessions[way], OurLearner(objects, work / f"models-{max_error}", training_s, trainer), max_error)
    for way, page_size in page_sizes.items():
        original_loop(sessions[way], OriginalLearner(objects, ours.training_s, trainer).draw_map, page_size=page_size)
    machine: dict[str, Any] = {
        "objects": len(objects),
        "classes": len(objects.class_names),
        "training_s": [round(seconds, 1) for seconds in ours.training_s],
        "ours_first_map_s": round(ours.first_map_s, 1),
        "original_waited_s": round(sessions[ORIGINAL].waited_s, 1),
        "cold_start": cold_start(
            ours.first_features,
            lambda labels: ours.with_classes_around(ours.predictors(ours.first_features), labels, {}),
            objects.class_values,
        ),
        "of_the_rest_at_half_when_leaving_out": {
            "expected_right": significant(leaving.expected_right),
            "right": significant(leaving.right),
        },
    }
    return RealSessions(sessions, machine)


def _by_sample(session: Session, learner: Learner, max_error: float) -> None:
    SampledLoop(session, learner, page_size=PAGE_SIZE, max_error=max_error).run()


def simulate_sampled(world: RealWorld, work: Path, trainer: Trainer, *, seed: int) -> Session:
    """Ours by sample, once more."""
    objects = world.read(work)
    session = Session(objects.class_values, NUCLEI, OUR_SCREEN, np.random.default_rng(seed))
    _by_sample(session, OurLearner(objects, work / "models", world.seconds_for(trainer), trainer), MAX_SAMPLED_ERROR)
    return session


def simulate_own_schedule(world: RealWorld, work: Path, *, seed: int = 0) -> RealSessions:
    """The original alone, each training as long as it takes by itself, on a CPU."""
    objects = replace(world, patch_size_px=OWN_SCHEDULE_PX).read(work)
    session = Session(objects.class_values, NUCLEI, ORIGINAL_SCREEN, np.random.default_rng(seed))
    learner = OriginalLearner(objects, None, Trainer.on("cpu"))
    original_loop(session, learner.draw_map, page_size=50)
    took = {"epochs": learner.epochs, "waited_s": round(session.waited_s, 1)}
    return RealSessions({ORIGINAL_OWN_SCHEDULE: session}, {"own_schedule": took})


def cold_start(features: Floats, predictors: Callable[[ClassValues], Floats], truth: ClassValues) -> dict[str, float]:
    """What a head knows after one typical object of each group, and after as many drawn at random (mean of 20 draws)."""
    rows = suggest.typical_objects(suggest.group_objects(features), np.ones(len(truth), np.bool_))
    by_chance = [
        _known_from(predictors, truth, np.random.default_rng(seed).choice(len(truth), len(rows), replace=False))
        for seed in range(20)
    ]
    accuracy, balanced = _known_from(predictors, truth, rows)
    in_two_minutes = rows[: int(120 / NUCLEI.decide_s)]
    sooner, balanced_sooner = _known_from(predictors, truth, in_two_minutes)
    return {
        "labels_in_two_minutes": len(in_two_minutes),
        "accuracy_in_two_minutes": significant(sooner),
        "balanced_accuracy_in_two_minutes": significant(balanced_sooner),
        "labels": len(rows),
        "minutes": round(len(rows) * NUCLEI.decide_s / 60, 1),
        "accuracy": significant(accuracy),
        "balanced_accuracy": significant(balanced),
        "accuracy_by_chance": significant(float(np.mean([one[0] for one in by_chance]))),
        "balanced_accuracy_by_chance": significant(float(np.mean([one[1] for one in by_chance]))),
    }


def _known_from(
    predictors: Callable[[ClassValues], Floats], truth: ClassValues, rows: npt.NDArray[np.int64]
) -> tuple[float, float]:
    """Accuracy and balanced accuracy on all others, of a head made from the labels of `rows`; 0 where there is none."""
    labels = np.zeros(len(truth), np.uint8)
    labels[rows] = truth[rows]
    known = predictors(labels)
    head = fit_kernel_head(known, labels, seed=0)
    if head is None:
        return 0.0, 0.0
    right = head.predict(known)[0] == truth
    shares = [right[(labels == 0) & (truth == value)].mean() for value in np.unique(truth[labels == 0])]
    return float(right[labels == 0].mean()), float(np.mean(shares))


def run(options: Options) -> Result:
    """Simulate every way of working in every world, and write the curves."""
    trainer = Trainer.on(options.device)
    folder = options.out or Path(tempfile.mkdtemp(prefix="patchsorter-labeling-"))
    worlds = FULL if options.full else SMALL
    real: dict[str, dict[str, Any]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="patchsorter-benchmark-") as temporary,
        ProcessPoolExecutor(usable_cores(), mp_context=get_context("spawn")) as pool,
    ):
        work = Path(temporary)
        by_own_schedule = [
            (world.name, pool.submit(simulate_own_schedule, world, work / f"{world.name}, own schedule"))
            for world in worlds
            if world.own_schedule and not trainer.on_gpu
        ]
        coming = {world.name: pool.submit(simulate_real, world, work / world.name, trainer) for world in worlds}
        once_more = {
            world.name: [
                pool.submit(simulate_sampled, world, work / f"{world.name}, seed {seed}", trainer, seed=seed)
                for seed in range(1, world.n_sampled)
            ]
            for world in worlds
        }
        synthetic_sessions = pool.submit(simulate_synthetic).result()
        done = {
            name: replace(sessions.result(), more_sampled=[one.result() for one in once_more[name]])
            for name, sessions in coming.items()
        }
        for name, sessions in by_own_schedule:
            done[name] = done[name].with_those_of(sessions.result())
    panels = [
        Panel(
            f"{world.use_case.name}, synthetic, linear probe {world.probe:g}",
            synthetic_sessions[world.use_case.name],
            world.use_case,
        )
        for world in SYNTHETIC_WORLDS
    ]
    synthetic = {panel.use_case.name: {way: measure(s) for way, s in panel.sessions.items()} for panel in panels}
    for world in worlds:
        of = done[world.name]
        panels.append(Panel(f"{world.name}, {of.machine['objects']:,} objects", of.sessions, NUCLEI))
        real[world.name] = of.measure()
    main = real[worlds[0].name]
    ours, sampled, original = main[OURS], main[ALL_SAMPLED], main[ORIGINAL]
    ratios = {
        "ratio_of_human_theta_to_pages_of_300": ours["theta_human"] / main[ORIGINAL_LARGE]["theta_human"],
        "ratio_of_human_theta_sampled": sampled["theta_human"] / original["theta_human"],
        "ratio_of_total_theta": ours["theta_total"] / original["theta_total"],
        "ratio_of_total_theta_sampled": sampled["theta_total"] / original["theta_total"],
    }
    goals_of_total = {}
    # With as many seconds of training as ours, the original's waiting is little by the benchmark's own choice: no goal.
    trained_longest = original
    if ORIGINAL_OWN_SCHEDULE in main:
        by_itself = main[ORIGINAL_OWN_SCHEDULE]
        ratios["ratio_of_total_theta_to_its_own_schedule"] = ours["theta_total"] / by_itself["theta_total"]
        ratios["ratio_of_total_theta_sampled_to_its_own_schedule"] = sampled["theta_total"] / by_itself["theta_total"]
        goals_of_total["ratio_of_total_theta_sampled_to_its_own_schedule"] = GOAL_TOTAL
        trained_longest = max(original, by_itself, key=lambda figures: float(figures["concordance"]))
    return Result(
        name="labeling",
        value=ours["theta_human"],
        unit="theta (labels a second of human time over quick review's), consep_train, every patch seen",
        peer="the original's loop: its SimCLR recipe, rebuilt, with as many seconds of training; a lasso round the purest "
        "group of its map (UMAP, supervised by the labels), pages of 50",
        peer_value=original["theta_human"],
        ratio=ours["theta_human"] / original["theta_human"],
        goal=GOAL_HUMAN,
        floors={
            "concordance_over_the_originals": 0.0,
            "concordance_sampled_over_the_originals": 0.0,
            "total_theta_over_human_theta": 0.9,
            "total_theta_over_human_theta_sampled": 0.9,
            **goals_of_total,
            **{f"seen_{name}": goal for name, goal in GOALS_SEEN.items()},
            **{f"sampled_{name}": goal for name, goal in GOALS_SAMPLED.items()},
        },
        bounds={f"sampled_error_{name}": MOST_TRUE_ERROR for name in GOALS_SAMPLED},
        figures={
            "concordance_over_the_originals": significant(ours["concordance"] - original["concordance"]),
            # Of the longest trained one, where it was run: by its labels the total time is judged.
            "concordance_sampled_over_the_originals": significant(
                sampled["concordance"] - trained_longest["concordance"]
            ),
            "total_theta_over_human_theta": significant(ours["theta_total"] / ours["theta_human"]),
            "total_theta_over_human_theta_sampled": significant(sampled["theta_total"] / sampled["theta_human"]),
            "sampled_error_that_a_sample_bounds": MAX_SAMPLED_ERROR,
            **{name: significant(ratio) for name, ratio in ratios.items()},
            **{f"seen_{name}": of[OURS]["theta_human"] for name, of in synthetic.items()},
            **{f"sampled_{name}": of[OURS_SAMPLED]["theta_human"] for name, of in synthetic.items()},
            **{f"sampled_error_{n}": significant(1 - of[OURS_SAMPLED]["concordance"]) for n, of in synthetic.items()},
            "synthetic": synthetic,
            "real": real,
            "screens": {"original": asdict(ORIGINAL_SCREEN), "ours": asdict(OUR_SCREEN)},
            "trained_anew_at_labeled_shares": ITERATIONS_AT,
            "points_in_a_lasso_of_the_original": REGION,
            "annotator": {**asdict(Annotator()), "use_cases": [asdict(world.use_case) for world in SYNTHETIC_WORLDS]},
            "device": "cpu, one thread" if not trainer.on_gpu else torch.cuda.get_device_name(trainer.device),
            "depends_on": " ".join((__doc__ or "").split()),
            "files": [str(path) for path in write_curves([_without_quick_review(panel) for panel in panels], folder)],
        },
    )


def _without_quick_review(panel: Panel) -> Panel:
    """Its rate is a line in the picture; drawn as a way of working, its hours would leave no room for the others."""
    return replace(panel, sessions={way: session for way, session in panel.sessions.items() if way != ONE_BY_ONE})
