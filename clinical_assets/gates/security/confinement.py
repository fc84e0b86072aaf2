"""Gate 5, load and predict under confinement: what the artifact does when it may do nothing but be a model."""

from __future__ import annotations

from typing import Any

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.verdict import GateName, Verdict

ROUND_OFF = 1e-6


@check(GateName.SECURITY, "SE16", "Load in a sandbox", "actions beyond reading its own files")
def load_in_sandbox(case: Case) -> Finding:
    """The run itself is a fact, made once per model digest; an empty list of layers means that nothing confined it."""
    run = case.facts.sandbox
    common: dict[str, Any] = {
        "threshold": "0: no network, process, file outside the model directory, import or code on load and predict",
        "threshold_source": "a hard fact: a model is data",
    }
    if run is None:
        return Finding(
            Verdict.INCONCLUSIVE, "the model was not run in the sandbox", "allow the gates to start processes", **common
        )
    common |= {
        "value": float(len(run.attempts)),
        "n": run.rows,
        "details": {"layers": run.layers, "attempts": run.attempts, "digest": run.digest, "seconds": run.seconds},
    }
    remedy = "do not load this model anywhere; find out who made it"
    if run.attempts:
        return Finding(Verdict.BLOCK, f"on loading it tried {'; '.join(run.attempts[:5])}", remedy, **common)
    if run.problem or run.digest != case.facts.model_digest:
        problem = run.problem or f"another model was loaded: {run.digest[:12]}"
        return Finding(Verdict.BLOCK, f"cannot be loaded in the sandbox: {problem}", remedy, **common)
    if not run.layers:
        return Finding(Verdict.INCONCLUSIVE, "nothing confined the run", "run the gates on Linux", **common)
    if run.worst_difference is None or not run.worst_difference <= ROUND_OFF:
        reason = f"its card's rows get other risks there (by {run.worst_difference})"
        return Finding(Verdict.BLOCK, reason, "find out what it depends on besides its files", **common)
    return Finding(Verdict.PASS, f"reads its files and computes, under {', '.join(run.layers)}", **common)
