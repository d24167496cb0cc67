"""Rules of the whole, each held by one short test: nothing here knows what a page or a task does."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from django.apps import apps as registry
from django.contrib.admindocs.views import simplify_regex
from django.core.management import call_command
from django.db.migrations.loader import MigrationLoader
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from apps.accounts.services import create_token
from apps.common.packing import pack_ordinals
from apps.images.models import Image, Upload, UploadedFile
from apps.labels.models import LabelSet, StratumSample
from apps.models.models import Embedding, ModelVersion
from apps.projects.models import Job

if TYPE_CHECKING:
    from tests.conftest import World

REPOSITORY = Path(__file__).resolve().parents[2]

# Pages without a tenant: sign-in, one's own account, the list of one's own projects, the API's description.
WITHOUT_TENANT = {
    "healthz",
    "schema",
    "account_home",
    "account_login",
    "account_logout",
    "account_inactive",
    "account_change_password",
    "account_name",
    "token_create",
    "api_organizations",
    "api_projects",
    "project_list",
}
# Answer 404 to the owner too, because the rows of this test have no files behind them.
NEED_FILES = {
    "image_thumbnail",
    "patch",
    "plot",
    "predictions",
    "preview",
    "export_download",
    "object_detail",
    "object_groups",
}
# Is there for who labels, which the owner does not before joining the project.
FOR_LABELING = {"quick_review"}


# -- imports -------------------------------------------------------------------------------------------------------


def python(program: str) -> str:
    """What a program prints in a fresh interpreter that never connects to a database."""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.static_settings"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_engine_imports_without_django() -> None:
    program = """
import importlib, pkgutil, sys
for name in ("django", "rest_framework", "channels", "django_q"):
    sys.modules[name] = None  # importing it fails
import apps.engine
for module in pkgutil.walk_packages(apps.engine.__path__, "apps.engine."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print("imported")
"""
    assert python(program).splitlines()[-1] == "imported"


def test_the_web_process_never_imports_torch() -> None:
    program = """
import sys
import patchsorter_site.asgi
from django.urls import reverse
reverse("healthz")  # reads every app's urls, and with them its views and its API
print([name for name in ("torch", "torchvision", "umap", "timm") if name in sys.modules])
"""
    assert python(program).splitlines()[-1] == "[]"


def named_tasks() -> Iterator[str]:
    """Every string in apps/ that is a dotted path to a task."""
    for path in sorted((REPOSITORY / "apps").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and re.fullmatch(r"apps\.\w+\.tasks\.\w+", text):
                yield text


def test_every_task_that_is_named_exists() -> None:
    names = set(named_tasks())
    assert names, "no task is named anywhere: has the form of the names changed?"
    for name in names:
        module, _, function = name.rpartition(".")
        assert callable(getattr(importlib.import_module(module), function, None)), f"{name} does not exist"


# -- pages ---------------------------------------------------------------------------------------------------------


def test_no_page_drops_an_event() -> None:
    """htmx's `throttle` drops the last one, which matters, and with it whatever else the element waits for. `live.ts` spaces them."""
    triggers = {
        path: re.findall(r'hx-trigger="([^"]*)"', path.read_text()) for path in REPOSITORY.glob("apps/**/*.html")
    }
    assert any(triggers.values()), "no page waits for anything: has the form of the triggers changed?"
    assert [path.name for path, found in triggers.items() if any("throttle" in trigger for trigger in found)] == []


# -- migrations ----------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_every_model_change_has_its_migration() -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=3)


def test_no_cycle_between_the_migrations_of_apps() -> None:
    ours = {config.label for config in registry.get_app_configs() if config.name.startswith("apps.")}
    needs: dict[str, set[str]] = {label: set() for label in ours}
    for (label, _), migration in MigrationLoader(None, ignore_no_migrations=True).disk_migrations.items():
        if label in ours:
            needs[label] |= {other for other, _ in migration.dependencies if other in ours and other != label}
    order = list(TopologicalSorter(needs).static_order())
    assert set(order) == ours


# -- addresses -----------------------------------------------------------------------------------------------------


def all_patterns(resolver: URLResolver | None = None, before: str = "") -> Iterator[tuple[str, str]]:
    """Name and route, as "projects/<project_id>/...", of everything the site answers to."""
    for entry in (resolver or get_resolver()).url_patterns:
        route = before + re.sub(r"<\w+:", "<", simplify_regex(str(entry.pattern))).lstrip("/")
        if isinstance(entry, URLResolver):
            yield from all_patterns(entry, route)
        elif isinstance(entry, URLPattern):
            yield entry.name or route, route


@pytest.fixture
def identifiers(world: World) -> dict[str, int | str]:
    """A value for every name in an address, each of a row that exists in the owner's project."""
    project, owner = world.project, world.owner
    job = Job.objects.create(project=project, kind="export", task="none", queue="cpu", requested_by=owner)
    upload = Upload.objects.create(project=project, created_by=owner)
    image = Image.objects.filter(project=project).first() or Image.objects.create(
        project=project, name="a.png", height=8, width=8, checksum="0", store_key="a", first_ordinal=0, n_objects=0
    )
    uploaded = UploadedFile.objects.create(
        upload=upload, name="a.png", role=UploadedFile.Role.IMAGE, path="none", size=1, checksum="0"
    )
    label_set = LabelSet.objects.filter(project=project).first() or LabelSet.objects.create(project=project, name="l")
    embedding = Embedding.objects.filter(project=project).first() or Embedding.objects.create(
        project=project,
        number=1,
        n=0,
        dimension=8,
        model_version=ModelVersion.objects.create(project=project, number=1, approach="simclr"),
    )
    sample = StratumSample.objects.create(
        project=project,
        label_set=label_set,
        label_class=project.label_classes.get(value=1),
        drawn_by=owner,
        stratum=pack_ordinals(np.array([0], np.uint32)),
        drawn=[0],
        size=1,
        max_error=0.02,
        attempt=1,
        seed=0,
        started_at=timezone.now(),
    )
    member = project.members.exclude(user=owner).first()
    assert member is not None
    return {
        "organization_id": project.organization_id,
        "project_id": project.pk,
        "member_id": member.pk,
        "value": project.label_classes.values_list("value", flat=True)[0],
        "job_id": job.pk,
        "upload_id": upload.pk,
        "file_id": uploaded.pk,
        "image_id": image.pk,
        "label_set_id": label_set.pk,
        "sample_id": sample.pk,
        "number": embedding.number,
        "ordinal": 0,
        "token_key": create_token(user=owner, name="A script", days=7).token.token_key,
    }


def addresses(identifiers: dict[str, int | str]) -> Iterator[tuple[str, str]]:
    """Name and path of every address, filled in."""
    for name, route in all_patterns():
        missing = set(re.findall(r"<(\w+)>", route)) - set(identifiers)
        assert not missing, f"/{route}: give test_guards.identifiers a value for {missing}"
        yield name, "/" + re.sub(r"<(\w+)>", lambda found: str(identifiers[found[1]]), route)


def is_sign_in(response: Any) -> bool:
    return response.status_code == 302 and urlsplit(response["Location"]).path == reverse("account_login")


@pytest.mark.django_db
def test_no_address_is_open_to_a_stranger(world: World, identifiers: dict[str, int | str], client: Client) -> None:
    client.force_login(world.stranger)
    wrong = []
    for name, path in addresses(identifiers):
        for method in ("get", "post", "put", "patch", "delete"):
            status = getattr(client, method)(path).status_code
            allowed = {200, 204, 302, 403, 405, 422} if name in WITHOUT_TENANT else {404, 405}
            if status not in allowed:
                wrong.append(f"{method.upper()} {path} ({name}): {status}")
        if name == "account_logout":
            client.force_login(world.stranger)
    assert wrong == []


@pytest.mark.django_db
def test_no_address_is_open_to_who_has_not_signed_in(identifiers: dict[str, int | str], client: Client) -> None:
    wrong = []
    for name, path in addresses(identifiers):
        if name in WITHOUT_TENANT - {"project_list", "account_home", "account_change_password", "schema"}:
            continue
        for method in ("get", "post"):
            response = getattr(client, method)(path)
            if response.status_code not in {401, 403, 404, 405} and not is_sign_in(response):
                wrong.append(f"{method.upper()} {path} ({name}): {response.status_code}")
    assert wrong == []


@pytest.mark.django_db
def test_the_same_addresses_exist_for_the_owner(
    world: World, identifiers: dict[str, int | str], client: Client
) -> None:
    """Otherwise the two tests above would pass on addresses that are simply wrong."""
    client.force_login(world.owner)
    for name, path in addresses(identifiers):
        if name not in WITHOUT_TENANT | NEED_FILES:
            found = {403} if name in FOR_LABELING else {200, 302, 400, 405}
            assert client.get(path).status_code in found, f"{path} ({name})"
