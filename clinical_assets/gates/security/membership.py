"""Gate 5, membership inference: whether the model lets somebody tell who was among its training patients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm, rankdata

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.thresholds import SecurityPolicy
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.modeling.curves import horizon_labels
from clinical_assets.modeling.outcomes import Outcomes

CONFIDENCE = 0.95
FEWEST = 20
FALSE_POSITIVES = (0.01, 0.05)
_FLOOR = 1e-9


@dataclass(frozen=True)
class Attack:
    """AUC of guessing members by their smaller loss, its standard error (DeLong), and the hits at low false alarms."""

    auc: float
    error: float
    hits: dict[float, float]

    def interval(self) -> tuple[float, float]:
        width = float(norm.ppf((1 + CONFIDENCE) / 2)) * self.error
        return max(self.auc - width, 0.0), min(self.auc + width, 1.0)


def loss_attack(members: np.ndarray, others: np.ndarray) -> Attack:
    """The attack of Yeom et al. (2018) at every threshold, from the losses (m,) of training and (n,) other patients.

    Standard error by DeLong et al. (1988) in the O(n log n) form of Sun & Xu (2014).
    """
    m, n = len(members), len(others)
    both = rankdata(np.concatenate([-members, -others]))
    above_others = (both[:m] - rankdata(-members)) / n
    below_members = 1.0 - (both[m:] - rankdata(-others)) / m
    variance = np.var(above_others, ddof=1) / m + np.var(below_members, ddof=1) / n
    hits = {rate: float(np.mean(members < np.quantile(others, rate))) for rate in FALSE_POSITIVES}
    return Attack(float(above_others.mean()), float(np.sqrt(variance)), hits)


def losses(outcomes: Outcomes, risk: np.ndarray, horizon: float | None) -> np.ndarray:
    """(k,) log-losses at the horizon, of the patients whose status there is known.

    Raises:
        ValueError: a risk is not finite; no comparison would show it.
    """
    if not np.isfinite(risk).all():
        raise ValueError(f"{int((~np.isfinite(risk)).sum())} of {len(risk)} risks are not finite")
    labels = horizon_labels(outcomes, float(horizon or 0.0))
    known = labels.weight > 0
    chance = np.where(labels.label, risk, 1.0 - risk)[known]
    return -np.log(np.clip(chance, _FLOOR, 1.0))


@check(GateName.SECURITY, "SE13", "Membership inference", "AUC of the loss attack, training against test patients")
def membership_inference(case: Case) -> Finding:
    """The artifact's own scores of the patients it was fitted on, against those it has never seen."""
    facts, policy = case.facts, case.policy.security
    common: dict[str, Any] = {
        "threshold": f"lower bound: above {policy.membership_warn:g} warns, above {policy.membership_block:g} blocks",
        "threshold_source": SecurityPolicy.source("membership_warn"),
    }
    if facts.serve_score is None:
        return Finding(Verdict.INCONCLUSIVE, "the artifact cannot be scored here", "hand in the scorer", **common)
    endpoint = facts.contract.endpoint
    members, others = (
        losses(Outcomes.from_frame(frame, endpoint), np.asarray(facts.serve_score(frame)), endpoint.horizon_days)
        for frame in (facts.train, facts.test)
    )
    common["n"] = len(members) + len(others)
    if min(len(members), len(others)) < FEWEST:
        return Finding(
            Verdict.INCONCLUSIVE,
            f"only {len(members)} training and {len(others)} test patients have a known status at the horizon",
            "wait for more follow-up",
            **common,
        )
    attack = loss_attack(members, others)
    low, high = attack.interval()
    hits = ", ".join(f"{share:.3f} at {rate:.0%}" for rate, share in attack.hits.items())
    text = f"AUC {attack.auc:.3f} ({low:.3f} to {high:.3f}); members found at few false alarms: {hits}"
    common |= {
        "value": attack.auc,
        "interval": (low, high),
        "details": {f"hits_at_{rate:g}": share for rate, share in attack.hits.items()},
    }
    remedy = "regularise, use fewer parameters, or train on more patients; do not give the scores out before"
    if low > policy.membership_block:
        return Finding(Verdict.BLOCK, f"{text}: the model betrays who was in training", remedy, **common)
    if low > policy.membership_warn:
        return Finding(Verdict.WARN, f"{text}: the model remembers its patients", remedy, **common)
    return Finding(Verdict.PASS, text, **common)
