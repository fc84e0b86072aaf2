"""The Dagster instance of the state directory, as the command line and the demo use it."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinical_assets.foundation.home import Home

if TYPE_CHECKING:
    from dagster import DagsterInstance

QUIET: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Run configuration: the runs' logs go to the UI, not to the terminal that shows progress."""

_SETTINGS = Path(__file__).parent.parent / "deploy" / "dagster" / "dagster.yaml"


def prepare_dagster_home(home: Home) -> Path:
    """`$DAGSTER_HOME`, else `dagster/` in the state directory, with the platform's settings unless it has its own."""
    directory = Path(os.environ.get("DAGSTER_HOME") or home.dagster)
    directory.mkdir(parents=True, exist_ok=True)
    os.environ["DAGSTER_HOME"] = str(directory)
    if not (directory / "dagster.yaml").exists() and _SETTINGS.exists():
        shutil.copyfile(_SETTINGS, directory / "dagster.yaml")
    return directory


def open_instance(home: Home) -> DagsterInstance:
    """The instance whose runs the UI shows."""
    prepare_dagster_home(home)
    import dagster as dg

    if not sys.warnoptions:  # libraries reset the filters as they load; people who ask Python for warnings get them
        warnings.showwarning = lambda *_, **__: None
    for name in ("mlflow", "alembic", "feast"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return dg.DagsterInstance.get()
