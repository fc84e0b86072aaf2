from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from clinical_assets.gates.bias import gate as bias
from clinical_assets.gates.bias.group_records import log_rank
from clinical_assets.gates.facts import ReleaseFacts
from clinical_assets.gates.regulatory.declarations import ContextOfUse, DeclaredUse
from clinical_assets.gates.verdict import CheckResult, Verdict
from clinical_assets.trials.target_population import TargetPopulation

from .cohorts import POLICY, found, release, with_frames, with_risk


def judged(facts: ReleaseFacts, id: str) -> CheckResult:
    return found(bias.judge(facts, POLICY), id)


def meant_for(facts: ReleaseFacts, **mix: dict[str, float]) -> ReleaseFacts:
    use = ContextOfUse(
        intended_use="prognosis", users="trialists", not_for="anything else",
        target_population=TargetPopulation(source="registry 1990", mix=mix),
    )  # fmt: skip
    return replace(facts, declared=DeclaredUse(context_of_use=use))


class TestMissingValues:
    def test_a_feature_that_one_group_lacks_warns_and_is_named(self):
        facts = release("colon")
        men = facts.train["sex"] == "male"
        spared = np.random.default_rng(1).random(len(men)) < 0.8
        result = judged(
            with_frames(facts, train=facts.train.assign(nodes=facts.train["nodes"].where(~men | spared))), "BI13"
        )
        assert result.verdict is Verdict.WARN
        assert "nodes in sex male" in result.reason
        expected = facts.train["nodes"].where(~men | spared).isna()
        both = np.concatenate([facts.test["nodes"].isna(), expected])
        sex = np.concatenate([facts.test["sex"], facts.train["sex"]])
        assert result.value == pytest.approx(both[sex == "male"].mean() - both[sex != "male"].mean(), abs=1e-9)

    def test_the_cohort_as_it_is_passes(self):
        assert judged(release("colon"), "BI13").verdict is Verdict.PASS


class TestFollowUp:
    def test_the_log_rank_test_is_that_of_lifelines(self):
        from lifelines.statistics import multivariate_logrank_test

        rng = np.random.default_rng(2)
        group = rng.choice(["a", "b", "c"], 200)
        time, event = np.ceil(rng.exponential(20, 200) * (1 + (group == "a"))), rng.random(200) < 0.7
        assert log_rank(time, event, group) == pytest.approx(multivariate_logrank_test(time, group, event).p_value)

    def test_a_group_that_is_lost_earlier_warns(self):
        facts = release("colon")
        old = facts.train["age"] >= 65
        rng = np.random.default_rng(3)
        lost = np.where(old, rng.exponential(1500, len(old)) + 1, np.inf)
        event = facts.train["event"].where(facts.train["time"] <= lost, 0)
        cut = facts.train.assign(time=np.minimum(facts.train["time"], lost), event=event)
        result = judged(with_frames(facts, train=cut), "BI14")
        assert result.verdict is Verdict.WARN
        assert "age" in result.reason
        assert "censoring curve" in result.remedy

    def test_equal_follow_up_passes_and_a_label_has_none(self):
        assert judged(release("colon"), "BI14").verdict is Verdict.PASS
        assert "does not apply" in judged(release("breast_fna"), "BI14").reason


class TestTargetPopulation:
    def test_undeclared_is_said_in_words(self):
        result = judged(release("colon"), "BI15")
        assert result.verdict is Verdict.WARN
        assert "not declared" in result.reason

    def test_the_mix_at_hand_passes_and_another_warns(self):
        facts = release("colon")
        assert judged(meant_for(facts, sex={"female": 0.48, "male": 0.52}), "BI15").verdict is Verdict.PASS
        result = judged(meant_for(facts, age={"<50": 0.05, "50-64": 0.25, ">=65": 0.70}), "BI15")
        assert result.verdict is Verdict.WARN
        assert float(result.value) == pytest.approx(362 / 929 - 0.70)

    def test_a_mix_must_add_up_and_name_groups_of_the_contract(self):
        with pytest.raises(ValueError, match="add up to 1"):
            TargetPopulation(source="s", mix={"sex": {"female": 0.5, "male": 0.6}})
        contract = release("colon").contract
        with pytest.raises(ValueError, match="no group other; use female, male"):
            TargetPopulation(source="s", mix={"sex": {"female": 0.5, "other": 0.5}}).check(contract)
        with pytest.raises(ValueError, match="race is no sensitive column"):
            TargetPopulation(source="s", mix={"race": {"asian": 1.0}}).check(contract)


class TestChampion:
    def challenged(self, change: float) -> ReleaseFacts:
        facts = release("breast")
        inside = facts.test["age"] >= 65

        def moved(risk: np.ndarray) -> np.ndarray:
            return np.where(inside, expit(logit(risk) + change), risk)

        worse = replace(facts.test_pred, risk=moved(facts.test_pred.risk), survival=None, times=None)
        return replace(facts, test_pred=worse, champion_pred=facts.test_pred, champion_name="champion")

    def test_without_one_the_check_does_not_apply(self):
        assert "does not apply" in judged(release("colon"), "BI17").reason

    def test_the_same_model_is_no_worse(self):
        result = judged(self.challenged(0.0), "BI17")
        assert result.verdict is Verdict.PASS
        assert result.value == 0.0

    def test_a_group_that_loses_its_level_blocks(self):
        result = judged(self.challenged(-1.0), "BI17")
        assert result.verdict is Verdict.BLOCK
        assert "age >=65" in result.reason
        assert "O/E" in result.reason

    def test_too_few_events_are_inconclusive(self):
        facts = self.challenged(0.0)
        few = np.arange(120)
        thin = replace(
            with_frames(facts, test=facts.test.iloc[few]),
            test_pred=replace(
                facts.test_pred, subject_ids=facts.test_pred.subject_ids[few], risk=facts.test_pred.risk[few]
            ),
            champion_pred=replace(
                facts.test_pred, subject_ids=facts.test_pred.subject_ids[few], risk=facts.test_pred.risk[few]
            ),
        )
        assert judged(thin, "BI17").verdict is Verdict.INCONCLUSIVE


class TestWeakSegments:
    def test_a_segment_that_no_attribute_names_is_found(self):
        """From three positive nodes on, the risks are turned around."""
        rng = np.random.default_rng(4)
        facts = release("breast")

        def turned(risk: np.ndarray, frame: pd.DataFrame) -> np.ndarray:
            inside = (frame["nodes"] >= 3).to_numpy()
            changed = risk.copy()
            changed[inside] = 1.0 - risk[inside] * rng.uniform(0.95, 1.0, inside.sum())
            return changed

        result = judged(with_risk(facts, turned), "BI18")
        assert result.verdict is Verdict.WARN
        assert "nodes" in result.reason

    def test_a_clean_release_passes(self):
        assert judged(release("breast"), "BI18").verdict is Verdict.PASS

    def test_without_out_of_fold_predictions_nothing_can_be_searched(self):
        assert judged(replace(release("colon"), oof=None), "BI18").verdict is Verdict.INCONCLUSIVE


def test_no_check_of_the_gate_crashes_on_a_cohort_of_forty_without_events():
    facts = release("colon")
    few = np.arange(40)
    test = facts.test.iloc[few].assign(event=0.0)
    odd = replace(
        with_frames(facts, test=test, train=facts.train.iloc[:0]),
        **{
            name: replace(one, subject_ids=one.subject_ids[few], risk=one.risk[few])
            for name, one in (("test_pred", facts.test_pred), ("reference_pred", facts.reference_pred))
        },
        oof=None,
        reference_oof=None,
    )
    verdicts = {check.id: check.verdict for check in bias.judge(odd, POLICY).checks}
    assert Verdict.ERROR not in verdicts.values(), verdicts
    assert len(verdicts) == 19
