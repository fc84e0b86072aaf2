"""Data sets of installed R packages: R's lazy-load database (`Rdata.rdx` index, `Rdata.rdb` values), without R."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinical_assets.trials.errors import SourceError
from clinical_assets.trials.sources.packages.datasets import no_such_dataset

if TYPE_CHECKING:
    import pandas as pd

_LIBRARIES = ("/usr/local/lib/R/site-library", "/usr/lib/R/site-library", "/usr/lib/R/library")


def installed_r_package(package: str) -> tuple[Path, str]:
    """Folder and version of an installed R package, sought in `$CLINICAL_R_LIBRARY`, else in Debian's libraries.

    Raises:
        SourceError: it is not there.
    """
    chosen = os.environ.get("CLINICAL_R_LIBRARY")
    libraries = [Path(chosen).expanduser()] if chosen else [Path(library) for library in _LIBRARIES]
    for library in libraries:
        description = library / package / "DESCRIPTION"
        if description.is_file():
            lines = description.read_text("utf-8", "replace").splitlines()
            return description.parent, next(line[8:].strip() for line in lines if line.startswith("Version:"))
    raise SourceError(
        f"R package {package} is not installed in {' or '.join(map(str, libraries))}; run "
        f"`apt-get install r-cran-{package.lower()}`, or set CLINICAL_R_LIBRARY to the library folder that holds it"
    )


def read(package: str, dataset: str, folder: Path) -> tuple[pd.DataFrame, Path]:
    """A data frame of the database in `folder`. Factors become text, dates of R package `date` days since 1960-01-01.

    Raises:
        SourceError: no such data set, no data frame, or a database that is damaged or compressed in another way.
    """
    try:
        import rdata  # noqa: F401
    except ImportError as error:
        raise SourceError("package rdata is not installed; run `pip install 'clinical-assets[gpl-data]'`") from error
    file = folder / "Rdata.rdb"
    try:
        index = _deserialised(gzip.decompress((folder / "Rdata.rdx").read_bytes()))
        if int(index["compressed"][0]) != 1:
            raise ValueError("it is not compressed by zlib")
        places = index["variables"]
        if dataset not in places:
            raise no_such_dataset(package, dataset, places)
        start, length = (int(number) for number in places[dataset])
        stored = file.read_bytes()[start : start + length]
        (size,) = struct.unpack(">I", stored[:4])
        value = zlib.decompress(stored[4:])
        if len(value) != size:
            raise ValueError(f"{dataset} has {len(value)} bytes, {size} are announced")
        frame = _deserialised(value)
    except SourceError:
        raise
    except Exception as error:  # rdata raises whatever the damage leads to
        raise SourceError(f"{file} is not readable as an R database ({error}); install the package again") from error
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise SourceError(f"data set {dataset} of R package {package} is no data frame but {type(frame).__name__}")
    texts = {name: column.astype(object) for name, column in frame.items() if column.dtype == "category"}
    return frame.assign(**texts).rename(columns=str).reset_index(drop=True), file


def _deserialised(value: bytes) -> Any:
    import rdata

    as_stored = {"date": lambda days, attributes: days}  # of R package `date`: days since 1960-01-01
    parsed = rdata.parser.parse_data(value, extension=".rds")
    return rdata.conversion.convert(parsed, {**rdata.conversion.DEFAULT_CLASS_MAP, **as_stored})
