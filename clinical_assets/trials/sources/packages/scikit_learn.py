"""scikit-learn's example data; the loader joins the columns' names to the numbers of the file."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from clinical_assets.trials.sources.packages.datasets import no_such_dataset


def read(package: str, dataset: str, folder: Path) -> tuple[pd.DataFrame, Path]:
    from sklearn import datasets

    file = folder / f"{dataset}.csv"
    loader = getattr(datasets, f"load_{dataset}", None)
    if loader is None or not file.exists():
        raise no_such_dataset(package, dataset, ["breast_cancer"])
    return loader(as_frame=True).frame, file
