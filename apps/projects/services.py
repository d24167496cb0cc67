"""Projects, their classes and members. What the rules forbid raises ValidationError with a text for the user."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings as site
from django.core.exceptions import ValidationError
from django.db import transaction

from apps.accounts.access import MANAGING_ROLES
from apps.accounts.models import Organization, User
from apps.accounts.selectors import organization_role_of
from apps.audit.services import record, record_read
from apps.engine.approaches.base import NetworkSettings
from apps.engine.backbone_names import check_backbone
from apps.engine.errors import EngineError
from apps.engine.pairing import FORMULA_SIGNS
from apps.engine.registry import APPROACHES, CLASSIFIERS, REDUCERS
from apps.projects.access import permissions_of
from apps.projects.events import ProjectChanged, send_event_on_commit
from apps.projects.models import MAX_LABEL_CLASSES, LabelClass, Project, ProjectMember
from apps.projects.permissions import Permission, ProjectRole, project_permissions
from apps.projects.selectors import highest_class_value
from apps.projects.signals import project_created

# Okabe and Ito's colors, told apart by people with any kind of color vision; black and gray are taken by "no label". After the
# seventh, whatever differs most from all before it and from that gray, to people who see red and green and to those who do not.
PALETTE = (
    "#e69f00",
    "#56b4e9",
    "#009e73",
    "#f0e442",
    "#0072b2",
    "#d55e00",
    "#cc79a7",
    "#771133",
    "#ffccbb",
    "#1100cc",
    "#33eeee",
    "#006666",
    "#774400",
    "#bb4444",
    "#99bb77",
    "#443366",
    "#aa66ff",
    "#bb3377",
    "#cc9999",
    "#88ee88",
)
MIN_SIZE_PX, MAX_SIZE_PX = 16, 512
MAX_CLASS_NAME = 80
MAX_DESCRIPTION = 10_000


@dataclass(frozen=True)
class Learning:
    """How a project's map and predictions are made: names in the engine's registries, and settings by flat name."""

    approach: str = "simclr"
    approach_settings: Mapping[str, Any] = field(default_factory=dict)
    reducer: str = "umap"
    map_shows_labels: bool = False
    classifier: str = "kernel"


@transaction.atomic
def create_project(
    *,
    organization: Organization,
    name: str,
    classes: Sequence[str] | Sequence[tuple[str, str]],
    patch_size_px: int = 64,
    encoder_size_px: int = 64,
    description: str = "",
    approach: str = Learning.approach,
    approach_settings: Mapping[str, Any] | None = None,
    reducer: str = Learning.reducer,
    classifier: str = Learning.classifier,
    created_by: User | None,
) -> Project:
    """Make a project with its classes, valued 1, 2, ... in the order given; the creator becomes its manager.

    A class is a name, or a name with its color "#rrggbb". `created_by` None: a command at the server.
    `approach_settings` by flat name; those not named have their defaults.
    """
    learning = _checked_learning(Learning(approach, approach_settings or {}, reducer=reducer, classifier=classifier))
    project = Project(
        organization=organization,
        name=name.strip(),
        description=description.strip(),
        patch_size_px=_checked_size("patch_size_px", patch_size_px),
        encoder_size_px=_checked_size("encoder_size_px", encoder_size_px),
        **learning,
        created_by=created_by,
    )
    project.full_clean()
    project.save()
    _record_and_tell(
        project, created_by, "project.create", f"project {project.name}", patch_size_px=patch_size_px, approach=approach
    )
    project_created.send(sender=Project, project=project)
    for entry in classes:
        class_name, color = (entry, "") if isinstance(entry, str) else entry
        add_label_class(project=project, name=class_name, color=color, added_by=created_by)
    if created_by is not None:
        member = ProjectMember.objects.create(project=project, user=created_by, role=ProjectRole.MANAGER)
        _record_and_tell(project, created_by, "project.member.add", f"member {created_by.email}", role=member.role)
    return project


def note_view(user: User, project: Project) -> None:
    """The person looks at pictures of the project's objects: noted once a day."""
    record_read(
        actor=user,
        action="project.view",
        subject=f"project {project.name}",
        organization_id=project.organization_id,
        project_id=project.pk,
    )


@transaction.atomic
def update_project(
    *, project: Project, name: str, description: str, patch_size_px: int, encoder_size_px: int, updated_by: User
) -> Project:
    """Change what a project is called and how large its patches are. Pixels stay as imported: patches are cut when read."""
    project = Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    values = {
        "name": name.strip(),
        "description": description.strip(),
        "patch_size_px": _checked_size("patch_size_px", patch_size_px),
        "encoder_size_px": _checked_size("encoder_size_px", encoder_size_px),
    }
    return _save_changes(project, values, updated_by, "project.update")


@transaction.atomic
def update_project_learning(*, project: Project, learning: Learning, updated_by: User) -> Project:
    """Change how a project's map is made, from the next training on, and its predictions, from the next label on.

    Raises ValidationError with one line for a name that there is not or a value that it may not have.
    """
    project = Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    values = _checked_learning(learning, before=project)
    before, after = _by_setting({key: getattr(project, key) for key in values}), _by_setting(values)
    changes = {key: [before.get(key), after.get(key)] for key in before | after if before.get(key) != after.get(key)}
    if not changes:
        return project
    for key, value in values.items():
        setattr(project, key, value)
    project.full_clean()
    project.save(update_fields=list(values))
    _record_and_tell(project, updated_by, "project.learning", f"project {project.name}", changes=changes)
    return project


@transaction.atomic
def allow_sampled_acceptance(*, project: Project, allowed: bool, max_error: float, changed_by: User) -> Project:
    """Switch sampled acceptance on or off, and say which share of wrong labels a sample must exclude (0.005 to 0.1)."""
    project = Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    values = {"allows_sampled": allowed, "max_sampled_error": round(max_error, 4)}
    return _save_changes(project, values, changed_by, "project.sampled")


@transaction.atomic
def add_label_class(
    *,
    project: Project,
    name: str,
    color: str = "",
    is_uncertain: bool = False,
    is_non_object: bool = False,
    added_by: User | None,
) -> LabelClass:
    """Add a class with the next value; without a color it gets the palette's next. Values are never used twice."""
    # Two classes at once must not get one value.
    project = (
        Project.objects.select_for_update(no_key=True, of=["self"]).select_related("organization").get(pk=project.pk)
    )
    value = highest_class_value(project) + 1
    if value > MAX_LABEL_CLASSES:
        raise ValidationError(f"A project has at most {MAX_LABEL_CLASSES} classes.")
    label_class = LabelClass(
        project=project,
        value=value,
        name=_checked_class_name(project, name),
        color=_checked_color(color or PALETTE[(value - 1) % len(PALETTE)]),
        is_uncertain=is_uncertain,
        is_non_object=is_non_object,
    )
    label_class.full_clean()
    label_class.save()
    _record_and_tell(project, added_by, "class.add", f"class {label_class.name}", value=value, color=label_class.color)
    return label_class


def class_key(name: str) -> str:
    """The same for names that mean the same class."""
    return " ".join(name.split()).casefold()


@transaction.atomic
def get_or_create_label_classes(
    *, project: Project, names: Iterable[str], added_by: User | None
) -> dict[str, LabelClass]:
    """The classes with these names (capitals and blanks do not count), made where they are missing; keys are as given.

    Raises ValueError where the project would get more classes than fit.
    """
    # Locked, the project first as everywhere: none of them is removed before the caller's labels are there.
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    classes = LabelClass.objects.select_for_update(no_key=True).filter(project=project).order_by("pk")
    known = {class_key(label_class.name): label_class for label_class in classes}
    found: dict[str, LabelClass] = {}
    for name in names:
        key = class_key(name)
        if key not in known:
            try:
                known[key] = add_label_class(project=project, name=name, added_by=added_by)
            except ValidationError as error:
                raise ValueError(" ".join(error.messages)) from error
        found[name] = known[key]
    return found


@transaction.atomic
def update_label_class(
    *,
    label_class: LabelClass,
    name: str,
    color: str,
    is_uncertain: bool = False,
    is_non_object: bool = False,
    updated_by: User,
) -> LabelClass:
    """Rename or recolor a class. Its value, which labels and exports carry, stays."""
    project = Project.objects.select_for_update(no_key=True).get(pk=label_class.project_id)
    label_class = LabelClass.objects.get(pk=label_class.pk)
    values: dict[str, object] = {
        "name": _checked_class_name(project, name, but_not=label_class),
        "color": _checked_color(color),
        "is_uncertain": is_uncertain,
        "is_non_object": is_non_object,
    }
    changes = {
        key: [getattr(label_class, key), value] for key, value in values.items() if getattr(label_class, key) != value
    }
    if not changes:
        return label_class
    for key in changes:
        setattr(label_class, key, values[key])
    label_class.full_clean()
    label_class.save(update_fields=list(changes))
    _record_and_tell(
        project, updated_by, "class.update", f"class {label_class.name}", value=label_class.value, changes=changes
    )
    return label_class


@transaction.atomic
def delete_label_class(*, label_class: LabelClass, removed_by: User) -> None:
    """For `apps.labels`, which has locked the project and knows that nothing was ever labeled with it. Its number is not given again: a page
    that is still open may send it. Raises ValidationError for the last one."""
    project = Project.objects.get(pk=label_class.project_id)
    if LabelClass.objects.filter(project=project).count() == 1:
        raise ValidationError("A project needs a class. Rename this one instead.")
    name, value = label_class.name, label_class.value
    removed, _ = LabelClass.objects.filter(pk=label_class.pk).delete()
    if not removed:  # by a second tab a moment ago
        return
    project.last_removed_value = max(project.last_removed_value, value)
    project.save(update_fields=["last_removed_value"])
    _record_and_tell(project, removed_by, "class.remove", f"class {name}", value=value)


@transaction.atomic
def add_project_member(*, project: Project, user: User, role: str, added_by: User | None) -> ProjectMember:
    """Let a member of the organization into the project. `added_by` None: a command at the server."""
    if organization_role_of(user, project.organization) is None:
        raise ValidationError({"user": f"{user} does not belong to {project.organization}. Invite them there first."})
    member = ProjectMember(project=project, user=user, role=role)
    member.full_clean()
    _check_may_give(added_by, project, project_permissions(role, [], []))
    member.save()
    _record_and_tell(project, added_by, "project.member.add", f"member {user.email}", role=role)
    return member


@transaction.atomic
def update_project_member(
    *,
    member: ProjectMember,
    role: str,
    grants: Collection[str] = (),
    denials: Collection[str] = (),
    updated_by: User | None,
) -> ProjectMember:
    """Change a member's role and the single permissions that are added to it or taken from it; a denial wins.

    Nobody gives what they may not do themselves. `updated_by` None: a command at the server.
    """
    members = ProjectMember.objects.select_for_update(no_key=True, of=["self"])
    found = members.select_related("project__organization", "user").filter(pk=member.pk).first()
    if found is None:
        raise ValidationError("This person is no longer a member of the project.")
    member, before = found, project_permissions(found.role, found.grants, found.denials)
    values: dict[str, object] = {
        "role": role,
        "grants": _checked_permissions("grants", grants),
        "denials": _checked_permissions("denials", denials),
    }
    changes = {key: [getattr(member, key), value] for key, value in values.items() if getattr(member, key) != value}
    if not changes:
        return member
    for key in changes:
        setattr(member, key, values[key])
    member.full_clean()
    _check_may_give(
        updated_by, member.project, project_permissions(member.role, member.grants, member.denials) - before
    )
    member.save(update_fields=list(changes))
    _record_and_tell(
        member.project, updated_by, "project.member.update", f"member {member.user.email}", changes=changes
    )
    return member


@transaction.atomic
def remove_project_member(*, member: ProjectMember, removed_by: User | None) -> None:
    """Take somebody off the project. What they labeled stays, with their name."""
    removed, _ = ProjectMember.objects.filter(pk=member.pk).delete()
    if removed:  # not by somebody else a moment ago
        _record_and_tell(
            member.project, removed_by, "project.member.remove", f"member {member.user.email}", role=member.role
        )


def class_name_fault(name: str) -> str:
    """What is wrong with the name of a class, for the user; "" where nothing is."""
    if not name:
        return "A class needs a name."
    if len(name) > MAX_CLASS_NAME:
        return f"The class name {name[:20]}… is longer than {MAX_CLASS_NAME} characters."
    if name.startswith(FORMULA_SIGNS):
        return f"The class name {name} starts with {name[0]}, which spreadsheets take for a formula."
    return ""


def _check_may_give(actor: User | None, project: Project, given: Collection[Permission]) -> None:
    """Owners and admins of the organization give everything, other people what they may do themselves."""
    if actor is None or organization_role_of(actor, project.organization) in MANAGING_ROLES:
        return
    if beyond := set(given) - permissions_of(actor, project):
        raise ValidationError({"role": f"You can not give what you may not do yourself: {', '.join(sorted(beyond))}."})


def _checked_learning(learning: Learning, *, before: Project | None = None) -> dict[str, Any]:
    """The project's fields for what was chosen; all settings are written out, so that another default changes nothing.

    A backbone has to be there when it is chosen. When it went away later, everything else can still be changed.
    """
    known = before.approach_settings.get("backbone") if before else None
    try:
        settings = APPROACHES.get(learning.approach).settings().changed(learning.approach_settings)
        reducer = REDUCERS.get(learning.reducer)
        CLASSIFIERS.get(learning.classifier)
    except EngineError as error:
        raise ValidationError(str(error)) from error
    if learning.map_shows_labels and not reducer.heeds_classes:
        message = f"{reducer.title}: this map takes no account of classes. Choose another, or leave this off."
        raise ValidationError({"map_shows_labels": message})
    backbone = settings.backbone if isinstance(settings, NetworkSettings) else ""
    if backbone != known:
        try:
            check_backbone(backbone, site.WEIGHTS_ROOT)
        except EngineError as error:
            raise ValidationError({"backbone": str(error)}) from error
    return vars(learning) | {"approach_settings": settings.to_json()}


def _by_setting(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `_checked_learning` with each setting for itself, for the audit: {"approach": ..., "augment.stain": ...}."""
    own = dict(fields)
    for name, value in own.pop("approach_settings").items():
        parts = {f"{name}.{part}": one for part, one in value.items()} if isinstance(value, dict) else {name: value}
        own |= parts
    return own


def _checked_size(field: str, size: int) -> int:
    if not MIN_SIZE_PX <= size <= MAX_SIZE_PX or size % 2:
        raise ValidationError({field: f"Choose an even number of pixels from {MIN_SIZE_PX} to {MAX_SIZE_PX}."})
    return size


def _checked_class_name(project: Project, name: str, but_not: LabelClass | None = None) -> str:
    name = " ".join(name.split())
    if fault := class_name_fault(name):
        raise ValidationError({"name": fault})
    same = LabelClass.objects.filter(project=project, name__iexact=name)
    if but_not is not None:
        same = same.exclude(pk=but_not.pk)
    if same.exists():
        raise ValidationError({"name": f"There is a class {name} already."})
    return name


def _checked_color(color: str) -> str:
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", color):
        raise ValidationError({"color": "Write the color as # and six hexadecimal digits."})
    return color.lower()


def _checked_permissions(field: str, names: Collection[str]) -> list[str]:
    unknown = set(names) - {str(permission) for permission in Permission}
    if unknown:
        raise ValidationError({field: f"There is no permission {', '.join(sorted(unknown))}."})
    return sorted(names)


def _save_changes(project: Project, values: dict[str, Any], actor: User, action: str) -> Project:
    """Store what differs from `values`, with an event that says what it was and is; nothing where nothing differs."""
    changes = {key: [getattr(project, key), value] for key, value in values.items() if getattr(project, key) != value}
    if changes:
        for key in changes:
            setattr(project, key, values[key])
        project.full_clean()
        project.save(update_fields=list(changes))
        _record_and_tell(project, actor, action, f"project {project.name}", changes=changes)
    return project


def _record_and_tell(project: Project, actor: User | None, action: str, subject: str, **detail: Any) -> None:
    """Keep what was changed, and tell the open pages that something was."""
    send_event_on_commit(project.pk, ProjectChanged(type="project.changed"))
    record(
        actor=actor,
        action=action,
        subject=subject,
        organization_id=project.organization_id,
        project_id=project.pk,
        detail=detail,
    )
