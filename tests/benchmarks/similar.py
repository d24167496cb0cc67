"""Objects similar to one: exact search over the vectors in their file, against a plain library call and the original's way."""

from __future__ import annotations

import statistics
import struct
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from django.db import connections
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from apps.accounts.models import User
from apps.engine.similar import SimilarObjects
from apps.labels.models import LabelAction
from apps.labels.selectors import shared_label_set
from apps.labels.services import Gesture, label_objects
from apps.models.models import Embedding
from apps.models.selectors import vectors as stored_vectors
from apps.projects.models import Job, Project
from apps.workspace.similar import Among, similar_to_objects, similar_to_picture
from tests.benchmarks.browser import Browser, multipart
from tests.benchmarks.report import Options, Result, significant
from tests.benchmarks.server import web_server
from tests.factories import make_embedding, make_member, make_organization, make_project

K = 200
N_SELECTED = 20
N_CLUSTERS = 30
SIZES = {"100,000 x 512": (100_000, 512), "1,000,000 x 128": (1_000_000, 128)}
GOALS_MS = {"100,000 x 512": 10.0, "1,000,000 x 128": 100.0}
IVF_LISTS, IVF_PROBES = 300, 10

Vectors = npt.NDArray[np.float16]


def run(options: Options) -> Result:
    """p95 of the server's function, database included; the request as a browser sends it is among the figures."""
    member = make_member(make_organization(), "Rater")
    sizes = list(SIZES) if options.full else list(SIZES)[:1]
    measured = {name: _measure(member.user, *SIZES[name], full=options.full) for name in sizes}
    first = measured[sizes[0]]
    bounds = {"recall_missed": 0.0}
    figures: dict[str, Any] = {"recall_missed": sum(result["recall_missed"] for result in measured.values())}
    for name in sizes:
        for query in ("", "selection_", "picture_"):
            figures[f"{query}p95_ms {name}"] = measured[name][f"{query}p95_ms"]
            bounds[f"{query}p95_ms {name}"] = GOALS_MS[name]
    return Result(
        name="similar",
        value=first["p95_ms"],
        unit="ms, p95",
        peer="scikit-learn's NearestNeighbors(algorithm='brute').kneighbors on the same vectors as float32, in memory",
        peer_value=first["scikit_learn_p95_ms"],
        ratio=first["scikit_learn_p95_ms"] / first["p95_ms"],
        goal=2.0,
        bound=GOALS_MS[sizes[0]],
        bounds=bounds,
        figures={**figures, **measured, "k": K, "vectors": f"synthetic, {N_CLUSTERS} clusters, float16, unit length"},
    )


def _measure(user: User, n: int, dimension: int, *, full: bool) -> dict[str, Any]:
    vectors = _synthetic(n, dimension)
    organization = user.organization_memberships.get().organization
    project = make_project(organization, user)
    # Neither the search nor its filters look at the objects' rows.
    Project.objects.filter(pk=project.pk).update(n_objects=n)
    project.refresh_from_db()
    embedding = make_embedding(project, vectors.astype(np.float32), np.zeros((n, 2), np.float32))
    _label(project, user, np.arange(0, n, 10))
    queries = np.random.default_rng(1).choice(n, 200, replace=False)

    def found_by(query: int) -> npt.NDArray[np.int64]:
        return similar_to_objects(project, np.array([query]), k=K, among=Among()).neighbors.ordinals

    def search(query: int) -> None:
        found_by(query)

    def search_unlabeled(query: int) -> None:
        similar_to_objects(project, np.array([query]), k=K, among=Among(unlabeled=True))

    opening = _times(search_unlabeled, queries[:1])
    ours, unlabeled = _times(search, queries), _times(search_unlabeled, queries)
    alike = {query: found_by(query)[:N_SELECTED] for query in queries[:100].tolist()}
    pictures = {query: _picture_like(project, embedding, vectors[query]) for query in queries[:100].tolist()}
    selection = _times(lambda query: similar_to_objects(project, alike[query], k=K, among=Among()), alike)
    picture = _times(lambda query: similar_to_picture(pictures[query], k=K, among=Among()), pictures)
    # Right after a gesture, when what the process knows of the labels is old.
    after_gesture = []
    for query in queries[:10]:
        _label(project, user, np.array([query]))
        after_gesture += _times(search_unlabeled, [query])
    requests = _over_http(user, project, queries)
    stored = stored_vectors(embedding)
    results = {
        **_spread("", ours),
        **_spread("selection_", selection),
        **_spread("picture_", picture),
        **_spread("unlabeled_", unlabeled),
        "after_a_gesture_ms": significant(statistics.median(after_gesture)),
        **_spread("http_", requests),
        "first_search_ms": significant(opening[0]),
        "core_ms_without_threads": significant(_core_ms(stored, queries)),
        "recall_missed": _missed(project, stored, queries[:20]),
    }
    results.update(_library(stored, queries))
    results.update(_original(stored, queries))
    if full:
        results.update(_database(stored, queries[:50]))
    return results


def _synthetic(n: int, dimension: int) -> Vectors:
    """Clusters as features have them, in blocks, which a million of them need."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(N_CLUSTERS, dimension)).astype(np.float32)
    vectors = np.empty((n, dimension), np.float16)
    for first in range(0, n, 50_000):
        rows = slice(first, min(n, first + 50_000))
        count = rows.stop - rows.start
        drawn = centers[rng.integers(0, N_CLUSTERS, count)] + rng.standard_normal((count, dimension), np.float32)
        vectors[rows] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return vectors


def _label(project: Project, user: User, ordinals: npt.NDArray[np.int64]) -> None:
    label_objects(
        label_set=shared_label_set(project),
        label_class=project.label_classes.first(),
        ordinals=ordinals.astype(np.uint32),
        actor=user,
        gesture=Gesture(provenance=LabelAction.Provenance.BULK, selection={}),
    )


def _picture_like(project: Project, embedding: Embedding, vector: Vectors) -> Job:
    """The job of a picture that looks like an object with this vector (d,), as its worker leaves it; the picture's network not counted."""
    noise = np.random.default_rng(2).standard_normal(len(vector)) / np.sqrt(len(vector))
    result = {"embedding": embedding.number, "vector": (vector.astype(np.float64) + 0.2 * noise).tolist()}
    return Job.objects.create(project=project, kind="picture", state=Job.State.FINISHED, result=result)


def _times(function: Callable[[int], Any], queries: Iterable[int]) -> list[float]:
    """Milliseconds of one call for each query."""
    times = []
    for query in queries:
        started = time.perf_counter()
        function(query)
        times.append((time.perf_counter() - started) * 1000)
    return times


def _spread(name: str, milliseconds: list[float]) -> dict[str, float]:
    return {
        f"{name}p50_ms": significant(float(np.percentile(milliseconds, 50))),
        f"{name}p95_ms": significant(float(np.percentile(milliseconds, 95))),
    }


def _over_http(user: User, project: Project, queries: npt.NDArray[np.int64]) -> list[float]:
    """The whole request, as the page sends it, to the web server that `manage.py run` starts."""
    path = f"/api/v1/projects/{project.pk}/objects/similar"
    times = []
    with web_server() as address:
        browser = Browser(address, user)
        for query in queries[:60, None]:
            body, content_type = multipart({"k": str(K)}, query)
            started = time.perf_counter()
            answer = browser.post(path, body, content_type)
            times.append((time.perf_counter() - started) * 1000)
            assert struct.unpack("<4sI", answer[:8]) == (b"PSS1", K)
        browser.close()
    return times[5:]  # the first ones open the file and load the kernels


def _core_ms(stored: Vectors, queries: npt.NDArray[np.int64]) -> float:
    """Processor time of a search: what it takes where the other core is busy."""
    search = SimilarObjects(stored)
    times = []
    for query in queries[:30, None]:
        started = time.process_time()
        search.nearest(search.direction(query), K)
        times.append((time.process_time() - started) * 1000)
    return statistics.median(times)


def _missed(project: Project, stored: Vectors, queries: npt.NDArray[np.int64]) -> int:
    """How many of the truly nearest, by float64 over everything, were not found; ties at the end may go either way."""
    missed = 0
    exact = np.asarray(stored, np.float64)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    for query in queries:
        cosines = exact @ exact[query]
        cosines[query] = -np.inf
        found = similar_to_objects(project, np.array([query]), k=K, among=Among()).neighbors
        kth = np.partition(cosines, len(cosines) - K)[len(cosines) - K]
        missed += K - int((cosines[found.ordinals] >= kth - 1e-12).sum())
        assert len(set(found.ordinals.tolist())) == K
    return missed


def _library(stored: Vectors, queries: npt.NDArray[np.int64]) -> dict[str, float]:
    floats = np.asarray(stored, np.float32)
    fitted = NearestNeighbors(n_neighbors=K + 1, algorithm="brute").fit(floats)

    def by_library(query: int) -> None:
        fitted.kneighbors(floats[query : query + 1])

    def plain(query: int) -> None:
        scores = floats @ floats[query]
        best = np.argpartition(-scores, K)[: K + 1]
        best[np.argsort(-scores[best])]

    by_library(0)
    return {
        **_spread("scikit_learn_", _times(by_library, queries[:40])),
        **_spread("numpy_", _times(plain, queries[:40])),
    }


def _original(stored: Vectors, queries: npt.NDArray[np.int64]) -> dict[str, float]:
    """All distances by scipy, then a partition; without the new process and the reading that come before it there."""
    doubles = np.asarray(stored, np.float64)

    def search(query: int) -> None:
        distances = cdist(doubles[query : query + 1], doubles)[0]
        np.argpartition(distances, K)[: K + 1]

    return {"original_p50_ms": significant(statistics.median(_times(search, queries[:10])))}


def _database(stored: Vectors, queries: npt.NDArray[np.int64]) -> dict[str, Any]:
    """The same in PostgreSQL with pgvector: half-precision vectors, by IVFFlat and by reading all."""
    n, dimension = stored.shape
    with connections["owner"].cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
        cursor.execute("DROP TABLE IF EXISTS benchmark_vectors")
        cursor.execute(f"CREATE TABLE benchmark_vectors (ordinal int4, vector halfvec({dimension}))")
        started = time.perf_counter()
        row = np.dtype(
            [("fields", ">i2"), ("s1", ">i4"), ("ordinal", ">i4"), ("s2", ">i4"), ("d", ">i2"), ("zero", ">i2"),
             ("vector", ">f2", (dimension,))]
        )  # fmt: skip
        with cursor.copy("COPY benchmark_vectors FROM STDIN (FORMAT binary)") as copy:
            copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
            for first in range(0, n, 20_000):
                block = stored[first : first + 20_000]
                rows = np.zeros(len(block), row)
                rows["fields"], rows["s1"], rows["s2"], rows["d"] = 2, 4, 4 + 2 * dimension, dimension
                rows["ordinal"], rows["vector"] = np.arange(first, first + len(block)), block
                copy.write(rows.tobytes())
            copy.write(b"\xff\xff")
        copying_s = time.perf_counter() - started
        cursor.execute("ANALYZE benchmark_vectors")
        truth = SimilarObjects(stored)
        figures: dict[str, Any] = {"pgvector_copy_s": significant(copying_s)}
        exact, _ = _ask_database(cursor, stored, queries[:10], truth)
        figures |= _spread("pgvector_exact_", exact)
        started = time.perf_counter()
        cursor.execute("SET maintenance_work_mem = '1GB'")
        cursor.execute(
            f"CREATE INDEX ON benchmark_vectors USING ivfflat (vector halfvec_ip_ops) WITH (lists = {IVF_LISTS})"
        )
        figures["pgvector_index_s"] = significant(time.perf_counter() - started)
        cursor.execute(f"SET ivfflat.probes = {IVF_PROBES}")
        _ask_database(cursor, stored, queries[:5], truth)
        approximate, recall = _ask_database(cursor, stored, queries, truth)
        figures |= _spread("pgvector_ivfflat_", approximate)
        figures["pgvector_ivfflat_recall"] = significant(recall)
        cursor.execute("DROP TABLE benchmark_vectors")
    return figures


def _ask_database(
    cursor: Any, stored: Vectors, queries: npt.NDArray[np.int64], truth: SimilarObjects
) -> tuple[list[float], float]:
    times, found = [], 0
    for query in queries:
        text = "[" + ",".join(map(str, stored[query].tolist())) + "]"
        started = time.perf_counter()
        cursor.execute("SELECT ordinal FROM benchmark_vectors ORDER BY vector <#> %s::halfvec LIMIT %s", [text, K])
        rows = cursor.fetchall()
        times.append((time.perf_counter() - started) * 1000)
        nearest = truth.nearest(np.asarray(stored[query], np.float64), K).ordinals.tolist()
        found += len({ordinal for (ordinal,) in rows} & set(nearest))
    return times, found / (K * len(queries))
