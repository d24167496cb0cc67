from __future__ import annotations

from typing import Any

from django import forms

from apps.accounts.models import User
from apps.common.forms import PeriodForm
from apps.labels.selectors import people_who_labeled
from apps.projects.models import Project


class LabelHistoryFilterForm(PeriodForm):
    def __init__(self, *args: Any, project: Project, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["label_class"] = forms.ModelChoiceField(
            project.label_classes.all(), label="Class", required=False, empty_label="Every class"
        )
        self.fields["actor"] = forms.ModelChoiceField(
            people_who_labeled(project, user), label="Person", required=False, empty_label="Everybody"
        )
        self.order_fields(("label_class", "actor", "since", "until"))
