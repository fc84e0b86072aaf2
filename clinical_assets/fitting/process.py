"""A fit in a process of its own: its memory comes back, its death is not ours, and its result outlives us."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from clinical_assets.fitting.fits import FitEvent, FitFailed, FitInterrupted, Report

UNFITTABLE = 65
"""Exit code of `network_jobs` for a fit that cannot succeed."""


@dataclass(frozen=True)
class ProcessRunner:
    """
    Attributes:
        timeout_s: for each attempt.
        retries: further attempts after a process that died.
    """

    timeout_s: float
    retries: int

    def run(self, folder: Path, report: Report) -> None:
        name = folder.name
        for attempt in range(1, self.retries + 2):
            report(FitEvent(name, "started", f"attempt {attempt} in a process of this machine"))
            code, output = self._attempt(folder)
            if code == 0:
                report(FitEvent(name, "complete", more={"log": output}))
                return
            report(FitEvent(name, "failed", f"exit code {code}", {"log": output}))
            if code == UNFITTABLE:
                raise FitFailed(f"the networks cannot be fitted: {output.strip().splitlines()[-1]}")
        raise FitInterrupted(
            f"the process that fits {name[:12]} died {self.retries + 1} times, last with exit code {code} "
            "(-9 is often the kernel's memory limit: raise compute.memory_mib)"
        )

    def _attempt(self, folder: Path) -> tuple[int, str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "clinical_assets.modeling.network_jobs", str(folder)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            output, _ = process.communicate(timeout=self.timeout_s)
        except subprocess.TimeoutExpired:
            raise FitFailed(
                f"the fit took longer than {self.timeout_s:.0f} s and was stopped; raise compute.timeout_minutes"
            ) from None
        finally:
            if process.poll() is None:  # timed out, or this run is being cancelled
                process.kill()
                process.wait()
        return process.returncode, output
