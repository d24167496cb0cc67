"""Reading the CSV files that pages offer."""

from __future__ import annotations

import csv
import io
import warnings

from django.test import Client


def rows_of(client: Client, url: str) -> list[dict[str, str]]:
    response = client.get(url)
    assert response.status_code == 200, url
    assert response["Content-Disposition"].startswith("attachment")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tests' server is a synchronous one
        content = b"".join(response)
    return list(csv.DictReader(io.StringIO(content.decode())))
