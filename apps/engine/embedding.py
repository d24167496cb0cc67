"""From a model to the features of objects: one way for every approach, with a network and without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from apps.engine.approaches.base import Approach, NetworkSettings, TrainingSettings
from apps.engine.approaches.instant import InstantSettings
from apps.engine.backbone_names import WEIGHTS_PREFIX
from apps.engine.descriptors import OF_THE_OBJECT_ALONE, ObjectSource, columns_of, describe_objects
from apps.engine.errors import EngineError
from apps.engine.features import FeatureSpace, Part
from apps.engine.plugins import Callers
from apps.engine.progress import ProgressCallback, StopCallback, ignore_progress, never_stop
from apps.engine.registry import APPROACHES
from apps.engine.settings import Settings

# What a network says against what the descriptors say: one that learned elsewhere, and one that learned from the project's objects. On
# CoNSeP's 15,555 nuclei and Chula's 5,282 cells, after a minute's training, of the 20 nearest on the map have an object's class: 0.800 and 0.655,
# with 0.9 and 0.3 0.794 and 0.664, with 0.6 of both (Chula) 0.651, without the former 0.779 and 0.633, without the latter 0.793 and 0.652. This
# was compared at 96 px, with the means of whole maps beside their middles; as it is now, `maps` of tests/benchmarks has 0.800 and 0.654.
PRETRAINED_WEIGHT = 0.6
TRAINED_WEIGHT = 0.3


def embed_objects(
    approach: str,
    settings: Settings,
    folder: Path,
    patches: ObjectSource,
    *,
    described: npt.NDArray[np.float32] | None = None,
    recognized: npt.NDArray[np.float16] | None = None,
    may_fit: bool = True,
    weights_root: Path | None = None,
    shards: Path | None = None,
    on_progress: ProgressCallback = ignore_progress,
    should_stop: StopCallback = never_stop,
) -> npt.NDArray[np.float16]:
    """Features (n, d) float16 of all objects of `patches`, rows of length 1, by a model.

    `folder` is the model's: it holds the weights, for an approach with a network, and the scale of its features. Where
    there is no scale yet, these objects make it; so the first call for a model is the one for the whole project, and
    with `may_fit` False it is an error.
    `described` (n, N_DESCRIPTORS) and `recognized` (n, N_FEATURES): the objects' descriptors and what the pretrained network sees in them, where
    the caller keeps them; made here otherwise.
    `weights_root`: the folder with the foundation models' weights. `shards`: a folder, the caller's to remove, by which a
    call that was killed goes on with what is done, and in which all GPUs of the machine work together.
    Reports the stages "embedding", "recognizing" and "measuring"; raises `Stopped` and `EngineError`.
    """
    chosen = APPROACHES.get(approach)
    parts: list[Part] = []
    if chosen.uses_network:
        # Only here torch is needed.
        from apps.engine.nn.embed import embed_patches
        from apps.engine.nn.launch import embed_on_this_machine

        if shards is None:
            vectors = embed_patches(
                folder, patches, weights_root=weights_root, on_progress=on_progress, should_stop=should_stop
            )
        else:
            vectors = embed_on_this_machine(
                folder,
                patches,
                weights_root=weights_root,
                shards=shards,
                on_progress=on_progress,
                should_stop=should_stop,
            )
        parts.append(Part(vectors, weight=_weight_of(settings)))
    elif chosen.implementation:
        parts.append(Part(_measured_by(chosen, patches, settings, on_progress, should_stop)))
    if uses_pretrained(settings):
        if recognized is None:
            from apps.engine.nn.pretrained import see_objects

            recognized = see_objects(
                patches, object_mask=object_mask_of(settings), on_progress=on_progress, should_stop=should_stop
            )
        parts.append(Part(recognized, weight=PRETRAINED_WEIGHT))
    if uses_descriptors(settings):
        if described is None:
            described = describe_objects(patches, on_progress=on_progress, should_stop=should_stop)
        if sees_object_only(settings):
            described = described[:, columns_of(OF_THE_OBJECT_ALONE)]
        parts.append(Part(described, by_column=True))
    space = FeatureSpace.load(folder)
    if space is None and not may_fit:
        raise EngineError(f"the model in {folder.name} has no scale for its features: train once more")
    if space is None:
        folder.mkdir(parents=True, exist_ok=True)
        space = FeatureSpace.fit(parts)
        space.save(folder)
    return space.join(parts)


def _measured_by(
    approach: Approach,
    patches: ObjectSource,
    settings: Settings,
    on_progress: ProgressCallback,
    should_stop: StopCallback,
) -> npt.NDArray[Any]:
    """What an approach without a network measures, (n, d); `EngineError`, which names it, for what it raises and for what are no
    features."""
    callers = Callers()
    measure = approach.load()
    with approach.blamed(callers):
        features = np.asarray(
            measure(
                patches,
                settings,
                on_progress=callers.watched(on_progress),
                should_stop=callers.watched(should_stop),
            )
        )
    n = len(patches)
    if features.ndim != 2 or len(features) != n or features.dtype.kind not in "fiu":
        raise EngineError(
            f"the approach {approach.name} gave features of shape {features.shape}, {features.dtype}, for {n} objects"
        )
    if n and not np.isfinite(features).any():
        raise EngineError(f"the approach {approach.name} gave features of which none is finite")
    return features


def uses_descriptors(settings: Settings) -> bool:
    """Whether a model's features hold the objects' descriptors, by themselves or beside the network's."""
    return bool(getattr(settings, "descriptors", False))


def uses_pretrained(settings: Settings) -> bool:
    """Whether a model's features hold what the pretrained network sees."""
    # Settings of other packages may mean something else by the name.
    return isinstance(settings, TrainingSettings | InstantSettings) and settings.pretrained is True


def _weight_of(settings: Settings) -> float:
    """Of what the network sees that these settings are of: a foundation model knows as much as the pretrained one, trained on or not."""
    learned_elsewhere = isinstance(settings, NetworkSettings) and settings.backbone.startswith(WEIGHTS_PREFIX)
    return PRETRAINED_WEIGHT if learned_elsewhere else TRAINED_WEIGHT


def object_mask_of(settings: Settings) -> str:
    """What a model sees of an object's surroundings."""
    return str(getattr(settings, "object_mask", "none"))


def sees_object_only(settings: Settings) -> bool:
    """Whether nothing outside an object's mask may say what it is."""
    return object_mask_of(settings) == "object_only"
