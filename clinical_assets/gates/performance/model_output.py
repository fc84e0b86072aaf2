"""MP18 and MP19: are these risks at all, and does the serving path give the same ones?"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit, logit

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.facts import Predictions, ReleaseFacts
from clinical_assets.gates.performance.discrimination import all_pairs, concordance, on_logit, reference_of
from clinical_assets.gates.performance.evidence import TEST, aligned, judged_sets
from clinical_assets.gates.performance.policy import PerformancePolicy
from clinical_assets.gates.performance.simultaneous import evidence_below, pooled
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.modeling.outcomes import Outcomes

GATE = GateName.PERFORMANCE
PARITY_ROWS = 100
ROUND_OFF = 1e-9
TURNED = "the sign of the risk is turned"


@check(GATE, "MP18", "Output is a risk", "faults in the predictions")
def output_sanity(case: Case) -> Finding:
    """Finite, in [0, 1], curves that only fall, enough distinct values for the distinct inputs, and the right sign."""
    facts, policy = case.facts, case.policy.performance
    predictions = facts.test_pred
    problems = _faults(predictions)
    distinct, inputs = len(np.unique(np.round(predictions.risk, 12))), distinct_inputs(facts)
    needed = min(policy.min_distinct_risks, inputs // 2 + 1)
    if distinct < needed and inputs > 1:
        problems.append(f"only {distinct} distinct risks for {inputs} distinct patients")
    outcomes = Outcomes.from_frame(facts.test, facts.contract.endpoint)
    signs: dict[str, float] = {}
    if not problems:
        turned, signs = _sign(case)
        problems += turned
    common: dict[str, Any] = {
        "value": float(len(problems)),
        "n": len(predictions.risk),
        "events": outcomes.events,
        "threshold": f"0; >= {needed} distinct risks; C >= {policy.sign_floor:g}",
        "threshold_source": PerformancePolicy.source("sign_floor"),
        "details": {"problems": problems, "distinct": distinct, "distinct_inputs": inputs, "concordance": signs},
    }
    if problems:
        return Finding(Verdict.BLOCK, "; ".join(problems), "repair the model's output and train again", **common)
    if TEST not in signs:
        return Finding(
            Verdict.INCONCLUSIVE, f"{outcomes.events} events cannot show the sign of the risk", "more events", **common
        )
    return Finding(Verdict.PASS, f"{distinct} distinct risks, C {signs[TEST]:.3f}", **common)


def distinct_inputs(facts: ReleaseFacts) -> int:
    """Distinct rows of features among the test patients."""
    return len(facts.test[[column.name for column in facts.contract.features]].drop_duplicates())


def _sign(case: Case) -> tuple[list[str], dict[str, float]]:
    """What says that the sign of the risk is turned, and the concordance of each set.

    Either the outcomes (joint interval below one half, all sets together included), or the reference model, which ranks
    the same patients the other way round and agrees better with the outcomes.
    """
    policy, signs, ranks = case.policy.performance, {}, []
    for evidence in case.once(judged_sets):
        pairs = case.once(all_pairs)[evidence.name]
        found = concordance(evidence, pairs, evidence.risk, policy)
        signs[evidence.name] = found.estimate
        ranks.append(on_logit(evidence, found))
        reference = reference_of(case.facts, evidence)
        if reference is None:
            continue
        other = evidence.of(reference)
        if rank_correlation(evidence.risk, other) < policy.turned_correlation:
            better = pairs.concordance(other)
            if found.estimate < min(policy.sign_floor, better):
                name = case.facts.reference_name
                return [f"C {found.estimate:.3f} on {evidence.name}, {name} has {better:.3f}: {TURNED}"], signs
    ranks = pooled(ranks)
    below = evidence_below(ranks, 0.0, float(logit(policy.sign_floor)), policy.block_confidence, len(ranks))
    return ([] if below is None else [f"C {expit(below.value):.3f} on {below.name}: {TURNED}"]), signs


def rank_correlation(left: np.ndarray, right: np.ndarray) -> float:
    """Spearman's; 0 where one is constant."""
    from scipy.stats import rankdata

    ranks = rankdata(left), rankdata(right)
    if min(np.ptp(ranks[0]), np.ptp(ranks[1])) == 0:
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


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
