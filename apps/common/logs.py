from __future__ import annotations

import logging


def in_one_line(record: logging.LogRecord) -> bool:
    """Take the traceback off what tells of a refused request: that was the visitor's fault, and its line says which. Always True, as a
    filter that lets everything pass."""
    if record.name == "django.request" and getattr(record, "status_code", 500) < 500:
        record.exc_info = None
    return True
