"""Gate 1, data quality: is this the cohort that the contract describes, whole, once, and large enough?

What models learn and how well they rank belongs to `performance`; identifiers belong to `regulatory`.
Findings name columns and counts, never a patient's values.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from clinical_assets.gates.checks import Case, Finding, check, run_gate
from clinical_assets.gates.data_quality import (  # noqa: F401 - registers the checks of these themes
    category_changes,
    cdisc_core,
    coincidences,
    column_sanity,
    conflicting_outcomes,
    dates,
    drift,
    outcome_shift,
    sentinels,
    unit_conversion,
)
from clinical_assets.gates.data_quality.deviations import deviations
from clinical_assets.gates.data_quality.duplicates import (
    more_telling,
    near_pairs_between,
    pairs_between,
    pairs_within,
)
from clinical_assets.gates.data_quality.outcome_sanity import binary_outcome, survival_outcome
from clinical_assets.gates.data_quality.reference_cohort import comparisons
from clinical_assets.gates.facts import ReleaseFacts
from clinical_assets.gates.policy import GatePolicy
from clinical_assets.gates.thresholds import DataQualityPolicy
from clinical_assets.gates.verdict import GateName, GateReport, Verdict
from clinical_assets.trials.contract import Column
from clinical_assets.trials.small_cells import shown

GATE = GateName.DATA_QUALITY


def judge(facts: ReleaseFacts, policy: GatePolicy) -> GateReport:
    return run_gate(GATE, facts, policy)


def both_sides(facts: ReleaseFacts) -> pd.DataFrame:
    return pd.concat([facts.train, facts.test], ignore_index=True)


@check(GATE, "DQ1", "Table matches the contract", "deviations")
def contract_match(case: Case) -> Finding:
    """Names, order, types, plausible ranges and categories, by the pandera schema of the contract."""
    facts = case.facts
    found: dict[str, int] = {}
    for side, frame in (("train", facts.train), ("test", facts.test)):
        if frame.empty:
            found[f"{side} holds no rows"] = 1
            continue
        found |= {f"{side}: {what}": rows for what, rows in deviations(frame, facts.contract).items()}
    n, columns = len(facts.train) + len(facts.test), len(facts.contract.table_columns)
    common: dict[str, Any] = {"n": n, "value": float(sum(found.values())), "threshold": "0 deviations"}
    common |= {"threshold_source": "the cohort contract", "details": {"deviations": found}}
    if not found:
        return Finding(Verdict.PASS, f"all {columns} columns of {n} rows are as the contract says", **common)
    worst = "; ".join(f"{what} ({shown(rows)} rows)" for what, rows in list(found.items())[:5])
    return Finding(
        Verdict.BLOCK,
        f"{len(found)} kinds of deviation: {worst}",
        "correct the source (units, codes, column order), or change the contract and have it reviewed",
        **common,
    )


@check(GATE, "DQ3", "Missing values", "largest share of missing values in a column")
def missingness(case: Case) -> Finding:
    """Share missing per column against `Column.max_missing` (both sides together), and its shift from the reference."""
    facts, limit = case.facts, case.policy.data_quality.missing_drift_warn
    frame = both_sides(facts)
    if frame.empty:
        return Finding(Verdict.BLOCK, "there are no rows", "check the snapshot and the split", n=0)
    share = {column.name: float(frame[column.name].isna().mean()) for column in facts.contract.attributes}
    over = [column.name for column in facts.contract.attributes if share[column.name] > column.max_missing]
    shifted = {
        f"{column.name}, {comparison.name}": delta
        for comparison in comparisons(case)
        for column in comparison.columns(facts.contract)
        if abs(delta := _missing(comparison.current, column) - _missing(comparison.reference, column)) > limit
    }
    worst = max(share, key=share.__getitem__)
    common: dict[str, Any] = {
        "value": share[worst],
        "n": len(frame),
        "threshold": f"each column's max_missing; new minus reference within {limit:.0%} points",
        "threshold_source": f"contract (5 % unless declared); {DataQualityPolicy.source('missing_drift_warn')}",
        "details": {"share": share, "shifted": shifted},
    }
    if over:
        text = ", ".join(f"{name} {share[name]:.1%}" for name in over)
        return Finding(
            Verdict.BLOCK, f"more missing than declared: {text}", "complete the source or declare max_missing", **common
        )
    if shifted:
        text = ", ".join(f"{name} {delta:+.1%}" for name, delta in shifted.items())
        return Finding(Verdict.WARN, f"missingness has changed: {text}", "look for a site effect", **common)
    return Finding(Verdict.PASS, f"at most {share[worst]:.1%} missing ({worst})", **common)


def _missing(frame: pd.DataFrame, column: Column) -> float:
    return float(frame[column.name].isna().mean())


@check(GATE, "DQ6", "Duplicate rows", "pairs of equal rows in the test split")
def duplicates(case: Case) -> Finding:
    """The same identifier twice, or rows equal in all features and the outcome more often than chance makes them."""
    facts = case.facts
    repeated = {
        side: int(frame["subject_id"].duplicated().sum())
        for side, frame in (("train", facts.train), ("test", facts.test))
    }
    test, train = pairs_within(facts.test, facts.contract), pairs_within(facts.train, facts.contract)
    test = more_telling(test, coincidences.inside_test(facts.train, facts.test, facts.contract))
    common: dict[str, Any] = {
        "value": float(test.found),
        "n": len(facts.train) + len(facts.test),
        "threshold": "0 repeated subjects; 0 equal rows beyond coincidence",
        "threshold_source": "a subject counts once (deepchecks DataDuplicates 0); coincidence by Poisson tail .01",
        "details": {"repeated_subjects": repeated, "test": vars(test), "train": vars(train)},
    }
    remedy = "remove the copies at the source and ingest again"
    if sum(repeated.values()):
        return Finding(
            Verdict.BLOCK, f"{sum(repeated.values())} rows repeat a subject of their split", remedy, **common
        )
    if test.beyond_chance:
        return Finding(
            Verdict.BLOCK,
            f"{test.found} pairs of equal test rows, {test.expected:.2g} expected by chance",
            remedy,
            **common,
        )
    if train.found or test.found:
        judged = "more than coincidence explains" if train.beyond_chance else "which coincidence explains"
        return Finding(
            Verdict.WARN,
            f"{train.found} pairs of equal rows in train, {judged}; {test.found} in test",
            "check whether these are different patients",
            **common,
        )
    return Finding(Verdict.PASS, "no row occurs twice", **common)


@check(GATE, "DQ7", "No subject on both sides of the split", "subjects in train and test")
def split_overlap(case: Case) -> Finding:
    """By identifier; and for a subject that was given a new one, by all features and the outcome, or by sex, age,
    categories, dates and the outcome where measurements were taken again.
    """
    facts = case.facts
    same_id = len(set(facts.train["subject_id"]) & set(facts.test["subject_id"]))
    same_row = more_telling(
        pairs_between(facts.train, facts.test, facts.contract),
        coincidences.across(facts.train, facts.test, facts.contract),
    )
    same_person = near_pairs_between(facts.train, facts.test, facts.contract)
    common: dict[str, Any] = {
        "value": float(max(same_id, same_row.found)),
        "n": len(facts.train) + len(facts.test),
        "threshold": "0 shared identifiers; 0 equal rows beyond coincidence",
        "threshold_source": "deepchecks IndexTrainTestLeakage 0; coincidence by Poisson tail .01",
        "details": {"same_identifier": same_id, "same_row": vars(same_row), "same_person": vars(same_person)},
    }
    remedy = "split by patient: merge the identifiers of one patient, then make the split again"
    if same_id:
        return Finding(Verdict.BLOCK, f"{same_id} subjects are in both train and test", remedy, **common)
    if facts.split.digest != facts.split.recomputed_digest:
        return Finding(Verdict.BLOCK, "the split is not the one that was stored", "restore the stored split", **common)
    if same_row.beyond_chance:
        return Finding(
            Verdict.BLOCK,
            f"{same_row.found} test rows are training rows under a new identifier ({same_row.expected:.2g} by chance)",
            remedy,
            **common,
        )
    if same_person.tail < case.policy.data_quality.coincidence and same_person.found > 2.0 * same_person.expected:
        return Finding(
            Verdict.BLOCK,
            f"{same_person.found} test patients have attributes, dates and outcome of a training patient under another "
            f"identifier ({same_person.expected:.2g} by chance)",
            remedy,
            **common,
        )
    if same_row.found:
        return Finding(
            Verdict.WARN, f"{same_row.found} equal rows across the split, which coincidence explains", remedy, **common
        )
    return Finding(Verdict.PASS, "train and test share no subject", **common)


@check(GATE, "DQ9", "Outcomes are what the endpoint says", "event probability by the horizon")
def outcome_sanity(case: Case) -> Finding:
    """Coding, polarity, follow-up and event rate."""
    return binary_outcome(case) if case.facts.contract.endpoint.kind == "binary" else survival_outcome(case)


@check(GATE, "DQ17", "Sample size", "events in the test split")
def sample_size(case: Case) -> Finding:
    """Events by the horizon in the test split; events per model input in the training split."""
    facts, policy = case.facts, case.policy.data_quality
    test, train = _judged_events(facts, facts.test), _judged_events(facts, facts.train)
    inputs = sum(len(column.categories) - 1 if column.categories else 1 for column in facts.contract.features)
    per_input = train / inputs
    common: dict[str, Any] = {
        "value": float(test),
        "n": len(facts.test),
        "events": test,
        "threshold": f">= {policy.min_test_events} in test; >= {policy.min_events_per_feature:g} per input in train",
        "threshold_source": DataQualityPolicy.source("min_test_events"),
        "details": {"train_events": train, "model_inputs": inputs, "events_per_input": per_input},
    }
    if test < policy.min_test_events:
        return Finding(
            Verdict.INCONCLUSIVE,
            f"{test} events in the test split cannot carry a claim about calibration or non-inferiority",
            "collect more follow-up, pool sites, or use the model in the research tier only",
            **common,
        )
    if per_input < policy.min_events_per_feature:
        return Finding(
            Verdict.WARN,
            f"only {per_input:.1f} training events per model input",
            "drop features or penalise more",
            **common,
        )
    return Finding(Verdict.PASS, f"{test} test events, {per_input:.1f} training events per input", **common)


def _judged_events(facts: ReleaseFacts, frame: pd.DataFrame) -> int:
    """Events by the horizon; for a label, subjects of the rarer class."""
    endpoint = facts.contract.endpoint
    if endpoint.kind == "binary":
        positive = int((frame["label"] == 1).sum())
        return min(positive, len(frame) - positive)
    return int(((frame["event"] == 1) & (frame["time"] <= endpoint.horizon_days)).sum())


@check(GATE, "DQ18", "Provenance", "entries that differ from the manifest")
def provenance(case: Case) -> Finding:
    """Digest and row count on disk, contract, and rows judged, against the snapshot's manifest."""
    facts = case.facts
    found = dict(facts.recomputed) | {"contract_sha256": facts.contract.digest}
    required = {"table_sha256", "rows", "contract_sha256"}
    differing = {
        key for key in required | (set(found) & set(facts.manifest)) if found.get(key) != facts.manifest.get(key)
    }
    differing |= {key for key in required if found.get(key) is None}
    rows = len(facts.train) + len(facts.test)
    if facts.manifest.get("rows") != rows:
        differing.add(f"rows in train and test ({rows}, manifest {facts.manifest.get('rows')})")
    common: dict[str, Any] = {
        "value": float(len(differing)),
        "n": rows,
        "threshold": "0: digest, row count, contract and rows judged equal the manifest",
        "threshold_source": "ICH E6(R3) 4.2, data integrity",
        "details": {"differing": sorted(differing)},
    }
    if differing:
        return Finding(
            Verdict.BLOCK,
            f"differs from the manifest: {', '.join(sorted(differing))}",
            "restore the snapshot, or ingest again under a new digest",
            **common,
        )
    return Finding(Verdict.PASS, "the rows judged are the rows that were ingested", **common)
