"""Packages whose data sets are csv files with a header: `<data set>.csv` or `<data set>.csv.gz`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from clinical_assets.trials.sources.packages.datasets import no_such_dataset


def read(package: str, dataset: str, folder: Path) -> tuple[pd.DataFrame, Path]:
    files = {file.name.partition(".csv")[0]: file for file in folder.glob("*.csv*")}
    if dataset not in files:
        raise no_such_dataset(package, dataset, files)
    return pd.read_csv(files[dataset], float_precision="round_trip"), files[dataset]  # type: ignore[call-overload]
