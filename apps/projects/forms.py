from __future__ import annotations

import re
from collections import Counter
from typing import Any

from django import forms
from django.conf import settings as site
from django.http import QueryDict

from apps.accounts.models import User
from apps.common.forms import PeriodForm
from apps.engine.approaches.base import Approach
from apps.engine.backbone_names import backbone_names
from apps.engine.plugins import Registry
from apps.engine.registry import APPROACHES, CLASSIFIERS, REDUCERS
from apps.engine.sampling import longest_first_look
from apps.engine.settings import Setting, Settings, list_settings
from apps.projects.models import MAX_LABEL_CLASSES, MAX_SAMPLED_ERROR, MIN_SAMPLED_ERROR, Project
from apps.projects.permissions import Permission, ProjectRole
from apps.projects.selectors import people_to_add
from apps.projects.services import (
    MAX_CLASS_NAME,
    MAX_DESCRIPTION,
    MAX_SIZE_PX,
    MIN_SIZE_PX,
    Learning,
    class_name_fault,
)

ROLE_HELP = {
    ProjectRole.MANAGER: "everything, including members and classes",
    ProjectRole.LEAD: "labels, uploads, trains and exports",
    ProjectRole.REVIEWER: "labels, as a rater does: the name says who looks at labels again",
    ProjectRole.RATER: "labels",
    ProjectRole.VIEWER: "looks, changes nothing",
}
PERMISSION_TEXT = {
    Permission.VIEW: "see the project",
    Permission.LABEL: "label objects",
    Permission.UPLOAD: "upload images",
    Permission.TRAIN: "start and cancel jobs",
    Permission.EXPORT: "export labels",
    Permission.EDIT_PROJECT: "change classes and settings",
    Permission.MANAGE_MEMBERS: "manage members",
    Permission.VIEW_AUDIT: "read the audit trail",
    Permission.ALLOW_SAMPLED: "decide whether samples may be accepted",
}
ROLE_CHOICES = [(role.value, f"{role.label}: {ROLE_HELP[role]}") for role in ProjectRole]


def _size_field(label: str, help_text: str) -> forms.IntegerField:
    return forms.IntegerField(
        label=label, min_value=MIN_SIZE_PX, max_value=MAX_SIZE_PX, step_size=2, initial=64, help_text=help_text
    )


class ProjectForm(forms.Form):
    name = forms.CharField(max_length=120)
    description = forms.CharField(required=False, max_length=MAX_DESCRIPTION, widget=forms.Textarea(attrs={"rows": 3}))
    patch_size_px = _size_field(
        "Patch size",
        f"Pixels around each object, even, {MIN_SIZE_PX} to {MAX_SIZE_PX}. You can change it at any time.",
    )
    encoder_size_px = _size_field(
        "Encoder size",
        "Pixels that the network sees of each patch. 64 is quick, 128 sees more; a foundation model needs no fewer than the patch has.",
    )


class NewProjectForm(ProjectForm):
    classes = forms.CharField(
        max_length=MAX_LABEL_CLASSES * (MAX_CLASS_NAME + 2),
        help_text="One class per line. The first nine get the keys 1 to 9. Classes can be added and renamed later, and removed while nothing was labeled with them.",
        widget=forms.Textarea(attrs={"rows": 5, "placeholder": "Lymphocyte\nEpithelial cell\nOther"}),
    )
    field_order = ["name", "classes", "description", "patch_size_px", "encoder_size_px", "approach"]

    def __init__(self, data: QueryDict | None = None) -> None:
        super().__init__(data)
        self.fields["approach"] = _choice_field("Approach", APPROACHES, Learning.approach)
        self.fields["approach"].help_text = (
            f"How the model learns what objects look like: {APPROACHES.get(Learning.approach).title} is the best start for most "
            "projects. You can change it later in the settings, where each approach is described."
        )

    def clean_classes(self) -> list[str]:
        names = [" ".join(name.split()) for name in re.split(r"[\n,;]", self.cleaned_data["classes"])]
        names = [name for name in names if name]
        if not names:
            raise forms.ValidationError("Name at least one class.")
        of_name = Counter(name.lower() for name in names)
        if twice := next((name for name in names if of_name[name.lower()] > 1), None):
            raise forms.ValidationError(f"There are two classes {twice}: upper and lower case do not tell them apart.")
        if faults := [fault for name in names if (fault := class_name_fault(name))]:
            raise forms.ValidationError(faults)
        return names


class SampledAcceptanceForm(forms.Form):
    allowed = forms.BooleanField(label="Allow labels by sample in this project", required=False)
    max_error_percent = forms.FloatField(
        label="Largest error, %",
        min_value=100 * MIN_SAMPLED_ERROR,
        max_value=100 * MAX_SAMPLED_ERROR,
        help_text="Fewer of the labels are wrong than this, with 95% confidence. 1% takes a look at up to "
        f"{longest_first_look(0.01)} patches if none of them is wrong, 2% at {longest_first_look(0.02)}, 5% at "
        f"{longest_first_look(0.05)}, 10% at {longest_first_look(0.1)}; each wrong one asks for about 70% as many again, of a small selection for fewer.",
        widget=forms.NumberInput(attrs={"step": "0.1"}),
    )


class LabelClassForm(forms.Form):
    name = forms.CharField(max_length=80)
    color = forms.RegexField(r"^#[0-9a-fA-F]{6}$", widget=forms.TextInput(attrs={"type": "color"}))
    is_uncertain = forms.BooleanField(
        label="Uncertain: nobody can tell. Left out of concordance, said in exports", required=False
    )
    is_non_object = forms.BooleanField(label="Not an object: a fault of the mask. Exports say so", required=False)


class SuggestingInput(forms.TextInput):
    """A text, with what is known of it offered while one types; anything else may be written as well."""

    template_name = "projects/widgets/suggesting_input.html"

    def __init__(self, suggestions: list[str]) -> None:
        super().__init__()
        self.suggestions = suggestions

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context(name, value, {**(attrs or {}), "list": f"{name}-suggestions"})
        context["widget"]["suggestions"] = self.suggestions
        return context


class LearningForm(forms.Form):
    """The approach, the fields of its settings, and how the map and the predictions are made.

    Made for one approach: its settings are the fields. Another one chosen on the page fetches the form anew.
    """

    def __init__(
        self,
        data: QueryDict | None = None,
        *,
        approach: Approach,
        settings: Settings,
        reducer: str,
        map_shows_labels: bool,
        classifier: str,
    ) -> None:
        super().__init__(data, auto_id="learning_%s")
        self.approach = approach
        self._listed = list_settings(approach.settings)
        self.fields["approach"] = _choice_field("Approach", APPROACHES, approach.name)
        self.fields["approach"].help_text = approach.description
        self.fields["reducer"] = _choice_field("Map", REDUCERS, reducer)
        self.fields["map_shows_labels"] = forms.BooleanField(
            label="Draw known classes apart on the map",
            required=False,
            initial=map_shows_labels,
            help_text="The map then shows the labels themselves, and is marked so. Off: only what the features say.",
        )
        self.fields["classifier"] = _choice_field("Predictions", CLASSIFIERS, classifier)
        for one in self._listed:
            self.fields[one.name] = _setting_field(one, settings.value_of(one.name))

    def settings_by_group(self) -> list[tuple[str, list[forms.BoundField]]]:
        """(title of the group, its fields), those of no group first under ""."""
        groups: dict[str, list[forms.BoundField]] = {"": []}
        for one in self._listed:
            groups.setdefault(one.group, []).append(self[one.name])
        return list(groups.items())

    def learning(self) -> Learning:
        """What was chosen, once the form is valid."""
        return Learning(
            approach=self.approach.name,
            approach_settings={one.name: self.cleaned_data[one.name] for one in self._listed},
            reducer=self.cleaned_data["reducer"],
            map_shows_labels=self.cleaned_data["map_shows_labels"],
            classifier=self.cleaned_data["classifier"],
        )


def _choice_field(label: str, registry: Registry[Any], chosen: str) -> forms.ChoiceField:
    entries = registry.entries()
    choices = [(entry.name, entry.title) for entry in entries]
    if chosen not in registry.names():  # who saves other settings does not choose another by that
        choices.insert(0, (chosen, f"{chosen} (not installed here)"))
    return forms.ChoiceField(
        label=label,
        choices=choices,
        initial=chosen,
        help_text=" ".join(f"{entry.title}: {entry.description}" for entry in entries),
    )


def _setting_field(one: Setting, value: Any) -> forms.Field:
    info = one.info
    shared: dict[str, Any] = {"label": info.title, "help_text": info.help, "initial": value}
    if one.kind is bool:
        return forms.BooleanField(required=False, **shared)
    shared["required"] = not one.optional
    if info.choices:
        return forms.ChoiceField(choices=info.choices, **shared)
    if one.kind is str:
        known = backbone_names(site.WEIGHTS_ROOT) if one.name == "backbone" else []
        return forms.CharField(max_length=200, widget=SuggestingInput(known) if known else forms.TextInput, **shared)
    number: Any = forms.IntegerField if one.kind is int else forms.FloatField
    lowest = info.at_least if info.at_least is not None else info.above
    return number(min_value=lowest, max_value=info.at_most, **shared)


class NewMemberForm(forms.Form):
    user = forms.ModelChoiceField(User.objects.none(), label="Person", empty_label="Choose a person")
    role = forms.ChoiceField(choices=ROLE_CHOICES, initial=ProjectRole.RATER)

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["user"].queryset = people_to_add(project)  # type: ignore[attr-defined]


class MemberForm(forms.Form):
    """A role, and for each permission whether the role decides, or this person is given or denied it."""

    role = forms.ChoiceField(choices=ROLE_CHOICES)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for permission in Permission:
            self.fields[permission.value] = forms.ChoiceField(
                label=PERMISSION_TEXT[permission].capitalize(),
                choices=[("", "As the role says"), ("grant", "Allowed"), ("deny", "Denied")],
                required=False,
            )

    def permission_fields(self) -> list[forms.BoundField]:
        return [self[permission.value] for permission in Permission]

    def chosen(self, decision: str) -> list[str]:
        return [permission.value for permission in Permission if self.cleaned_data[permission.value] == decision]


class AuditFilterForm(PeriodForm):
    field_order = ("action", "actor", "since", "until")
    action = forms.ChoiceField(required=False)
    actor = forms.ModelChoiceField(User.objects.none(), label="Person", required=False, empty_label="Everybody")

    def __init__(self, *args: Any, actions: list[str], people: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A kind of actions stands before its actions, as in account, account.sign_in.
        kinds = {action.rpartition(".")[0] for action in actions} | {action.partition(".")[0] for action in actions}
        named = sorted({*actions, *kinds} - {""})
        choices = [(name, name if name in actions else f"{name}: all") for name in named]
        self.fields["action"].choices = [("", "Every action"), *choices]  # type: ignore[attr-defined]
        self.fields["actor"].queryset = people  # type: ignore[attr-defined]
