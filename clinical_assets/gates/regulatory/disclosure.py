"""What a table would disclose about single patients: fine dates and places, high ages, small groups.

Safe Harbor (45 CFR 164.514(b)(2)(i)) for the details; k-anonymity (Sweeney 2002) over the sensitive attributes and
distinct l-diversity (Machanavajjhala 2007) of the outcome for row-level tables; smallest cell for aggregated ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pandas as pd

from clinical_assets.gates.facts import ExportTable
from clinical_assets.trials.contract import CohortContract
from clinical_assets.trials.groups import sensitive_groups

OLDEST = 89
"""Ages above it are one class (90 and over)."""
_AGE = re.compile(r"(^|_)age(_|$)", re.IGNORECASE)
_PLACE = re.compile(r"(^|_)(zip|zipcode|postcode|postal|plz)(_|$|code)", re.IGNORECASE)
_FINE_DATE = re.compile(r"\s*(\d{4}-\d{1,2}(-\d{1,2})?([T ].*)?|\d{1,2}[./-]\d{1,2}[./-]\d{2,4})\s*")
_FIVE_DIGITS = re.compile(r"\s*\d{5}(-\d{4})?\s*")


@dataclass(frozen=True)
class GroupSizes:
    """`smallest` group or cell of one table, None when it has none; `faults` in words."""

    smallest: int | None
    faults: tuple[str, ...]


def fine_details(frame: pd.DataFrame, contract: CohortContract, allowed: tuple[str, ...] = ()) -> dict[str, str]:
    """Columns with dates finer than a year, ages over 89, or five-digit postal codes, and how often.

    A date that is the same for everybody (a nominal index date) tells nothing about anybody. No value is quoted.
    """
    ages = {column.name for column in contract.columns if column.unit == "year" and _AGE.search(column.name)}
    found: dict[str, str] = {}
    for name in map(str, frame.columns):
        values = frame[name].dropna()
        if name in allowed or values.empty:
            continue
        if pd.api.types.is_datetime64_any_dtype(values):
            dates = values[(values.dt.month != 1) | (values.dt.day != 1)]
            if len(dates) and values.nunique() > 1:
                found[name] = f"dates finer than a year ({len(dates)})"
        elif pd.api.types.is_bool_dtype(values):
            continue
        elif pd.api.types.is_numeric_dtype(values):
            if name in ages or _AGE.fullmatch(name):
                old = int((values > OLDEST).sum())
                if old:
                    found[name] = f"ages over {OLDEST} ({old})"
            elif _PLACE.search(name) and (values.between(501, 99950) & (values == values.round())).mean() > 0.5:
                found[name] = f"five-digit postal codes ({len(values)})"
        else:
            found |= _fine_texts(name, values)
    return found


def _fine_texts(name: str, values: pd.Series) -> dict[str, str]:
    counts = values.astype(str).value_counts()
    dates = int(sum(count for text, count in counts.items() if _FINE_DATE.fullmatch(str(text))))
    if dates and len(counts) > 1:
        return {name: f"dates finer than a year ({dates})"}
    places = int(sum(count for text, count in counts.items() if _FIVE_DIGITS.fullmatch(str(text))))
    if places and _PLACE.search(name):
        return {name: f"five-digit postal codes ({places})"}
    return {}


def small_cells(table: ExportTable, contract: CohortContract, smallest: int, diversity: int) -> GroupSizes:
    """Groups of fewer than `smallest` patients, and groups in which all share one outcome, in one table."""
    frame = table.frame
    if table.count is not None:
        counts = pd.to_numeric(frame[table.count], errors="coerce").dropna()
        small = counts[(counts > 0) & (counts < smallest)]
        faults = (f"{table.name}: {len(small)} cells stand for fewer than {smallest} patients",) if len(small) else ()
        positive = counts[counts > 0]
        return GroupSizes(int(positive.min()) if len(positive) else None, faults)
    quasi = _quasi_identifiers(frame, contract)
    if frame.empty:
        return GroupSizes(None, ())
    keys = list(quasi.columns)
    sizes = quasi.groupby(keys, dropna=False, observed=True).size() if keys else pd.Series([len(frame)])
    faults = []
    if sizes.min() < smallest:
        rows = int(sizes[sizes < smallest].sum())
        faults.append(f"{table.name}: {rows} patients are in groups of fewer than {smallest} by {', '.join(keys)}")
    outcome = next((name for name in ("event", "label") if name in frame.columns), None)
    if outcome is not None:
        groups = quasi.assign(outcome=frame[outcome].to_numpy())
        varied = groups.groupby(keys, dropna=False, observed=True)["outcome"].nunique() if keys else None
        if varied is not None and (varied < diversity).any():
            faults.append(f"{table.name}: {int((varied < diversity).sum())} groups share one outcome")
    if "subject_id" in frame.columns:
        faults.append(f"{table.name}: holds subject identifiers")
    return GroupSizes(int(sizes.min()), tuple(faults))


def _quasi_identifiers(frame: pd.DataFrame, contract: CohortContract) -> pd.DataFrame:
    """The sensitive attributes that the table holds; ages and the like in the contract's bands."""
    present = [column.name for column in contract.sensitive if column.name in frame.columns]
    if len(present) == len(contract.sensitive):
        return sensitive_groups(frame, contract)
    return frame[present].astype(str)
