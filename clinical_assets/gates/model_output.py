"""MP18 and MP19: are these risks at all, and does the serving path give the same ones?"""

from __future__ import annotations

from typing import Any

import numpy as np

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.evidence import aligned
from clinical_assets.gates.facts import Predictions
from clinical_assets.gates.thresholds import PerformancePolicy
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.modeling.metrics.pairs import ConcordancePairs
from clinical_assets.modeling.outcomes import Outcomes

GATE = GateName.PERFORMANCE
PARITY_ROWS = 100
ROUND_OFF = 1e-9


@check(GATE, "MP18", "Output is a risk", "faults in the predictions")
def output_sanity(case: Case) -> Finding:
    """Finite, in [0, 1], curves that only fall, enough distinct values, and the right sign."""
    facts, policy = case.facts, case.policy.performance
    predictions = facts.test_pred
    problems = _faults(predictions)
    distinct = len(np.unique(np.round(predictions.risk, 12)))
    few = min(policy.min_distinct_risks, len(predictions.risk))
    if distinct < few:
        problems.append(f"only {distinct} distinct risks")
    outcomes = Outcomes.from_frame(facts.test, facts.contract.endpoint)
    concordance = None
    if not problems and outcomes.events >= policy.leak_min_events:
        pairs = ConcordancePairs.of(outcomes, facts.contract.endpoint.horizon_days)
        concordance = pairs.concordance(aligned(facts.test, predictions).risk)
        if concordance < policy.sign_floor:
            problems.append(f"C {concordance:.3f}: the sign of the risk is turned")
    common: dict[str, Any] = {
        "value": float(len(problems)),
        "n": len(predictions.risk),
        "events": outcomes.events,
        "threshold": f"0; >= {policy.min_distinct_risks} distinct risks; C >= {policy.sign_floor:g}",
        "threshold_source": PerformancePolicy.source("sign_floor"),
        "details": {"problems": problems, "distinct": distinct, "concordance": concordance},
    }
    if problems:
        return Finding(Verdict.BLOCK, "; ".join(problems), "repair the model's output and train again", **common)
    if concordance is None:
        return Finding(
            Verdict.INCONCLUSIVE, f"{outcomes.events} events cannot show the sign of the risk", "more events", **common
        )
    return Finding(Verdict.PASS, f"{distinct} distinct risks, C {concordance:.3f}", **common)


def _faults(predictions: Predictions) -> list[str]:
    risk, survival = predictions.risk, predictions.survival
    faults = {
        "risks are missing or infinite": int((~np.isfinite(risk)).sum()),
        "risks lie outside [0, 1]": int(((risk < 0) | (risk > 1)).sum()),
    }
    if survival is not None:
        outside = ~np.isfinite(survival) | (survival < 0) | (survival > 1)
        faults["survival curves leave [0, 1]"] = int(outside.any(axis=1).sum())
        faults["survival curves rise"] = int((np.diff(survival, axis=1) > ROUND_OFF).any(axis=1).sum())
    return [f"{count} {what}" for what, count in faults.items() if count]


@check(GATE, "MP19", "Serving gives the evaluated risks", "largest difference in risk")
def serve_parity(case: Case) -> Finding:
    """Served against evaluated; row by row against the batch; columns in another order against the contract's."""
    facts, policy = case.facts, case.policy.performance
    common: dict[str, Any] = {
        "threshold": f"<= {policy.parity_tolerance:g}",
        "threshold_source": PerformancePolicy.source("parity_tolerance"),
    }
    remedy = "make the serving path use the model's own encoder, columns by name"
    if facts.serve_score is None or facts.test.empty:
        return Finding(Verdict.BLOCK, "the serving path was not asked for any prediction", remedy, **common)
    rows = facts.test.iloc[np.unique(np.linspace(0, len(facts.test) - 1, PARITY_ROWS).astype(int))]
    features = rows[[column.name for column in facts.contract.features]].reset_index(drop=True)
    batch = np.asarray(facts.serve_score(features))
    evaluated = aligned(facts.test, facts.test_pred).risk[rows.index.to_numpy()]
    single = np.array([np.asarray(facts.serve_score(features.iloc[[k]])).item() for k in range(len(features))])
    reordered = np.asarray(facts.serve_score(features[features.columns[::-1]]))
    differences = {
        "served against evaluated": _largest(batch, evaluated),
        "one row against the batch": _largest(single, batch),
        "columns in another order": _largest(reordered, batch),
    }
    worst = max(differences.values())
    common |= {"value": worst, "n": len(features), "details": {"differences": differences}}
    over = [f"{what}: {value:.2g}" for what, value in differences.items() if not value <= policy.parity_tolerance]
    if over:
        return Finding(Verdict.BLOCK, "; ".join(over), remedy, **common)
    return Finding(Verdict.PASS, f"largest difference {worst:.1g}", **common)


def _largest(left: np.ndarray, right: np.ndarray) -> float:
    difference = np.abs(left - right)
    return float("inf") if not np.isfinite(difference).all() else float(difference.max())
