"""Labels in bulk: one action through the HTTP API with its events and its place in the chain, against plain UPDATE."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
import numpy.typing as npt
from django.conf import settings
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.labels.models import Label, LabelSet
from apps.labels.selectors import shared_label_set
from tests.benchmarks.browser import Browser, multipart
from tests.benchmarks.objects import add_objects
from tests.benchmarks.report import Options, Result, significant, spread
from tests.benchmarks.server import web_server
from tests.factories import make_member, make_organization, make_project

N_OBJECTS = 1_000_000
N_LABELED = 10_000
SIZES = (10, 1_000, 10_000)
N_CLASSES = 5


def run(options: Options) -> Result:
    """Objects that have a label get another one, so that the plain UPDATE has the very same rows to change."""
    member = make_member(make_organization(), "Rater")
    project = make_project(member.organization, member.user, classes=[f"class {k + 1}" for k in range(N_CLASSES)])
    started = time.perf_counter()
    add_objects(project, N_OBJECTS)
    adding_s = time.perf_counter() - started
    labeled = shared_label_set(project)
    unlabeled = LabelSet.objects.create(
        project=project, name="nothing yet", kind=LabelSet.Kind.RATER, rater=member.user
    )
    rng = np.random.default_rng(0)
    with web_server() as address:
        browser = Browser(address, member.user)
        all_s = _label(browser, labeled, np.arange(N_OBJECTS, dtype=np.uint32), 1) / 1000
        # Until autovacuum has come by, a minute later, PostgreSQL plans without knowing how large the tables are.
        early = [_label(browser, labeled, _sample(rng), 2 + k % 2) for k in range(5)]
        with connections["owner"].cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
        for k in range(2):
            _label(browser, labeled, _sample(rng), 2 + k)
            _label(browser, unlabeled, _sample(rng), 2 + k)
        ours, plain, first = [], [], []
        for round_number in range(25 if options.full else 11):
            ordinals = _sample(rng)
            value = 2 + round_number % (N_CLASSES - 1)
            ours.append(_label(browser, labeled, ordinals, value))
            plain.append(_update(labeled, ordinals, 1))
            first.append(_label(browser, unlabeled, _sample(rng), value))
        small = [_label(browser, labeled, _sample(rng, 50), 2 + k % 2) for k in range(11)]
        browser.close()
    statements = _count_statements(member.user, labeled, rng)
    if len(set(statements.values())) != 1:
        raise AssertionError(f"the number of SQL statements grows with the number of objects: {statements}")
    value_ms, plain_ms = statistics.median(ours), statistics.median(plain)
    return Result(
        name="label",
        value=value_ms,
        unit="ms",
        peer="Django's Label.objects.filter(label_set=..., ordinal__in=...).update(value=...) on the same rows right "
        "after ours, without HTTP, events or chain; both wait for the disk",
        peer_value=plain_ms,
        ratio=plain_ms / value_ms,
        goal=0.4,
        bound=300.0,
        bounds={"before_autovacuum_ms": 300.0},
        figures={
            "ours": spread(ours),
            "before_autovacuum_ms": significant(statistics.median(early)),
            "plain_update": spread(plain),
            "ratio_per_round": spread([b / a for a, b in zip(ours, plain, strict=True)]),
            "first_label_of_each_ms": spread(first),
            "page_of_50_ms": spread(small),
            "all_objects_in_one_action_s": significant(all_s),
            "sql_statements": statements,
            "objects": N_OBJECTS,
            "labeled_at_once": N_LABELED,
            "entered_objects_s": significant(adding_s),
            "way": "POST with a binary body over a kept connection to the uvicorn process of `manage.py run`; "
            "statements counted in this process by Django's test client",
            "postgresql": f"{connection.cursor().connection.info.server_version // 10000}, embedded, as shipped",
        },
    )


def _sample(rng: np.random.Generator, n: int = N_LABELED) -> npt.NDArray[np.uint32]:
    """n random objects in random order: a lasso knows nothing of ordinals."""
    return rng.choice(N_OBJECTS, n, replace=False).astype(np.uint32)


def _gesture(value: int) -> dict[str, Any]:
    polygon = [[round(0.1 + 0.001 * k, 6), round(0.2 + 0.002 * k, 6)] for k in range(100)]
    selection = {"source": "lasso", "polygon": polygon, "filters": {}, "order": "", "shown": N_LABELED}
    return {"kind": "label", "class_value": value, "provenance": "bulk", "selection": selection}


def _label(browser: Browser, label_set: LabelSet, ordinals: npt.NDArray[np.uint32], value: int) -> float:
    """Milliseconds from the request to the whole answer."""
    body, content_type = multipart({"action": _gesture(value)}, ordinals)
    started = time.perf_counter()
    browser.post(f"/api/v1/label-sets/{label_set.pk}/actions", body, content_type)
    return (time.perf_counter() - started) * 1000


def _update(label_set: LabelSet, ordinals: npt.NDArray[np.uint32], value: int) -> float:
    listed = ordinals.tolist()
    started = time.perf_counter()
    n = Label.objects.filter(label_set=label_set, ordinal__in=listed).update(value=value)
    milliseconds = (time.perf_counter() - started) * 1000
    assert n == len(listed)
    return milliseconds


def _count_statements(user: Any, label_set: LabelSet, rng: np.random.Generator) -> dict[str, int]:
    client = Client(SERVER_NAME=settings.HOST)
    client.force_login(user)
    counts = {}
    for n in SIZES:
        body, content_type = multipart({"action": _gesture(3)}, _sample(rng, n))
        with CaptureQueriesContext(connection) as queries:
            response = client.post(f"/api/v1/label-sets/{label_set.pk}/actions", body, content_type)
        assert response.status_code == 201, response.content
        assert response.json()["n"] == n
        counts[str(n)] = len(queries)
    return counts
