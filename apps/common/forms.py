from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from django import forms
from django.core.exceptions import ValidationError


def add_errors(form: forms.BaseForm, error: ValidationError) -> None:
    """Show what a service refused: beside its field where the form has that field, else above the form."""
    if not hasattr(error, "error_dict"):
        form.add_error(None, error)
        return
    for field, errors in error.error_dict.items():
        form.add_error(field if field in form.fields else None, errors)


class PeriodForm(forms.Form):
    """A filter by days, UTC, both included."""

    since = forms.DateField(label="From", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label="To", required=False, widget=forms.DateInput(attrs={"type": "date"}))

    @property
    def period(self) -> tuple[datetime | None, datetime | None]:
        """From when, and before when; None where nothing valid is said."""
        chosen = self.cleaned_data if self.is_valid() else {}
        until: date | None = chosen.get("until")
        has_end = until is not None and until < date.max
        return _start_of(chosen.get("since")), _start_of(until + timedelta(days=1)) if until and has_end else None


def _start_of(day: date | None) -> datetime | None:
    return datetime.combine(day, time.min, UTC) if day else None
