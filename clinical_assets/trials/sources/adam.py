"""The ADaM pair: one row per subject of ADSL, with time and event from one parameter of ADTTE.

CNSR = 0 means that the event happened, every CNSR above 0 is a censoring (CDISC ADaM Basic Data Structure for
Time-to-Event Analyses 1.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clinical_assets.trials.codes import codes
from clinical_assets.trials.endpoint import DAYS_PER_UNIT
from clinical_assets.trials.errors import SourceError
from clinical_assets.trials.numeric import numbers
from clinical_assets.trials.sources.kinds import Reading
from clinical_assets.trials.sources.stored import stored_file, stored_state
from clinical_assets.trials.sources.tables import read_table

if TYPE_CHECKING:
    from clinical_assets.trials.sources.spec import SourceSpec

DAYS, EVENT = "DAYS", "EVENT"
"""What the pair gives beside the columns of ADSL: AVAL in days, and 1 where CNSR is 0."""


def read(spec: SourceSpec) -> Reading:
    """Columns of ADSL, then `DAYS`, `EVENT` and the columns `keep` of ADTTE, with the labels of SAS variables.

    Raises:
        SourceError: an unreadable file, a missing column, an unknown PARAMCD, a subject twice, no single time unit,
            or a CNSR that is missing or negative.
    """
    with stored_file(spec, spec.path) as subjects, stored_file(spec, spec.adtte) as times:
        adsl, adtte = read_table(subjects, spec), read_table(times, spec)
        digests = (subjects.sha256, times.sha256)
        versions = " ".join(dict.fromkeys(version for version in (subjects.version, times.version) if version))
    frame, flow = joined(adsl, adtte, spec)
    return Reading(frame, digests, versions, flow)


def state(spec: SourceSpec) -> list[str]:
    return [*stored_state(spec, spec.path), *stored_state(spec, spec.adtte)]


def joined(
    adsl: pd.DataFrame, adtte: pd.DataFrame, spec: SourceSpec
) -> tuple[pd.DataFrame, tuple[tuple[str, int], ...]]:
    """The joined rows in the order of ADSL, and the number of rows after each step.

    Raises:
        SourceError: see `read`.
    """
    _need(adsl, ["USUBJID"], spec.path)
    _need(adtte, ["USUBJID", "PARAMCD", "AVAL", "CNSR", *spec.keep], spec.adtte)
    chosen = adtte.loc[(codes(adtte["PARAMCD"]) == spec.paramcd).to_numpy(bool)].reset_index(drop=True)
    if chosen.empty:
        known = ", ".join(sorted({str(code) for code in codes(adtte["PARAMCD"]).dropna()}))
        raise SourceError(f"{spec.adtte} holds no PARAMCD {spec.paramcd!r}; it holds {known}")
    subjects, timed = codes(adsl["USUBJID"]), codes(chosen["USUBJID"])
    _once(subjects, spec.path, "remove the duplicates")
    _once(timed, f"{spec.adtte}, PARAMCD {spec.paramcd}", "keep one analysis record of each subject")
    outcome = pd.DataFrame({DAYS: _days(chosen, spec), EVENT: _events(chosen, spec)})
    outcome = pd.concat([outcome, chosen[list(spec.keep)]], axis="columns").set_index(timed.to_numpy(object))
    if clash := sorted(set(outcome.columns) & set(adsl.columns)):
        raise SourceError(f"{spec.path}: column {', '.join(clash)} would come from both tables; drop it in one of them")
    kept = subjects.isin(timed).to_numpy(bool)
    rows = outcome.loc[subjects[kept]].reset_index(drop=True)
    frame = pd.concat([adsl.loc[kept].reset_index(drop=True), rows], axis="columns")
    frame.attrs["labels"] = {**adtte.attrs.get("labels", {}), **adsl.attrs.get("labels", {})}
    orphans = int((~timed.isin(subjects)).sum())
    flow = (
        ("rows in ADSL", len(adsl)),
        (f"with PARAMCD {spec.paramcd} in ADTTE ({orphans} rows of ADTTE have no subject in ADSL)", len(frame)),
    )
    return frame, flow


def _need(frame: pd.DataFrame, columns: list[str], name: str) -> None:
    if missing := [column for column in columns if column not in frame.columns]:
        raise SourceError(f"{name} has no column {', '.join(missing)}; give the ADaM data set that has it")


def _once(subjects: pd.Series, where: str, remedy: str) -> None:
    if empty := int(subjects.isna().sum()):
        raise SourceError(f"{where}: USUBJID is missing in {empty} of {len(subjects)} rows; complete it")
    if again := int(subjects.duplicated().sum()):
        raise SourceError(
            f"{where}: {again} of {len(subjects)} rows repeat a USUBJID; {remedy}, so that there is one row per subject"
        )


def _days(chosen: pd.DataFrame, spec: SourceSpec) -> np.ndarray:
    """AVAL in days, by the unit of AVALU or the declared one, which must not contradict each other."""
    values, text = numbers(chosen["AVAL"])
    if text.any():
        raise SourceError(f"{spec.adtte}: AVAL holds text in {int(text.sum())} of {len(chosen)} rows; correct it")
    stated = codes(chosen["AVALU"]).dropna().str.lower().unique().tolist() if "AVALU" in chosen else []
    units = {unit if unit.endswith("s") else f"{unit}s" for unit in stated}
    if spec.time_unit:
        units.add(spec.time_unit)
    if len(units) != 1 or not units <= DAYS_PER_UNIT.keys():
        found = f"is given in {', '.join(sorted(units))}" if units else "has no unit: there is no AVALU"
        raise SourceError(
            f"{spec.adtte}, PARAMCD {spec.paramcd}: AVAL {found}; declare `source.time_unit` "
            f"(one of {', '.join(DAYS_PER_UNIT)}), the same for all rows and as in AVALU"
        )
    return values * DAYS_PER_UNIT[units.pop()]


def _events(chosen: pd.DataFrame, spec: SourceSpec) -> np.ndarray:
    """1 where CNSR is 0, else 0."""
    censoring, text = numbers(chosen["CNSR"])
    wrong = text | np.isnan(censoring) | (censoring < 0) | (censoring != np.round(censoring))
    if wrong.any():
        raise SourceError(
            f"{spec.adtte}, PARAMCD {spec.paramcd}: CNSR is missing or no whole number from 0 in "
            f"{int(wrong.sum())} of {len(chosen)} rows; 0 is an event, 1 and above a censoring"
        )
    return (censoring == 0).astype(np.int64)
