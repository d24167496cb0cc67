from __future__ import annotations

from django import forms

from apps.images.review import MASK_KIND_TEXT


class ImportForm(forms.Form):
    mask_kind = forms.ChoiceField(
        choices=[(kind.value, text) for kind, text in MASK_KIND_TEXT.items()],
        error_messages={"required": "Choose what kind of masks these are.", "invalid_choice": "Choose a mask kind."},
    )
    first_map = forms.BooleanField(required=False)
