"""What a package has, when a data set is asked for that it does not have."""

from __future__ import annotations

from collections.abc import Iterable

from clinical_assets.trials.errors import SourceError


def no_such_dataset(package: str, dataset: str, known: Iterable[str]) -> SourceError:
    return SourceError(f"package {package} has no data set {dataset!r}; it has {', '.join(sorted(known))}")
