"""Servers and browsers that some tests need: where one is absent they skip, where it is demanded they fail."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def absent(reason: str) -> NoReturn:
    """Skip for want of a server; `CLINICAL_REQUIRE_SERVERS=1` makes it a failure."""
    if os.environ.get("CLINICAL_REQUIRE_SERVERS"):
        pytest.fail(reason)
    pytest.skip(reason)


def program(*names: str) -> str:
    """Path of the first of these programs that is on PATH; skips or fails without one."""
    found = next(filter(None, map(shutil.which, names)), None)
    return found or absent(f"{names[0]} is not on PATH; see .ci/run for how it is installed")
