"""Gate 2, model performance. Its checks stand in modules by theme; this one runs them and asks for their intervals."""

from __future__ import annotations

from typing import Any

from clinical_assets.gates.checks import Case, Finding, check, run_gate
from clinical_assets.gates.facts import ReleaseFacts
from clinical_assets.gates.performance import (  # noqa: F401  they register their checks
    binary_measures,
    calibration_check,
    clinical_utility,
    comparison,
    discrimination,
    forecast_error,
    horizon,
    leakage,
    leakage_signs,
    model_output,
    overfitting,
    serving_cost,
    threshold_provenance,
    transportability,
)
from clinical_assets.gates.performance.evidence import evidence_sets
from clinical_assets.gates.performance.policy import PerformancePolicy
from clinical_assets.gates.policy import GatePolicy
from clinical_assets.gates.verdict import GateName, GateReport, Verdict

GATE = GateName.PERFORMANCE
ESTIMATED = ("MP1", "MP2", "MP3", "MP5", "MP6", "MP7", "MP9")
"""Checks whose value is an estimate, which must come with its interval."""
ALWAYS = frozenset({"MP1", "MP3", "MP5", "MP9"})
"""Those of them that apply to every endpoint."""


def judge(facts: ReleaseFacts, policy: GatePolicy) -> GateReport:
    return run_gate(GATE, facts, policy)


@check(GATE, "MP8", "Every number has its interval", "bootstrap replicates behind the weakest interval")
def uncertainty(case: Case) -> Finding:
    """Every estimate must come with an interval from at least the required number of replicates."""
    policy = case.policy.performance
    judged = [case.results[id] for id in ESTIMATED if id in case.results]
    naked = [
        result.id
        for result in judged
        if result.interval is None and (result.value is not None or result.verdict is Verdict.ERROR)
    ]
    replicates = [evidence.draws.counts.shape[0] for evidence in case.once(evidence_sets)]
    common: dict[str, Any] = {
        "value": float(min(replicates)),
        "n": len(judged),
        "threshold": f"an interval on each, from >= {policy.bootstrap_replicates} replicates with a stored seed",
        "threshold_source": PerformancePolicy.source("bootstrap_replicates"),
        "details": {"seed": policy.bootstrap_seed, "level": policy.confidence},
    }
    absent = sorted(ALWAYS - {result.id for result in judged})
    if naked or absent:
        reason = f"no interval for {', '.join(naked + absent)}"
        return Finding(Verdict.ERROR, reason, "see that check's reason", **common)
    return Finding(Verdict.PASS, f"patient-clustered bootstrap, seed {policy.bootstrap_seed}", **common)
