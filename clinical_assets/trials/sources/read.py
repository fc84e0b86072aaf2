"""Read one source, whatever its kind, and say exactly what was read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase

import pandas as pd

from clinical_assets.foundation.canonical import sha256_json
from clinical_assets.trials.contract import CohortContract
from clinical_assets.trials.errors import ContractError, SourceError
from clinical_assets.trials.sources import simulated
from clinical_assets.trials.sources.kinds import Reading, kind_reader
from clinical_assets.trials.sources.rows import apply_row_rules, without_missing_text
from clinical_assets.trials.sources.spec import ROW_RULES, SourceSpec


@dataclass(frozen=True)
class RawTable:
    """Rows of the source `label` after its row rules. `content_sha256` is the digest of what was read before them."""

    frame: pd.DataFrame
    label: str
    file_sha256: str
    content_sha256: str
    package: str
    version: str
    row_flow: tuple[tuple[str, int], ...]


def read_source(source: SourceSpec, contract: CohortContract) -> RawTable:
    """Read `source`, check that it has exactly the columns of `contract`, and keep the rows of the cohort.

    Raises:
        SourceError: missing package or file, unreadable file, content that differs from the pinned digest.
        ContractError: a declared column is missing, the source has one that the contract does not declare, or no row
            is left.
    """
    made = source.simulation is not None
    reading = simulated.read(source, contract) if made else kind_reader(source.kind).read(source)
    content = _pinned_content(reading, source)
    _check_columns(reading.frame, source, contract)
    used = {column.source_name for column in contract.columns}.union(*(getattr(source, rule) for rule in ROW_RULES))
    cells = reading.frame.loc[:, [name for name in reading.frame.columns if str(name) in used]]
    cells.columns = cells.columns.map(str)
    rows, flow = apply_row_rules(without_missing_text(cells, source.missing), source)
    return RawTable(
        frame=rows,
        label=source.label,
        file_sha256=_together(reading.files_sha256),
        content_sha256=content,
        package=source.package or "",
        version=reading.version,
        row_flow=(*reading.flow, *flow),
    )


def _pinned_content(reading: Reading, source: SourceSpec) -> str:
    content = reading.content_sha256
    if source.content_sha256 not in (None, content):
        version = f", version {reading.version}" if reading.version else ""
        raise SourceError(
            f"the content of {source.label} ({len(reading.frame)} rows{version}) has digest "
            f"{content}, the catalogue pins {source.content_sha256}"
            f"{f' (version {source.version})' if source.version else ''}; "
            "install the pinned version, or review the new data and change `source.content_sha256`"
        )
    return content


def _check_columns(frame: pd.DataFrame, source: SourceSpec, contract: CohortContract) -> None:
    found = [str(name) for name in frame.columns]
    declared = {column.source_name for column in contract.columns}
    others = [name for name in found if name not in declared]
    patterns = [other.match for other in contract.other_columns]
    problems = []
    if missing := sorted(declared - set(found)):
        problems.append(f"declared but missing: {', '.join(missing)}")
    if extra := [name for name in others if not any(fnmatchcase(name, pattern) for pattern in patterns)]:
        remedy = "declare them, if need be as role ignored, or by a pattern in `other_columns`"
        problems.append(f"not declared in the contract: {', '.join(extra)} ({remedy})")
    if idle := [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in others)]:
        problems.append(f"`other_columns` matches no undeclared column: {', '.join(idle)} (remove the pattern)")
    if twice := sorted(name for name, times in Counter(found).items() if times > 1):
        problems.append(f"more than once in the source: {', '.join(twice)}")
    for rule in ROW_RULES:
        if unknown := sorted(set(getattr(source, rule)) - set(found)):
            problems.append(f"named in `source.{rule}` but missing: {', '.join(unknown)}")
    if problems:
        raise ContractError(f"{source.label} ({len(frame)} rows): columns {'; '.join(problems)}")


def _together(digests: tuple[str, ...]) -> str:
    """Digest of the file, or of all files together; empty for a source without files."""
    return digests[0] if len(digests) == 1 else sha256_json(digests) if digests else ""
