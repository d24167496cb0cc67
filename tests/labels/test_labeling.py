"""Labeling through the service: one gesture is one action, whatever its size."""

from __future__ import annotations

import uuid
from datetime import timedelta

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.labels import selectors, services
from apps.labels.chain import rebuild_labels, verify_labels
from apps.labels.models import LabelEvent, LabelingSession, LabelSet
from apps.labels.services import AnotherGesture, Gesture, LabelError, NothingToUndo
from apps.projects.models import Project
from tests.conftest import World

pytestmark = pytest.mark.django_db
SEEN = Gesture(provenance="bulk", selection={"source": "lasso", "polygon": [[0.25, 1.5], [2.0, 3.0]]})


@pytest.fixture
def label_set(world: World) -> LabelSet:
    Project.objects.filter(pk=world.project.pk).update(n_objects=40_000)
    world.project.refresh_from_db()
    return selectors.shared_label_set(world.project)


def label(world: World, label_set: LabelSet, value: int, ordinals: list[int] | range, user=None, gesture=SEEN):
    label_class = world.project.label_classes.get(value=value) if value else None
    return services.label_objects(
        label_set=label_set,
        label_class=label_class,
        ordinals=np.array(ordinals, np.uint32),
        actor=user or world.rater,
        gesture=gesture,
    )


def values(label_set: LabelSet) -> np.ndarray:
    return selectors.class_values(label_set, label_set.project.n_objects)


def test_a_gesture_labels_its_objects_and_no_others(world, label_set):
    action = label(world, label_set, 2, [5, 6, 39_999])
    assert np.flatnonzero(values(label_set)).tolist() == [5, 6, 39_999]
    assert set(values(label_set)[[5, 6, 39_999]]) == {2}
    assert (action.n, action.actor, action.sequence) == (3, world.rater, 1)
    assert label_set.counts == {"2": 3}


def test_what_somebody_labeled_meanwhile_keeps_its_label_where_that_is_asked_for(world, label_set):
    label(world, label_set, 1, [3, 4])
    action = services.label_objects(
        label_set=label_set,
        label_class=world.project.label_classes.get(value=2),
        ordinals=np.array([3, 4, 5, 6], np.uint32),
        actor=world.manager,
        gesture=SEEN,
        only_unlabeled=True,
    )
    assert values(label_set)[[3, 4, 5, 6]].tolist() == [1, 1, 2, 2]
    assert (action.n, label_set.counts) == (2, {"1": 2, "2": 2})
    services.undo(label_set=label_set, actor=world.manager)
    assert values(label_set)[[3, 4, 5, 6]].tolist() == [1, 1, 0, 0]


def test_the_selection_is_kept_with_the_action(world, label_set):
    assert label(world, label_set, 1, [1]).selection["polygon"] == [[0.25, 1.5], [2.0, 3.0]]


@pytest.mark.parametrize("n", [3, 3_000, 30_000])
def test_the_number_of_statements_does_not_depend_on_the_number_of_objects(world, label_set, n):
    label(world, label_set, 1, [0])  # from the second gesture on, the session is there
    label_class = world.project.label_classes.get(value=2)
    with CaptureQueriesContext(connection) as queries:
        services.label_objects(
            label_set=label_set,
            label_class=label_class,
            ordinals=np.arange(n, dtype=np.uint32),
            actor=world.rater,
            gesture=SEEN,
        )
    statements = [query["sql"] for query in queries if not query["sql"].startswith(("SAVEPOINT", "RELEASE"))]
    assert len(statements) == 11, "\n".join(statements)


def test_the_bulk_statement_finds_old_labels_by_the_whole_key(world, label_set):
    label(world, label_set, 1, range(30_000))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE labels_label")
        cursor.execute(
            "EXPLAIN SELECT * FROM unnest(%s::int4[]) AS asked (ordinal) LEFT JOIN labels_label label"
            " ON label.label_set_id = %s AND label.ordinal = asked.ordinal",
            ["{1,2,3}", label_set.pk],
        )
        plan = " ".join(line for (line,) in cursor.fetchall())
    assert "Index Cond: ((label_set_id =" in plan and "AND (ordinal =" in plan


def test_giving_the_class_an_object_has_already_changes_nothing(world, label_set):
    label(world, label_set, 1, [1, 2])
    again = label(world, label_set, 1, [1, 2, 3])
    assert (again.n_asked, again.n) == (3, 1)
    assert LabelEvent.objects.filter(action=again).values_list("ordinal", flat=True).get() == 3


def test_removing_labels(world, label_set):
    label(world, label_set, 1, [1, 2])
    label(world, label_set, 0, [2])
    assert np.flatnonzero(values(label_set)).tolist() == [1]
    assert label_set.counts == {"1": 1}


def test_repeated_ordinals_count_once(world, label_set):
    assert label(world, label_set, 1, [7, 7, 7]).n == 1


def test_an_object_that_is_not_in_the_project_is_refused_and_nothing_is_labeled(world, label_set):
    with pytest.raises(LabelError, match="object 40000 is not in this project"):
        label(world, label_set, 1, [1, 40_000])
    assert not values(label_set).any()


def test_no_objects_are_refused(world, label_set):
    with pytest.raises(LabelError, match="no objects"):
        label(world, label_set, 1, [])


def test_the_same_request_sent_twice_is_one_action(world, label_set):
    gesture = Gesture(provenance="bulk", selection={}, client_key=uuid.uuid4())
    first = label(world, label_set, 1, [1, 2], gesture=gesture)
    label(world, label_set, 2, [1])
    assert label(world, label_set, 1, [1, 2], gesture=gesture) == first
    assert values(label_set)[[1, 2]].tolist() == [2, 1]


def test_undo_gives_back_what_was_there_before(world, label_set):
    label(world, label_set, 1, [1, 2], user=world.manager)
    label(world, label_set, 2, [2, 3])
    undone = services.undo(label_set=label_set, actor=world.rater)
    assert values(label_set)[[1, 2, 3]].tolist() == [1, 1, 0]
    assert undone.n == 2
    _, sources = selectors.labels_with_sources(label_set, 4)
    assert label_set.actions.get(pk=sources[2]).actor == world.manager, "the restored label is its first author's"


def test_undo_takes_back_ones_own_gestures_only_the_last_first(world, label_set):
    label(world, label_set, 1, [1])
    label(world, label_set, 2, [2])
    label(world, label_set, 1, [3], user=world.manager)
    services.undo(label_set=label_set, actor=world.rater)
    assert values(label_set)[[1, 2, 3]].tolist() == [1, 0, 1]
    services.undo(label_set=label_set, actor=world.rater)
    assert values(label_set)[[1, 2, 3]].tolist() == [0, 0, 1]
    with pytest.raises(NothingToUndo):
        services.undo(label_set=label_set, actor=world.rater)


def test_undo_passes_over_a_gesture_that_changed_nothing(world, label_set):
    for _ in range(2):
        label(world, label_set, 1, [1, 2])
    assert services.undo(label_set=label_set, actor=world.rater).n == 2
    assert not values(label_set).any()


def test_undo_leaves_alone_what_somebody_labeled_since(world, label_set):
    label(world, label_set, 1, [1, 2])
    label(world, label_set, 2, [2], user=world.manager)
    undone = services.undo(label_set=label_set, actor=world.rater)
    assert values(label_set)[[1, 2]].tolist() == [0, 2]
    assert (undone.n_asked, undone.n) == (2, 1)


def test_what_two_people_both_took_back_is_gone(world, label_set):
    label(world, label_set, 2, [1, 2], user=world.manager)
    label(world, label_set, 1, [1, 2, 3])
    label(world, label_set, 2, [2], user=world.lead)
    assert services.undo(label_set=label_set, actor=world.manager).n == 0, "labeled by others since"
    services.undo(label_set=label_set, actor=world.rater)
    assert values(label_set)[[1, 2, 3]].tolist() == [0, 2, 0], "and not again what the manager took back"
    services.undo(label_set=label_set, actor=world.lead)
    assert values(label_set)[[1, 2, 3]].tolist() == [0, 0, 0], "both of those before it were taken back"
    services.redo(label_set=label_set, actor=world.lead)
    services.redo(label_set=label_set, actor=world.rater)
    assert values(label_set)[[1, 2, 3]].tolist() == [1, 2, 1]
    assert not list(verify_labels(world.project))


def test_what_was_taken_back_and_given_again_is_there_when_a_later_label_is_taken_back(world, label_set):
    label(world, label_set, 2, [1], user=world.manager)
    label(world, label_set, 1, [1])
    services.undo(label_set=label_set, actor=world.manager)
    services.redo(label_set=label_set, actor=world.manager)
    services.undo(label_set=label_set, actor=world.rater)
    assert values(label_set)[1] == 2


def test_an_undo_that_means_another_gesture_than_the_last_is_not_done(world, label_set):
    """As a page says it that has not heard of another tab's gesture."""
    first, second = label(world, label_set, 1, [1]), label(world, label_set, 2, [2])
    with pytest.raises(AnotherGesture, match="another one by now: 1 object → epithelial"):
        services.undo(label_set=label_set, actor=world.rater, expected_id=first.pk)
    undone = services.undo(label_set=label_set, actor=world.rater, expected_id=second.pk)
    with pytest.raises(AnotherGesture, match="undid last is another one"):
        services.redo(label_set=label_set, actor=world.rater, expected_id=first.pk)
    services.redo(label_set=label_set, actor=world.rater, expected_id=undone.pk)
    assert values(label_set)[[1, 2]].tolist() == [1, 2]


def test_a_label_that_is_kept_although_the_model_says_otherwise_has_been_looked_at(world, label_set):
    label(world, label_set, 1, [1, 2, 3], user=world.manager)
    kept_though_different = selectors.kept_though_different
    assert kept_though_different(label_set).tolist() == []
    gesture = Gesture(provenance="single", selection={"suggestion": {"kind": "discordant", "title": "", "group": None}})
    kept = label(world, label_set, 1, [2], gesture=gesture)
    label(world, label_set, 2, [3], gesture=gesture)
    assert (kept.n, values(label_set)[[1, 2, 3]].tolist()) == (1, [1, 1, 2])
    assert kept_though_different(label_set).tolist() == [2, 3]
    label_set.refresh_from_db()
    assert label_set.counts == {"1": 2, "2": 1}
    services.undo(label_set=label_set, actor=world.rater)
    services.undo(label_set=label_set, actor=world.rater)
    assert kept_though_different(label_set).tolist() == []
    services.redo(label_set=label_set, actor=world.rater)
    assert kept_though_different(label_set).tolist() == [2]
    label(world, label_set, 2, [2], user=world.manager)
    assert kept_though_different(label_set).tolist() == [], "somebody has labeled it anew"
    assert not list(verify_labels(world.project))


def test_redo_and_undo_again(world, label_set):
    label(world, label_set, 1, [1])
    label(world, label_set, 2, [1])
    services.undo(label_set=label_set, actor=world.rater)
    services.undo(label_set=label_set, actor=world.rater)
    assert values(label_set)[1] == 0
    services.redo(label_set=label_set, actor=world.rater)
    assert values(label_set)[1] == 1
    services.redo(label_set=label_set, actor=world.rater)
    assert values(label_set)[1] == 2
    services.undo(label_set=label_set, actor=world.rater)
    assert values(label_set)[1] == 1


def test_a_new_gesture_ends_what_could_be_redone(world, label_set):
    label(world, label_set, 1, [1])
    services.undo(label_set=label_set, actor=world.rater)
    label(world, label_set, 2, [9])
    with pytest.raises(NothingToUndo):
        services.redo(label_set=label_set, actor=world.rater)


def test_an_undo_whose_answer_was_lost_is_not_done_twice(world, label_set):
    label(world, label_set, 1, [1])
    label(world, label_set, 1, [2])
    key = uuid.uuid4()
    first = services.undo(label_set=label_set, actor=world.rater, client_key=key)
    assert services.undo(label_set=label_set, actor=world.rater, client_key=key) == first
    assert values(label_set)[[1, 2]].tolist() == [1, 0]


def test_changes_since_a_revision_are_each_object_once_with_its_class_now(world, label_set):
    label(world, label_set, 1, [1, 2, 3])
    revision = label_set.revision
    label(world, label_set, 2, [2])
    label(world, label_set, 0, [2, 3])
    ordinals, changed, _ = selectors.changes_since(label_set, revision)
    assert dict(zip(ordinals.tolist(), changed.tolist(), strict=True)) == {2: 0, 3: 0}


def test_shared_labels_stand_before_imported_ones(world, label_set):
    imported = services.get_or_create_label_set(project=world.project, name="expert", kind="imported")
    services.import_label_values(
        label_set=imported,
        ordinals=np.array([1, 2], np.uint32),
        values=np.array([1, 1], np.uint8),
        actor=None,
        reason="classes.csv",
    )
    label(world, label_set, 2, [2])
    stated, _ = selectors.stated_labels(world.project)
    assert stated[[0, 1, 2]].tolist() == [0, 1, 2]


def test_labels_per_second_are_measured_by_the_server(world, label_set):
    label(world, label_set, 1, [1])
    label(world, label_set, 1, range(2, 12))
    state = selectors.session_state(selectors.current_session(label_set, world.rater))
    assert state is not None and state["labels"] == 11 and state["labels_per_second"] > 0


def test_undoing_a_session_s_first_gesture_costs_nothing_of_what_was_labeled_in_measured_time(world, label_set):
    label(world, label_set, 1, range(100, 300))  # nobody knows how long it took
    label(world, label_set, 1, range(10))
    for _ in range(2):
        services.undo(label_set=label_set, actor=world.rater)
    services.redo(label_set=label_set, actor=world.rater)
    session = selectors.current_session(label_set, world.rater)
    assert session is not None and (session.labels, session.timed_labels) == (200, 0)
    services.redo(label_set=label_set, actor=world.rater)
    session.refresh_from_db()
    assert (session.labels, session.timed_labels) == (210, 10)


def test_a_session_that_begins_with_an_undo_has_no_labels_of_no_time(world, label_set):
    label(world, label_set, 1, range(200))
    LabelingSession.objects.update(last_action_at=timezone.now() - timedelta(days=1))
    services.undo(label_set=label_set, actor=world.rater)
    with CaptureQueriesContext(connection) as first:
        services.redo(label_set=label_set, actor=world.rater)
    session = selectors.current_session(label_set, world.rater)
    assert session is not None and session.timed_labels == 0
    for _ in range(5):
        services.undo(label_set=label_set, actor=world.rater)
        with CaptureQueriesContext(connection) as last:
            services.redo(label_set=label_set, actor=world.rater)
    assert len(last) == len(first), "however often something was taken back and given again"


def test_what_was_undone_or_only_corrected_is_not_counted_as_labeled(world, label_set):
    def labels() -> int:
        state = selectors.session_state(selectors.current_session(label_set, world.rater))
        assert state is not None
        return int(state["labels"])

    label(world, label_set, 1, [1, 2])
    label(world, label_set, 1, range(2, 12))
    assert labels() == 11, "one of them had a label"
    services.undo(label_set=label_set, actor=world.rater)
    assert labels() == 2
    services.redo(label_set=label_set, actor=world.rater)
    assert labels() == 11
    label(world, label_set, 2, range(2, 12))
    assert labels() == 11
    for _ in range(3):
        services.undo(label_set=label_set, actor=world.rater)
    assert labels() == 0
    for _ in range(2):
        services.redo(label_set=label_set, actor=world.rater)
    session = selectors.current_session(label_set, world.rater)
    assert session is not None
    assert (session.labels, session.timed_labels) == (11, 9), (
        "the first gesture, taken back and given again, took no time"
    )


def test_the_history_is_whole_and_the_labels_can_be_rebuilt_from_it(world, label_set):
    label(world, label_set, 1, range(100))
    label(world, label_set, 2, range(50, 60))
    services.undo(label_set=label_set, actor=world.rater)
    assert list(verify_labels(world.project)) == []
    before = values(label_set)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE labels_label SET value = 2 WHERE ordinal = 3")
    assert [fault.what for fault in verify_labels(world.project)] == ["1 labels of shared differ from the history"]
    rebuild_labels(label_set)
    assert list(verify_labels(world.project)) == []
    assert (values(label_set) == before).all()


def test_a_key_that_was_used_for_another_gesture_is_refused(world, label_set):
    key = uuid.uuid4()
    label(world, label_set, 1, [1], gesture=Gesture(provenance="bulk", selection={}, client_key=key))
    with pytest.raises(LabelError, match="another gesture"):
        services.undo(label_set=label_set, actor=world.rater, client_key=key)
    with pytest.raises(LabelError, match="another gesture"):
        label(
            world,
            label_set,
            1,
            [1],
            user=world.manager,
            gesture=Gesture(provenance="bulk", selection={}, client_key=key),
        )


@pytest.mark.parametrize(("value", "ordinals"), [(2, [1]), (1, [1, 2])])
def test_a_key_does_not_stand_for_another_class_or_more_objects(world, label_set, value, ordinals):
    gesture = Gesture(provenance="bulk", selection={}, client_key=uuid.uuid4())
    label(world, label_set, 1, [1], gesture=gesture)
    with pytest.raises(LabelError, match="another class or for other objects"):
        label(world, label_set, value, ordinals, gesture=gesture)
    assert values(label_set)[:3].tolist() == [0, 1, 0]


def test_labeling_while_the_history_is_checked_is_no_fault(world, label_set, monkeypatch):
    label(world, label_set, 1, [1])
    label(world, label_set, 2, [2])
    faults = verify_labels(world.project)
    from apps.labels import chain

    original = chain.action_header

    def label_meanwhile(action):
        monkeypatch.setattr(chain, "action_header", original)
        label(world, label_set, 1, [3])
        return original(action)

    monkeypatch.setattr(chain, "action_header", label_meanwhile)
    assert list(faults) == []


@pytest.fixture
def imported(world: World, label_set: LabelSet) -> LabelSet:
    """Objects 1 to 4 have labels from a file: 1, 1, 2, 2."""
    imported = services.get_or_create_label_set(project=world.project, name="expert", kind="imported")
    services.import_label_values(
        label_set=imported,
        ordinals=np.array([1, 2, 3, 4], np.uint32),
        values=np.array([1, 1, 2, 2], np.uint8),
        actor=None,
        reason="classes.csv",
    )
    return imported


def shown(label_set: LabelSet) -> list[int]:
    return values(label_set)[1:5].tolist()


def test_imported_labels_show_in_the_shared_set_until_somebody_labels(world, label_set, imported):
    assert shown(label_set) == [1, 1, 2, 2]
    assert selectors.counts_by_class(label_set, 40_000) == {"0": 39_996, "1": 2, "2": 2}
    label(world, label_set, 2, [1])
    assert shown(label_set) == [2, 1, 2, 2]
    assert selectors.counts_by_class(label_set, 40_000) == {"0": 39_996, "1": 1, "2": 3}
    assert values(imported)[1:5].tolist() == [1, 1, 2, 2], "what was imported stays as it was imported"


def test_an_imported_label_can_be_taken_away_and_the_removal_undone(world, label_set, imported):
    removed = label(world, label_set, 0, [1, 3, 9])
    assert removed.n == 2, "object 9 had no label to take away"
    assert shown(label_set) == [0, 1, 0, 2]
    assert selectors.counts_by_class(label_set, 40_000) == {"0": 39_998, "1": 1, "2": 1}
    services.undo(label_set=label_set, actor=world.rater)
    assert shown(label_set) == [1, 1, 2, 2]
    assert list(verify_labels(world.project)) == []


def test_an_import_is_among_the_changes_of_the_shared_set(world, label_set):
    label(world, label_set, 2, [2])
    revision = selectors.shown_revision(label_set)
    other = services.get_or_create_label_set(project=world.project, name="late", kind="imported")
    services.import_label_values(
        label_set=other,
        ordinals=np.array([2, 3], np.uint32),
        values=np.array([1, 1], np.uint8),
        actor=None,
        reason="x.csv",
    )
    assert selectors.shown_revision(label_set) > revision
    ordinals, changed, _ = selectors.changes_since(label_set, revision)
    assert dict(zip(ordinals.tolist(), changed.tolist(), strict=True)) == {2: 2, 3: 1}


def test_a_later_import_stands_before_an_earlier_one(world, label_set, imported):
    later = services.get_or_create_label_set(project=world.project, name="later", kind="imported")
    services.import_label_values(
        label_set=later,
        ordinals=np.array([1], np.uint32),
        values=np.array([2], np.uint8),
        actor=None,
        reason="second.csv",
    )
    assert shown(label_set) == [2, 1, 2, 2]
    assert selectors.counts_by_class(label_set, 40_000) == {"0": 39_996, "1": 1, "2": 3}
