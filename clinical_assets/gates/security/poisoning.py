"""Gate 5, signs of poisoned data: a contributor whose patients pull the model, or whose outcomes are reversed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import chi2, norm

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.performance.evidence import aligned
from clinical_assets.gates.security.membership import loss_attack
from clinical_assets.gates.thresholds import SecurityPolicy
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.modeling.artifact import UnsafeArtifact, load_model
from clinical_assets.modeling.curves import horizon_labels
from clinical_assets.modeling.outcomes import Outcomes

ALPHA = 0.001
REVERSED = 0.45
_SMALLEST = 1e-6


@dataclass(frozen=True)
class Contribution:
    """Patients of one contributor with known status: excess of events (z), influence (p), ranking (upper AUC bound)."""

    name: str
    n: int
    excess: float
    influence: float
    ranking: float


def contribution(name: str, label: np.ndarray, risk: np.ndarray, encoded: np.ndarray) -> Contribution:
    """How the (k,) labels of one contributor sit with out-of-fold risks, and how they would move the coefficients.

    The score vector sum (y - p) x has covariance sum p (1 - p) x x' under the model; its squared Mahalanobis length is
    Rao's score test of "this contributor's patients follow the same model".
    """
    residual, variance = label - risk, risk * (1.0 - risk)
    excess = float(residual.sum() / np.sqrt(max(variance.sum(), _SMALLEST)))
    design = np.column_stack([np.ones(len(label)), encoded])
    covariance = (design * variance[:, None]).T @ design
    values, vectors = np.linalg.eigh(covariance)
    kept = values > 1e-8 * values.max()
    score = (design.T @ residual) @ vectors[:, kept]
    influence = float(chi2.sf((score**2 / values[kept]).sum(), int(kept.sum())))
    if label.all() or not label.any():
        return Contribution(name, len(label), excess, influence, 1.0)
    attack = loss_attack(-risk[label.astype(bool)], -risk[~label.astype(bool)])
    return Contribution(name, len(label), excess, influence, attack.auc + float(norm.isf(ALPHA)) * attack.error)


@check(GateName.SECURITY, "SE18", "Signs of poisoned data", "contributors out of line")
def poisoned_contributors(case: Case) -> Finding:
    """On out-of-fold predictions, which the contributor's own patients did not shape. Corrected for their number."""
    facts, policy = case.facts, case.policy.security
    common: dict[str, Any] = {
        "n": len(facts.train),
        "threshold": f"p >= {ALPHA:g} over all contributors for influence; upper bound of the AUC >= {REVERSED:g}",
        "threshold_source": SecurityPolicy.source("min_contributor_n"),
    }
    column = next((name for name in policy.contributor_columns if name in facts.train.columns), None)
    if column is None:
        return Finding(Verdict.PASS, "does not apply: no column names who contributed a row", **common)
    if facts.oof is None:
        return Finding(Verdict.INCONCLUSIVE, "no out-of-fold predictions", "cross-validate the model", **common)
    try:
        encoder = load_model(facts.model_dir, None).encoder_
    except UnsafeArtifact as error:
        return Finding(Verdict.INCONCLUSIVE, f"the model cannot be read: {error}", "see SE1 and SE16", **common)
    endpoint = facts.contract.endpoint
    labels = horizon_labels(Outcomes.from_frame(facts.train, endpoint), float(endpoint.horizon_days or 0.0))
    known = labels.weight > 0
    risk = np.clip(aligned(facts.train, facts.oof).risk, _SMALLEST, 1.0 - _SMALLEST)
    names, encoded = facts.train[column].astype(str).to_numpy(), encoder.transform(facts.train)
    groups = {name: np.flatnonzero(known & (names == name)) for name in np.unique(names)}
    large = {name: rows for name, rows in groups.items() if len(rows) >= policy.min_contributor_n}
    if not large:
        reason = f"none of {len(groups)} contributors has {policy.min_contributor_n} patients with known status"
        return Finding(Verdict.INCONCLUSIVE, reason, "pool contributors, or wait for follow-up", **common)
    found = [contribution(name, labels.label[rows], risk[rows], encoded[rows]) for name, rows in large.items()]
    pulling = [one for one in found if one.influence < ALPHA / len(found)]
    turned = [one for one in found if one.ranking < REVERSED]
    common |= {
        "value": float(len({one.name for one in (*pulling, *turned)})),
        "details": {"column": column, "contributors": [one.__dict__ for one in found[:50]]},
    }
    if pulling or turned:
        parts = [f"{one.name} ({one.n} patients) pulls the model (events: z {one.excess:+.1f})" for one in pulling]
        parts += [f"{one.name}: outcomes run against the predictions" for one in turned]
        remedy = "have the contributor's records checked before the model is trained on them again"
        return Finding(Verdict.WARN, "; ".join(parts[:5]), remedy, **common)
    return Finding(Verdict.PASS, f"{len(found)} contributors in {column}, none out of line", **common)
