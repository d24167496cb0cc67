"""The label history and the audit trail against somebody with a database connection."""

from __future__ import annotations

import numpy as np
import pytest
from django.conf import settings
from django.db import ProgrammingError, connection, transaction

from apps.audit.models import AuditEvent
from apps.audit.services import verify_audit
from apps.common.append_only import grant_app_role
from apps.labels import selectors, services
from apps.labels.chain import verify_labels
from apps.labels.services import Gesture
from apps.projects.models import Project
from tests.conftest import World
from tests.settings import TEST_APP_ROLE

pytestmark = pytest.mark.django_db
TABLES = ["labels_labelaction", "labels_labelevent", "audit_auditevent"]


@pytest.fixture
def labeled(world: World) -> World:
    Project.objects.filter(pk=world.project.pk).update(n_objects=10)
    services.label_objects(
        label_set=selectors.shared_label_set(Project.objects.get(pk=world.project.pk)),
        label_class=world.project.label_classes.get(value=1),
        ordinals=np.arange(5, dtype=np.uint32),
        actor=world.rater,
        gesture=Gesture(provenance="bulk", selection={}),
    )
    connection.check_constraints()  # as a commit would; a pending check is a refusal of another kind
    return world


def run(sql: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("statement", ["UPDATE {} SET project_id = 1", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_even_the_superuser_is_refused(labeled, table, statement):
    if table == "labels_labelevent":
        statement = statement.replace("project_id", "ordinal")
    with pytest.raises(ProgrammingError, match="append-only"):
        run(statement.format(table))


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM {}",
        "TRUNCATE {}",
        "ALTER TABLE {} DISABLE TRIGGER ALL",
        "DROP TRIGGER append_only ON {}",
        "DROP TABLE {}",
        "CREATE OR REPLACE FUNCTION patchsorter_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$",
    ],
)
def test_the_role_that_the_site_runs_as_has_no_way_around(labeled, table, statement):
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL ROLE {TEST_APP_ROLE}")
        cursor.execute(f"SELECT count(*) FROM {table}")
        assert cursor.fetchone()[0] > 0
    with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
        run(f"SET LOCAL ROLE {TEST_APP_ROLE}; {statement.format(table)}")


def test_a_changed_action_and_a_changed_event_show_in_the_chain(labeled):
    run("ALTER TABLE labels_labelevent DISABLE TRIGGER append_only")
    run("UPDATE labels_labelevent SET new_value = 2 WHERE ordinal = 1")
    assert "its events were changed" in " ".join(fault.what for fault in verify_labels(labeled.project))


def test_a_removed_last_action_shows_in_the_chain(labeled):
    run("ALTER TABLE labels_labelevent DISABLE TRIGGER append_only")
    run("ALTER TABLE labels_labelaction DISABLE TRIGGER append_only")
    run("DELETE FROM labels_labelevent; DELETE FROM labels_labelaction")
    assert "the end of the history is missing" in [fault.what for fault in verify_labels(labeled.project)]


def test_a_changed_audit_event_shows_in_the_trail(labeled):
    organization_id = labeled.project.organization_id
    assert list(verify_audit(organization_id)) == []
    run("ALTER TABLE audit_auditevent DISABLE TRIGGER append_only")
    event = AuditEvent.objects.filter(organization_id=organization_id).earliest("sequence")
    AuditEvent.objects.filter(pk=event.pk).update(subject="something else")
    assert [fault.sequence for fault in verify_audit(organization_id)] == [event.sequence]


@pytest.fixture(autouse=True)
def _granted(db):
    # In the tests the default connection is the owner's; give the app's role what a migration of the site gives it.
    from unittest.mock import patch

    database = {**settings.DATABASES["default"], "USER": TEST_APP_ROLE}
    with patch.dict(settings.DATABASES, {"default": database}):
        grant_app_role("default")
