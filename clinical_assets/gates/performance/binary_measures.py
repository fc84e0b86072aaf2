"""MP7: the measures of a binary endpoint, each with its interval."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit, logit

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.performance.discrimination import all_pairs, concordance, on_logit
from clinical_assets.gates.performance.evidence import Evidence, bounds, combined, judged_sets
from clinical_assets.gates.performance.policy import PerformancePolicy
from clinical_assets.gates.performance.simultaneous import Estimate, evidence_below, pooled
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.modeling.metrics.bootstrap import Interval

_EDGE = 1e-6


@check(GateName.PERFORMANCE, "MP7", "Measures of a binary endpoint", "AUROC")
def binary_measures(case: Case) -> Finding:
    """AUROC against its floor decides; AUPRC, Brier, log loss and sensitivity at a specificity are reported, and a log
    loss above that of the prevalence warns.
    """
    policy, endpoint = case.policy.performance, case.facts.contract.endpoint
    common: dict[str, Any] = {
        "n": len(case.facts.test),
        "threshold": f"AUROC interval above {policy.label_auroc_floor:g}",
        "threshold_source": PerformancePolicy.source("label_auroc_floor"),
    }
    if endpoint.kind != "binary":
        return Finding(Verdict.PASS, "does not apply: the endpoint is a time to event (see MP1 to MP5)", **common)
    found, ranks = [], list[Estimate]()
    for evidence in case.once(judged_sets):
        auroc = concordance(evidence, case.once(all_pairs)[evidence.name], evidence.risk, policy)
        ranks.append(on_logit(evidence, auroc))
        found.append((evidence, _measures(evidence, auroc, policy, common)))
    ranks, floor = pooled(ranks), float(logit(policy.label_auroc_floor))
    below = evidence_below(ranks, floor, floor, policy.block_confidence, len(ranks))
    against = "" if below is None else f"AUROC {expit(below.value):.3f} on {below.name} is below the floor"
    return combined(case, found, against, "find better features, or another question")


def _measures(evidence: Evidence, auroc: Interval, policy: PerformancePolicy, common: dict[str, Any]) -> Finding:
    label, risk, draws = evidence.outcomes.flag, evidence.risk, evidence.draws
    whole = np.ones((1, len(risk)), dtype=np.float32)
    measures = {
        "auprc": lambda counts: average_precision(label, risk, counts),
        "brier": lambda counts: (counts @ (label - risk) ** 2) / counts.sum(axis=1),
        "log_loss": lambda counts: (counts @ log_losses(label, risk)) / counts.sum(axis=1),
        f"sensitivity at specificity {policy.reported_specificity:g}": lambda counts: sensitivity_at(
            label, risk, policy.reported_specificity, counts
        ),
    }
    details: dict[str, Any] = {"replicates": auroc.replicates, "seed": auroc.seed}
    for name, measure in measures.items():
        one = draws.interval(float(measure(whole)[0]), measure(draws.counts), policy.confidence)
        details[name] = [one.estimate, one.low, one.high]
    prevalence = log_losses(label, np.full(len(label), label.mean())).mean()
    details["log_loss_of_prevalence"] = float(prevalence)
    given = common | {
        "value": auroc.estimate,
        "interval": bounds(auroc),
        "n": len(label),
        "events": evidence.events,
        "details": details,
    }
    text = f"AUROC {auroc.estimate:.3f} ({auroc.low:.3f} to {auroc.high:.3f}) on {evidence.name}"
    if auroc.low < policy.label_auroc_floor:
        reason = f"{text} cannot be told from {policy.label_auroc_floor:g}"
        return Finding(Verdict.INCONCLUSIVE, reason, "more events", **given)
    if details["log_loss"][0] > prevalence:
        return Finding(Verdict.WARN, f"{text}: log loss above that of the prevalence", "recalibrate", **given)
    return Finding(Verdict.PASS, text, **given)


def log_losses(label: np.ndarray, risk: np.ndarray) -> np.ndarray:
    """(n,) minus log likelihood of each label."""
    bounded = np.clip(risk, _EDGE, 1.0 - _EDGE)
    return -np.where(label, np.log(bounded), np.log1p(-bounded))


def average_precision(label: np.ndarray, risk: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(b,) area under the precision-recall curve as a step function, for each row of `counts` (b, n); ties share a
    step. NaN without positive label.
    """
    order = np.argsort(-risk, kind="stable")
    last = np.append(np.diff(risk[order]) != 0, True)
    weight = counts[:, order].astype(np.float64)
    positive = np.cumsum(weight * label[order], axis=1)[:, last]
    flagged = np.cumsum(weight, axis=1)[:, last]
    precision = np.divide(positive, flagged, out=np.zeros_like(positive), where=flagged > 0)
    total = positive[:, -1]
    recalled = np.diff(positive, axis=1, prepend=0.0)
    return np.divide((recalled * precision).sum(axis=1), total, out=np.full(len(total), np.nan), where=total > 0)


def sensitivity_at(label: np.ndarray, risk: np.ndarray, specificity: float, counts: np.ndarray) -> np.ndarray:
    """(b,) largest sensitivity of any cut whose specificity is at least `specificity`; NaN where a class is empty."""
    order = np.argsort(-risk, kind="stable")
    last = np.append(np.diff(risk[order]) != 0, True)
    weight = counts[:, order].astype(np.float64)
    true = np.cumsum(weight * label[order], axis=1)[:, last]
    false = np.cumsum(weight * ~label[order], axis=1)[:, last]
    positives, negatives = true[:, -1], false[:, -1]
    allowed = false <= (1.0 - specificity) * negatives[:, None] + 1e-9
    best = np.where(allowed, true, 0.0).max(axis=1)
    possible = (positives > 0) & (negatives > 0)
    return np.divide(best, positives, out=np.full(len(best), np.nan), where=possible)
