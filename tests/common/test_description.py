"""The API's description says of each request what that one takes."""

from __future__ import annotations

import pytest
import yaml
from django.core.management import call_command

from tests.conftest import World


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
