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
from apps.objects.tasks import import_images
from apps.projects.models import Job, Project
from tests.conftest import World
from tests.factories import blobs, make_embedding, make_image, picture, png

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "api.md"


def run(number: int, here: dict[str, str], names: dict[str, Any]) -> None:
    """One of the guide's examples, with what is `here` instead of what is written."""
    example = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)[number]
    for written, instead in here.items():
        assert written in example
        example = example.replace(written, instead)
    exec(compile(example, GUIDE.name, "exec"), names)


@pytest.mark.django_db(transaction=True)
def test_the_example_for_scripts_labels_and_takes_it_back(
    world: World, live_server: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_image(world.project)
    embedding = make_embedding(world.project, np.random.default_rng(0).normal(size=(20, 4)))
    all_of_class_1 = NewPredictions(np.ones(20, np.uint8), np.full(20, 255, np.uint8), 0, 2, True, {})
    publish_predictions(embedding=embedding, new=all_of_class_1)
    monkeypatch.setenv("PATCHSORTER_TOKEN", create_token(user=world.rater, name="Example", days=7).secret)
    run(0, {'"http://127.0.0.1:8000", 1': f'"{live_server.url}", {world.project.pk}'}, {"__name__": "example"})
    assert capsys.readouterr().out == "20 labeled\n"
    kinds = list(shared_label_set(world.project).actions.order_by("sequence").values_list("kind", flat=True))
    assert kinds == ["label", "undo"]


@pytest.mark.django_db(transaction=True)
def test_the_example_for_scripts_makes_a_project_and_fills_it(
    world: World, live_server: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, content in (("images", png(picture())), ("masks", png(blobs()))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(content)
    monkeypatch.setenv("PATCHSORTER_TOKEN", create_token(user=world.owner, name="Example", days=7).secret)
    worked_on = []

    def work_at_once(job: Job) -> None:
        worked_on.append(job.kind)
        if job.kind == "import":
            import_images(job.pk)

    monkeypatch.setattr("apps.projects.jobs._enqueue", work_at_once)
    names: dict[str, Any] = {"__name__": "example"}
    make_image(world.project)
    embedding = make_embedding(world.project, np.random.default_rng(0).normal(size=(20, 4)))
    nothing = NewPredictions(np.ones(20, np.uint8), np.zeros(20, np.uint8), 0, 2, True, {})
    publish_predictions(embedding=embedding, new=nothing)
    run(0, {'"http://127.0.0.1:8000", 1': f'"{live_server.url}", {world.project.pk}'}, names)
    run(1, {'Path("slides")': f'Path("{tmp_path}")', '"patch_size_px": 64': '"patch_size_px": 32'}, names)
    assert capsys.readouterr().out == "a.png a.png \nfinished \n"
    assert worked_on == ["import", "iteration"]
    project = Project.objects.get(name="Slides of May")
    assert project.n_objects > 0 and project.created_by == world.owner
