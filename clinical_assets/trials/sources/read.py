"""Read one source, whatever its kind, and say exactly what was read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from clinical_assets.foundation.canonical import sha256_file
from clinical_assets.trials.codes import code
from clinical_assets.trials.contract import CohortContract
from clinical_assets.trials.errors import ContractError, SourceError
from clinical_assets.trials.sources.files import read_csv, read_parquet
from clinical_assets.trials.sources.packaged import read_package
from clinical_assets.trials.sources.spec import SourceSpec
from clinical_assets.trials.table_digest import table_sha256


@dataclass(frozen=True)
class RawTable:
    """Rows as the source holds them, after `where`. `content_sha256` is the digest before `where`."""

    frame: pd.DataFrame
    file: Path
    file_sha256: str
    content_sha256: str
    package: str
    package_version: str
    row_flow: tuple[tuple[str, int], ...]


def read_source(source: SourceSpec, contract: CohortContract) -> RawTable:
    """Read `source` and check that it has exactly the columns of `contract`.

    Raises:
        SourceError: missing package or file, unreadable file, content that differs from the pinned digest.
        ContractError: a declared column is missing, or the source has one that the contract does not declare.
    """
    version = ""
    if source.kind == "package":
        frame, file, version = read_package(source)
    else:
        frame, file = read_csv(source) if source.kind == "csv" else read_parquet(source)
    content = table_sha256(frame)
    if source.content_sha256 not in (None, content):
        raise SourceError(
            f"the content of {source.label} ({len(frame)} rows{f', version {version}' if version else ''}) has digest "
            f"{content}, the catalogue pins {source.content_sha256}"
            f"{f' (version {source.version})' if source.version else ''}; "
            "install the pinned version, or review the new data and change `source.content_sha256`"
        )
    _check_columns(frame, source, contract)
    flow = [("rows in the source", len(frame))]
    for name, wanted in source.where.items():
        frame = frame.loc[[code(value) == code(wanted) for value in frame[name].tolist()]]
        flow.append((f"{name} = {code(wanted)}", len(frame)))
    if frame.empty:
        raise ContractError(f"{source.label}: no rows left after {dict(source.where)}; correct `source.where`")
    return RawTable(
        frame=frame.reset_index(drop=True),
        file=file,
        file_sha256=sha256_file(file),
        content_sha256=content,
        package=source.package or "",
        package_version=version,
        row_flow=tuple(flow),
    )


def _check_columns(frame: pd.DataFrame, source: SourceSpec, contract: CohortContract) -> None:
    declared = {column.source_name for column in contract.columns}
    found = [str(name) for name in frame.columns]
    problems = []
    if missing := sorted(declared - set(found)):
        problems.append(f"declared but missing: {', '.join(missing)}")
    if extra := [name for name in found if name not in declared]:
        problems.append(f"not declared in the contract: {', '.join(extra)} (declare them, if need be as role ignored)")
    if unknown := sorted(set(source.where) - set(found)):
        problems.append(f"named in `source.where` but missing: {', '.join(unknown)}")
    if problems:
        raise ContractError(f"{source.label} ({len(frame)} rows): columns {'; '.join(problems)}")
