"""Catalogues of the demo: the platform's own, with a faster rollout, another seed, or a leak that somebody let in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from clinical_assets.catalog import configs_directory
from clinical_assets.foundation.files import write_atomic

CANCER = "breast"
ROLLOUT = {"min_requests": 100, "deadline_days": 36_500.0, "cooldown_days": 0.0}
"""The replay clock passes a year in two seconds: a deadline in real days would end the rollout at once."""


class Catalogues:
    """Writes variants of the catalogue below one directory and puts one of them in force for this process."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.original = configs_directory()

    def use(self, name: str, change: Callable[[dict[str, Any]], None] | None = None) -> None:
        target = self.directory / name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.original, target)
        file = target / "cancers" / f"{CANCER}.yaml"
        content = yaml.safe_load(file.read_text())
        content["rollout"] = {**content.get("rollout", {}), **ROLLOUT}
        if change is not None:
            change(content)
        write_atomic(file, yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())
        os.environ["CLINICAL_CONFIGS"] = str(target)


def another_seed(content: dict[str, Any]) -> None:
    """A retraining that differs in nothing but the random seed."""
    content.setdefault("models", {})["seed"] = 7


def leak(content: dict[str, Any]) -> None:
    """Time to relapse and relapse itself, declared as known at surgery: a wrong claim that no schema can see."""
    for column in content["contract"]["columns"]:
        if column["name"] in ("rtime", "recur"):
            column.pop("reason", None)
            column.update(role="feature", available_at=0, description="declared as known at surgery")
        if column["name"] == "rtime":
            column["plausible_range"] = [0, 10_000]
