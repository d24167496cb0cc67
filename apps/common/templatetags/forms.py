"""Draws a form field's control with our classes, whichever form it comes from (ours or allauth's)."""

from __future__ import annotations

from django import forms, template
from django.utils.safestring import SafeString

register = template.Library()


@register.simple_tag
def control(field: forms.BoundField, *, is_first: bool = False) -> SafeString:
    """The input, select or textarea of a field, told which texts describe it. `is_first`: who opens the page writes there first."""
    widget = field.field.widget
    attrs: dict[str, str | bool] = {}
    if isinstance(widget, forms.Select):
        attrs["class"] = "input select"
    elif widget.input_type == "color" if isinstance(widget, forms.TextInput) else False:
        attrs["class"] = "input input--color"
    elif not isinstance(widget, forms.CheckboxInput | forms.RadioSelect | forms.CheckboxSelectMultiple):
        attrs["class"] = "input"
    if is_first:
        attrs["autofocus"] = True
    described_by = [f"{field.auto_id}_help"] if field.help_text else []
    if field.errors:
        attrs["aria-invalid"] = "true"
        described_by.append(f"{field.auto_id}_error")
    if described_by:
        attrs["aria-describedby"] = " ".join(described_by)
    return field.as_widget(attrs=attrs)


@register.filter
def is_checkbox(field: forms.BoundField) -> bool:
    return isinstance(field.field.widget, forms.CheckboxInput)
