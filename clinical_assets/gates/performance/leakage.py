"""MP15, the leakage battery: features that nobody can know at the index date.

(a) reads the contract; (b) reads the data, where a post-baseline column shows as near-perfect separation of the
earliest events.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.performance.policy import PerformancePolicy
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.modeling.curves import HorizonLabels, horizon_labels
from clinical_assets.modeling.outcomes import Outcomes
from clinical_assets.trials.contract import CohortContract, Column

GATE = GateName.PERFORMANCE


@check(GATE, "MP15a", "Features are known at the index date", "features not known by then")
def availability(case: Case) -> Finding:
    features = case.facts.contract.features
    late = [column.name for column in features if column.available_at is not None and column.available_at > 0]
    unknown = [column.name for column in features if column.available_at is None]
    common: dict[str, Any] = {
        "value": float(len(late) + len(unknown)),
        "n": len(features),
        "threshold": "0: available_at <= 0 days for every feature",
        "threshold_source": "PROBAST 2.3: the covariate window ends before the index date",
        "details": {"late": late, "unknown": unknown},
    }
    if late or unknown:
        parts = [f"known only later: {', '.join(late)}"] * bool(late)
        parts += [f"not declared: {', '.join(unknown)}"] * bool(unknown)
        return Finding(
            Verdict.BLOCK,
            "; ".join(parts),
            "give each feature its available_at, and role post_baseline to what is measured after the index date",
            **common,
        )
    return Finding(Verdict.PASS, f"all {len(features)} features are known at the index date", **common)


@check(GATE, "MP15b", "No feature gives the outcome away", "largest time-dependent AUC of one feature")
def separation(case: Case) -> Finding:
    """`largest_separation` on the training rows."""
    facts, policy = case.facts, case.policy.performance
    outcomes = Outcomes.from_frame(facts.train, facts.contract.endpoint)
    binary = outcomes.kind == "binary"
    block = policy.leak_label if binary else policy.leak_block
    warn = policy.leak_block if binary else policy.leak_warn
    common: dict[str, Any] = {
        "n": outcomes.n,
        "events": outcomes.events,
        "threshold": f"below {block:g} (warn from {warn:g}) at each early time",
        "threshold_source": PerformancePolicy.source("leak_label" if binary else "leak_block"),
    }
    worst = largest_separation(facts.train, facts.contract, policy)
    if not worst:
        return Finding(
            Verdict.INCONCLUSIVE,
            f"no early time has {policy.leak_min_events} events before it and subjects after it",
            "review the contract's available_at by hand",
            **common,
        )
    name = max(worst, key=worst.__getitem__)
    common |= {"value": worst[name], "details": {"largest_auc": dict(sorted(worst.items(), key=lambda item: -item[1]))}}
    found = [f"{feature} {value:.3f}" for feature, value in worst.items() if value >= warn]
    remedy = "find out when this column is recorded; if after the index date, give it role post_baseline"
    if worst[name] >= block:
        return Finding(Verdict.BLOCK, f"separates early events almost perfectly: {', '.join(found)}", remedy, **common)
    if found:
        return Finding(Verdict.WARN, f"separates suspiciously well: {', '.join(found)}", remedy, **common)
    return Finding(Verdict.PASS, f"at most {worst[name]:.3f} ({name})", **common)


def largest_separation(frame: pd.DataFrame, contract: CohortContract, policy: PerformancePolicy) -> dict[str, float]:
    """For each feature, or its missingness, the largest cumulative/dynamic AUC (Uno et al. 2007; 1/G weights) at early
    times; empty where no early time has enough events. `frame` is a canonical table.
    """
    moments = _moments(Outcomes.from_frame(frame, contract.endpoint), policy)
    if not moments:
        return {}
    return {
        column.name: max(
            _separation(values, labels) for labels in moments for values in _readings(frame[column.name], column)
        )
        for column in contract.features
    }


def _moments(outcomes: Outcomes, policy: PerformancePolicy) -> list[HorizonLabels]:
    """Labels at each early quantile of the event times that has enough events before and subjects after it."""
    if outcomes.kind == "binary":
        candidates = [horizon_labels(outcomes, 0.0)]
    elif outcomes.events == 0:
        return []
    else:
        quantiles = np.quantile(outcomes.times()[outcomes.flag], policy.leak_quantiles)
        candidates = [horizon_labels(outcomes, float(moment)) for moment in quantiles]
    return [
        labels
        for labels in candidates
        if min((labels.label & (labels.weight > 0)).sum(), (~labels.label & (labels.weight > 0)).sum())
        >= policy.leak_min_events
    ]


def _readings(values: pd.Series, column: Column) -> list[np.ndarray]:
    """(n,) things that may separate: the values (a category as text) and, where some are missing, that they are."""
    own = values.to_numpy(object) if column.dtype == "category" else values.to_numpy(np.float64)
    missing = values.isna().to_numpy()
    return [own, missing.astype(float)] if missing.any() else [own]


def _separation(values: np.ndarray, labels: HorizonLabels) -> float:
    """AUC in the larger direction; a category is ordered by its own share of events. Missing rows are left out."""
    from sklearn.metrics import roc_auc_score

    known = (labels.weight > 0) & ~np.asarray(pd.isna(values))
    label, weight, reading = labels.label[known], labels.weight[known], values[known]
    if label.all() or not label.any():
        return 0.5
    if reading.dtype == object:
        codes = np.unique(reading.astype(str), return_inverse=True)[1]
        reading = (np.bincount(codes, weights=label * weight) / np.bincount(codes, weights=weight))[codes]
    found = float(roc_auc_score(label, reading, sample_weight=weight))
    return max(found, 1.0 - found)
