"""DQ11 and DQ12: do the new rows look like the reference, column by column and together?"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import pandas as pd

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.data_quality.distances import Drift, categorical_drift, numeric_drift
from clinical_assets.gates.data_quality.outcome_sanity import ordering_error
from clinical_assets.gates.data_quality.policy import DataQualityPolicy
from clinical_assets.gates.data_quality.reference_cohort import Comparison, categories, comparisons, measured
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.trials.contract import CohortContract, Column

GATE = GateName.DATA_QUALITY
CLASSIFIED = 2000
"""Rows of either side that the domain classifier looks at; an even sample of more."""
Key = TypeVar("Key")
TREES, FOLDS, SEED = 60, 3, 20_240_301


@check(GATE, "DQ11", "Drift of each column", "largest population stability index")
def column_drift(case: Case) -> Finding:
    """PSI per column less its expectation, with Jensen-Shannon and Wasserstein distances beside it.

    WARN where the index passes `drift_warn` with a false discovery rate of `drift_level`; BLOCK where that of a leading
    feature passes `drift_block` and drift is certain: p, by Holm's method among all columns, below 1 -
    `block_confidence`.
    """
    from scipy.stats import false_discovery_control

    facts, policy = case.facts, case.policy.data_quality
    compared = comparisons(case)
    found = {
        (column.name, comparison.name): drift
        for comparison in compared
        for column in comparison.columns(facts.contract)
        if (drift := column_distance(comparison, column, policy.drift_min_n)) is not None
    }
    common: dict[str, Any] = {
        "n": len(facts.train) + len(facts.test),
        "threshold": f"PSI <= {policy.drift_warn:g}; <= {policy.drift_block:g} in the leading features, where drift "
        f"is certain at {policy.block_confidence:.1%}",
        "threshold_source": DataQualityPolicy.source("drift_warn"),
        "details": {f"{name}, {where}": vars(drift) for (name, where), drift in found.items()},
    }
    if not found:
        return Finding(
            Verdict.INCONCLUSIVE,
            f"fewer than {policy.drift_min_n} values on one side of every comparison",
            "collect more rows; drift is judged again at the next ingest",
            **common,
        )
    chances = false_discovery_control([drift.p for drift in found.values()], method="bh")
    drifted = {
        key: drift
        for (key, drift), chance in zip(found.items(), chances, strict=True)
        if chance < policy.drift_level and drift.psi > policy.drift_warn
    }
    leading = leading_features(compared[0].reference, facts.contract, policy.drift_leading_features)
    certain = holm({key: drift.p for key, drift in found.items()}, 1.0 - policy.block_confidence)
    lost = {
        key: drift
        for key, drift in drifted.items()
        if key[0] in leading and key in certain and drift.psi > policy.drift_block
    }
    worst = max(found, key=lambda key: found[key].psi)
    drift = found[worst]
    lowest = drift.at_least(1.0 - policy.drift_level / 2.0 / len(found))
    common |= {"value": drift.psi, "interval": (lowest, 2.0 * drift.psi - lowest)}
    common["details"]["leading"] = sorted(leading)
    remedy = "find out what changed (site, assay, inclusion criteria, unit); retrain or widen the contract after review"
    if lost:
        return Finding(Verdict.BLOCK, f"leading features have drifted: {_spoken(lost)}", remedy, **common)
    if drifted:
        return Finding(Verdict.WARN, f"columns have drifted: {_spoken(drifted)}", remedy, **common)
    return Finding(Verdict.PASS, f"no column drifted; the largest index is {drift.psi:.3f} ({worst[0]})", **common)


def holm(chances: dict[Key, float], level: float) -> set[Key]:
    """The hypotheses rejected at a familywise error of `level` (Holm 1979), from their p-values."""
    rejected: set[Key] = set()
    for rank, (key, chance) in enumerate(sorted(chances.items(), key=lambda item: item[1])):
        if chance >= level / (len(chances) - rank):
            break
        rejected.add(key)
    return rejected


def column_distance(comparison: Comparison, column: Column, minimum: int) -> Drift | None:
    """Drift of one column; None where either side has fewer than `minimum` values."""
    if column.numeric:
        reference, current = (measured(frame, column.name) for frame in (comparison.reference, comparison.current))
        return numeric_drift(reference, current) if min(len(reference), len(current)) >= minimum else None
    reference, current = (categories(frame, column.name) for frame in (comparison.reference, comparison.current))
    if min(reference.sum(), current.sum()) < minimum:
        return None
    both = reference.index.union(current.index)
    return categorical_drift(*(side.reindex(both, fill_value=0).to_numpy() for side in (reference, current)))


def leading_features(frame: pd.DataFrame, contract: CohortContract, number: int) -> set[str]:
    """The features most associated with the outcome, each on its own: share of the outcome's variance explained.

    For times, of the martingale residual of a model without covariates (event minus cumulative hazard).
    """
    outcome = _residual(frame, contract)
    if outcome is None or len(contract.features) <= number:
        return {column.name for column in contract.features}
    strength = {}
    for column in contract.features:
        if column.name not in frame:
            continue
        values = frame[column.name]
        if column.numeric:
            numbers = pd.to_numeric(values, errors="coerce").rank().to_numpy(np.float64)
            known = np.isfinite(numbers)
            varied = known.sum() > 2 and np.ptp(numbers[known]) > 0 and np.ptp(outcome[known]) > 0
            strength[column.name] = np.corrcoef(numbers[known], outcome[known])[0, 1] ** 2 if varied else 0.0
        else:
            means = pd.Series(outcome).groupby(values.astype(object).to_numpy(), dropna=True).transform("mean")
            strength[column.name] = float(np.nanvar(means) / max(np.var(outcome), 1e-12))
    return set(sorted(strength, key=strength.__getitem__, reverse=True)[:number])


def _residual(frame: pd.DataFrame, contract: CohortContract) -> np.ndarray | None:
    from clinical_assets.modeling.curves import breslow_hazard
    from clinical_assets.modeling.outcomes import Outcomes

    try:
        outcomes = Outcomes.from_frame(frame, contract.endpoint)
    except ValueError:
        return None
    if outcomes.kind == "binary":
        return outcomes.flag.astype(np.float64)
    return outcomes.flag - breslow_hazard(np.zeros(outcomes.n), outcomes).at(outcomes.times())


@check(GATE, "DQ12", "Drift of all columns together", "AUC of a classifier that tells new rows from the reference")
def multivariate_drift(case: Case) -> Finding:
    """Extremely randomised trees, out of fold; the interval by Hanley and McNeil's variance."""
    facts, policy = case.facts, case.policy.data_quality
    usable = [
        comparison
        for comparison in comparisons(case)
        if min(len(comparison.reference), len(comparison.current)) >= policy.drift_min_n
        and comparison.columns(facts.contract)
    ]
    common: dict[str, Any] = {
        "n": len(facts.train) + len(facts.test),
        "threshold": f"lower limit of the AUC <= {policy.domain_auc_warn:g}",
        "threshold_source": DataQualityPolicy.source("domain_auc_warn"),
    }
    if not usable:
        return Finding(
            Verdict.INCONCLUSIVE, f"fewer than {policy.drift_min_n} rows on one side", "collect more rows", **common
        )
    found = {comparison.name: domain_auc(comparison, facts.contract) for comparison in usable}
    worst = max(found, key=lambda name: found[name][1][0])
    auc, interval = found[worst]
    common |= {"value": auc, "interval": interval, "details": {name: vals[0] for name, vals in found.items()}}
    if interval[0] > policy.domain_auc_warn:
        return Finding(
            Verdict.WARN,
            f"{worst}: a classifier tells the rows apart (AUC {auc:.2f})",
            "look at the columns of DQ11 and DQ14 first, then for a change of site or inclusion criteria",
            **common,
        )
    return Finding(Verdict.PASS, f"the rows cannot be told apart well (AUC {auc:.2f})", **common)


def domain_auc(comparison: Comparison, contract: CohortContract) -> tuple[float, tuple[float, float]]:
    """AUC with its 95 % interval."""
    from scipy.stats import mannwhitneyu
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    columns = comparison.columns(contract)
    sides = [_evenly(frame) for frame in (comparison.reference, comparison.current)]
    rows = pd.concat(sides, ignore_index=True)
    domain = np.repeat([0, 1], [len(side) for side in sides])
    classifier = ExtraTreesClassifier(TREES, min_samples_leaf=5, random_state=SEED, n_jobs=1)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    score = cross_val_predict(classifier, _matrix(rows, columns), domain, cv=folds, method="predict_proba")[:, 1]
    new, old = score[domain == 1], score[domain == 0]
    auc = float(mannwhitneyu(new, old).statistic) / (len(new) * len(old))
    error = ordering_error(min(max(auc, 1e-9), 1 - 1e-9), len(new), len(old))
    return auc, (max(auc - 1.96 * error, 0.0), min(auc + 1.96 * error, 1.0))


def _evenly(frame: pd.DataFrame) -> pd.DataFrame:
    step = np.unique(np.linspace(0, len(frame) - 1, min(len(frame), CLASSIFIED)).astype(int))
    return frame.iloc[step]


def _matrix(rows: pd.DataFrame, columns: tuple[Column, ...]) -> np.ndarray:
    """(n, p) numbers: ranks of categories by name, missing values below everything."""
    encoded = []
    for column in columns:
        if column.numeric:
            values = pd.to_numeric(rows[column.name], errors="coerce").to_numpy(np.float64, na_value=np.nan)
            low = np.nanmin(values) - 1.0 if np.isfinite(values).any() else 0.0
            encoded.append(np.nan_to_num(values, nan=low, posinf=1e30, neginf=-1e30))
        else:
            text = rows[column.name].astype(object).where(rows[column.name].notna(), None)
            encoded.append(pd.factorize(text, sort=False)[0].astype(np.float64))
    return np.column_stack(encoded)


def _spoken(drifted: dict[tuple[str, str], Drift]) -> str:
    ordered = sorted(drifted.items(), key=lambda item: -item[1].psi)
    return "; ".join(f"{name} (PSI {drift.psi:.2f}, {where})" for (name, where), drift in ordered[:4])
