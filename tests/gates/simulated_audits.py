"""Audits of a model whose fairness is known, because the patients are simulated from its own risks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from clinical_assets.gates.bias.group_audit import Audited, audited, calibrated, reference_risk
from clinical_assets.gates.checks import REGISTER, Case
from clinical_assets.gates.policy import GatePolicy
from clinical_assets.gates.verdict import Verdict
from clinical_assets.modeling.curves import horizon_labels
from clinical_assets.modeling.outcomes import Outcomes

BLOCKING = ("BI2", "BI5", "BI6", "BI7", "BI11", "BI12")
"""The checks that can block without a champion."""

HORIZON = 1000.0


def fair(rng: np.random.Generator, n: int, rate: float = 0.4, spread: float = 1.0, survival: bool = False) -> Audited:
    """A calibrated model over sex, age band and race, where risk rises with age. `spread`: of the linear predictor."""
    groups = pd.DataFrame(
        {
            "sex": rng.choice(["female", "male"], n),
            "age": rng.choice(["<50", "50-64", ">=65"], n, p=[0.3, 0.4, 0.3]),
            "race": rng.choice(["white", "black", "asian"], n, p=[0.7, 0.2, 0.1]),
        }
    )
    older = groups["age"].map({"<50": -0.3, "50-64": 0.0, ">=65": 0.3}).to_numpy()
    risk = expit(logit(rate) + spread * rng.normal(size=n) + older)
    return observed(rng, groups, risk, risk, survival)


def observed(
    rng: np.random.Generator, groups: pd.DataFrame, truth: np.ndarray, stated: np.ndarray, survival: bool
) -> Audited:
    """Outcomes from the true risks (n,), under a model that states others. About 20 % are censored early."""
    if survival:
        time = HORIZON * np.log1p(-rng.random(len(truth))) / np.log1p(-truth)
        lost = rng.exponential(HORIZON / 0.25, len(truth)) + 0.1
        outcomes = Outcomes.survival(np.minimum(time, lost), time <= lost)
    else:
        outcomes = Outcomes.binary(rng.random(len(truth)) < truth)
    horizon = HORIZON if survival else None
    labels = horizon_labels(outcomes, horizon or 0.0)
    return Audited(groups, stated, outcomes, labels, np.arange(len(truth)), horizon)


def group_with(rng: np.random.Generator, events: int, rate: float = 0.4, others: int = 400, spread: float = 1.0) -> Any:
    """Risks of two hospitals of which `a` holds about so many events: the groups, and the risks of a fair model."""
    n = round(events / rate)
    groups = pd.DataFrame({"site": ["a"] * n + ["b"] * others, "sex": rng.choice(["female", "male"], n + others)})
    return groups, expit(logit(rate) + spread * rng.normal(size=n + others))


def case_of(audit: Audited, threshold: float, policy: GatePolicy) -> Case:
    """What the checks that compare groups need of a release."""
    endpoint = SimpleNamespace(kind=audit.outcomes.kind, decision_threshold=threshold, horizon_days=audit.horizon)
    facts: Any = SimpleNamespace(contract=SimpleNamespace(endpoint=endpoint))
    return Case(facts, policy, _shared={audited: audit, calibrated: audit, reference_risk: None})


def blocked(audit: Audited, threshold: float, policy: GatePolicy) -> set[str]:
    """Ids of the real checks that block this audit."""
    case = case_of(audit, threshold, policy)
    return {id for id in BLOCKING if REGISTER[id].run(case).verdict in (Verdict.BLOCK, Verdict.ERROR)}
