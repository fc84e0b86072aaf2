from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from clinical_assets.gates.bias import gate as bias
from clinical_assets.gates.bias.gate import audited
from clinical_assets.gates.bias.sensitivity import Audited, sensitivity_gaps
from clinical_assets.gates.checks import Case
from clinical_assets.gates.facts import ReleaseFacts
from clinical_assets.gates.policy import GatePolicy
from clinical_assets.gates.verdict import CheckResult, Verdict
from clinical_assets.modeling.curves import censoring_curve, horizon_labels
from clinical_assets.modeling.outcomes import Outcomes

from .cohorts import POLICY, found, release, select, with_contract, with_frames, with_risk


def judged(facts: ReleaseFacts, id: str) -> CheckResult:
    return found(bias.judge(facts, POLICY), id)


def thin(facts: ReleaseFacts, n: int = 60) -> ReleaseFacts:
    few = replace(with_frames(facts, test=facts.test.iloc[:n], train=facts.train.iloc[:0]), oof=None)
    return replace(few, test_pred=select(facts.test_pred, np.arange(n)))


@pytest.mark.parametrize("slug", ["colon", "breast", "renal_wilms"])
def test_a_clean_real_release_is_neither_blocked_nor_in_error(slug):
    report = bias.judge(release(slug), POLICY)
    assert not {check.verdict for check in report.checks} & {Verdict.BLOCK, Verdict.ERROR}, report.checks


class TestGroupTable:
    def test_every_group_is_shown_with_its_events(self):
        facts = release("colon")
        groups = judged(facts, "BI1").details["groups"]
        assert set(groups) == {"sex", "age"}
        assert sum(group["n"] for group in groups["sex"].values()) == 929

    def test_small_groups_are_inconclusive_and_hidden(self):
        result = judged(thin(release("colon"), 30), "BI1")
        assert result.verdict is Verdict.INCONCLUSIVE
        assert "hidden" in str(result.details["groups"])

    def test_no_attribute_at_all_is_inconclusive_never_a_pass(self):
        report = bias.judge(release("breast_fna"), POLICY)
        assert found(report, "BI1").verdict is Verdict.INCONCLUSIVE
        assert found(report, "BI2").verdict is Verdict.INCONCLUSIVE
        assert found(report, "BI19").verdict is Verdict.WARN
        assert "not collected" in found(report, "BI19").reason


class TestSensitivity:
    @pytest.mark.parametrize(
        ("slug", "attribute", "group"),
        [("colon", "sex", "male"), ("breast", "age", (65, 200)), ("colon", "age", (0, 50))],
    )
    def test_risks_stated_too_low_in_one_group_block(self, slug, attribute, group):
        def lower(risk: np.ndarray, frame: pd.DataFrame) -> np.ndarray:
            values = frame[attribute]
            inside = values == group if isinstance(group, str) else values.between(*group)
            return np.where(inside, expit(logit(risk) - 1.2), risk)

        result = judged(with_risk(release(slug), lower), "BI2")
        assert result.verdict is Verdict.BLOCK
        assert attribute in result.reason
        assert result.value < 0
        harmed = [gap for gap in result.details["gaps"] if gap["attribute"] == attribute and gap["gap"] == result.value]
        assert harmed[0]["adjusted_interval"][1] < -0.1

    def test_risks_that_do_not_rank_one_group_block(self):
        def flat(risk: np.ndarray, frame: pd.DataFrame) -> np.ndarray:
            return np.where(frame["sex"] == "male", np.median(risk) * 0.9, risk)

        assert judged(with_risk(release("colon"), flat), "BI2").verdict is Verdict.BLOCK

    def test_too_few_events_are_inconclusive(self):
        assert judged(thin(release("colon")), "BI2").verdict is Verdict.INCONCLUSIVE

    def test_without_censoring_the_gap_is_the_difference_of_recalls(self):
        audit, flagged = simulated(shift=0.0)
        inside = (audit.groups["site"] == "a").to_numpy()
        gap = next(gap for gap in sensitivity_gaps(audit, 0.3, POLICY.bias) if gap.group == "a")
        cases = audit.labels.label
        assert gap.sensitivity == pytest.approx(flagged[inside & cases].mean())
        assert gap.gap == pytest.approx(flagged[inside & cases].mean() - flagged[~inside & cases].mean())

    def test_weights_are_the_inverse_of_the_censoring_curve(self):
        facts = release("colon")
        audit = audited(Case(facts, POLICY))
        inside, threshold = (audit.groups["sex"] == "male").to_numpy(), facts.contract.endpoint.decision_threshold
        time, event = audit.outcomes.times(), audit.outcomes.flag
        cases = event & (time <= 1826.25) & inside
        weight = 1.0 / censoring_curve(audit.outcomes).before(time[cases])
        expected = np.average(audit.risk[cases] >= threshold, weights=weight)
        gap = next(gap for gap in sensitivity_gaps(audit, threshold, POLICY.bias) if gap.group == "male")
        assert gap.sensitivity == pytest.approx(expected)

    def test_a_group_that_nobody_was_followed_long_enough_in_is_left_unjudged(self):
        audit, _ = simulated(shift=0.0)
        groups = audit.groups.assign(site=np.where(np.arange(len(audit.risk)) < 5, "c", audit.groups["site"]))
        unknown = replace(audit.labels, weight=np.where(groups["site"] == "c", 0.0, audit.labels.weight))
        gaps = sensitivity_gaps(replace(audit, groups=groups, labels=unknown), 0.3, POLICY.bias)
        assert {gap.group for gap in gaps} == {"a", "b"}

    def test_a_calibrated_model_is_not_blamed_for_a_group_of_lower_risk(self):
        audit, _ = simulated(shift=-1.0)
        gap = next(gap for gap in sensitivity_gaps(audit, 0.3, POLICY.bias) if gap.group == "a")
        assert gap.interval[1] < -0.1
        assert gap.adjusted_interval[0] < 0.0 < gap.adjusted_interval[1]

    def test_an_understated_group_is_found_whatever_its_rate(self):
        audit, _ = simulated(shift=-1.0)
        inside = (audit.groups["site"] == "a").to_numpy()
        low = replace(audit, risk=np.where(inside, expit(logit(audit.risk) - 1.0), audit.risk))
        gap = next(gap for gap in sensitivity_gaps(low, 0.3, POLICY.bias) if gap.group == "a")
        assert gap.adjusted_interval[1] < -0.1


def simulated(shift: float, n: int = 4000) -> tuple[Audited, np.ndarray]:
    """A calibrated model on two sites; site `a` has log odds moved by `shift`."""
    rng = np.random.default_rng(11)
    site = rng.random(n) < 0.4
    risk = expit(rng.normal(-0.8, 1.0, n) + shift * site)
    outcomes = Outcomes.binary(rng.random(n) < risk)
    groups = pd.DataFrame({"site": np.where(site, "a", "b")})
    return Audited(groups, risk, outcomes, horizon_labels(outcomes, 0.0), np.arange(n), None), risk >= 0.3


class TestNobodyLeftOut:
    def test_dropped_patients_with_unknown_attribute_are_found(self):
        facts = release("colon")
        kept = np.flatnonzero(np.arange(len(facts.test)) % 10 != 0)
        dropped = replace(facts, test=facts.test.iloc[kept], test_pred=select(facts.test_pred, kept))
        result = judged(dropped, "BI16")
        assert result.verdict is Verdict.BLOCK
        assert result.value == len(facts.test) - len(kept)

    def test_a_missing_attribute_stays_in_the_audit_as_its_own_group(self):
        facts = with_contract(release("colon"), "sex", max_missing=0.5)
        unknown = facts.test.assign(sex=facts.test["sex"].where(facts.test.index % 3 != 0, None))
        report = bias.judge(with_frames(facts, test=unknown), POLICY)
        assert found(report, "BI16").verdict is Verdict.PASS
        assert found(report, "BI1").details["groups"]["sex"]["not reported"]["n"] == 99


class TestNotCollected:
    def test_an_attribute_that_nobody_declared_absent_warns_with_the_remedy(self):
        policy = GatePolicy.with_overrides({"bias": {"expected_attributes": ["sex", "ethnicity"]}})
        result = found(bias.judge(release("colon"), policy), "BI19")
        assert result.verdict is Verdict.WARN
        assert "not declared" in result.reason
        assert "not_collected" in result.remedy

    def test_all_there_passes(self):
        policy = GatePolicy.with_overrides({"bias": {"expected_attributes": ["sex", "age"]}})
        assert found(bias.judge(release("colon"), policy), "BI19").verdict is Verdict.PASS
