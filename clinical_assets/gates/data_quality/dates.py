"""DQ8 and DQ10: does time run forwards? Splits in time, patients' lives, the data cut, dates shifted for privacy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from clinical_assets.foundation.clock import SECONDS_PER_DAY
from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.data_quality.reference_cohort import comparisons
from clinical_assets.gates.facts import ReleaseFacts, utc_seconds
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.trials.contract import CohortContract

GATE = GateName.DATA_QUALITY
LONGEST_LIFE = 122.5
"""Years: the longest life on record."""
FIRST_YEAR = 1900
"""No cohort of this platform enrolled before it; earlier index dates are errors of coding."""
PROFILE_ROWS, PROFILE_CHANCE = 100, 1e-3
"""Rows of either side from which weekdays are compared, and the probability from which they differ."""


@check(GATE, "DQ8", "Order of the splits in time", "test subjects indexed before the last training subject")
def split_order(case: Case) -> Finding:
    """Only where the split is declared to be out of time: every test index date after every training one."""
    facts = case.facts
    common: dict[str, Any] = {
        "n": len(facts.train) + len(facts.test),
        "threshold": "0: max(index date in train) < min(index date in test)",
        "threshold_source": "deepchecks DateTrainTestLeakageOverlap 0",
    }
    if not facts.split.out_of_time:
        return Finding(Verdict.PASS, "does not apply: the split is by subject, not in time", **common)
    if facts.contract.index_date.kind == "nominal" or facts.train.empty or facts.test.empty:
        return Finding(
            Verdict.BLOCK,
            "the split is declared out of time, but there are no calendar dates on both sides",
            "declare the index date as calendar, or the split by subject",
            **common,
        )
    last, first = facts.train["index_date"].max(), facts.test["index_date"].min()
    early = int((facts.test["index_date"] <= last).sum())
    common |= {"value": float(early), "details": {"last_in_train": str(last), "first_in_test": str(first)}}
    if early:
        return Finding(
            Verdict.BLOCK,
            f"{early} test subjects were indexed by {last.date()}, when the last training subject was",
            "make the split again from the declared date",
            **common,
        )
    return Finding(Verdict.PASS, f"training ends {last.date()}, testing starts {first.date()}", **common)


@check(GATE, "DQ10", "Dates are possible", "violations of the order birth, index date, event, data cut")
def date_logic(case: Case) -> Finding:
    """Birth < index date <= end of follow-up <= data cut and extraction; a life no longer than the longest on record;
    against the champion's snapshot, dates of one subject moved by the same number of days; weekdays as before."""
    facts = case.facts
    frame = pd.concat([facts.train, facts.test], ignore_index=True)
    calendar = facts.contract.index_date.kind == "calendar"
    violations = {**_lives(frame, facts.contract), **(_calendar(frame, facts) if calendar else {})}
    moved = _moved(facts) if calendar else {}
    violations = {what: rows for what, rows in (violations | moved).items() if rows}
    weekdays = _weekdays(case) if calendar else {}
    common: dict[str, Any] = {
        "value": float(sum(violations.values())),
        "n": len(frame),
        "threshold": "0 violations",
        "threshold_source": "CDISC date order; dates of one subject are shifted together or not at all",
        "details": {"violations": violations, "weekday_chance": weekdays},
    }
    if violations:
        text = "; ".join(f"{rows} {what}" for what, rows in violations.items())
        return Finding(
            Verdict.BLOCK, text, "correct the dates at the source, and shift all dates of a subject alike", **common
        )
    if not calendar and not _age_column(frame, facts.contract):
        common["value"] = None
        return Finding(Verdict.PASS, "does not apply: the source holds neither dates nor ages", **common)
    odd = [where for where, chance in weekdays.items() if chance < PROFILE_CHANCE]
    if odd:
        return Finding(
            Verdict.WARN,
            f"index dates fall on other weekdays than before ({odd[0]}): were dates shifted or rounded?",
            "ask the source whether its date handling changed",
            **common,
        )
    examined = "dates and ages" if calendar else "ages at the end of follow-up (the source has no calendar dates)"
    return Finding(Verdict.PASS, f"{examined} of {len(frame)} subjects are possible", **common)


def _age_column(frame: pd.DataFrame, contract: CohortContract) -> str:
    """Name of the feature that is an age in years and never negative by contract, or ""."""
    for column in contract.attributes:
        low = (column.plausible_range or (-1.0, 0.0))[0]
        if column.unit == "year" and low >= 0 and column.name.split("_")[0] == "age" and column.name in frame:
            return column.name
    return ""


def _lives(frame: pd.DataFrame, contract: CohortContract) -> dict[str, int]:
    name = _age_column(frame, contract)
    if not name:
        return {}
    age = pd.to_numeric(frame[name], errors="coerce").to_numpy(np.float64, na_value=np.nan)
    years = frame["time"].to_numpy(np.float64) / 365.25 if "time" in frame else np.zeros(len(frame))
    return {
        "subjects are indexed before their birth": int((age < 0).sum()),
        f"subjects are followed beyond an age of {LONGEST_LIFE:g}": int((age + years > LONGEST_LIFE).sum()),
    }


def _calendar(frame: pd.DataFrame, facts: ReleaseFacts) -> dict[str, int]:
    entered = frame["index_date"].to_numpy("datetime64[s]").astype(np.float64) / SECONDS_PER_DAY
    followed = frame["time"].to_numpy(np.float64) if "time" in frame else np.zeros(len(frame))
    found = {
        "subjects have no index date": int(frame["index_date"].isna().sum()),
        f"index dates lie before {FIRST_YEAR}": int((frame["index_date"] < pd.Timestamp(FIRST_YEAR, 1, 1)).sum()),
    }
    limits = {"data cut": facts.manifest.get("data_cut"), "extraction": facts.manifest.get("extracted_utc")}
    for name, moment in limits.items():
        if moment is None:
            continue
        day = utc_seconds(str(moment)) if name == "extraction" else pd.Timestamp(moment).timestamp()
        beyond = entered + followed > day / SECONDS_PER_DAY + 1.0
        found[f"subjects are followed beyond the {name}"] = int(beyond.sum())
    return found


def _moved(facts: ReleaseFacts) -> dict[str, int]:
    """Subjects known to the champion whose index date moved while their event stayed, or moved otherwise."""
    before = facts.champion_train
    if before is None or facts.contract.endpoint.kind == "binary":
        return {}
    after = pd.concat([facts.train, facts.test], ignore_index=True)
    names = ["subject_id", "index_date", "time", "event"]
    if not set(names) <= set(before) & set(after):
        return {}
    both = before[names].merge(after[names], on="subject_id", suffixes=("_before", "_after"))
    shifted = both["index_date_before"] != both["index_date_after"]
    ended = (both["event_before"] == 1) & (both["event_after"] == 1)
    broken = (both["time_before"] - both["time_after"]).abs() > 1.0
    return {
        "subjects' index dates moved by other numbers of days than their events": int((shifted & ended & broken).sum())
    }


def _weekdays(case: Case) -> dict[str, float]:
    """Probability that the weekdays of both sides come from one profile (Pearson's chi-squared), by comparison."""
    from scipy.stats import chi2_contingency

    found = {}
    for comparison in comparisons(case):
        sides = [frame["index_date"].dropna() for frame in (comparison.reference, comparison.current)]
        if min(map(len, sides)) < PROFILE_ROWS:
            continue
        counts = np.array([np.bincount(dates.dt.weekday, minlength=7) for dates in sides])
        counts = counts[:, counts.sum(axis=0) > 0]
        if counts.shape[1] > 1:
            found[comparison.name] = float(chi2_contingency(counts).pvalue)
    return found
