"""The example in docs/api.md does what it says, against a server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apps.accounts.services import create_token
from apps.labels.selectors import shared_label_set
from apps.models.services import NewPredictions, publish_predictions
from tests.conftest import World
from tests.factories import make_embedding, make_image

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "api.md"


@pytest.mark.django_db(transaction=True)
def test_the_example_for_scripts_labels_and_takes_it_back(
    world: World, live_server: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_image(world.project)
    embedding = make_embedding(world.project, np.random.default_rng(0).normal(size=(20, 4)))
    all_of_class_1 = NewPredictions(np.ones(20, np.uint8), np.full(20, 255, np.uint8), 0, 2, True, {})
    publish_predictions(embedding=embedding, new=all_of_class_1)
    monkeypatch.setenv("PATCHSORTER_TOKEN", create_token(user=world.rater, name="Example", days=7).secret)
    (example,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    written = '"http://127.0.0.1:8000", 1'
    assert written in example
    example = example.replace(written, f'"{live_server.url}", {world.project.pk}')
    exec(compile(example, GUIDE.name, "exec"), {"__name__": "example"})
    assert capsys.readouterr().out == "20 labeled\n"
    kinds = list(shared_label_set(world.project).actions.order_by("sequence").values_list("kind", flat=True))
    assert kinds == ["label", "undo"]
