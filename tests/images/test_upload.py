from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from PIL import Image as PillowImage

from apps.accounts.models import User
from apps.audit.models import AuditEvent
from apps.audit.services import verify_audit
from apps.engine import durable
from apps.images import services
from apps.images.models import Upload, UploadedFile
from apps.images.review import review_upload
from apps.images.selectors import thumbnail
from apps.images.services import receive_file, start_upload
from apps.projects.files import folder
from apps.projects.models import Job
from tests.factories import blobs, make_image, picture, png

if TYPE_CHECKING:
    from tests.conftest import World

SignIn = Callable[[User], Client]


@pytest.fixture
def upload(world: World) -> Upload:
    return start_upload(project=world.project, created_by=world.manager)


@pytest.fixture
def send(world: World, upload: Upload, signed_in: SignIn) -> Callable[..., Any]:
    """Send one file as the upload island does."""
    client = signed_in(world.manager)

    def post(name: str, content: bytes, role: str = "") -> Any:
        url = reverse("upload_file", args=[world.project.pk, upload.pk])
        file = SimpleUploadedFile("file", content)
        return client.post(url, {"file": file, "name": name, "role": role})

    return post


def stored(upload: Upload) -> list[Path]:
    return sorted(folder(upload.project, "uploads", upload.pk).iterdir())


def test_a_file_is_stored_under_a_name_of_ours_with_its_checksum(upload: Upload, send: Callable[..., Any]) -> None:
    response = send("images/a.png", png(picture()))
    assert response.status_code == 201
    file = UploadedFile.objects.get(upload=upload)
    assert (file.name, file.role) == ("a.png", "image")
    (path,) = stored(upload)
    assert Path(settings.MEDIA_ROOT) / file.path == path
    assert path.read_bytes() == png(picture())
    assert len(path.stem) == 32
    event = AuditEvent.objects.get(action="upload.file")
    assert event.detail["checksum"] == file.checksum


@pytest.mark.parametrize(
    ("name", "said", "role"),
    [
        ("a.png", "", "image"),
        ("a.png", "image", "image"),
        ("a_mask.png", "", "mask"),
        ("a.png", "mask", "mask"),
        ("masks/a.png", "", "mask"),
        ("My study/masks/a.png", "", "mask"),
        ("My study/images/a.png", "", "image"),
    ],
)
def test_the_role_follows_from_the_name_unless_the_browser_says_it(
    send: Callable[..., Any], name: str, said: str, role: str
) -> None:
    assert send(name, png(blobs()), said).json()["role"] == role


def test_csv_files_are_points_or_the_table_of_values(send: Callable[..., Any]) -> None:
    assert send("a.csv", b"row,column\n3,4\n", "csv").json()["role"] == "points"
    assert send("values.csv", b"value,class_name\n1,lymphocyte\n").json()["role"] == "values"


def bomb() -> bytes:
    """A PNG of a few bytes that claims 60,000 x 60,000 pixels."""
    content = bytearray(png(picture(8, 8)))
    content[16:24] = (60000).to_bytes(4, "big") * 2
    return bytes(content)


BAD_FILES = {
    "empty.png": (b"", "empty (0 bytes)"),
    "text.png": (b"hello, this is text", "looks like text"),
    "truncated.png": (png(picture())[:2000], "truncated"),
    "bomb.png": (bomb(), ""),
    "random.tif": (bytes(range(256)) * 20, "not an image"),
    "movie.gif": (b"GIF89a" + bytes(50), "GIF"),
    "points.csv": (b"row,column\nfour,five\n", "line 2"),
    "values.csv": (b"name,meaning\n1,2\n", "class_name"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_with_its_cause_and_nothing_of_it_stays(
    upload: Upload, send: Callable[..., Any], name: str
) -> None:
    content, cause = BAD_FILES[name]
    response = send(name, content)
    assert response.status_code == 400
    assert cause in response.json()["detail"]
    assert response.json()["file"] == name
    assert stored(upload) == []
    assert UploadedFile.objects.get(upload=upload, name=name).error == response.json()["detail"]
    assert AuditEvent.objects.filter(action="upload.file.refused", subject=name).exists()


@pytest.mark.parametrize(
    "name", ["../../etc/passwd.png", "a/../../b.png", "..", "a\x00b.png", "C:\\x.png", ".hidden.png"]
)
def test_a_name_that_leads_elsewhere_is_refused(upload: Upload, send: Callable[..., Any], name: str) -> None:
    response = send(name, png(picture()))
    assert response.status_code == 400
    (fault,) = {"detail", "name"} & set(response.json())
    assert response.json()[fault]
    assert stored(upload) == []


def test_a_file_over_the_limit_is_refused_before_it_is_whole(
    upload: Upload, send: Callable[..., Any], settings: Any
) -> None:
    settings.UPLOAD_MAX_BYTES = 1000
    response = send("large.png", png(picture()))
    assert response.status_code == 400
    assert "the limit of this server" in response.json()["detail"]
    assert stored(upload) == []


def test_a_csv_file_has_a_limit_of_its_own(
    upload: Upload, send: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "CSV_MAX_BYTES", 100)
    for name in ("a.csv", "values.csv"):
        response = send(name, b"row,column\n" + b"3,4\n" * 50)
        assert (response.status_code, "the limit for a CSV file" in response.json()["detail"]) == (400, True)
    assert stored(upload) == []
    assert send("a.png", png(picture())).status_code == 201


def test_a_file_that_would_fill_the_disk_is_refused(
    upload: Upload, send: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = png(picture())
    free = durable.DISK_RESERVE_BYTES + len(content) - 1
    monkeypatch.setattr(durable.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    response = send("a.png", content)
    assert response.status_code == 400
    assert "disk is too full" in response.json()["detail"]
    assert stored(upload) == []
    monkeypatch.setattr(durable.shutil, "disk_usage", lambda _: SimpleNamespace(free=free + 1))
    assert send("a.png", content).status_code == 201


def test_a_name_that_a_spreadsheet_would_calculate_is_refused(upload: Upload, send: Callable[..., Any]) -> None:
    response = send("=cmd.png", png(picture()))
    assert response.status_code == 400
    assert "spreadsheets take for a formula" in response.json()["detail"]
    assert stored(upload) == []


def test_a_refused_file_can_be_sent_again_once_it_is_mended(upload: Upload, send: Callable[..., Any]) -> None:
    assert send("a.png", b"").status_code == 400
    assert send("a.png", png(picture())).status_code == 201
    assert UploadedFile.objects.get(upload=upload).error == ""


def test_a_refused_mask_is_remembered_beside_its_image_of_the_same_name_which_is_left_out(
    upload: Upload, send: Callable[..., Any]
) -> None:
    mask = png(blobs())
    assert send("masks/a.png", mask[:80]).status_code == 400
    assert send("a.png", png(picture())).status_code == 201
    (row,) = review_upload(upload).rows
    assert row.problem.startswith("its mask was refused: ")
    assert send("masks/a.png", mask).status_code == 201
    (row,) = review_upload(upload).rows
    assert row.mask is not None and row.problem == ""


def test_the_same_file_sent_again_is_one_file(upload: Upload, send: Callable[..., Any]) -> None:
    first, second = send("a.png", png(picture())).json(), send("a.png", png(picture())).json()
    assert first["id"] == second["id"]
    assert len(stored(upload)) == 1


def test_the_same_image_under_another_name_is_refused_and_named(upload: Upload, send: Callable[..., Any]) -> None:
    send("a.png", png(picture()))
    response = send("b.png", png(picture()))
    assert (response.status_code, response.json()["detail"]) == (400, "this is the same file as a.png")
    assert len(stored(upload)) == 1


def test_an_image_that_was_left_out_for_its_name_gives_way_to_itself_under_another(
    world: World, upload: Upload, send: Callable[..., Any], django_capture_on_commit_callbacks: Any
) -> None:
    make_image(world.project, "a.png")
    send("a.png", png(picture()))
    (row,) = review_upload(upload).rows
    assert row.problem == "the project has another image of this name; rename the file and add it again"
    with django_capture_on_commit_callbacks(execute=True):
        assert send("b.png", png(picture())).status_code == 201
    (row,) = review_upload(upload).rows
    assert (row.image.name, row.problem) == ("b.png", "")
    assert len(stored(upload)) == 1
    assert AuditEvent.objects.get(action="upload.file.remove").subject == "a.png"


def test_another_file_of_the_same_name_never_replaces_the_first(upload: Upload, send: Callable[..., Any]) -> None:
    send("study 1/images/a.png", png(picture(seed=1)))
    response = send("study 2/images/a.png", png(picture(seed=2)))
    assert response.status_code == 400
    assert "another file of this name" in response.json()["detail"]
    assert [path.read_bytes() for path in stored(upload)] == [png(picture(seed=1))]


def test_two_images_may_share_one_mask(send: Callable[..., Any]) -> None:
    assert send("a_mask.png", png(blobs())).status_code == 201
    assert send("b_mask.png", png(blobs())).status_code == 201


def test_after_the_import_nothing_more_is_taken(world: World, upload: Upload, send: Callable[..., Any]) -> None:
    send("a.png", png(picture()))
    send("a_mask.png", png(blobs()))
    (row,) = UploadedFile.objects.filter(upload=upload, role="image")
    Upload.objects.filter(pk=upload.pk).update(imported_at=upload.created_at)
    response = send("late.png", png(picture(seed=9)))
    assert (response.status_code, "being imported already" in response.json()["detail"]) == (409, True)
    assert len(stored(upload)) == 2
    assert UploadedFile.objects.filter(pk=row.pk).exists()


def test_a_request_without_a_file_says_so(world: World, upload: Upload, signed_in: SignIn) -> None:
    response = signed_in(world.manager).post(reverse("upload_file", args=[world.project.pk, upload.pk]))
    assert response.status_code == 400
    assert response.json() == {"file": ["No file was submitted."]}


def test_discarding_deletes_the_files_and_is_audited(
    world: World, upload: Upload, send: Callable[..., Any], signed_in: SignIn, django_capture_on_commit_callbacks: Any
) -> None:
    send("a.png", png(picture()))
    place = folder(world.project, "uploads", upload.pk)
    with django_capture_on_commit_callbacks(execute=True):
        signed_in(world.manager).post(reverse("upload_discard", args=[world.project.pk, upload.pk]))
    assert not Upload.objects.filter(pk=upload.pk).exists()
    assert not place.exists()
    assert AuditEvent.objects.get(action="upload.discard").detail["files"] == ["a.png"]


def test_a_file_removed_twice_is_noted_once(upload: Upload, send: Callable[..., Any], world: World) -> None:
    send("a.png", png(picture()))
    file = UploadedFile.objects.get(upload=upload)
    for _ in range(2):
        services.remove_file(file=UploadedFile(pk=file.pk, upload=upload, path=file.path), removed_by=world.manager)
    assert AuditEvent.objects.filter(action="upload.file.remove").count() == 1


def test_what_was_removed_after_the_review_is_not_imported(
    world: World, upload: Upload, send: Callable[..., Any]
) -> None:
    ids = [send(f"{seed}.png", png(picture(seed=seed))).json()["id"] for seed in (1, 2)]
    services.remove_file(file=UploadedFile.objects.get(pk=ids[0]), removed_by=world.manager)
    with pytest.raises(services.FilesGone, match="removed meanwhile"):
        services.close_for_import(upload=upload, file_ids=ids)
    services.close_for_import(upload=upload, file_ids=ids[1:])
    with pytest.raises(services.UploadClosed, match="being imported already"):
        services.close_for_import(upload=upload, file_ids=ids[1:])
    assert send("late.png", png(picture(seed=3))).status_code == 409


@pytest.mark.parametrize(
    ("states", "usable"),
    [
        (["failed"], True),
        (["cancelled"], True),
        (["running"], False),
        (["finished"], False),
        (["failed", "running"], False),
        (["finished", "failed"], True),
    ],
)
def test_an_upload_whose_import_came_to_nothing_is_usable_again(
    upload: Upload,
    send: Callable[..., Any],
    make_job: Callable[..., Job],
    states: list[str],
    usable: bool,
) -> None:
    services.close_for_import(upload=upload, file_ids=[send("a.png", png(picture())).json()["id"]])
    for state in states:
        make_job(kind="import", state=state, params={"upload": upload.pk})
    make_job(kind="import", state="failed", params={"upload": upload.pk + 1})
    assert services.reopen_upload(upload) is usable
    assert send("b.png", png(picture(seed=1))).status_code == (201 if usable else 409)


def test_uploads_that_nobody_went_on_with_are_deleted_after_a_week(
    world: World,
    signed_in: SignIn,
    make_job: Callable[..., Job],
    django_capture_on_commit_callbacks: Any,
) -> None:
    def make(*, added_to_days_ago: float, job_state: str = "") -> Upload:
        upload = Upload.objects.create(project=world.project, created_by=world.manager)
        receive_file(
            upload=upload, name="a.png", content=SimpleUploadedFile("a.png", png(picture())), received_by=world.manager
        )
        Upload.objects.filter(pk=upload.pk).update(
            created_at=timezone.now() - timedelta(days=8), imported_at=timezone.now() if job_state else None
        )
        if job_state:
            make_job(kind="import", state=job_state, params={"upload": upload.pk})
        touched = time.time() - added_to_days_ago * 24 * 60 * 60
        os.utime(folder(world.project, "uploads", upload.pk), (touched, touched))
        return upload

    imported = make(added_to_days_ago=8, job_state="finished")
    swept = [make(added_to_days_ago=8), make(added_to_days_ago=9)]
    failed = make(added_to_days_ago=8, job_state="failed")
    kept = [
        failed,
        make(added_to_days_ago=1),
        make(added_to_days_ago=8, job_state="running"),
        imported,
        Upload.objects.create(project=world.project, created_by=world.manager),
    ]
    with django_capture_on_commit_callbacks(execute=True):
        assert services.sweep_uploads(older_than=timedelta(days=7)) == len(swept)
    assert set(Upload.objects.all()) == set(kept)
    for upload in [*swept, imported]:  # whose worker may have died before it did
        assert not (
            Path(settings.MEDIA_ROOT) / f"{world.organization.pk}/{world.project.pk}/uploads/{upload.pk}"
        ).exists()
    assert AuditEvent.objects.filter(action="upload.discard", actor=None).count() == len(swept)
    failed.refresh_from_db()
    assert failed.imported_at is None  # its files wait for another week
    assert services.sweep_uploads(older_than=timedelta(days=7)) == 0


def test_an_empty_upload_that_is_used_again_is_not_abandoned(world: World) -> None:
    first = start_upload(project=world.project, created_by=world.lead)
    Upload.objects.filter(pk=first.pk).update(created_at=timezone.now() - timedelta(days=8))
    assert start_upload(project=world.project, created_by=world.lead) == first
    assert services.sweep_uploads(older_than=timedelta(days=7)) == 0


def test_an_upload_that_is_still_empty_is_used_again(world: World, signed_in: SignIn) -> None:
    client, url = signed_in(world.lead), reverse("upload_start", args=[world.project.pk])
    first, second = client.post(url)["Location"], client.post(url)["Location"]
    assert first == second
    assert client.get(first).status_code == 200


def test_an_unfinished_upload_is_offered_again(
    world: World, send: Callable[..., Any], upload: Upload, signed_in: SignIn
) -> None:
    send("a.png", png(picture()))
    for name in ("image_list", "project_overview"):
        url = reverse(name, args=[world.project.pk])
        page = signed_in(world.manager).get(url).content.decode()
        assert reverse("upload_detail", args=[world.project.pk, upload.pk]) in page
        theirs = signed_in(world.lead).get(url).content.decode()
        assert reverse("upload_detail", args=[world.project.pk, upload.pk]) not in theirs


@pytest.mark.django_db(transaction=True)
def test_files_that_arrive_at_the_same_time_do_not_hinder_each_other(world: World) -> None:
    """Good and bad ones side by side, each in a transaction of its own that also writes to the audit chain."""
    upload = start_upload(project=world.project, created_by=world.manager)
    contents = {f"{i}.png": b"" if i % 2 else png(picture(seed=i)) for i in range(12)}
    failures: list[BaseException] = []

    def receive(name: str) -> None:
        from apps.engine.errors import BadInput

        try:
            receive_file(
                upload=upload, name=name, content=SimpleUploadedFile(name, contents[name]), received_by=world.manager
            )
        except BadInput:
            assert contents[name] == b""
        except BaseException as failure:
            failures.append(failure)
        finally:
            connection.close()

    threads = [threading.Thread(target=receive, args=[name]) for name in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert UploadedFile.objects.filter(upload=upload, error="").count() == 6
    assert list(verify_audit(world.organization.pk)) == []


# -- images ---------------------------------------------------------------------------------------------------------


def test_the_images_page_shows_pictures_counts_and_notes(world: World, signed_in: SignIn) -> None:
    image = make_image(world.project, "slide_1.png", notes=["3 ids consist of several pieces; each id is one object"])
    client = signed_in(world.viewer)
    page = client.get(reverse("image_list", args=[world.project.pk])).content.decode()
    assert "slide_1.png" in page
    assert "20 objects" in page
    assert "80 × 64 px" in page
    assert (
        "3 ids consist of several pieces"
        in client.get(reverse("image_detail", args=[world.project.pk, image.pk])).content.decode()
    )


def test_a_thumbnail_is_the_image_made_smaller_and_is_asked_for_once(world: World, signed_in: SignIn) -> None:
    image = make_image(world.project, mask=blobs(40, 60))
    client = signed_in(world.viewer)
    url = reverse("image_thumbnail", args=[world.project.pk, image.pk])
    response = client.get(url, {"px": "200"})
    with PillowImage.open(io.BytesIO(response.content)) as shown:
        assert shown.size == (256, 171)
    assert "private" in response["Cache-Control"]
    again = client.get(url, {"px": "200"}, headers={"If-None-Match": response["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(url, {"px": "x"}).status_code == 200
    assert client.get(url, {"px": "99999999999"}).status_code == 200


@pytest.mark.parametrize(
    ("shape", "size_px", "drawn"),
    [((64, 80), 128, (80, 64)), ((1500, 3000), 2048, (2048, 1024)), ((30, 40), 4096, (40, 30))],
)
def test_a_thumbnail_has_the_colors_of_the_image(world: World, shape, size_px, drawn) -> None:
    image = make_image(world.project)
    key = folder(world.project, "pixels") / f"{image.store_key}.pixels.npy"
    pixels = np.zeros((*shape, 3), np.uint8)
    pixels[:, :, 0] = 200
    np.save(key, pixels)
    with PillowImage.open(io.BytesIO(thumbnail(image, size_px))) as shown:
        assert shown.size == drawn
        red, green, blue = np.asarray(shown).reshape(-1, 3).mean(axis=0)
    assert abs(red - 200) < 5
    assert max(green, blue) < 8
