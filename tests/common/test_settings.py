"""What the settings make of the environment and of the data folder."""

from __future__ import annotations

import re
import stat
import threading
from pathlib import Path

import pytest
from uvicorn.middleware.proxy_headers import _TrustedHosts

from patchsorter_site import settings as site

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.delenv("PATCHSORTER_SECRET_KEY", raising=False)
    monkeypatch.setattr(site, "DATA_DIR", tmp_path / "data")
    return tmp_path / "data"


def test_the_secret_key_is_made_once_and_only_its_owner_reads_it(data):
    key = site._secret_key()
    assert len(key) > 50
    assert site._secret_key() == key
    (path,) = data.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_empty_secret_key_as_a_crash_left_it_is_made_anew(data):
    data.mkdir()
    (data / "secret_key").touch()
    assert len(site._secret_key()) > 50


def test_processes_that_start_together_get_one_secret_key(data):
    keys = []
    threads = [threading.Thread(target=lambda: keys.append(site._secret_key())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(keys), len(set(keys))) == (8, 1)


def test_files_on_their_way_in_lie_in_the_data_folder_closed_to_others():
    assert site.FILE_UPLOAD_TEMP_DIR.is_relative_to(site.DATA_DIR)
    assert stat.S_IMODE(site.FILE_UPLOAD_TEMP_DIR.stat().st_mode) == 0o700


def test_on_servers_only_the_proxy_is_believed_in_who_its_client_is():
    (default,) = re.findall(r"--forwarded-allow-ips=\S*:-(\S+)}", (REPOSITORY / "compose.yaml").read_text())
    believed = _TrustedHosts(default)
    assert "172.18.0.1" in believed  # a proxy on the host, as a container sees it
    assert "203.0.113.9" not in believed
    assert "10.1.2.3" not in believed
