from __future__ import annotations

from django import forms

from apps.images.review import MASK_KIND_TEXT


class FileForm(forms.Form):
    """One file as the upload island sends it."""

    file = forms.FileField(allow_empty_file=True, max_length=1000)
    name = forms.CharField(max_length=1000, required=False, strip=False)
    role = forms.CharField(max_length=10, required=False)


class MaskKindForm(forms.Form):
    mask_kind = forms.ChoiceField(
        choices=[("", ""), *((kind.value, text) for kind, text in MASK_KIND_TEXT.items())], required=False
    )
