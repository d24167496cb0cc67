from __future__ import annotations

from typing import Any

from django import forms

from apps.accounts.models import User
from apps.common.forms import PeriodForm
from apps.labels.selectors import people_who_labeled
from apps.projects.models import LabelClass, Project


class LabelHistoryFilterForm(PeriodForm):
    label_class = forms.ModelChoiceField(
        LabelClass.objects.none(), label="Class", required=False, empty_label="Every class"
    )
    actor = forms.ModelChoiceField(User.objects.none(), label="Person", required=False, empty_label="Everybody")

    def __init__(self, *args: Any, project: Project, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["label_class"].queryset = project.label_classes.all()  # type: ignore[attr-defined]
        self.fields["actor"].queryset = people_who_labeled(project, user)  # type: ignore[attr-defined]
