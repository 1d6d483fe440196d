"""The source distribution has no key: neither a private one nor one of a store."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\n")
KEY = re.compile(rb"mtk_[0-9a-f]{64}")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--sdist", "--outdir", folder, ROOT], check=True
    )
    (built,) = folder.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        archive.extractall(folder, filter="data")
    (root,) = (path for path in folder.iterdir() if path.is_dir())
    return root


def test_the_sdist_has_no_key_in_any_file(unpacked: Path) -> None:
    files = [path for path in unpacked.rglob("*") if path.is_file()]
    assert len(files) > 100
    for path in files:
        content = path.read_bytes()
        assert not PRIVATE_KEY.search(content), path
        assert not KEY.search(content), path


def test_the_sdist_has_the_page(unpacked: Path) -> None:
    page = {file.name for file in (ROOT / "src/memtrace_server/ui").iterdir()}
    assert page == {file.name for file in (unpacked / "src/memtrace_server/ui").iterdir()}


def test_the_sdist_has_no_store_with_keys(unpacked: Path) -> None:
    stores = [path for path in unpacked.rglob("*") if path.is_file() and path.read_bytes()[:6] == b"SQLite"]
    assert stores
    for path in stores:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as store:
            assert store.execute("SELECT count(*) FROM keys").fetchone() == (0,), path
