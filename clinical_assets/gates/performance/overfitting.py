"""MP14: does the model rank the patients it learned from much better than others?"""

from __future__ import annotations

from typing import Any

import numpy as np

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.performance.discrimination import all_pairs
from clinical_assets.gates.performance.evidence import judged_sets, too_few
from clinical_assets.gates.performance.policy import PerformancePolicy
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.modeling.metrics.pairs import ConcordancePairs
from clinical_assets.modeling.outcomes import Outcomes

SCORED = 3000
"""Training patients scored at most; they are drawn evenly."""


@check(GateName.PERFORMANCE, "MP14", "Gap between training and unseen patients", "(training - unseen) / training")
def overfit_gap(case: Case) -> Finding:
    """Uno's C (AUROC) on the training patients, by the serving path, against that on patients unseen. Never blocks."""
    facts, policy = case.facts, case.policy.performance
    common: dict[str, Any] = {
        "n": len(facts.train),
        "threshold": f"at most {policy.overfit_gap:g}",
        "threshold_source": PerformancePolicy.source("overfit_gap"),
    }
    sets = case.once(judged_sets)
    if not sets:
        return too_few(case)
    if facts.serve_score is None:
        return Finding(
            Verdict.INCONCLUSIVE, "no serving path to score the training patients with", "see MP19", **common
        )
    rows = facts.train.iloc[np.unique(np.linspace(0, len(facts.train) - 1, SCORED).astype(int))]
    outcomes = Outcomes.from_frame(rows, facts.contract.endpoint)
    risk = np.asarray(facts.serve_score(rows[[column.name for column in facts.contract.features]]))
    if min(outcomes.events, outcomes.n - outcomes.events) < policy.min_events_to_estimate:
        return too_few(case)
    apparent = ConcordancePairs.of(outcomes, facts.contract.endpoint.horizon_days).concordance(risk)
    unseen = {one.name: case.once(all_pairs)[one.name].concordance(one.risk) for one in sets}
    largest = max(sets, key=lambda one: one.events)
    gap = (apparent - unseen[largest.name]) / apparent if apparent > 0 else 0.0
    common |= {
        "value": gap,
        "n": outcomes.n,
        "events": largest.events,
        "details": {"training": apparent, **unseen},
    }
    text = f"{apparent:.3f} on training patients, {unseen[largest.name]:.3f} on {largest.name}: gap {gap:.1%}"
    if gap > policy.overfit_gap:
        return Finding(Verdict.WARN, text, "penalise more, or drop features", **common)
    return Finding(Verdict.PASS, text, **common)
