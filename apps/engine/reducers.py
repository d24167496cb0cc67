"""Ways from vectors to plot coordinates. `apps.engine.reduce` chooses, prepares and aligns; here is the layout itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from apps.engine.descent import MIN_DIST, descend
from apps.engine.errors import EngineError
from apps.engine.fuzzy import fuzzy_graph, reordered, separated_by_class
from apps.engine.layout import principal_components
from apps.engine.neighbors import nearest_among, nearest_neighbors, tree_order
from apps.engine.progress import Progress

Floats = npt.NDArray[np.float32]
Vectors = npt.NDArray[np.floating[Any]]

N_NEIGHBORS = 15
# A new object starts at the mean of this many neighbors that have a place.
START_NEIGHBORS = 5
# A map that starts from the one before needs less, and should not wander (umap-learn's objects moved by 0.044 of the map's
# width so, by 0.65 in a fresh fit, at equal quality); of many objects, less still.
WARM_EPOCHS, WARM_EPOCHS_OF_MANY, MANY = 50, 25, 200_000
WARM_ALPHA = 0.3
# The width of a start, as the curve of attraction is made for.
START_EXTENT = 10.0


@dataclass(frozen=True)
class Layout:
    """What a reducer is asked for: places for `vectors` (n, d), finite, n at least 12 and not all alike."""

    vectors: Vectors
    start: Floats
    """(n, 2) the earlier places, NaN in the rows of objects that had none."""
    class_values: npt.NDArray[np.uint8] | None
    """(n,) known classes, 0 = none, where they shall shape the map; None where they shall not."""
    seed: int
    progress: Progress
    """Of 100 steps; a reducer advances it, which also is where it is stopped."""
    on_points: Callable[[Floats], None]
    """To be called now and then with all places (n, 2) as they are; the receiver copies what it needs."""

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """(n,) which objects had a place."""
        known: npt.NDArray[np.bool_] = ~np.isnan(self.start[:, 0])
        return known

    @property
    def is_warm(self) -> bool:
        """Whether most objects had a place: with most of them new, the old ones are a start, and no map to keep."""
        return int(self.known.sum()) * 2 >= len(self.vectors)

    @property
    def schedule(self) -> tuple[int, float]:
        """How many epochs UMAP descends, and how far in the first: a fresh map by umap-learn's own rule."""
        n = len(self.vectors)
        if self.is_warm:
            return (WARM_EPOCHS if n < MANY else WARM_EPOCHS_OF_MANY), WARM_ALPHA
        return (500 if n <= 10_000 else 200), 1.0


def umap(layout: Layout) -> Floats:
    """UMAP (McInnes, Healy and Melville 2018), started from the earlier places or from principal components."""
    n = len(layout.vectors)
    progress = layout.progress
    neighbors, distances = nearest_neighbors(
        layout.vectors, min(N_NEIGHBORS, n), seed=layout.seed, check=progress.raise_if_stopped
    )
    progress.advance(25, "neighbors found")
    order = tree_order(layout.vectors, seed=layout.seed)
    graph = fuzzy_graph(reordered(neighbors, order), distances[order])
    if layout.class_values is not None and layout.class_values.any():
        graph = separated_by_class(graph, layout.class_values[order])
    progress.advance(5)
    places = np.empty((n, 2), np.float32)

    n_epochs, alpha = layout.schedule
    points = np.ascontiguousarray(starting_places(layout)[order])

    def after_epoch(done: int) -> None:
        progress.advance(70 * done // n_epochs - 70 * (done - 1) // n_epochs)
        places[order] = points
        layout.on_points(places)

    descend(points, graph, n_epochs=n_epochs, alpha=alpha, seed=layout.seed, after_epoch=after_epoch)
    return places


def pca(layout: Layout) -> Floats:
    """The first two principal components (Pearson 1901): at once, the same always, and coarse."""
    points = _fitted(principal_components(layout.vectors))
    layout.progress.advance(100)
    return points.astype(np.float32)


def cuml_umap(layout: Layout) -> Floats:
    """UMAP on an NVIDIA GPU by RAPIDS cuML, for millions of objects in seconds.

    cuML is optional: deploy/requirements-cuml.txt, where the worker of the queue "gpu" runs. Its layout runs on the device
    in one go, so no positions come while it does; the random state makes it repeatable at some cost of speed. Written
    after cuML 26.10; it has run on no machine yet.
    """
    try:
        from cuml.manifold import UMAP  # here, as it is optional and takes seconds
    except ImportError as error:
        raise EngineError(
            "this project's maps are drawn by cuML, which is not installed here: install deploy/requirements-cuml.txt "
            "where a GPU is, or choose umap in the project's settings"
        ) from error
    n = len(layout.vectors)
    n_epochs, alpha = layout.schedule
    model = UMAP(
        n_neighbors=min(N_NEIGHBORS, n - 1),
        min_dist=MIN_DIST,
        n_epochs=n_epochs,
        learning_rate=alpha,
        init=starting_places(layout),
        random_state=layout.seed,
        # The other way to find neighbors is faster beyond 50,000 objects, and another map each time.
        build_algo="brute_force_knn",
        output_type="numpy",
    )
    classes = layout.class_values
    # -1 is cuML's and umap-learn's "not known".
    target = (
        None
        if classes is None or not classes.any()
        else np.where(classes == 0, np.float32(-1), classes.astype(np.float32))
    )
    vectors = np.ascontiguousarray(layout.vectors, dtype=np.float32)
    points: Floats = np.asarray(model.fit_transform(vectors, y=target), dtype=np.float32)
    layout.progress.advance(100)
    return points


def starting_places(layout: Layout) -> Floats:
    """Where the objects are at the start (n, 2): where they were, new ones among their nearest that have a place;
    by principal components where nothing was. Of the extent that UMAP's forces are made for, and none quite on another.
    """
    start, known = layout.start, layout.known
    points = start.astype(np.float64)
    if known.any() and not known.all():
        new, anchors = np.flatnonzero(~known), np.flatnonzero(known)
        nearest, _distances = nearest_among(
            rows_of(layout.vectors, new), rows_of(layout.vectors, anchors), min(START_NEIGHBORS, len(anchors)),
            seed=layout.seed, check=layout.progress.raise_if_stopped,
        )  # fmt: skip
        points[new] = start[anchors][nearest].mean(axis=1)
    if known.any():
        points -= points.mean(axis=0)
        points *= scale_to_forces(points)
    if not known.any() or not points.any():
        points = _fitted(principal_components(layout.vectors))
    # Without it, equal objects start, and stay, on one spot.
    points += np.random.default_rng(layout.seed).normal(scale=1e-3, size=points.shape)
    return points.astype(np.float32)


def scale_to_forces(points: npt.NDArray[Any]) -> float:
    """What to multiply places with, so that they have about the extent that UMAP's forces are made for."""
    extent = float(np.abs(points - points.mean(axis=0)).max())
    fits = START_EXTENT / 2.5 <= extent <= START_EXTENT * 4
    return 1.0 if fits or extent == 0.0 else START_EXTENT / extent


def rows_of(vectors: Vectors, rows: npt.NDArray[np.intp]) -> Vectors:
    """`vectors[rows]` for ascending rows; a run of them is a view and no copy."""
    if len(rows) and int(rows[-1]) - int(rows[0]) + 1 == len(rows):
        return vectors[int(rows[0]) : int(rows[-1]) + 1]
    return vectors[rows]


def _fitted(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    largest = float(np.abs(points).max(initial=0.0))
    return points * (START_EXTENT / largest) if largest > 0 else points
