"""What a project's predictions are worth after so many labels, on real objects: ours, the linear head alone, and peers."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.svm import SVC

from apps.engine.classes_around import with_classes_around
from apps.engine.embedding import embed_objects
from apps.engine.nn.checkpoints import load_checkpoint
from apps.engine.nn.patches import resize_patches
from apps.engine.nn.train import train_model
from apps.engine.pixels import PatchReader
from apps.engine.predict import Head, fit_head, fit_kernel_head
from apps.engine.registry import APPROACHES
from apps.engine.suggest import group_objects, typical_objects
from apps.engine.surroundings import Surroundings, find_surroundings, with_surroundings
from apps.engine.unlabeled_images import find_unlabeled_images
from tests.benchmarks.labeled_sets import read_labeled_set
from tests.benchmarks.report import Options, Result, significant
from tests.benchmarks.trainer import Trainer

Features = npt.NDArray[np.floating[Any]]
ClassValues = npt.NDArray[np.uint8]
# Class value (n,) and its probability (n,).
Answer = tuple[ClassValues, npt.NDArray[np.floating[Any]]]
# Of what is known of the objects, after the labels (n,), 0 for none.
Predictor = Callable[["Known", ClassValues], Answer]

N_LABELS = (100, 300, 1000, 3000)
JUDGED_AT = 1000
DRAWS = {False: 2, True: 5}
EPOCHS_BEFORE_LABELS, EPOCHS_WITH_LABELS = 2, (2, 8)
OURS, LINEAR, FOREST = "ours", "ours, linear head alone", "random forest"
UNCALLED = "ours, without what those around are called"
ALONE = "ours, without what lies around"
TRAINED = "simclr"
WITH_TYPICAL = "ours, and typical objects of the other images labeled"
LABELED_IMAGES = (4, 13)  # of 27


@dataclass(frozen=True)
class Known:
    """What predictions can be made from: the features of each object (n, d), and what lies around it."""

    features: npt.NDArray[np.float16]
    surroundings: Surroundings

    @cached_property
    def beside_others(self) -> npt.NDArray[np.float16]:
        """With the mean of those around it, (n, d + 32)."""
        return with_surroundings(self.features, self.surroundings)

    def among_classes(self, labels: ClassValues) -> npt.NDArray[np.float16]:
        """And with what they are called or guessed to be, (n, d + 32 + 3 k): what the product predicts from."""
        return with_classes_around(self.beside_others, labels, self.surroundings, seed=0)


@dataclass(frozen=True)
class Worth:
    """Of the objects that have no label. Means over the draws."""

    right: float  # share
    balanced: float  # mean over the classes of the share that is right
    calibration_error: float  # mean |probability - share that is right| over ten bins of probability
    seconds: float  # of the processor, to learn and to predict all objects


def run(options: Options) -> Result:
    """Everybody learns from the same labels, drawn at random, and the same features: the measurements alone, and the mean of those
    around each object. Ours also knows what those are called. With `full` also the class layer of a network that was trained with
    the labels, beside the head on the features of that network."""
    tables: dict[str, Any] = {}
    leads: dict[str, list[float]] = {"right": [], "balanced": [], "right_over_linear": []}
    calibration: list[float] = []
    sets = (("consep_train", 64), ("chula_rbc", 80)) if options.full else (("consep_train", 64),)
    for name, patch_size_px in sets:
        with tempfile.TemporaryDirectory(prefix="patchsorter-benchmark-") as temporary:
            objects = read_labeled_set(name, Path(temporary), patch_size_px=patch_size_px)
            settings = APPROACHES.get("instant").settings()
            features = embed_objects("instant", settings, Path(temporary) / "instant", objects.patches)
            known = Known(features, find_surroundings(objects.patches.images))
        tables[name] = {}
        for n_labels in N_LABELS:
            worth = _compare(known, objects.class_values, n_labels, draws=DRAWS[options.full])
            leads["right"].append(worth[OURS].right - worth[FOREST].right)
            leads["balanced"].append(worth[OURS].balanced - worth[FOREST].balanced)
            leads["right_over_linear"].append(worth[OURS].right - worth[LINEAR].right)
            calibration.append(worth[OURS].calibration_error)
            tables[name][str(n_labels)] = {
                way: {measure: significant(value) for measure, value in asdict(of).items()} for way, of in worth.items()
            }
    if options.full:
        tables["consep_train, images without labels"] = _across_images()
        tables["consep_train, after a training"] = _after_a_training(Trainer.on(options.device))
    judged = tables["consep_train"][str(JUDGED_AT)]
    value, peer_value = judged[OURS]["right"], judged[FOREST]["right"]
    return Result(
        name="predict",
        value=value,
        unit=f"share of predictions that are right after {JUDGED_AT:,} labels, consep_train",
        peer="scikit-learn: a random forest of 100 trees, the kind that QuPath and ilastik classify objects with",
        peer_value=peer_value,
        ratio=value / peer_value,
        goal=1.0,
        figures={
            **{f"smallest_lead_{name}": significant(min(values)) for name, values in leads.items()},
            "largest_calibration_error": significant(max(calibration)),
            "draws": DRAWS[options.full],
            **tables,
        },
        floors={f"smallest_lead_{name}": 0.0 for name in leads},
        bounds={"largest_calibration_error": 0.1},
    )


def _across_images() -> dict[str, Any]:
    """From labels in some of the images, what is right in the others: tissue and stain are others there. And with the typical objects
    of those labeled that the product shows then."""
    with tempfile.TemporaryDirectory(prefix="patchsorter-benchmark-") as temporary:
        objects = read_labeled_set("consep_train", Path(temporary), patch_size_px=64)
        features = embed_objects(
            "instant", APPROACHES.get("instant").settings(), Path(temporary) / "instant", objects.patches
        )
        known = Known(features, find_surroundings(objects.patches.images))
    return {f"labels in {n} images": _from_some_images(known, objects.class_values, n) for n in LABELED_IMAGES}


def _from_some_images(known: Known, truth: ClassValues, n_images: int) -> dict[str, Any]:
    image, groups = known.surroundings.image, group_objects(known.features)
    ways = {OURS: OURS, UNCALLED: UNCALLED, ALONE: ALONE, FOREST: FOREST, WITH_TYPICAL: OURS}
    found: dict[str, list[Worth]] = {way: [] for way in ways}
    expected: dict[str, list[float]] = {way: [] for way in ways}  # mean probability
    held_out: list[float] = []
    for seed in range(DRAWS[True]):
        rng = np.random.default_rng(seed)
        is_labeled = np.isin(image, rng.permutation(image.max() + 1)[:n_images])
        labels = np.zeros_like(truth)
        rows = rng.permutation(np.flatnonzero(is_labeled))[:JUDGED_AT]
        labels[rows] = truth[rows]
        head = fit_kernel_head(known.among_classes(labels), labels, seed=0)
        assert head is not None and head.quality.accuracy is not None
        held_out.append(head.quality.accuracy)
        with_typical = labels.copy()
        others = find_unlabeled_images(image, labels)
        assert others is not None
        typical = typical_objects(groups, labels == 0, among=others.elsewhere)
        with_typical[typical] = truth[typical]
        for way, by in ways.items():
            of = with_typical if way == WITH_TYPICAL else labels
            asked = ~is_labeled & (of == 0)
            values, probability = WAYS[by](known, of)
            found[way].append(_judge(values, probability, truth, asked, 0.0))
            expected[way].append(float(probability[asked].mean()))
    worth = {
        way: {
            "right": _mean(worths, "right"),
            "balanced": _mean(worths, "balanced"),
            "expected": significant(float(np.mean(expected[way]))),
        }
        for way, worths in found.items()
    }
    return {**worth, "right of held-out labels": significant(float(np.mean(held_out)))}


def _mean(worths: list[Worth], measure: str) -> float:
    return significant(float(np.mean([getattr(worth, measure) for worth in worths])))


def _after_a_training(trainer: Trainer) -> dict[str, Any]:
    """By the epochs with labels. The layer knows what the training knew: the head here learned from the same labels, no later ones."""
    with tempfile.TemporaryDirectory(prefix="patchsorter-benchmark-") as temporary:
        work = Path(temporary)
        objects = read_labeled_set("consep_train", work, patch_size_px=64)
        surroundings = find_surroundings(objects.patches.images)
        settings = APPROACHES.get(TRAINED).settings()
        before = work / "before"
        train_model(trainer.config(TRAINED, EPOCHS_BEFORE_LABELS), objects.patches, checkpoint=before)
        labels = _some_labels(objects.class_values, JUDGED_AT, seed=0)
        figures: dict[str, Any] = {}
        for epochs in EPOCHS_WITH_LABELS:
            folder = work / f"after-{epochs}"
            trainer.refine(TRAINED, objects.patches, labels, epochs=epochs, start_from=before, checkpoint=folder)
            known = Known(embed_objects(TRAINED, settings, folder, objects.patches), surroundings)
            answers = {
                **{way: WAYS[way](known, labels) for way in (OURS, UNCALLED, ALONE, LINEAR)},
                "the network's class layer": _by_class_layer(folder, objects.patches),
            }
            figures[f"{epochs} epochs with labels"] = {
                way: {
                    measure: significant(value)
                    for measure, value in asdict(_judge(*answer, objects.class_values, labels == 0, 0.0)).items()
                    if measure != "seconds"
                }
                for way, answer in answers.items()
            }
        return figures


def _by_class_layer(checkpoint: Path, patches: PatchReader) -> tuple[ClassValues, npt.NDArray[np.floating[Any]]]:
    """What the network itself says of all objects, as it was trained."""
    model, config = load_checkpoint(checkpoint)
    assert model.classifier is not None
    model.eval()
    values, probability = [], []
    with torch.inference_mode():
        for rows in np.array_split(np.arange(len(patches)), len(patches) // 500 + 1):
            pixels = torch.from_numpy(resize_patches(patches.read(rows), config.encoder_size_px))
            logits = model.classifier(model(pixels.permute(0, 3, 1, 2).float() / 255))
            most = logits.softmax(dim=1).max(dim=1)
            values.append(np.array(model.class_values, np.uint8)[most.indices.numpy()])
            probability.append(most.values.numpy())
    return np.concatenate(values), np.concatenate(probability)


def _some_labels(truth: ClassValues, n_labels: int, *, seed: int) -> ClassValues:
    """The truth of so many objects, drawn at random, 0 for the others."""
    labeled = np.random.default_rng(seed).permutation(len(truth))[:n_labels]
    labels = np.zeros_like(truth)
    labels[labeled] = truth[labeled]
    return labels


def _compare(known: Known, truth: ClassValues, n_labels: int, *, draws: int) -> dict[str, Worth]:
    found: dict[str, list[Worth]] = {way: [] for way in WAYS}
    for seed in range(draws):
        labels = _some_labels(truth, n_labels, seed=seed)
        for way, predict in WAYS.items():
            started = time.process_time()
            values, probability = predict(known, labels)
            seconds = time.process_time() - started
            found[way].append(_judge(values, probability, truth, labels == 0, seconds))
    return {
        way: Worth(*(float(mean) for mean in np.mean([list(asdict(worth).values()) for worth in of], axis=0)))
        for way, of in found.items()
    }


def _judge(
    values: ClassValues,
    probability: npt.NDArray[np.floating[Any]],
    truth: ClassValues,
    asked: npt.NDArray[np.bool_],
    seconds: float,
) -> Worth:
    right, probability, truth = (values == truth)[asked], probability[asked], truth[asked]
    bins = np.minimum((probability * 10).astype(np.int64), 9)
    errors = [(bins == b).sum() * abs(probability[bins == b].mean() - right[bins == b].mean()) for b in np.unique(bins)]
    balanced = np.mean([right[truth == value].mean() for value in np.unique(truth)])
    return Worth(float(right.mean()), float(balanced), float(sum(errors)) / len(right), seconds)


def _by_head(fit: Callable[..., Head | None], features: Features, labels: ClassValues) -> Answer:
    head = fit(features, labels, seed=0)
    assert head is not None
    return head.predict(features)


def _by_forest(known: Known, labels: ClassValues) -> Answer:
    features = known.beside_others
    forest = RandomForestClassifier(100, random_state=0).fit(features[labels > 0], labels[labels > 0])
    probability = forest.predict_proba(features)
    return forest.classes_[probability.argmax(axis=1)], probability.max(axis=1)


def _by_support_vectors(known: Known, labels: ClassValues) -> Answer:
    """Its kernel's width is ours. It states no probabilities of use; 1 says that it is always sure."""
    features = known.beside_others
    machine = SVC(C=10.0).fit(features[labels > 0].astype(np.float32), labels[labels > 0])
    return machine.predict(features.astype(np.float32)), np.ones(len(labels))


WAYS: dict[str, Predictor] = {
    OURS: lambda known, labels: _by_head(fit_kernel_head, known.among_classes(labels), labels),
    UNCALLED: lambda known, labels: _by_head(fit_kernel_head, known.beside_others, labels),
    ALONE: lambda known, labels: _by_head(fit_kernel_head, known.features, labels),
    LINEAR: lambda known, labels: _by_head(fit_head, known.among_classes(labels), labels),
    FOREST: _by_forest,
    "support vectors": _by_support_vectors,
}
