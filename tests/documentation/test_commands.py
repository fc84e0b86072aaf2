"""Every shell block of a page runs in order in an empty folder, or the page says why not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documentation.pages import PAGES, ROOT, blocks, starts_from

RUN = [page for page in PAGES if any(not block.reason for block in blocks(page))]
FIRST = [page for page in RUN if starts_from(page) is None]
AFTER = [page for page in RUN if starts_from(page) is not None]
ANSWERS = """set -euo pipefail
clinical() { command clinical "$@" || { code=$?; [ "$1" = gate ] && [ $code = 1 ]; }; }  # 1: an answer of `gate`
"""
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for each page that has been walked."""
    return tmp_path_factory.mktemp("pages")


@pytest.mark.parametrize("page", [*FIRST, *AFTER], ids=lambda page: page.name)
def test_the_commands_of_a_page_run(page: Path, folders: Path) -> None:
    folder = folders / page.stem
    before = starts_from(page)
    if before is None:
        folder.mkdir()
    else:
        shutil.copytree(_walked(ROOT / before, folders), folder, symlinks=True)
    done = _walk(page, folder)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


def _walked(page: Path, folders: Path) -> Path:
    folder = folders / page.stem
    if not folder.exists():
        folder.mkdir()
        assert _walk(page, folder).returncode == 0
    return folder


def _walk(page: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    script = ANSWERS + "\n".join(block.text for block in blocks(page) if not block.reason)
    for name in ("configs", "deploy", "workspace.yaml"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    state = folder / ".state"
    settings = {
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("CLINICAL_", "DAGSTER_", "MLFLOW_"))
        },
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        "CLINICAL_HOME": str(state),
        "DAGSTER_HOME": str(state / "dagster"),
        "CLINICAL_PASSPHRASE": "correct horse battery staple",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(["bash", "-c", script], cwd=folder, env=settings, capture_output=True, text=True, timeout=580)
