"""What features and maps are worth after so many seconds: for our approaches, the original's recipe, and what is free."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from apps.engine.cores import usable_cores
from apps.engine.descriptors import describe_objects
from apps.engine.embedding import embed_objects
from apps.engine.map_quality import median_displacement, trustworthiness
from apps.engine.nn.config import TrainConfig
from apps.engine.nn.train import train_model
from apps.engine.reduce import reduce_to_plot
from apps.engine.registry import APPROACHES
from tests.benchmarks.labeled_sets import LabeledSet, read_labeled_set
from tests.benchmarks.original_recipe import train_original
from tests.benchmarks.report import Options, Result, significant
from tests.benchmarks.trainer import ENCODER_SIZE_PX, SEED, Trainer

Features = npt.NDArray[np.floating[Any]]

N_NEIGHBORS = 20
FOLDS = 3
# The better of two strengths counts, for everybody: features of 6 and of 600 numbers want different ones.
SHRINKAGES = (1.0, 0.03)
MOST_ASKED = 3000  # objects whose neighbors are looked at
SECONDS = {False: (60.0, 180.0), True: (20.0, 60.0)}  # of training, on a CPU; on a GPU
SECONDS_OF_A_SMALL_RUN = (12.0,)
OURS = "simclr"
TRAINED = ("simclr", "barlow_twins", "autoencoder")
COLORS = ("color_moments", "color_histogram")
LABELS_SHOWN = (0, 100, 1000)
# Ours once more with the directions in which objects differ most made longer still: what trustworthiness costs a map.
FEW_DIRECTIONS = (1.0, 2.0, 3.0)


@dataclass(frozen=True)
class Scores:
    """All between 0 and 1, more is better."""

    neighbors_in_features: float  # share of the 20 nearest that have the object's class
    neighbors_on_map: float
    probe_balanced_accuracy: float  # of a linear probe, on held-out thirds
    trustworthiness: float  # of the map, by its own features


def run(options: Options) -> Result:
    """Ours first, at about the seconds that are given; the original then gets as many as ours took. The shortest training is
    the headline: who waits for a map waits for that one. What `simclr` begins with is to be ahead after each."""
    trainer = Trainer.on(options.device)
    lengths = SECONDS[trainer.on_gpu] if options.full else SECONDS_OF_A_SMALL_RUN
    tables: dict[str, dict[str, Any]] = {}
    displacement: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="patchsorter-benchmark-") as temporary:
        work = Path(temporary)
        for name, patch_size_px, few in (("consep_train", 64, 4), ("chula_rbc", 80, 15)):
            objects = read_labeled_set(name, work, patch_size_px=patch_size_px, n_images=None if options.full else few)
            tables[name] = _compare(objects, work / name, lengths, trainer)
            if options.out is not None and name == "consep_train":
                displacement = _draw_maps(objects, work / name / _name_of(lengths[0]), options.out, trainer)
    soonest = _name_of(lengths[0])
    scores = {
        **tables["consep_train"]["without_training"]["scores"],
        **tables["consep_train"]["trained_s"][soonest]["scores"],
    }
    value = scores[OURS]["probe_balanced_accuracy"]
    peer_value = max(scores[peer]["probe_balanced_accuracy"] for peer in ("original", *COLORS))
    return Result(
        name="maps",
        value=value,
        unit="balanced accuracy of a linear probe, consep_train",
        peer="the better of the original's SimCLR recipe, rebuilt, at equal seconds of training, and of raw color features",
        peer_value=peer_value,
        ratio=value / peer_value,
        goal=1.0,
        figures={
            **tables,
            "ahead_by": significant(value - peer_value),
            "smallest_lead": min(
                lead
                for table in tables.values()
                for trained in table["trained_s"].values()
                for lead in trained["lead_over_the_better_peer"].values()
            ),
            **displacement,
            "encoder_size_px": ENCODER_SIZE_PX,
            "device": "cpu, one thread" if not trainer.on_gpu else torch.cuda.get_device_name(trainer.device),
        },
        floors={"ahead_by": 0.05, "smallest_lead": 0.0},
    )


def _name_of(seconds: float) -> str:
    """Of so long a training: in the tables, and of its folder."""
    return f"{seconds:.0f}"


def _compare(objects: LabeledSet, work: Path, lengths: tuple[float, ...], trainer: Trainer) -> dict[str, Any]:
    work.mkdir(parents=True, exist_ok=True)
    describe_objects(objects.patches, np.arange(2))  # compiled, as in a worker that has been at it before
    trainer.warm_up(objects.patches)
    free = _untrained(objects, work, trainer)
    trained = {_name_of(seconds): _trained(objects, work / _name_of(seconds), seconds, trainer) for seconds in lengths}
    ours = trained[_name_of(lengths[0])].features[OURS]
    few = {str(power): of_few_directions(ours, power) for power in FEW_DIRECTIONS}
    with ProcessPoolExecutor(usable_cores(), mp_context=get_context("spawn")) as pool:

        def score(features: dict[str, Features]) -> dict[str, Future[Scores]]:
            return {name: pool.submit(_score, rows, objects.class_values) for name, rows in features.items()}

        coming = {seconds: score(made.features) for seconds, made in trained.items()}
        of_free, of_few = _finished(score(free.features)), _finished(score(few))
        of_trained = {seconds: _finished(scores) for seconds, scores in coming.items()}
    tables: dict[str, dict[str, Any]] = {}
    for seconds, scores in of_trained.items():
        peers = [scores["original"], *(of_free[color] for color in COLORS)]
        leads = {column: significant(scores[OURS][column] - max(p[column] for p in peers)) for column in scores[OURS]}
        tables[seconds] = {
            "seconds": trained[seconds].seconds,
            "scores": scores,
            "lead_over_the_better_peer": leads,
        }
    return {
        "objects": len(objects),
        "classes": len(objects.class_names),
        "without_training": {"seconds": free.seconds, "scores": of_free},
        "trained_s": tables,
        "of_few_directions": of_few,
    }


@dataclass(frozen=True)
class Made:
    """Features and what each took in all, with embedding and measuring, by their names."""

    features: dict[str, Features]
    seconds: dict[str, float]

    @classmethod
    def by(cls, clock: Callable[[], float], makers: dict[str, Callable[[], Features]]) -> Made:
        """One after the other."""
        features, seconds = {}, {}
        for name, make in makers.items():
            started = clock()
            features[name] = make()
            seconds[name] = significant(clock() - started)
        return cls(features, seconds)


def _untrained(objects: LabeledSet, work: Path, trainer: Trainer) -> Made:
    instant = APPROACHES.get("instant").settings()
    return Made.by(
        trainer.clock,
        {
            "instant": lambda: embed_objects("instant", instant, work / "instant", objects.patches),
            "instant_with_pretrained": lambda: embed_objects(
                "instant", instant.changed({"pretrained": True}), work / "pretrained", objects.patches
            ),
            "random_weights": lambda: _random_weights(objects, work / "random"),
            "color_moments": lambda: _color_moments(objects),
            "color_histogram": lambda: _color_histogram(objects),
        },
    )


def _trained(objects: LabeledSet, work: Path, seconds: float, trainer: Trainer) -> Made:
    """Ours, and the original for as long as ours took with embedding and measuring; its own embedding comes on top."""
    ours = Made.by(
        trainer.clock,
        {name: partial(_train, objects, name, work / name, seconds, trainer) for name in TRAINED},
    )

    def train_the_original() -> Features:
        return train_original(
            objects.patches,
            ours.seconds[OURS],
            SEED,
            size_px=ENCODER_SIZE_PX,
            device=str(trainer.device),
            clock=trainer.clock,
        )

    original = Made.by(trainer.clock, {"original": train_the_original})
    return Made(ours.features | original.features, ours.seconds | original.seconds)


def _finished(coming: dict[str, Future[Scores]]) -> dict[str, dict[str, float]]:
    return {
        name: {column: significant(value) for column, value in asdict(scores.result()).items()}
        for name, scores in coming.items()
    }


def of_few_directions(features: Features, power: float) -> Features:
    """Features (n, d) turned to their principal directions, each longer by the power of its share of the longest's spread.

    A linear probe of standardized columns can say as much of them; distances, and so the map, are of ever fewer directions.
    """
    rows = features.astype(np.float32)
    rows -= rows.mean(axis=0)
    _, spread, directions = np.linalg.svd(rows, full_matrices=False)
    turned: Features = (rows @ directions.T) * (spread / spread[0]) ** power
    return turned


def _train(objects: LabeledSet, approach: str, folder: Path, seconds: float, trainer: Trainer) -> Features:
    trainer.train_for(seconds, approach, objects.patches, folder)
    return embed_objects(approach, APPROACHES.get(approach).settings(), folder, objects.patches)


def _random_weights(objects: LabeledSet, folder: Path) -> Features:
    """Of a network that has learned nothing, alone."""
    settings = APPROACHES.get("frozen").settings().changed({"descriptors": False})
    config = TrainConfig(approach="frozen", settings=settings, encoder_size_px=ENCODER_SIZE_PX, seed=SEED)  # type: ignore[arg-type]
    train_model(config, objects.patches, checkpoint=folder)
    return embed_objects("frozen", settings, folder, objects.patches)


def _color_moments(objects: LabeledSet) -> Features:
    """Mean and standard deviation of each channel of the patch: 6 numbers."""
    rows = [
        np.concatenate([patches.mean(axis=(1, 2)), patches.std(axis=(1, 2))], axis=1) for patches in _batches(objects)
    ]
    return _standardized(np.concatenate(rows))


def _color_histogram(objects: LabeledSet) -> Features:
    """How often each sixteenth of each channel's range occurs in the patch: 48 numbers."""
    rows = [
        np.stack([
            np.concatenate([np.bincount(patch[..., c].ravel() // 16, minlength=16) for c in range(3)])
            for patch in patches
        ])
        for patches in _batches(objects)
    ]  # fmt: skip
    return _standardized(np.concatenate(rows).astype(np.float64))


def _batches(objects: LabeledSet) -> list[npt.NDArray[np.uint8]]:
    return [objects.patches.read(rows) for rows in np.array_split(np.arange(len(objects)), max(1, len(objects) // 500))]


def _standardized(rows: Features) -> Features:
    spread = rows.std(axis=0)
    return (rows - rows.mean(axis=0)) / np.where(spread > 0, spread, 1)


def _score(features: Features, class_values: npt.NDArray[np.uint8]) -> Scores:
    points = reduce_to_plot(features, seed=SEED)
    faithful = trustworthiness(features, points)
    assert faithful is not None, "None is of a handful of objects"
    with threadpool_limits(1):  # as many are scored side by side as there are cores
        return Scores(
            neighbors_in_features=neighbor_purity(features, class_values),
            neighbors_on_map=neighbor_purity(points, class_values),
            probe_balanced_accuracy=probe(features, class_values),
            trustworthiness=faithful,
        )


def neighbor_purity(features: Features, class_values: npt.NDArray[np.uint8]) -> float:
    """Mean share of an object's nearest neighbors that have its class."""
    rows = features.astype(np.float32)
    rows -= rows.mean(axis=0)
    squares = np.einsum("nd,nd->n", rows, rows)
    asked = np.random.default_rng(SEED).permutation(len(rows))[:MOST_ASKED]
    shares = []
    for block in np.array_split(asked, max(1, len(asked) // 500)):
        distances = squares[None, :] - 2 * (rows[block] @ rows.T)
        distances[np.arange(len(block)), block] = np.inf
        nearest = np.argpartition(distances, N_NEIGHBORS, axis=1)[:, :N_NEIGHBORS]
        shares.append((class_values[nearest] == class_values[block, None]).mean(axis=1))
    return float(np.concatenate(shares).mean())


def probe(features: Features, class_values: npt.NDArray[np.uint8]) -> float:
    """Balanced accuracy of class-weighted logistic regression on thirds that it was not fitted to."""
    rows = _standardized(features.astype(np.float32))
    counts = np.bincount(class_values)
    kept = counts[class_values] >= FOLDS
    rows, wanted = rows[kept], class_values[kept]
    best = 0.0
    for shrinkage in SHRINKAGES:
        predicted = np.zeros_like(wanted)
        for fitted, held_out in StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(rows, wanted):
            model = LogisticRegression(C=shrinkage, class_weight="balanced", max_iter=200, tol=1e-3)
            predicted[held_out] = model.fit(rows[fitted], wanted[fitted]).predict(rows[held_out])
        best = max(best, float(balanced_accuracy_score(wanted, predicted)))
    return best


def _draw_maps(objects: LabeledSet, work: Path, out: Path, trainer: Trainer) -> dict[str, float]:
    """The map before labels and as labels come, each from the one before; colored by the truth. Returns how far half of the
    objects moved at most, by the figure's name: shares of the map's width."""
    moved: dict[str, float] = {}
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    order = rng.permutation(len(objects))
    settings, folder = APPROACHES.get(OURS).settings(), work / OURS
    points: npt.NDArray[np.float32] | None = None
    for n_labels in LABELS_SHOWN:
        if n_labels:
            values = np.zeros(len(objects), np.uint8)
            values[order[:n_labels]] = objects.class_values[order[:n_labels]]
            before, folder = folder, work / f"labels-{n_labels}"
            trainer.refine(OURS, objects.patches, values, epochs=1, start_from=before, checkpoint=folder)
        before_it = points
        points = reduce_to_plot(embed_objects(OURS, settings, folder, objects.patches), previous=before_it, seed=SEED)
        if before_it is not None:
            moved[f"displacement_after_{n_labels}_labels"] = significant(median_displacement(points, before_it) or 0.0)
        draw_map(points, objects, out / f"map-{objects.name}-{n_labels}-labels.png")
    return moved


CLASS_COLORS = ("#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f", "#edc948", "#b07aa1", "#ff9da7", "#9c755f",
                "#bab0ac", "#1b9e77", "#7570b3", "#666666")  # fmt: skip


def draw_map(points: npt.NDArray[np.float32], objects: LabeledSet, path: Path, *, side: int = 900) -> None:
    """The map as a picture, each object in the color of its true class."""
    low, high = np.quantile(points, 0.001, axis=0), np.quantile(points, 0.999, axis=0)
    places = (points - (low + high) / 2) / float((high - low).max()) * (side - 40) + side / 2
    picture = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(picture)
    for index in np.random.default_rng(SEED).permutation(len(points)):
        x, y = places[index]
        color = CLASS_COLORS[(int(objects.class_values[index]) - 1) % len(CLASS_COLORS)]
        draw.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill=color)
    for row, name in enumerate(objects.class_names):
        draw.ellipse((12, 14 + 20 * row, 22, 24 + 20 * row), fill=CLASS_COLORS[row % len(CLASS_COLORS)])
        draw.text((28, 13 + 20 * row), name.replace("_", " "), fill="black")
    picture.save(path, optimize=True)
