"""`survival` (Rust) keeps R's example data inside its compiled library, which hands them out."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from clinical_assets.trials.sources.packages.datasets import no_such_dataset


def read(package: str, dataset: str, folder: Path) -> tuple[pd.DataFrame, Path]:
    from survival import datasets

    loader = getattr(datasets, f"load_{dataset}", None)
    if loader is None:
        known = (name.removeprefix("load_") for name in dir(datasets) if name.startswith("load_"))
        raise no_such_dataset(package, dataset, known)
    library = sorted(path for path in folder.glob("_survival*") if path.suffix in (".so", ".pyd", ".dylib"))
    return pd.DataFrame(loader()), library[0]
