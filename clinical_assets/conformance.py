"""Runs CDISC's rules engine (CORE) over an SDTM or ADaM source, where the engine is installed. It is never required."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from clinical_assets.gates.data_quality.cdisc_core import Conformance, read_report
from clinical_assets.gates.data_quality.policy import DataQualityPolicy

if TYPE_CHECKING:
    from clinical_assets.trials.sources.spec import SourceSpec

ENGINE = "CDISC_CORE"
"""Environment variable that names the engine's program; without it, `core` on the PATH."""
LONGEST_RUN = 1800.0
"""Seconds."""


def conformance_of(source: SourceSpec, policy: DataQualityPolicy) -> Conformance:
    """What CORE says of the files of `source`; where it cannot be asked, why."""
    standard = "ADaM" if source.kind == "adam" else "SDTM" if policy.cdisc_standard.startswith("sdtm") else ""
    if not standard:
        return Conformance()
    files = [Path(name) for name in (source.path, source.adtte) if name]
    if source.repository or not all(file.is_file() for file in files):
        return Conformance(standard, f"the engine reads local files only, not {source.label}")
    unreadable = [file.name for file in files if file.suffix.lower() not in (".xpt", ".json")]
    if unreadable:
        return Conformance(standard, f"the engine reads SAS transport and Dataset-JSON, not {', '.join(unreadable)}")
    engine = shutil.which(os.environ.get(ENGINE) or "core")
    if engine is None:
        return Conformance(standard, "CDISC CORE is not installed")
    return validate(str(Path(engine).absolute()), files, standard, policy)


def validate(engine: str, files: list[Path], standard: str, policy: DataQualityPolicy) -> Conformance:
    """One run of `engine validate`, its report read; a failed run is a problem, never a pass."""
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory) / "report"
        command = [engine, "validate", "-s", policy.cdisc_standard or "adamig", "-v", policy.cdisc_version,
                   "-of", "JSON", "-o", str(output), "-p", "disabled"]  # fmt: skip
        for package in policy.cdisc_terminology:
            command += ["-ct", package]
        for file in files:
            command += ["-dp", str(file.absolute())]
        define = files[0].with_name("define.xml")
        command += ["-dxp", str(define.absolute())] if define.is_file() else []
        try:
            # the engine finds its rules beside its own program
            ran = subprocess.run(command, cwd=Path(engine).parent, capture_output=True, text=True, timeout=LONGEST_RUN)
        except (OSError, subprocess.TimeoutExpired) as error:
            return Conformance(standard, f"{engine} did not run: {error}")
        report = output.with_suffix(".json")
        if ran.returncode or not report.is_file():
            return Conformance(standard, f"{engine} ended with {ran.returncode}: {ran.stderr.strip()[-300:]}")
        try:
            return Conformance(standard, report=read_report(json.loads(report.read_text())))
        except ValueError as error:
            return Conformance(standard, str(error))
