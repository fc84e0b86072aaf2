"""From what a person names, a file, a URL or a YAML file with a `source` section, to the declaration of a source."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePath
from typing import Any

import pandas as pd

from clinical_assets.configuration import read_yaml, validate
from clinical_assets.drafting.errors import DraftError
from clinical_assets.trials.placeholder import TO_BE_COMPLETED
from clinical_assets.trials.sources.spec import SourceSpec
from clinical_assets.trials.sources.stored import stored_file
from clinical_assets.trials.sources.tables import SUFFIXES

ORIGIN = {"data_status": "real", "licence": TO_BE_COMPLETED, "citation": TO_BE_COMPLETED}

MISSING = ("", "NA", "N/A", "n/a", "na", "NaN", "nan", "NULL", "null", "None", ".", "?", "[Not Available]",
           "[Not Applicable]", "[Not Evaluated]", "[Unknown]")  # fmt: skip
"""Texts that stand for a missing value in one tool or another."""


def declared_source(location: str, where: dict[str, str]) -> SourceSpec:
    """The source at `location`, read as real data whose licence and citation a person completes.

    Raises:
        DraftError: an unknown suffix, or a YAML file without `source`.
        CatalogError: a faulty `source`.
        SourceError: a csv file that cannot be fetched.
    """
    suffix = PurePath(location).suffix.lower()
    if suffix in (".yaml", ".yml"):
        file = Path(location).expanduser().absolute()
        content = read_yaml(file)
        if not isinstance(content.get("source"), dict):
            raise DraftError(f"{file} has no `source` section; write `source:` with `kind` and what belongs to it")
        spec = validate(SourceSpec, {**ORIGIN, **content["source"]}, file)
        return spec.below(file.parent).model_copy(update={"where": {**spec.where, **where}} if where else {})
    if suffix not in SUFFIXES:
        raise DraftError(
            f"{location}: the suffix must be one of {', '.join(SUFFIXES)}, or .yaml with a `source` section for "
            "databases, ADaM pairs and DVC; see docs/bring-your-own-trial.md"
        )
    declared: dict[str, Any] = {"kind": SUFFIXES[suffix], "path": location, **ORIGIN, "where": where}
    spec = validate(SourceSpec, declared, Path("--from")).below(Path.cwd())
    return spec.model_copy(update=_text_format(spec)) if spec.kind == "csv" else spec


def missing_texts(frame: pd.DataFrame, declared: tuple[str, ...]) -> tuple[str, ...]:
    """`declared`, and what else in the text columns of `frame` stands for a missing value."""
    text = frame.select_dtypes(exclude=["number", "bool", "datetime"])
    seen = {word for word in MISSING if any((column == word).any() for _, column in text.items())}
    return tuple(dict.fromkeys([*declared, *(word for word in MISSING if word in seen)]))


def _text_format(spec: SourceSpec) -> dict[str, str]:
    """Separator and encoding of a csv file, from its first lines."""
    with stored_file(spec, spec.path) as file, file.path.open("rb") as handle:
        start = handle.read(1 << 16)
    try:
        start.decode("utf-8") if len(start) < 1 << 16 else start[: start.rfind(b"\n")].decode("utf-8")
        encoding = ""
    except UnicodeDecodeError:
        encoding = "WINDOWS-1252"
    header = Counter(start.partition(b"\n")[0].decode("latin-1"))
    return {"separator": max(",;\t|", key=header.__getitem__), "encoding": encoding}
