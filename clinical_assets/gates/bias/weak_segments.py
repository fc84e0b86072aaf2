"""BI18: is there a segment that no attribute names, in which the model is much worse than it says?

A shallow tree looks for it among the training patients, by their out-of-fold errors; the segments are judged on the
test split, which the tree has not seen. Loss is the squared error at the horizon (weighted for censoring) beyond what
the risks themselves lead to expect, p(1 - p): a segment of medium risks is not weak for being uncertain.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from clinical_assets.gates.bias.group_audit import multiplicity, quantiles, wald
from clinical_assets.gates.bias.policy import BiasPolicy
from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.facts import Predictions, ReleaseFacts
from clinical_assets.gates.performance.evidence import aligned
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.modeling.curves import HorizonLabels, horizon_labels
from clinical_assets.modeling.outcomes import Outcomes

DEPTH, SMALLEST = 3, 30
"""Questions asked of a patient, and patients of known outcome in a segment, in training and in the test split."""


@check(GateName.BIAS, "BI18", "Weak segments", "largest excess loss of a segment, relative to the loss of all")
def weak_segment(case: Case) -> Finding:
    """WARN: a segment's excess loss beyond the limit, whose interval over all segments excludes 0."""
    from sklearn.tree import DecisionTreeRegressor

    facts, policy = case.facts, case.policy.bias
    common: dict[str, Any] = {
        "threshold": f"excess loss at most {policy.segment_uplift:.0%} of the loss of all",
        "threshold_source": BiasPolicy.source("segment_uplift"),
    }
    if facts.oof is None:
        reason = "no out-of-fold predictions to look for segments in"
        return Finding(Verdict.INCONCLUSIVE, reason, "cross-validate the candidate", **common)
    seen, searched, weight = _excess(facts, facts.train, facts.oof)
    kept, judged, test_weight = _excess(facts, facts.test, facts.test_pred)
    if min(len(searched), len(judged)) < 2 * SMALLEST:
        reason = f"{len(searched)} training and {len(judged)} test patients of known outcome are too few"
        return Finding(Verdict.INCONCLUSIVE, reason, "collect more patients", n=len(judged), **common)
    design, names = _design(facts)
    train, test = design[: len(facts.train)][seen], design[len(facts.train) :][kept]
    tree = DecisionTreeRegressor(max_depth=DEPTH, min_samples_leaf=SMALLEST, random_state=policy.seed)
    tree.fit(train, searched, sample_weight=weight)
    leaves = tree.apply(test)
    segments = [leaf for leaf in np.unique(leaves) if (leaves == leaf).sum() >= SMALLEST]
    overall = _overall_loss(facts, kept, test_weight)
    z = quantiles(policy, len(segments))[0]
    found = []
    for leaf in segments:
        inside = leaves == leaf
        mean = float(np.average(judged[inside], weights=test_weight[inside]))
        spread = test_weight[inside] * (judged[inside] - mean) / test_weight[inside].sum()
        uplift, error = mean / overall, float(np.sqrt(spread @ spread)) / overall
        found.append((uplift, wald(uplift, error, z), int(inside.sum()), _path(tree.tree_, leaf, names)))
    common |= {
        "n": len(judged),
        "details": {
            "segments": [
                {"segment": path, "n": n, "uplift": uplift, "interval": interval} for uplift, interval, n, path in found
            ],
            "interval": "Wald",
            "multiplicity": multiplicity(policy, len(segments)),
            "reference": "p(1 - p), what the risks of the segment lead to expect",
        },
    }
    if not found:
        return Finding(Verdict.INCONCLUSIVE, f"no segment holds {SMALLEST} test patients", "collect more", **common)
    uplift, interval, n, path = max(found)
    common |= {"value": uplift, "interval": interval}
    if uplift > policy.segment_uplift and interval[0] > 0.0:
        reason = f"much worse than its risks say for {n} test patients with {path}: {uplift:+.0%}"
        return Finding(Verdict.WARN, reason, "look at these patients, and say so to the users", **common)
    return Finding(
        Verdict.PASS, f"none of {len(found)} segments shown to be weak; largest {uplift:+.0%}: {path}", **common
    )


def _labels(facts: ReleaseFacts, frame: pd.DataFrame) -> HorizonLabels:
    outcomes = Outcomes.from_frame(frame, facts.contract.endpoint)
    return horizon_labels(outcomes, float(facts.contract.endpoint.horizon_days or 0.0))


def _excess(
    facts: ReleaseFacts, frame: pd.DataFrame, predictions: Predictions
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n,) whose outcome is known; of those (k,) squared error beyond p(1 - p), and (k,) weight."""
    risk, labels = aligned(frame, predictions).risk, _labels(facts, frame)
    known = (labels.weight > 0) & np.isfinite(risk)
    p = risk[known]
    return known, (labels.label[known] - p) ** 2 - p * (1.0 - p), labels.weight[known]


def _overall_loss(facts: ReleaseFacts, known: np.ndarray, weight: np.ndarray) -> float:
    risk, labels = aligned(facts.test, facts.test_pred).risk[known], _labels(facts, facts.test).label[known]
    return max(float(np.average((labels - risk) ** 2, weights=weight)), 1e-9)


def _design(facts: ReleaseFacts) -> tuple[np.ndarray, list[str]]:
    """Features and sensitive attributes of train, then test: numbers as they are, categories one by one, missing below
    every number so that it can be a segment of its own."""
    frame = pd.concat([facts.train, facts.test], ignore_index=True)
    parts, names = [], []
    for column in facts.contract.attributes:
        values = frame[column.name]
        if column.numeric:
            numbers = values.to_numpy(np.float64)
            lowest = np.nanmin(numbers, initial=0.0, where=np.isfinite(numbers))
            parts.append(np.where(np.isfinite(numbers), numbers, lowest - 1.0))
            names.append(column.name)
            continue
        for category in column.categories or ():
            parts.append((values == category).to_numpy(np.float64))
            names.append(f"{column.name} = {category}")
    return np.column_stack(parts).astype(np.float32), names


def _path(tree: Any, leaf: int, names: list[str]) -> str:
    """The questions that lead to a leaf, in words."""
    steps: list[str] = []
    while leaf:
        left, right = np.flatnonzero(tree.children_left == leaf), np.flatnonzero(tree.children_right == leaf)
        parent = int(left[0]) if len(left) else int(right[0])
        name, cut = names[tree.feature[parent]], float(tree.threshold[parent])
        if " = " in name:
            steps.append(name if len(right) else f"not {name}")
        else:
            steps.append(f"{name} {'<=' if len(left) else '>'} {cut:g}")
        leaf = parent
    return " and ".join(reversed(steps)) or "any value"
