"""SE18: contributors whose outcomes do not fit, on a real cohort with a column of contributors added."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kstest

from clinical_assets.gates.facts import ReleaseFacts
from clinical_assets.gates.security import gate as security
from clinical_assets.gates.security.poisoning import contribution
from clinical_assets.gates.verdict import CheckResult, Verdict

from .cohorts import POLICY, found, release


def judged(facts: ReleaseFacts) -> CheckResult:
    return found(security.judge(facts, POLICY), "SE18")


def with_sites(sites: int = 6) -> ReleaseFacts:
    facts = release("colon")
    names = np.random.default_rng(0).integers(0, sites, len(facts.train)).astype(str)
    return replace(facts, train=facts.train.assign(site_id=[f"site {name}" for name in names]))


def test_without_contributors_it_does_not_apply_and_says_so():
    result = judged(release("colon"))
    assert (result.verdict, result.value) == (Verdict.PASS, None)
    assert "does not apply" in result.reason


def test_contributors_at_random_are_in_line():
    assert judged(with_sites()).verdict is Verdict.PASS


@pytest.mark.parametrize("how", ["all dead", "all alive", "reversed"])
def test_a_contributor_with_changed_outcomes_warns_and_is_named(how):
    facts = with_sites()
    train, horizon = facts.train.copy(), facts.contract.endpoint.horizon_days
    own = (train["site_id"] == "site 3").to_numpy()
    early = own & (train["time"] <= horizon).to_numpy() & (train["event"] == 1).to_numpy()
    if how in ("all dead", "reversed"):
        train.loc[own & ~early, ["time", "event"]] = [horizon / 2, 1]
    if how in ("all alive", "reversed"):
        train.loc[early, ["time", "event"]] = [horizon + 30, 0]
    result = judged(replace(facts, train=train))
    assert result.verdict is Verdict.WARN
    assert "site 3" in result.reason
    assert "site 1" not in result.reason


def test_small_contributors_say_nothing():
    facts = with_sites(sites=200)
    assert judged(facts).verdict is Verdict.INCONCLUSIVE
    assert judged(replace(with_sites(), oof=None)).verdict is Verdict.INCONCLUSIVE


def test_under_the_model_influence_is_uniform():
    """The score test's p-value is uniform when the labels come from the risks."""
    rng = np.random.default_rng(1)
    encoded = rng.standard_normal((150, 4))
    risk = 1.0 / (1.0 + np.exp(-(0.3 + encoded @ np.array([0.5, -0.4, 0.2, 0.0]))))
    values = [contribution("a", (rng.random(150) < risk).astype(float), risk, encoded).influence for _ in range(400)]
    assert kstest(values, "uniform").pvalue > 0.01
