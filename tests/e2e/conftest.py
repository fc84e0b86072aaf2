"""A state directory of its own, and free ports, for every end-to-end test module."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from clinical_assets.serving.ports import SETTINGS

BIN = Path(sys.executable).parent


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment of child processes; whatever data plane is left is stopped at the end."""
    root = tmp_path_factory.mktemp("state")
    (root / "dagster").mkdir()
    ports = dict(zip((variable for variable, _ in SETTINGS.values()), map(str, free_ports(len(SETTINGS))), strict=True))
    own = {"CLINICAL_HOME": str(root), "DAGSTER_HOME": str(root / "dagster"), "OMP_NUM_THREADS": "1"}
    child = {key: value for key, value in os.environ.items() if not key.startswith("CLINICAL_")} | ports | own
    yield child
    run(child, "clinical", "down")


def run(
    environment: Mapping[str, str], command: str, *arguments: str, timeout: float = 500
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / command), *arguments],
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=Path(__file__).parents[2],
    )
