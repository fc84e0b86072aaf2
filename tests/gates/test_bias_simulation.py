"""How often the gate blocks a fair model, and how often an unfair one, on patients simulated from known risks.

The full experiment: 1,680 fair audits of 250, 600 and 1,500 patients (24 designs: event rate .2 and .45, spread .5 and
1.2, labels and survival) gave 3 blocks, 0.2 %. Here its smaller version, with the tolerance that its size allows.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from clinical_assets.gates.bias import gate as bias  # noqa: F401  registers the checks
from clinical_assets.gates.policy import GatePolicy

from .simulated_audits import blocked, fair, group_with, observed

POLICY = GatePolicy()


def test_a_fair_model_is_hardly_ever_blocked_over_all_checks_together():
    """60 audits: at a rate of 1 %, more than 3 blocks have a chance of 1 in 300."""
    found = [
        blocked(fair(np.random.default_rng([n, seed]), n, rate, spread, survival), rate, POLICY)
        for n, rate, spread, survival in ((300, 0.4, 1.0, True), (700, 0.25, 0.8, False), (700, 0.45, 1.2, True))
        for seed in range(20)
    ]
    assert sum(map(bool, found)) <= 3


@pytest.mark.parametrize("fault", ["level", "understated", "shuffled", "labels"])
def test_a_medium_fault_in_one_group_of_150_events_is_blocked(fault):
    """16 audits each: at a recall of 97 %, fewer than 14 blocks have a chance of 1 in 80."""
    found = []
    for seed in range(16):
        rng = np.random.default_rng([150, seed])
        groups, risk = group_with(rng, 150, spread=1.2)
        inside = (groups["site"] == "a").to_numpy()
        stated = {
            "level": np.where(inside, risk / 1.6, risk),
            "understated": np.where(inside, expit(logit(risk) - 1.0), risk),
            "shuffled": np.where(inside, rng.permutation(risk), risk),
            "labels": risk,
        }[fault]
        truth = np.where(inside, 0.4, risk) if fault == "labels" else risk
        found.append(blocked(observed(rng, groups, truth, stated, survival=bool(seed % 2)), 0.4, POLICY))
    assert sum(map(bool, found)) >= 14
