"""Loading the code location, or the command line, must stay light."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = [
    *("torch", "mlflow", "feast", "xgboost", "sklearn", "fairlearn", "kubernetes"),
    *("pandera", "matplotlib", "lifelines", "pandas", "scipy"),
]


@pytest.mark.parametrize("module", ["clinical_assets.definitions", "clinical_assets.cli"])
def test_loading_imports_no_heavy_library(module: str) -> None:
    program = f"import sys, {module}; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
