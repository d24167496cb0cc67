from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from apps.accounts.models import User
from apps.audit.models import AuditEvent
from apps.engine.errors import BadInput
from apps.engine.formats import read_mask
from apps.engine.masks import NO_OBJECT_CAUSE, MaskKind, find_objects
from apps.images import review as review_module
from apps.images.models import Image, Upload, UploadedFile
from apps.images.review import Review, path_of, review_upload
from apps.images.services import receive_file, start_upload, take_for_mask
from apps.objects.tasks import import_images
from apps.projects.models import Job
from tests.factories import blobs, make_image, picture, png

if TYPE_CHECKING:
    from tests.conftest import World

SignIn = Callable[[User], Client]
Give = Callable[..., None]


@pytest.fixture
def upload(world: World) -> Upload:
    return start_upload(project=world.project, created_by=world.manager)


@pytest.fixture
def give(world: World, upload: Upload) -> Give:
    """Put files into the upload."""

    def put(**files: bytes) -> None:
        for name, content in files.items():
            plain = name.replace("__", ".")
            receive_file(
                upload=upload, name=plain, content=SimpleUploadedFile(plain, content), received_by=world.manager
            )

    return put


def states(review: Review) -> dict[str, tuple[str | None, str]]:
    """Of each image its mask and what is wrong."""
    return {row.image.name: (row.mask.name if row.mask else None, row.problem) for row in review.rows}


IMAGE, MASK = png(picture()), png(blobs())


def labeled(*values: int) -> bytes:
    """A mask of 8 bits in which the squares have these values in turn."""
    mask = blobs()
    return png(np.where(mask > 0, np.array(values, np.uint8)[(mask - 1) % len(values)], 0).astype(np.uint8))


def test_a_mask_goes_to_the_image_of_its_name(upload: Upload, give: Give) -> None:
    give(a__png=IMAGE, a_mask__png=MASK, b__png=png(picture(seed=1)))
    review = review_upload(upload, "indexed")
    assert states(review) == {"a.png": ("a_mask.png", ""), "b.png": (None, "there is no mask for this image")}
    assert [row.image.name for row in review.importable] == ["a.png"]


def test_a_mask_without_an_image_is_listed(upload: Upload, give: Give) -> None:
    give(a__png=IMAGE, b_mask__png=MASK)
    assert [file.name for file in review_upload(upload).unpaired] == ["b_mask.png"]


def test_two_masks_for_one_image_are_never_chosen_between(upload: Upload, give: Give) -> None:
    give(a__png=IMAGE, a_mask__png=MASK, a_labels__png=MASK, b__png=png(picture(seed=1)), b_mask__png=MASK)
    review = review_upload(upload, "indexed")
    assert len(review.unclear) == 1
    assert "a_mask.png" in review.unclear[0]
    assert "a_labels.png" in review.unclear[0]
    assert states(review) == {"b.png": ("b_mask.png", "")}


def test_a_mask_of_another_size_is_told_with_both_sizes(upload: Upload, give: Give) -> None:
    give(a__png=png(picture(64, 60)), a_mask__png=MASK)
    (row,) = review_upload(upload, "indexed").rows
    assert "64 rows x 80 columns" in row.problem
    assert "64 rows x 60 columns" in row.problem
    assert review_upload(upload, "none").rows[0].problem == ""


def test_an_image_of_the_project_is_recognized_by_its_content(world: World, upload: Upload, give: Give) -> None:
    give(a__png=IMAGE)
    (row,) = review_upload(upload).rows
    make_image(world.project, "earlier.png", checksum=row.image.checksum)
    assert review_upload(upload).rows[0].problem == "this image is in the project already, as earlier.png"


def test_a_name_that_is_taken_by_another_image_is_told(world: World, upload: Upload, give: Give) -> None:
    make_image(world.project, "a.png")
    give(a__png=IMAGE)
    assert "another image of this name" in review_upload(upload).rows[0].problem


@pytest.mark.parametrize(
    ("mask", "kind"),
    [
        (png((blobs() > 0).astype(np.uint8) * 255), "binary"),
        (png(blobs(20, 20)), "indexed"),
        (labeled(1, 2), None),
        (
            png(np.stack([blobs() > 0] * 3, axis=2).astype(np.uint8) * np.array([0, 255, 255], np.uint8)),
            "quick_annotator",
        ),
        (png(np.stack([blobs() > 0] * 3, axis=2).astype(np.uint8) * np.array([9, 80, 255], np.uint8)), "labeled"),
    ],
)
def test_the_kind_is_taken_from_the_mask_only_where_it_can_be_no_other(
    upload: Upload, give: Give, mask: bytes, kind: str | None
) -> None:
    give(a__png=IMAGE, a_mask__png=mask)
    assert review_upload(upload).mask_kind == kind


def test_a_mask_without_an_object_says_nothing_of_the_kind(upload: Upload, give: Give) -> None:
    give(a__png=IMAGE, a_mask__png=png(np.zeros_like(blobs(), np.uint8)))
    assert (review_upload(upload).mask_kind, review_upload(upload).reason) == (None, "")
    give(b__png=png(picture(seed=1)), b_mask__png=png(blobs(20, 20)))
    assert review_upload(upload).mask_kind == "indexed"


def test_masks_that_look_different_are_asked_about(upload: Upload, give: Give) -> None:
    give(a__png=IMAGE, a_mask__png=png((blobs() > 0).astype(np.uint8) * 255))
    give(b__png=png(picture(seed=1)), b_mask__png=png(blobs(20, 20)))
    review = review_upload(upload)
    assert review.mask_kind is None
    assert review.reason.startswith("The masks differ: a_mask.png holds one value besides 0; b_mask.png holds more")


def test_many_objects_in_one_mask_say_what_few_in_another_are(upload: Upload, give: Give) -> None:
    give(a__png=IMAGE, a_mask__png=png(blobs()), b__png=png(picture(seed=1)), b_mask__png=png(blobs(20, 20)))
    assert review_upload(upload).mask_kind == "indexed"


def test_no_masks_at_all_is_a_kind_too(upload: Upload, give: Give) -> None:
    give(a__png=IMAGE)
    review = review_upload(upload)
    assert review.mask_kind == "none"
    assert len(review.importable) == 1


def test_the_values_found_are_listed_with_the_classes_that_have_them(upload: Upload, give: Give) -> None:
    give(a__png=IMAGE, a_mask__png=labeled(1, 7), b__png=png(picture(seed=1)), b_mask__png=labeled(7))
    rows = review_upload(upload, "labeled").value_rows
    assert [(row.shown, row.n_masks, row.class_name) for row in rows] == [("1", 1, "lymphocyte"), ("7", 2, "")]


def test_the_uploaded_table_says_what_values_mean(upload: Upload, give: Give) -> None:
    give(a__png=IMAGE, a_mask__png=labeled(1, 7), values__csv=b"value,class_name\n1,mitosis\n7,epithelial\n")
    review = review_upload(upload)
    assert review.mask_kind == "labeled"
    assert [row.as_json() for row in review.value_rows] == [
        {"value": 1, "class_name": "mitosis"},
        {"value": 7, "class_name": "epithelial"},
    ]


def test_colors_are_listed_as_colors(upload: Upload, give: Give) -> None:
    mask = np.stack([blobs() > 0] * 3, axis=2).astype(np.uint8) * np.array([230, 159, 0], np.uint8)
    give(a__png=IMAGE, a_mask__png=png(mask))
    (row,) = review_upload(upload, "labeled").value_rows
    assert (row.key, row.as_json()) == ("color_e69f00", {"color": "#e69f00", "class_name": "lymphocyte"})


def test_more_values_than_classes_fit_are_no_classes(upload: Upload, give: Give) -> None:
    give(a__png=png(picture(320, 320)), a_mask__png=png(blobs(20, 20)))
    review = review_upload(upload, "labeled")
    assert "more than 254 different values" in review.blockers[0]
    assert review.value_rows == []


def test_a_labeled_mask_too_large_to_look_into_needs_a_table_of_values(
    upload: Upload, give: Give, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(a__png=IMAGE, a_mask__png=labeled(1, 7))
    monkeypatch.setattr(review_module, "DECODE_AT_ONCE_PX", 1000)
    monkeypatch.setattr(review_module, "read_mask", lambda *_, **__: pytest.fail("a large mask was decoded"))
    assert review_upload(upload).mask_kind is None
    (row,) = review_upload(upload, "labeled").rows
    assert "upload a table values.csv" in row.problem
    give(values__csv=b"value,class_name\n1,mitosis\n7,epithelial\n")
    review = review_upload(upload, "labeled")
    assert [row.problem for row in review.rows] == [""]
    assert [row.as_json()["class_name"] for row in review.value_rows] == ["mitosis", "epithelial"]


# -- the import -----------------------------------------------------------------------------------------------------


def post_import(world: World, upload: Upload, client: Client, **data: str) -> Any:
    url = reverse("upload_import", args=[world.project.pk, upload.pk])
    return client.post(url, data, headers={"HX-Request": "true"})


@pytest.mark.django_db(transaction=True)  # a job's heartbeat has a connection of its own, and has to see the job
def test_what_the_review_shows_is_imported_and_its_result_shown(
    world: World, upload: Upload, give: Give, signed_in: SignIn
) -> None:
    give(a__png=IMAGE, a_mask__png=MASK, b__png=png(picture(seed=1)), c__png=png(picture(60, 60)), c_mask__png=MASK)
    client = signed_in(world.lead)
    response = post_import(world, upload, client, mask_kind="indexed")
    job = Job.objects.get(kind="import")
    assert response["HX-Redirect"] == reverse("import_detail", args=[world.project.pk, job.pk])
    assert "Waiting for a worker" in client.get(response["HX-Redirect"]).content.decode()
    import_images(job.pk)
    page = client.get(response["HX-Redirect"]).content.decode()
    assert "1 image imported" in page
    assert "20 objects" in page
    assert Image.objects.get(project=world.project).name == "a.png"
    assert (
        "imported already" in client.get(reverse("upload_detail", args=[world.project.pk, upload.pk])).content.decode()
    )
    assert "1 image imported" not in signed_in(world.stranger).get(response["HX-Redirect"]).content.decode()


def test_without_a_kind_nothing_begins_and_the_form_says_so(
    world: World, upload: Upload, give: Give, signed_in: SignIn
) -> None:
    give(a__png=IMAGE, a_mask__png=labeled(1, 2))
    page = signed_in(world.manager).get(reverse("upload_detail", args=[world.project.pk, upload.pk])).content.decode()
    assert "Kind of mask?" in page and ">Ready<" not in page
    assert re.search(r'<select [^>]*name="mask_kind" required', page), "the browser asks before anything is sent"
    response = post_import(world, upload, signed_in(world.manager))
    assert response.status_code == 422
    assert "Choose what kind of masks these are." in response.content.decode()
    assert not Job.objects.exists()


def test_what_was_typed_stays_when_a_file_comes_or_goes_or_another_kind_is_chosen(
    world: World, upload: Upload, give: Give, signed_in: SignIn
) -> None:
    give(a__png=IMAGE, a_mask__png=labeled(7, 8), b__png=png(picture(seed=1)))
    client, htmx = signed_in(world.manager), {"HX-Request": "true"}
    typed = {"mask_kind": "labeled", "value_7": "mitosis", "value_8": ""}
    asked_anew = reverse("upload_review", args=[world.project.pk, upload.pk])
    assert 'value="mitosis"' in client.get(asked_anew, typed, headers=htmx).content.decode()
    otherwise = client.get(asked_anew, typed | {"mask_kind": "indexed"}, headers=htmx).content.decode()
    assert '<input type="hidden" name="value_7" value="mitosis">' in otherwise, "until the kind is changed back"
    assert "data-chosen" in otherwise
    assert "data-chosen" not in client.get(asked_anew, headers=htmx).content.decode(), "that is a guess"
    removed = upload.files.get(name="b.png")
    remove = reverse("upload_file_remove", args=[world.project.pk, upload.pk, removed.pk])
    assert 'value="mitosis"' in client.post(remove, typed, headers=htmx).content.decode()


@pytest.mark.django_db(transaction=True)  # a job's heartbeat has a connection of its own, and has to see the job
def test_every_value_needs_a_class_and_what_was_typed_stays(
    world: World, upload: Upload, give: Give, signed_in: SignIn
) -> None:
    give(a__png=IMAGE, a_mask__png=labeled(7, 8))
    client = signed_in(world.manager)
    response = post_import(world, upload, client, mask_kind="labeled", value_7="mitosis", value_8=" ")
    page = response.content.decode()
    assert response.status_code == 422
    assert "Which class is this?" in page
    assert 'value="mitosis"' in page
    response = post_import(world, upload, client, mask_kind="labeled", value_7="mitosis", value_8="Lymphocyte")
    assert response.status_code == 204
    job = Job.objects.get(kind="import")
    assert job.params["label_values"] == [
        {"value": 7, "class_name": "mitosis"},
        {"value": 8, "class_name": "Lymphocyte"},
    ]
    import_images(job.pk)
    assert set(world.project.label_classes.values_list("name", flat=True)) == {"lymphocyte", "epithelial", "mitosis"}
    assert AuditEvent.objects.get(action="class.add", subject="class mitosis").actor == world.manager
    overview = client.get(reverse("project_overview", args=[world.project.pk])).content.decode()
    assert "10" in overview


@pytest.mark.parametrize(
    ("name", "fault"), [("x" * 81, "longer than 80 characters"), ("=1+1", "spreadsheets take for a formula")]
)
def test_a_class_name_that_can_not_be_is_refused_before_the_import(
    world: World, upload: Upload, give: Give, signed_in: SignIn, name: str, fault: str
) -> None:
    give(a__png=IMAGE, a_mask__png=labeled(7))
    client = signed_in(world.manager)
    response = post_import(world, upload, client, mask_kind="labeled", value_7=name)
    page = response.content.decode()
    assert response.status_code == 422
    assert fault in page
    assert f'value="{name}"' in page
    assert not re.search(r'type="submit"[^>]*disabled', page)  # so that it can be mended and sent again
    assert not Job.objects.exists()
    assert post_import(world, upload, client, mask_kind="labeled", value_7="mitosis").status_code == 204


def test_importing_twice_starts_one_job(world: World, upload: Upload, give: Give, signed_in: SignIn) -> None:
    give(a__png=IMAGE)
    client = signed_in(world.manager)
    post_import(world, upload, client, mask_kind="none")
    response = post_import(world, upload, client, mask_kind="none")
    assert response["HX-Redirect"] == reverse("job_list", args=[world.project.pk])
    assert Job.objects.count() == 1


def test_removing_a_file_shows_the_review_without_it(
    world: World, upload: Upload, give: Give, signed_in: SignIn
) -> None:
    give(a__png=IMAGE, a_mask__png=MASK, b__png=png(picture(seed=1)))
    file = upload.files.get(name="b.png")
    url = reverse("upload_file_remove", args=[world.project.pk, upload.pk, file.pk])
    page = signed_in(world.manager).post(url, {"mask_kind": "indexed"}, headers={"HX-Request": "true"})
    text = page.content.decode()
    assert "b.png" not in text
    assert "a.png" in text
    assert '<option value="indexed" selected>' in text


def test_a_kind_that_was_guessed_from_a_file_goes_with_it(
    world: World, upload: Upload, give: Give, signed_in: SignIn
) -> None:
    give(a__png=IMAGE, a_mask__png=png((blobs() > 0).astype(np.uint8) * 255), b__png=png(picture(seed=1)))
    give(b_mask__png=png(np.zeros_like(blobs(), np.uint8)))
    assert review_upload(upload).mask_kind == "binary"
    url = reverse("upload_file_remove", args=[world.project.pk, upload.pk, upload.files.get(name="a.png").pk])
    page = signed_in(world.manager).post(url, {"mask_kind": "binary"}, headers={"HX-Request": "true"})
    assert '<option value="binary" selected>' not in page.content.decode()


@pytest.fixture
def say_it_is_a_mask(world: World, upload: Upload, signed_in: SignIn) -> Callable[[str], str]:
    """Press the button beside the image of this name; the page that comes."""

    def press(name: str) -> str:
        file = upload.files.get(name=name, role="image")
        url = reverse("upload_file_is_mask", args=[world.project.pk, upload.pk, file.pk])
        return signed_in(world.manager).post(url, headers={"HX-Request": "true"}).content.decode()

    return press


def test_a_mask_that_came_as_an_image_is_asked_about_and_becomes_the_mask(
    upload: Upload, give: Give, say_it_is_a_mask: Callable[[str], str]
) -> None:
    give(a__tif=IMAGE, a__png=MASK)
    review = review_upload(upload)
    assert "keep one" in review.unclear[0]
    assert [file.name for file in review.doubtful] == ["a.png"]
    say_it_is_a_mask("a.png")
    review = review_upload(upload, "indexed")
    assert states(review) == {"a.tif": ("a.png", "")}
    assert review.doubtful == review.unclear == []
    assert AuditEvent.objects.filter(action="upload.file.role", subject="a.png").count() == 1


def test_a_mask_that_came_before_its_picture_makes_room_for_it(
    upload: Upload, give: Give, say_it_is_a_mask: Callable[[str], str]
) -> None:
    give(a__png=MASK)
    with pytest.raises(BadInput, match=r"call it a_mask\.png"):
        give(a__png=IMAGE)
    say_it_is_a_mask("a.png")
    give(a__png=IMAGE)
    review = review_upload(upload, "indexed")
    assert states(review) == {"a.png": ("a.png", "")}
    assert review.refused == []


def test_a_second_mask_of_a_name_is_not_taken(
    upload: Upload, give: Give, say_it_is_a_mask: Callable[[str], str]
) -> None:
    give(a__png=MASK)
    say_it_is_a_mask("a.png")
    give(a__png=png(blobs(cell_px=20)))
    assert "another file of this name" in say_it_is_a_mask("a.png")
    assert upload.files.filter(name="a.png", role="image").exists()


def test_the_kind_that_was_chosen_stays_but_for_none(
    world: World, upload: Upload, give: Give, signed_in: SignIn
) -> None:
    give(a__tif=IMAGE, a__png=MASK, b__tif=png(picture(seed=1)), b__png=png(blobs() * 2))
    for chosen, shown in (("none", ""), ("binary", "binary")):
        file = upload.files.filter(role="image", finding=UploadedFile.Finding.MASK_LIKE).first()
        assert file is not None
        url = reverse("upload_file_is_mask", args=[world.project.pk, upload.pk, file.pk])
        page = signed_in(world.manager).post(url, {"mask_kind": chosen}, headers={"HX-Request": "true"})
        assert f'<option value="{shown}" selected>' in page.content.decode()


def test_pressing_twice_makes_it_a_mask_once(world: World, upload: Upload, give: Give) -> None:
    give(a__png=MASK)
    file = upload.files.get(name="a.png")
    take_for_mask(file=file, taken_by=world.manager)
    take_for_mask(file=file, taken_by=world.manager)
    assert AuditEvent.objects.filter(action="upload.file.role").count() == 1
    file.delete()
    take_for_mask(file=UploadedFile(pk=1, upload=upload), taken_by=world.manager)  # removed by a second tab


def test_an_image_whose_mask_is_empty_is_left_out_as_the_import_would(upload: Upload, give: Give) -> None:
    empty = png(np.zeros((64, 80), np.uint8))
    give(a__png=IMAGE, a_mask__png=MASK, b__png=png(picture(seed=1)), b_mask__png=empty)
    for kind in ("binary", "indexed"):
        left_out = {"a.png": ("a_mask.png", ""), "b.png": ("b_mask.png", NO_OBJECT_CAUSE)}
        assert states(review_upload(upload, kind)) == left_out
    mask = read_mask(path_of(upload.files.get(name="b_mask.png")))
    with pytest.raises(BadInput, match=re.escape(NO_OBJECT_CAUSE)):
        find_objects(mask, MaskKind.INDEXED, name="b_mask.png")


def test_a_wrong_mask_is_removed_by_itself_and_replaced(
    world: World, upload: Upload, give: Give, signed_in: SignIn
) -> None:
    client, url = signed_in(world.manager), reverse("upload_review", args=[world.project.pk, upload.pk])

    def remove(name: str) -> str:
        return reverse("upload_file_remove", args=[world.project.pk, upload.pk, upload.files.get(name=name).pk])

    give(a__png=IMAGE, a_mask__png=png(blobs(cell_px=20)), b_mask__png=MASK)
    page = client.get(url, headers={"HX-Request": "true"}).content.decode()
    assert remove("a_mask.png") in page
    assert remove("b_mask.png") in page, "also of one without an image"
    for name in ("a_mask.png", "b_mask.png"):
        client.post(remove(name), headers={"HX-Request": "true"})
    give(a_mask__png=MASK)
    review = review_upload(upload, "indexed")
    assert states(review) == {"a.png": ("a_mask.png", "")}
    assert review.unpaired == []


def test_a_picture_is_not_taken_for_a_mask(upload: Upload, give: Give) -> None:
    on_white = np.full((200, 200, 3), 255, np.uint8)
    on_white[80:140, 60:140] = picture(60, 80)
    give(a__png=IMAGE, b__png=png(on_white))
    assert review_upload(upload).doubtful == []


def test_the_review_is_a_fragment_for_htmx_and_a_page_else(
    world: World, upload: Upload, give: Give, signed_in: SignIn
) -> None:
    give(a__png=IMAGE)
    url = reverse("upload_review", args=[world.project.pk, upload.pk])
    client = signed_in(world.manager)
    assert "<html" not in client.get(url, headers={"HX-Request": "true"}).content.decode()
    assert "<html" in client.get(url, {"mask_kind": "no such"}).content.decode()


def test_classes_that_points_would_add_are_named_before_the_import(
    upload: Upload, give: Give, signed_in: SignIn
) -> None:
    give(a__png=IMAGE, a__csv=b"row,column,class\n5,5,Epithelial\n9,9,mitosis\n12,12,\n15,15,mitosis\n")
    review = review_upload(upload)
    assert review.new_classes == ["mitosis"]
    page = (
        signed_in(upload.created_by).get(reverse("upload_review", args=[upload.project_id, upload.pk])).content.decode()
    )
    assert "1 class is named here that the project does not have." in page and "once objects have it: mitosis." in page


def test_classes_that_a_table_of_values_would_add_are_named_before_the_import(
    upload: Upload, give: Give, signed_in: SignIn
) -> None:
    table = b"value,class_name\n1,Lymphocyte\n7,lymphoma\n8,mitosis\n"
    give(a__png=IMAGE, a_mask__png=labeled(1, 7, 8), a__csv=b"row,column,class\n5,5,mitosis\n", values__csv=table)
    assert review_upload(upload).new_classes == ["lymphoma", "mitosis"]
    url = reverse("upload_review", args=[upload.project_id, upload.pk])
    page = signed_in(upload.created_by).get(url).content.decode()
    assert "2 classes are named here" in page and "once objects have them: lymphoma, mitosis." in page


@pytest.mark.parametrize(("kind", "joins"), [("labeled", True), ("binary", True), ("indexed", False)])
def test_it_is_said_where_touching_objects_become_one(
    upload: Upload, give: Give, signed_in: SignIn, kind: str, joins: bool
) -> None:
    give(a__png=IMAGE, a_mask__png=labeled(1, 7))
    url = reverse("upload_review", args=[upload.project_id, upload.pk])
    page = signed_in(upload.created_by).get(url, {"mask_kind": kind}).content.decode()
    assert ("that touch become one" in page) == joins


def test_who_uploads_a_table_of_labels_is_told_what_imports_it(upload: Upload, give: Give) -> None:
    with pytest.raises(BadInput, match="imported by the command import_labels"):
        give(a__csv=b"image,label_id,class_name\na.png,1,mitosis\n")


def test_a_column_of_numbers_does_not_fill_the_project_with_classes(upload: Upload, give: Give) -> None:
    lines = "".join(f"{n % 60},{n // 60},{n}\n" for n in range(300))
    give(a__png=IMAGE, a__csv=f"row,column,label\n{lines}".encode())
    (blocker,) = review_upload(upload).blockers
    assert "the points name more classes" in blocker and "the 252 that still fit in" in blocker


def test_a_class_name_that_no_class_may_have_stops_the_import(upload: Upload, give: Give) -> None:
    give(a__png=IMAGE, a__csv=b"row,column,class\n5,5,=1+1\n")
    (blocker,) = review_upload(upload).blockers
    assert "take for a formula" in blocker


def test_an_image_without_a_mask_among_others_with_masks_is_warned_of(
    world: World, upload: Upload, give: Give, signed_in: SignIn
) -> None:
    give(b__png=IMAGE)
    review = review_upload(upload, "none")
    assert review.tiled_beside_masks == 0, "a project of tilings"
    make_image(world.project, name="a.png")
    assert review_upload(upload).tiled_beside_masks == 1
    page = (
        signed_in(upload.created_by).get(reverse("upload_review", args=[upload.project_id, upload.pk])).content.decode()
    )
    assert "1 image is cut into tiles." in page
    give(b_mask__png=png(blobs()))
    assert review_upload(upload, "indexed").tiled_beside_masks == 0
    assert review_upload(upload, "none").tiled_beside_masks == 1


def test_a_mask_that_comes_after_its_image_says_so(world: World, upload: Upload, give: Give, signed_in: SignIn) -> None:
    make_image(world.project, name="a.png")
    make_image(world.project, name="d.png")
    give(a_mask__png=png(blobs()), c_mask__png=png(blobs()), b__png=IMAGE, d_points__csv=b"5,5\n")
    review = review_upload(upload)
    assert [file.name for file in review.unpaired] == ["a_mask.png", "c_mask.png", "d_points.csv"]
    assert [file.name for file in review.too_late] == ["a_mask.png", "d_points.csv"]
    page = (
        signed_in(upload.created_by).get(reverse("upload_review", args=[upload.project_id, upload.pk])).content.decode()
    )
    assert page.count("its image is in the project already") == 2
