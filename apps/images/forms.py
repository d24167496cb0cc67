from __future__ import annotations

from django import forms

from apps.images.review import MASK_KIND_TEXT


class MaskKindForm(forms.Form):
    mask_kind = forms.ChoiceField(
        choices=[("", ""), *((kind.value, text) for kind, text in MASK_KIND_TEXT.items())], required=False
    )
