"""The kinds of source: which module reads each, and which fields of `SourceSpec` belong to it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    import pandas as pd

    from clinical_assets.trials.sources.spec import SourceSpec


@dataclass(frozen=True)
class Kind:
    """`module` (a `KindReader`, imported when first used) reads the kind; a source of it must give the fields `needs`
    and exactly one of `either`, and may give the fields `takes`; `label` names a source in messages.
    """

    module: str
    needs: tuple[str, ...]
    takes: tuple[str, ...] = ()
    either: tuple[str, ...] = ()
    label: str = "{path}"


_TRACKED = ("repository", "revision")
"""Of any file: where DVC tracks it, when it does."""


KINDS = {
    "package": Kind("package", needs=("package", "dataset"), takes=("version",), label="{package}:{dataset}"),
    "csv": Kind("tables", needs=("path",), takes=("separator", "encoding", *_TRACKED)),
    "parquet": Kind("tables", needs=("path",), takes=_TRACKED),
    "sas": Kind("tables", needs=("path",), takes=("encoding", *_TRACKED)),
    "adam": Kind(
        "adam",
        needs=("path", "adtte", "paramcd"),
        takes=("time_unit", "keep", "separator", "encoding", *_TRACKED),
        label="{path} with {adtte}",
    ),
    "sql": Kind(
        "sql", needs=("database", "order_by"), takes=("version_query",), either=("table", "query"), label="{database}"
    ),
    "simulated": Kind(
        "simulated", needs=("simulation",), label="simulated: {simulation.patients} rows, seed {simulation.seed}"
    ),
}


@dataclass(frozen=True)
class Reading:
    """The rows of a source as it holds them, the digests of the files they came from, what the source calls its
    version, and the number of rows after each step that put the table together.
    """

    frame: pd.DataFrame
    files_sha256: tuple[str, ...] = ()
    version: str = ""
    flow: tuple[tuple[str, int], ...] = ()

    @cached_property
    def content_sha256(self) -> str:
        """Digest of the rows, value by value."""
        from clinical_assets.trials.table_digest import table_sha256

        return table_sha256(self.frame)


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
    foreign = sorted(given - {*known.needs, *known.takes, *known.either})
    missing = [name for name in known.needs if name not in given]
    ambiguous = known.either and len(given.intersection(known.either)) != 1
    return [
        *([f"needs {' and '.join(f'`{name}`' for name in missing)}"] if missing else []),
        *([f"needs either {' or '.join(f'`{name}`' for name in known.either)}"] if ambiguous else []),
        *([f"takes no {' or '.join(f'`{name}`' for name in foreign)}"] if foreign else []),
    ]


def kind_fields() -> set[str]:
    """All fields that belong to some kind only."""
    return {name for kind in KINDS.values() for name in (*kind.needs, *kind.takes, *kind.either)}
