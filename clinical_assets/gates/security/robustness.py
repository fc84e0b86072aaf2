"""Gate 5, robustness: measurement error changes little, declared directions hold, impossible inputs are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.security.request_bodies import out_of_distribution, typical_row
from clinical_assets.gates.security.request_fuzz import scored
from clinical_assets.gates.thresholds import SecurityPolicy
from clinical_assets.gates.verdict import GateName, Verdict

SEED = 20_240_502
MOST_ROWS = 2_000
DRAWS = 5
STEPS = 5
TOLERANCE = 1e-6


@check(GateName.SECURITY, "SE14", "Robustness", "95th percentile of the change of risk under measurement error")
def robustness(case: Case) -> Finding:
    """On an even sample of test patients. Only features that the policy declares monotone are held to a direction."""
    facts, policy = case.facts, case.policy.security
    common: dict[str, Any] = {
        "threshold": f"95 % of changes below {policy.noise_change:g} under ±{policy.noise_share:.0%} error; "
        "declared directions hold; values outside the plausible range are refused",
        "threshold_source": SecurityPolicy.source("noise_change"),
    }
    if facts.serve_score is None or facts.test.empty:
        return Finding(Verdict.INCONCLUSIVE, "no patient can be scored here", "hand in the scorer", **common)
    rows = facts.test.iloc[np.unique(np.linspace(0, len(facts.test) - 1, MOST_ROWS).astype(int))]
    change = noise_change(case, rows)
    problems = [] if change < policy.noise_change else [f"{change:.3f} under measurement error"]
    broken = {name: share for name in policy.monotone if (share := wrong_direction(case, rows, name)) > 0.0}
    problems += [f"risk moves against {name} in {share:.1%} of steps" for name, share in broken.items()]
    refused = "not tested: no request path at hand"
    if facts.serve_request is not None:
        requests = list(out_of_distribution(facts.contract, typical_row(facts.contract, facts.train)))
        failures = scored(case, requests)
        problems += list(failures)[:3]
        refused = f"{len(requests) - failures.total()} of {len(requests)} impossible inputs refused"
    common |= {"value": change, "n": len(rows), "details": {"wrong_direction": broken, "refused": refused}}
    directions = f"{len(policy.monotone)} declared directions tested" if policy.monotone else "no direction is declared"
    if problems:
        return Finding(
            Verdict.WARN, "; ".join(problems), "smooth the model, or constrain its direction, and train again", **common
        )
    text = f"95 % of risks change by less than {max(change, 1e-4):.4f}; {directions}; {refused}"
    return Finding(Verdict.PASS, text, **common)


def noise_change(case: Case, rows: pd.DataFrame) -> float:
    """95th percentile of |difference in risk| when every measured number is off by up to the policy's share.

    What is counted in whole numbers stays whole.
    """
    measured = [column for column in case.facts.contract.features if column.measured]
    columns, whole = [column.name for column in measured], [column.dtype == "integer" for column in measured]
    if not columns:
        return 0.0
    rng = np.random.default_rng(SEED)
    base, share = _risk(case, rows), case.policy.security.noise_share
    changes = []
    for _ in range(DRAWS):
        noisy = rows.copy()
        values = rows[columns].to_numpy(np.float64)
        values *= 1.0 + share * rng.uniform(-1.0, 1.0, values.shape)
        noisy[columns] = np.where(whole, np.round(values), values)
        changes.append(np.abs(_risk(case, noisy) - base))
    return float(np.quantile(np.concatenate(changes), 0.95))


def wrong_direction(case: Case, rows: pd.DataFrame, feature: str) -> float:
    """Share of steps along `feature`, from low to high in the training data, at which the risk goes the other way.

    Raises:
        ValueError: the declared feature is no number of this contract.
    """
    if feature not in {column.name for column in case.facts.contract.features if column.numeric}:
        raise ValueError(f"security.monotone names {feature}, which is no numeric feature of {case.facts.cancer}")
    sign = 1.0 if case.policy.security.monotone[feature] == "increasing" else -1.0
    grid = np.quantile(case.facts.train[feature].dropna().astype(float), np.linspace(0.02, 0.98, STEPS + 1))
    risks = np.stack([_risk(case, rows.assign(**{feature: value})) for value in np.unique(grid)])
    return float((sign * np.diff(risks, axis=0) < -TOLERANCE).mean()) if len(risks) > 1 else 0.0


def _risk(case: Case, rows: pd.DataFrame) -> np.ndarray:
    assert case.facts.serve_score is not None
    risk = np.asarray(case.facts.serve_score(rows), dtype=np.float64)
    if not np.isfinite(risk).all():
        raise ValueError(f"{int((~np.isfinite(risk)).sum())} of {len(risk)} risks are not finite")
    return risk
