"""A map's update: features that drifted since the map before, against umap-learn's default on the same features.

The features are synthetic, as real sets of 100,000 labeled nuclei with two trained networks are not at hand: 24 classes as
Gaussians on a manifold of 12 dimensions, carried by a random two-layer ReLU network to the wanted dimension and scaled to
length 1; between the first map and the second the classes move apart by 15 % and the network's weights change by 10 %.
Real features spread over more dimensions, which makes neighbors harder to find: trees are added until a sample's are.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

from apps.engine.map_quality import median_displacement, trustworthiness
from apps.engine.neighbors import nearest_neighbors
from apps.engine.reduce import place_new, reduce_to_plot
from tests.benchmarks.report import Options, Result, significant

Floats = npt.NDArray[np.float32]

SMALL = (20_000, 128)
LARGE = (100_000, 512)
MILLION = (1_000_000, 64)
BEYOND = (1_500_000, 64)  # landmarks, with the rest placed among them
N_CLASSES, MANIFOLD, HIDDEN = 24, 12, 128
BLOCK_ROWS = 50_000
RECALL_ROWS = 500


def run(options: Options) -> Result:
    """Ours fresh and warm, umap-learn twice (it knows no former map); with `full` also a million objects and more, ours alone."""
    n, dimension = LARGE if options.full else SMALL
    before, after = drifting_features(n, dimension)
    first_use = _warm_up()
    ours = _ours(before, after)
    peer = _umap_learn(before, after)
    warm_seconds, peer_seconds = ours["warm_seconds"], peer["seconds"]
    figures: dict[str, Any] = {
        "objects": n,
        "dimensions": dimension,
        **first_use,
        **ours,
        **{f"umap_learn_{name}": value for name, value in peer.items()},
        "warm_trust_of_fresh": significant(ours["warm_trustworthiness"] / ours["fresh_trustworthiness"]),
        "trust_lost_to_umap_learn": significant(peer["trustworthiness"] - ours["warm_trustworthiness"]),
    }
    bounds = {"displacement": 0.05, "trust_lost_to_fresh": 0.005}
    figures["trust_lost_to_fresh"] = significant(1 - ours["warm_trustworthiness"] / ours["fresh_trustworthiness"])
    if options.full:
        figures |= {f"million_{name}": value for name, value in _ours(*drifting_features(*MILLION)).items()}
        figures |= {f"beyond_a_million_{name}": value for name, value in _update(*drifting_features(*BEYOND)).items()}
        lost = 1 - figures["million_warm_trustworthiness"] / figures["million_fresh_trustworthiness"]
        figures["million_trust_lost_to_fresh"] = significant(lost)
        bounds |= {"million_warm_seconds": 70, "million_displacement": 0.05, "million_trust_lost_to_fresh": 0.005}
        bounds |= {"beyond_a_million_displacement": 0.05}
    return Result(
        name="reduce",
        value=warm_seconds,
        unit="s",
        peer="umap-learn's default (spectral start, 200 epochs from 10,000 objects), compiled before the clock starts",
        peer_value=peer_seconds,
        ratio=peer_seconds / warm_seconds,
        goal=4.0,
        bound=10.0 if options.full else None,
        bounds=bounds,
        figures=figures,
    )


def drifting_features(n: int, dimension: int, *, seed: int = 0) -> tuple[Floats, Floats]:
    """Features (n, dimension) of the same objects before and after a training, of length 1."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(scale=1.5, size=(N_CLASSES, MANIFOLD))
    layers = [rng.normal(size=(a, b)) / np.sqrt(a) for a, b in ((MANIFOLD, HIDDEN), (HIDDEN, dimension))]
    drifted = [layer + 0.1 * rng.normal(size=layer.shape) / np.sqrt(len(layer)) for layer in layers]
    own = centers[rng.integers(0, N_CLASSES, n)]
    spread = rng.normal(size=(n, MANIFOLD))
    return _through(layers, own + spread), _through(drifted, 1.15 * own + spread)


def _through(layers: list[npt.NDArray[np.float64]], inputs: npt.NDArray[np.float64]) -> Floats:
    features = np.empty((len(inputs), layers[-1].shape[1]), np.float32)
    for first in range(0, len(inputs), BLOCK_ROWS):
        block = inputs[first : first + BLOCK_ROWS].astype(np.float32)
        for layer in layers:
            block = np.maximum(block @ layer.astype(np.float32), 0)
        features[first : first + BLOCK_ROWS] = block / (np.linalg.norm(block, axis=1, keepdims=True) + 1e-9)
    return features


def _warm_up() -> dict[str, float]:
    """Both compile, or load what they compiled, before anything is timed but that."""
    features, _after = drifting_features(12_000, 16)

    def ours() -> None:
        reduce_to_plot(features[:500])
        nearest_neighbors(features, 15, seed=0)

    _none, seconds, _cpu = _timed(ours)
    _none, peer_seconds, _cpu = _timed(lambda: _fit_umap_learn(features[:5_000]))
    return {"first_use_seconds": seconds, "umap_learn_first_use_seconds": peer_seconds}


def _ours(before: Floats, after: Floats) -> dict[str, Any]:
    first, first_seconds, _cpu = _timed(lambda: reduce_to_plot(before))
    fresh, fresh_seconds, _cpu = _timed(lambda: reduce_to_plot(after))
    warm, warm_seconds, warm_cpu = _timed(lambda: reduce_to_plot(after, previous=first))
    neighbors, search_seconds, _cpu = _timed(lambda: nearest_neighbors(after, 15, seed=0)[0])
    partly = first.copy()
    partly[-len(partly) // 100 :] = np.nan
    _placed, placing_seconds, _cpu = _timed(lambda: place_new(before, partly))
    return {
        "warm_seconds": warm_seconds,
        "warm_processor_seconds": warm_cpu,
        "fresh_seconds": fresh_seconds,
        "first_seconds": first_seconds,
        "neighbor_seconds": search_seconds,
        "neighbor_recall": significant(_recall(after, neighbors)),
        "placing_1_percent_seconds": placing_seconds,
        "displacement": significant(median_displacement(warm, first) or 0.0),
        "fresh_displacement": significant(median_displacement(fresh, first) or 0.0),
        "warm_trustworthiness": significant(trustworthiness(after, warm) or 0.0, 5),
        "fresh_trustworthiness": significant(trustworthiness(after, fresh) or 0.0, 5),
    }


def _update(before: Floats, after: Floats) -> dict[str, Any]:
    """A map and the one that follows it, no more: the larger the set, the longer the rest would take."""
    first, first_seconds, _cpu = _timed(lambda: reduce_to_plot(before))
    warm, warm_seconds, _cpu = _timed(lambda: reduce_to_plot(after, previous=first))
    return {
        "objects": len(before),
        "first_seconds": first_seconds,
        "warm_seconds": warm_seconds,
        "displacement": significant(median_displacement(warm, first) or 0.0),
        "first_trustworthiness": significant(trustworthiness(before, first) or 0.0, 5),
        "warm_trustworthiness": significant(trustworthiness(after, warm) or 0.0, 5),
    }


def _umap_learn(before: Floats, after: Floats) -> dict[str, Any]:
    first, _seconds, _cpu = _timed(lambda: _fit_umap_learn(before))
    second, seconds, cpu = _timed(lambda: _fit_umap_learn(after))
    return {
        "seconds": seconds,
        "processor_seconds": cpu,
        "displacement": significant(median_displacement(second, first) or 0.0),
        "trustworthiness": significant(trustworthiness(after, second) or 0.0, 5),
    }


def _fit_umap_learn(features: Floats) -> Floats:
    from umap import UMAP  # here, as it takes seconds

    points: Floats = UMAP().fit_transform(features).astype(np.float32)
    return points


def _timed(work: Any) -> tuple[Any, float, float]:
    """The result, seconds on the clock, seconds of processor time."""
    started, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, significant(time.perf_counter() - started), significant(time.process_time() - cpu)


def _recall(features: Floats, neighbors: npt.NDArray[np.int32]) -> float:
    """The share of the true neighbors that were found, of a sample."""
    rows = np.random.default_rng(1).choice(len(features), RECALL_ROWS, replace=False)
    squares = np.einsum("nd,nd->n", features, features)
    found = 0
    for row in rows:
        distances = squares - 2 * (features @ features[row])
        true = np.argpartition(distances, neighbors.shape[1] - 1)[: neighbors.shape[1]]
        found += len(np.intersect1d(true, neighbors[row]))
    return found / neighbors.shape[1] / RECALL_ROWS
