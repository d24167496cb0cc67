"""The weighted graph against umap-learn's own."""

from __future__ import annotations

import numpy as np
import scipy.sparse
from umap.umap_ import discrete_metric_simplicial_set_intersection, find_ab_params, fuzzy_simplicial_set

from apps.engine.descent import MIN_DIST, curve
from apps.engine.fuzzy import Graph, fuzzy_graph, separated_by_class
from apps.engine.neighbors import nearest_neighbors
from tests.engine.test_reduce import make_features


def matrix(graph: Graph) -> scipy.sparse.csr_matrix:
    return scipy.sparse.csr_matrix((graph.weights, graph.tails, graph.starts), shape=(graph.n, graph.n))


def test_graph_classes_and_curve_are_those_of_umap_learn() -> None:
    features, groups = make_features(200)
    features[:20] = features[0]  # on one spot
    neighbors, distances = nearest_neighbors(features, 15, seed=0)
    expected, _sigmas, _rhos = fuzzy_simplicial_set(
        features, 15, np.random.RandomState(0), "euclidean", knn_indices=neighbors, knn_dists=distances
    )
    graph = fuzzy_graph(neighbors, distances)
    assert abs(matrix(graph) - expected).max() < 1e-5

    classes = (groups + 1).astype(np.uint8)
    classes[::3] = 0
    supervised = discrete_metric_simplicial_set_intersection(expected.tocoo(), classes.astype(int) - 1)
    assert abs(matrix(separated_by_class(graph, classes)) - supervised).max() < 1e-5
    np.testing.assert_allclose(curve(), find_ab_params(1.0, MIN_DIST), rtol=1e-3)
