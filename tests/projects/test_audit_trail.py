"""What an inspector reads: who signed in, who may do what, who looked, what jobs came to; on pages, and as files to keep."""

from __future__ import annotations

import io
import json
import re
import threading
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.accounts.models import OrganizationMember, User
from apps.accounts.services import change_member_role
from apps.audit import services as audit
from apps.audit.chain import chain_hash
from apps.audit.models import AuditEvent
from apps.engine.errors import EngineError
from apps.labels.selectors import shared_label_set
from apps.projects.jobs import run_job
from apps.projects.models import Job, ProjectMember
from apps.projects.services import add_project_member
from tests.factories import PASSWORD, make_image, make_member
from tests.tables import rows_of

if TYPE_CHECKING:
    from tests.conftest import World

SignIn = Callable[[User], Client]


def page(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, url
    return response.content.decode()


def test_sign_ins_and_roles_are_read_by_who_runs_or_audits_the_organization(world: World, signed_in: SignIn) -> None:
    Client().post(reverse("account_login"), {"login": world.rater.email, "password": "not it"})
    Client().post(reverse("account_login"), {"login": world.rater.email, "password": PASSWORD})
    member = OrganizationMember.objects.get(organization=world.organization, user=world.colleague)
    change_member_role(member=member, role="admin", changed_by=world.owner)
    auditor = make_member(world.organization, "Auditor", OrganizationMember.Role.AUDITOR).user
    url = reverse("organization_audit", args=[world.organization.pk])
    for reader in (world.owner, world.colleague, auditor):
        text = page(signed_in(reader), url)
        for action in ("account.sign_in", "account.sign_in.failed", "organization.member.role", "project.create"):
            assert f"<code>{action}</code>" in text
        assert f'"{url}"' in page(signed_in(reader), reverse("project_list"))
    assert "<code>project.member.add</code>" not in page(signed_in(auditor), url + "?action=account")
    for other, status in ((world.manager, 403), (world.rater, 403), (world.stranger, 404)):
        assert signed_in(other).get(url).status_code == status
        assert (
            signed_in(other).get(reverse("organization_audit_table", args=[world.organization.pk])).status_code
            == status
        )


def test_a_trail_can_be_kept_as_a_file_and_checked_without_us(world: World, signed_in: SignIn) -> None:
    client = signed_in(world.owner)
    audit.record(actor=world.owner, action="x", subject="=1+1", organization_id=world.organization.pk)
    rows = rows_of(client, reverse("organization_audit_table", args=[world.organization.pk]))
    rows.reverse()
    assert [int(row["number"]) for row in rows] == list(range(1, len(rows) + 1))
    previous = ""
    for row in rows:
        header = {
            "organization": int(row["organization_id"]),
            "project": int(row["project_id"]) if row["project_id"] else None,
            "sequence": int(row["number"]),
            "at": row["at"],
            "actor": int(row["actor_id"]) if row["actor_id"] else None,
            "action": row["action"],
            "subject": re.sub("^'(?=[=+@-])", "", row["subject"]),  # by which spreadsheets mark text
            "detail": json.loads(row["detail"]),
        }
        assert row["previous_hash"] == previous
        assert row["hash"] == chain_hash(previous, header)
        previous = row["hash"]
    assert rows[-1]["subject"] == "events", "this download"
    event = AuditEvent.objects.get(action="audit.download")
    assert (event.actor, event.subject) == (world.owner, "events")


def test_a_file_has_what_the_page_is_filtered_by(world: World, signed_in: SignIn) -> None:
    client, url = signed_in(world.manager), reverse("project_audit_table", args=[world.project.pk])
    rows = rows_of(client, url + "?action=project.member")
    assert {row["action"] for row in rows} == {"project.member.add"}
    assert len(rows) == 4
    assert client.get(url + "?action=none").status_code == client.get(url + "?since=then").status_code == 400
    assert f"{url}?action=project.member" in page(
        client, reverse("project_audit", args=[world.project.pk]) + "?action=project.member"
    )


def test_more_events_than_are_read_at_once_are_all_in_the_file(
    world: World, signed_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.audit.selectors.RECORDS_AT_ONCE", 3)
    monkeypatch.setattr("apps.common.tables.ROWS_AT_ONCE", 2)
    n = AuditEvent.objects.filter(project_id=world.project.pk).count()
    rows = rows_of(signed_in(world.manager), reverse("project_audit_table", args=[world.project.pk]))
    assert len(rows) == n + 1 > 7  # the download itself was noted first
    assert len({row["number"] for row in rows}) == n + 1


def test_what_somebody_typed_is_no_formula_in_a_spreadsheet(world: World, signed_in: SignIn) -> None:
    audit.record(
        actor=world.manager,
        action="image.import",
        subject="=HYPERLINK(1)",
        organization_id=world.organization.pk,
        project_id=world.project.pk,
    )
    rows = rows_of(signed_in(world.manager), reverse("project_audit_table", args=[world.project.pk]))
    assert rows[1]["subject"] == "'=HYPERLINK(1)"


def test_labels_given_can_be_kept_as_a_file(world: World, signed_in: SignIn) -> None:
    make_image(world.project)
    world.label(1, range(5))
    world.label(2, [0])
    url = reverse("label_history_table", args=[world.project.pk])
    last, first = rows_of(signed_in(world.manager), url)
    assert (last["number"], last["actor"], last["what"], last["objects_changed"]) == ("2", "Rafa Rater", "labeled", "1")
    assert last["previous_hash"] == first["hash"]
    value = world.project.label_classes.get(value=1).pk
    (only,) = rows_of(signed_in(world.manager), f"{url}?label_class={value}")
    assert only["number"] == "1"


def test_who_looked_at_images_is_noted_once_a_day(
    world: World, signed_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = make_image(world.project)
    client = signed_in(world.viewer)

    def look() -> None:
        client.get(reverse("image_detail", args=[world.project.pk, image.pk]))
        client.get(reverse("image_thumbnail", args=[world.project.pk, image.pk]) + "?px=4096")
        client.get(reverse("patch", args=[world.project.pk, 0]))
        atlas = reverse("atlas", args=[world.project.pk])
        client.post(atlas, {"ordinals": [0, 1]}, content_type="application/json")

    def noted() -> list[tuple[str, str]]:
        events = AuditEvent.objects.filter(action__endswith=".view", actor=world.viewer)
        return sorted(events.values_list("action", "subject"))

    once = [("image.view", image.name), ("project.view", "project Nuclei")]
    look()
    look()
    assert noted() == once
    audit._reads_noted.clear()  # as in another process
    look()
    assert noted() == once
    signed_in(world.rater).get(reverse("image_detail", args=[world.project.pk, image.pk]))
    assert noted() == once
    assert AuditEvent.objects.filter(action="image.view", actor=world.rater).count() == 1
    tomorrow = timezone.now() + timedelta(days=1)
    monkeypatch.setattr(audit, "timezone", SimpleNamespace(now=lambda: tomorrow))
    look()
    assert noted() == sorted(once * 2)


def test_the_whole_of_a_small_image_is_no_thumbnail(world: World, signed_in: SignIn) -> None:
    image = make_image(world.project)
    url = reverse("image_thumbnail", args=[world.project.pk, image.pk])
    signed_in(world.viewer).get(f"{url}?px=128")
    assert max(image.width, image.height) <= 128
    assert AuditEvent.objects.filter(action="image.view", actor=world.viewer).exists()


@pytest.mark.django_db(transaction=True)
def test_a_page_does_not_wait_for_an_import_to_be_noted(world: World, signed_in: SignIn) -> None:
    image = make_image(world.project)
    client, url = signed_in(world.viewer), reverse("image_detail", args=[world.project.pk, image.pk])

    def noted() -> int:
        return AuditEvent.objects.filter(action="image.view", actor=world.viewer).count()

    locked, may_end = threading.Event(), threading.Event()

    def import_at_length() -> None:
        with transaction.atomic():
            audit.record(actor=None, action="image.import", subject="b.png", organization_id=world.organization.pk)
            locked.set()
            may_end.wait(30)
        connection.close()

    thread = threading.Thread(target=import_at_length)
    thread.start()
    try:
        assert locked.wait(10)
        assert client.get(url).status_code == 200
        assert noted() == 0
    finally:
        may_end.set()
        thread.join()
    client.get(url)
    client.get(url)
    assert noted() == 1


def test_a_project_s_manager_hides_nothing_of_it_from_who_reads_the_organization_s_trail(
    world: World, signed_in: SignIn
) -> None:
    auditor = make_member(world.organization, "Auditor", OrganizationMember.Role.AUDITOR).user
    url = reverse("organization_audit_table", args=[world.organization.pk])
    assert {row["project_id"] for row in rows_of(signed_in(auditor), url)} == {"", str(world.project.pk)}
    member = add_project_member(project=world.project, user=auditor, role="viewer", added_by=world.manager)
    ProjectMember.objects.filter(pk=member.pk).update(denials=["project.view"])
    assert {row["project_id"] for row in rows_of(signed_in(auditor), url)} == {"", str(world.project.pk)}


def fail(job: Job, report: Any) -> dict[str, Any]:
    raise EngineError("no patches")


@pytest.mark.parametrize(
    ("work", "detail"),
    [
        (
            lambda job, report: {"objects": 7, "seconds": {"map": 1.5}, "errors": [{"file": "a.png"}]},
            {"state": "finished", "objects": 7, "errors": 1},
        ),
        (fail, {"state": "failed", "error": "no patches"}),
    ],
)
@pytest.mark.django_db(transaction=True)
def test_what_a_job_came_to_is_noted(world: World, make_job: Callable[..., Job], work: Any, detail: Any) -> None:
    job = make_job(kind="export")
    run_job(job.pk, work)
    event = AuditEvent.objects.get(action="job.export.end")
    assert (event.actor, event.subject, event.detail) == (None, f"export job {job.pk}", detail)


def verified(*arguments: object) -> Any:
    out = io.StringIO()
    call_command("verify_labels", *map(str, arguments), stdout=out)
    return json.loads(out.getvalue())


def test_one_command_checks_all_trails_and_histories(world: World) -> None:
    Client().post(reverse("account_login"), {"login": "nobody@lab.example", "password": "x"})  # the installation's
    make_image(world.project)
    world.label(1, range(5))
    one, everything = verified(world.project.pk), verified()
    assert (one["projects"], one["actions"]) == ([world.project.pk], 1)
    assert everything["projects"] == [world.project.pk, world.their_project.pk]
    assert everything["audit_events"] == AuditEvent.objects.count() > one["audit_events"]
    chain = audit.AuditChain.objects.get(organization_id=audit.INSTALLATION)
    chain.hash = "another"
    chain.save()
    with pytest.raises(CommandError, match="audit of the installation, entry 1: the trail's end is missing"):
        verified()
    assert verified(world.project.pk)["faults"] == 0


def test_a_file_replaces_nothing_that_people_labeled(world: World, tmp_path: Any) -> None:
    image = make_image(world.project)
    world.label(1, range(5))
    name = world.project.label_classes.get(value=2).name
    file = tmp_path / "classes.csv"
    file.write_text(f"image,label_id,class_name\n{image.name},1,{name}\n")
    with pytest.raises(CommandError, match="holds what was labeled here"):
        call_command("import_labels", str(world.project.pk), str(file), label_set="shared")
    assert shared_label_set(world.project).counts == {"1": 5}


def test_a_command_says_whose_doing_it_is(world: World, tmp_path: Any) -> None:
    image = make_image(world.project)
    name = world.project.label_classes.get(value=2).name
    file = tmp_path / "classes.csv"
    file.write_text(f"image,label_id,class_name\n{image.name},1,{name}\n")
    call_command("import_labels", str(world.project.pk), str(file), by=world.lead.email, stdout=io.StringIO())
    assert AuditEvent.objects.get(action="labels.import").actor == world.lead
    said = AuditEvent.objects.get(action="command.by")
    assert (said.actor, said.subject) == (None, f"import_labels, in the name of {world.lead.email}")
    call_command("export_labels", str(world.project.pk), str(tmp_path / "out"), stdout=io.StringIO())
    exported = AuditEvent.objects.get(action="export.folder")
    assert (exported.actor, exported.subject, exported.detail["labeled"]) == (None, "out", 1)
    for other in ("nobody@lab.example", world.stranger.email):
        with pytest.raises(CommandError, match=f"has no active account {other}"):
            call_command("export_labels", str(world.project.pk), str(tmp_path / "out"), by=other)


def test_who_runs_the_server_gives_a_new_password_and_that_is_noted(world: World) -> None:
    out = io.StringIO()
    call_command("give_password", world.rater.email, stdout=out)
    password = json.loads(out.getvalue())["one_time_password"]
    client = Client()
    assert client.post(reverse("account_login"), {"login": world.rater.email, "password": password}).status_code == 302
    assert client.get("/")["Location"] == reverse("account_change_password")
    event = AuditEvent.objects.get(action="account.password.reset")
    assert event.actor is None and event.organization_id == world.organization.pk
    with pytest.raises(CommandError, match="there is no account"):
        call_command("give_password", "nobody@lab.example")
    User.objects.filter(pk=world.rater.pk).update(is_active=False)
    with pytest.raises(CommandError, match="deactivated"):
        call_command("give_password", world.rater.email)
