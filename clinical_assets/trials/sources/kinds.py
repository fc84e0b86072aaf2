"""The kinds of source: which module reads each, and which fields of `SourceSpec` belong to it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

if TYPE_CHECKING:
    import pandas as pd

    from clinical_assets.trials.sources.spec import SourceSpec


@dataclass(frozen=True)
class Kind:
    """`module` (a `KindReader`, imported when first used) reads the kind; a source of it must give the fields `needs`
    and may give the fields `takes`; `label` names a source in messages.
    """

    module: str
    needs: tuple[str, ...]
    takes: tuple[str, ...] = ()
    label: str = "{path}"


KINDS = {
    "package": Kind("package", needs=("package", "dataset"), takes=("version",), label="{package}:{dataset}"),
    "csv": Kind("csv_file", needs=("path",), takes=("separator",)),
    "parquet": Kind("parquet_file", needs=("path",)),
}


class Reading(NamedTuple):
    """The rows of a source as it holds them, the local files they came from, and the version of the source."""

    frame: pd.DataFrame
    files: tuple[Path, ...] = ()
    version: str = ""


class KindReader(Protocol):
    """What the module of a kind offers; both raise SourceError, naming the source and the remedy."""

    def read(self, spec: SourceSpec) -> Reading: ...

    def state(self, spec: SourceSpec) -> list[str]:
        """A cheap answer to "may this source have changed?", without reading it."""
        ...


def kind_reader(kind: str) -> KindReader:
    return cast("KindReader", importlib.import_module(f"clinical_assets.trials.sources.{KINDS[kind].module}"))


def misplaced_fields(kind: str, given: set[str]) -> list[str]:
    """What is wrong with the fields that a source of `kind` gives beside those that every source has."""
    known = KINDS[kind]
    foreign = sorted(given - {*known.needs, *known.takes})
    missing = [name for name in known.needs if name not in given]
    return [
        *([f"needs {' and '.join(f'`{name}`' for name in missing)}"] if missing else []),
        *([f"takes no {' or '.join(f'`{name}`' for name in foreign)}"] if foreign else []),
    ]


def kind_fields() -> set[str]:
    """All fields that belong to some kind only."""
    return {name for kind in KINDS.values() for name in (*kind.needs, *kind.takes)}
