"""The API's description says of each request what that one takes."""

from __future__ import annotations

import pytest
import yaml
from django.core.management import call_command

from apps.labels.selectors import shared_label_set
from tests.conftest import World
from tests.factories import make_image


def test_the_description_is_made_without_a_warning(tmp_path) -> None:
    call_command("spectacular", "--fail-on-warn", "--validate", "--file", str(tmp_path / "api.yml"))


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/api/v1/label-sets/{label_set_id}/actions", {"kind", "class_value"}),
        ("/api/v1/projects/{project_id}/exports", {"label_set", "without_sampled"}),
    ],
)
def test_each_request_is_described_by_its_own_fields(world: World, signed_in, path: str, fields: set[str]) -> None:
    api = yaml.safe_load(signed_in(world.manager).get("/api/v1/schema").content)
    content = api["paths"][path]["post"]["requestBody"]["content"]
    name = next(iter(content.values()))["schema"]["$ref"].rsplit("/", 1)[-1]
    assert fields <= set(api["components"]["schemas"][name]["properties"])


def test_the_description_says_how_objects_are_sent_and_what_answers_a_fault(world: World, signed_in) -> None:
    api = yaml.safe_load(signed_in(world.manager).get("/api/v1/schema").content)
    labeling = api["paths"]["/api/v1/label-sets/{label_set_id}/actions"]["post"]
    assert set(labeling["requestBody"]["content"]) == {"application/json", "multipart/form-data"}
    parts = labeling["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert parts["ordinals"]["format"] == "binary"
    assert {"201", "400", "403", "404"} <= set(labeling["responses"])
    fields = api["components"]["schemas"]["LabelActionsInput"]["properties"]
    assert fields["ordinals"]["items"]["type"] == "integer"


def test_a_field_that_a_request_does_not_know_is_refused(world: World, signed_in) -> None:
    make_image(world.project)
    world.label(1, range(1))
    label_set = shared_label_set(world.project)
    asked = {"kind": "label", "class_value": 2, "provenance": "bulk", "ordinals": [0], "only_unlabelled": True}
    answer = signed_in(world.rater).post(
        f"/api/v1/label-sets/{label_set.pk}/actions", asked, content_type="application/json"
    )
    assert (answer.status_code, answer.json()) == (400, {"only_unlabelled": ["There is no such field."]})
    assert label_set.actions.count() == 1
