"""Run a command and measure what it and its children cost: wall time, CPU time, peak resident memory."""

from __future__ import annotations

import os
import resource
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

INTERVAL = 0.25
R_LIBRARY = "CLINICAL_R_LIBRARY"
"""Where the R data packages lie; the one setting that a fresh state keeps."""


@dataclass(frozen=True)
class Cost:
    """`cpu_s` is user plus system time of the whole tree; `peak_mib` the largest sum of proportional memory seen."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    exit_code: int
    output: str

    def row(self) -> dict[str, float | int]:
        return {name: value for name, value in asdict(self).items() if name != "output"}


def measure(command: Sequence[str], environment: Mapping[str, str], cwd: Path) -> Cost:
    """Raises nothing for a command that fails: look at `exit_code`."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    process = subprocess.Popen(
        list(command), env=dict(environment), cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    peak, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(INTERVAL):
            peak[0] = max(peak[0], _memory(process.pid))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    output, _ = process.communicate()
    wall = time.monotonic() - started
    over.set()
    watcher.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu, peak[0] / 2**20, process.returncode, output)


def _memory(pid: int) -> float:
    """Bytes of the process tree; pages that processes share are counted once."""
    total = 0.0
    try:
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            try:
                total += process.memory_full_info().pss
            except psutil.Error:
                continue
    except psutil.Error:
        return total
    return total


def single_threaded(home: Path, configs: Path | None = None) -> dict[str, str]:
    """The environment of a fresh state directory, one thread for each process."""
    (home / "dagster").mkdir(parents=True, exist_ok=True)
    dropped = ("CLINICAL_", "DAGSTER_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped) or name == R_LIBRARY}
    own = {"CLINICAL_HOME": str(home), "DAGSTER_HOME": str(home / "dagster"), "OMP_NUM_THREADS": "1"}
    return kept | own | ({"CLINICAL_CONFIGS": str(configs)} if configs else {})
