"""MP20: how long does one prediction take in the serving path, and how much memory?"""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import numpy as np

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.performance.policy import PerformancePolicy
from clinical_assets.gates.verdict import GateName, Verdict

CALLS, BATCH = 60, 1000
_MIB = 2**20


@check(GateName.PERFORMANCE, "MP20", "Cost of a prediction", "95th percentile of one row's time, ms")
def serving_cost(case: Case) -> Finding:
    """One row at a time through the scorer that the server loads; memory at its peak over a batch. Never blocks.

    Measured where the gates run: a figure to compare models by, no promise for the server.
    """
    facts, policy = case.facts, case.policy.performance
    common: dict[str, Any] = {
        "n": len(facts.test),
        "threshold": f"p95 at most {policy.latency_p95_ms:g} ms; at most {policy.memory_mib:g} MiB for {BATCH} rows",
        "threshold_source": PerformancePolicy.source("latency_p95_ms"),
    }
    if facts.serve_score is None or facts.test.empty:
        return Finding(Verdict.INCONCLUSIVE, "no serving path to measure", "see MP19", **common)
    features = facts.test[[column.name for column in facts.contract.features]]
    taken = []
    for k in range(CALLS):
        row = features.iloc[[k % len(features)]]
        started = time.perf_counter()
        facts.serve_score(row)
        taken.append(1000.0 * (time.perf_counter() - started))
    p95 = float(np.percentile(taken, 95))
    batch = features.iloc[np.arange(BATCH) % len(features)].reset_index(drop=True)
    peak = _peak(lambda: facts.serve_score(batch) if facts.serve_score else None)
    artifact = sum(file.stat().st_size for file in facts.model_dir.rglob("*") if file.is_file()) / _MIB
    common |= {
        "value": p95,
        "n": CALLS,
        "details": {"p50_ms": float(np.median(taken)), "p95_ms": p95, "peak_mib": peak, "artifact_mib": artifact},
    }
    text = f"{p95:.1f} ms a row (p95), {peak:.1f} MiB for {BATCH} rows, model {artifact:.2f} MiB"
    if p95 > policy.latency_p95_ms or peak > policy.memory_mib:
        return Finding(Verdict.WARN, text, "use a smaller model or fewer members in the pool", **common)
    return Finding(Verdict.PASS, text, **common)


def _peak(call: Any) -> float:
    """MiB of Python and numpy memory at the peak of `call`."""
    already = tracemalloc.is_tracing()
    if not already:
        tracemalloc.start()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        call()
        return max(tracemalloc.get_traced_memory()[1] - before, 0) / _MIB
    finally:
        if not already:
            tracemalloc.stop()
