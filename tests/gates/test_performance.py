from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from clinical_assets.gates.checks import Case
from clinical_assets.gates.facts import ReleaseFacts
from clinical_assets.gates.performance import gate as performance
from clinical_assets.gates.performance.evidence import evidence_sets
from clinical_assets.gates.performance.leakage import _separation
from clinical_assets.gates.policy import GatePolicy
from clinical_assets.gates.verdict import CheckResult, Verdict
from clinical_assets.modeling.curves import HorizonLabels
from clinical_assets.modeling.metrics.calibration import calibration_at_horizon, calibration_line, slope_error

from .cohorts import POLICY, found, release, select, with_contract, with_frames, with_risk


def judged(facts: ReleaseFacts, id: str, policy: GatePolicy = POLICY) -> CheckResult:
    return found(performance.judge(facts, policy), id)


def thin(facts: ReleaseFacts, n: int = 60) -> ReleaseFacts:
    """Only the first test patients, and no out-of-fold predictions."""
    few = select(facts.test_pred, np.arange(n))
    return replace(with_frames(facts, test=facts.test.iloc[:n]), test_pred=few, reference_pred=few, oof=None)


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.mark.parametrize("slug", ["colon", "breast", "breast_fna", "renal_wilms"])
def test_a_clean_real_release_is_neither_blocked_nor_in_error(slug):
    report = performance.judge(release(slug), POLICY)
    assert not {check.verdict for check in report.checks} & {Verdict.BLOCK, Verdict.ERROR}, report.checks


def test_a_small_release_is_inconclusive_where_it_claims_something():
    report = performance.judge(thin(release("colon")), POLICY)
    for id in ("MP1", "MP3", "MP5"):
        assert found(report, id).verdict is Verdict.INCONCLUSIVE, id
    assert report.verdict is Verdict.INCONCLUSIVE


def test_a_model_near_chance_is_inconclusive_not_passed():
    report = performance.judge(release("melanoma"), POLICY)
    assert found(report, "MP1").verdict is Verdict.INCONCLUSIVE
    assert found(report, "MP3").verdict is Verdict.INCONCLUSIVE


def test_predictions_for_other_patients_are_an_error_and_block():
    facts = release("colon")
    report = performance.judge(replace(facts, test_pred=select(facts.test_pred, np.arange(100))), POLICY)
    assert found(report, "MP1").verdict is Verdict.ERROR
    assert "297 rows but 100 predictions" in found(report, "MP1").reason
    assert report.verdict is Verdict.BLOCK


def test_the_order_of_the_predictions_does_not_matter():
    facts = release("colon")
    order = rng().permutation(len(facts.test))
    shuffled = replace(facts, test_pred=select(facts.test_pred, order))
    assert judged(shuffled, "MP1").value == judged(facts, "MP1").value


@pytest.mark.parametrize("slug", ["colon", "breast_fna"])
def test_a_turned_sign_is_found(slug):
    report = performance.judge(with_risk(release(slug), lambda risk, _: 1.0 - risk), POLICY)
    assert found(report, "MP1").verdict is Verdict.BLOCK
    assert found(report, "MP18").verdict is Verdict.BLOCK
    assert "sign" in found(report, "MP18").reason


def test_worse_than_the_reference_model_blocks():
    facts = release("breast")
    noise = rng().normal(0, 1.5, len(facts.test) + len(facts.train))
    worse = with_risk(facts, lambda risk, frame: expit(logit(risk) + noise[: len(risk)]))
    result = judged(worse, "MP1")
    assert result.verdict is Verdict.BLOCK
    assert "worse than penalised Cox" in result.reason


class TestSkill:
    def test_a_forecast_worse_than_everyone_alike_blocks(self):
        facts = release("colon")
        assert judged(with_risk(facts, lambda risk, _: np.clip(risk * 2.2, 0, 0.999)), "MP3").verdict is Verdict.BLOCK


class TestCalibration:
    @pytest.mark.parametrize("slug", ["colon", "breast"])
    def test_overconfident_risks_block(self, slug):
        facts = release(slug)
        centre = logit(facts.test_pred.risk).mean()
        sharp = with_risk(facts, lambda risk, _: expit(centre + 3.0 * (logit(risk) - centre)))
        result = judged(sharp, "MP5")
        assert result.verdict is Verdict.BLOCK
        assert result.remedy

    @pytest.mark.parametrize("factor", [0.6, 1.5])
    def test_a_wrong_level_blocks(self, factor):
        facts = release("colon")
        result = judged(with_risk(facts, lambda risk, _: np.clip(risk * factor, 0, 0.99)), "MP5")
        assert result.verdict is Verdict.BLOCK
        assert "level" in result.reason

    def test_out_of_fold_predictions_without_nested_recalibration_do_not_count(self):
        facts = release("colon")
        assert facts.oof is not None
        small = select(facts.test_pred, np.arange(60))
        facts = replace(with_frames(facts, test=facts.test.iloc[:60]), test_pred=small, reference_pred=small)
        assert judged(facts, "MP5").verdict is not Verdict.INCONCLUSIVE
        assert judged(replace(facts, oof=replace(facts.oof, nested=False)), "MP5").verdict is Verdict.INCONCLUSIVE

    def test_the_interval_of_the_slope_agrees_with_a_bootstrap(self):
        facts = release("colon")
        evidence = evidence_sets(Case(facts, POLICY))[1]
        at = calibration_at_horizon(evidence.outcomes, evidence.risk, 1826.25)
        error = slope_error(evidence.outcomes, evidence.risk, at.slope, 1826.25)
        draws, slopes = rng(), []
        for _ in range(120):
            rows = draws.integers(0, evidence.outcomes.n, evidence.outcomes.n)
            slopes.append(calibration_line(evidence.outcomes.take(rows), evidence.risk[rows], 1826.25)[1])
        assert error == pytest.approx(np.std(slopes), rel=0.25)


class TestNonInferiority:
    def test_a_champion_that_ranks_much_better_blocks(self):
        facts = release("breast")
        noisy = with_risk(facts, lambda risk, _: expit(rng().normal(0, 1, len(risk)) + 0.2 * logit(risk)))
        result = judged(replace(noisy, champion_pred=facts.test_pred, champion_name="model 12"), "MP9")
        assert result.verdict is Verdict.BLOCK
        assert "model 12" in result.reason

    def test_a_test_set_too_small_to_say_is_inconclusive(self):
        facts = release("colon")
        champion = replace(facts.test_pred, risk=expit(logit(facts.test_pred.risk) + rng().normal(0, 0.4, 297)))
        result = judged(replace(facts, champion_pred=champion), "MP9")
        assert result.verdict is Verdict.INCONCLUSIVE
        assert result.interval[1] - result.interval[0] > 0.04
        assert "shadow" in result.remedy

    def test_an_equal_champion_passes(self):
        facts = release("breast")
        assert judged(replace(facts, champion_pred=facts.test_pred), "MP9").verdict is Verdict.PASS

    def test_a_champion_is_compared_on_the_test_split_alone(self):
        facts = release("colon")
        result = judged(replace(facts, champion_pred=facts.test_pred), "MP9")
        assert result.n == len(facts.test)


class TestUncertainty:
    def test_every_number_has_an_interval_from_a_stored_seed(self):
        report = performance.judge(release("colon"), POLICY)
        assert found(report, "MP8").verdict is Verdict.PASS
        assert found(report, "MP8").details["seed"] == POLICY.performance.bootstrap_seed
        assert found(report, "MP1").details["test"]["replicates"] == 1000

    def test_a_number_without_interval_is_an_error(self):
        facts = release("colon")
        broken = replace(facts, test_pred=replace(facts.test_pred, survival=None, times=None))
        result = judged(broken, "MP8")
        assert result.verdict is Verdict.ERROR
        assert "MP3" in result.reason

    def test_the_same_seed_gives_the_same_interval(self):
        assert judged(release("colon"), "MP1").interval == judged(release("colon"), "MP1").interval


class TestLeakage:
    @pytest.mark.parametrize("available_at", [30, None])
    def test_a_feature_known_later_or_at_an_unknown_time_blocks(self, available_at):
        result = judged(with_contract(release("colon"), "nodes", available_at=available_at), "MP15a")
        assert result.verdict is Verdict.BLOCK
        assert "nodes" in result.reason

    def test_a_column_that_follows_the_event_is_found(self):
        facts = release("breast")
        leak = np.where(facts.train["event"] == 1, 1e4 - facts.train["time"], 0) + rng().normal(
            0, 300, len(facts.train)
        )
        result = judged(with_frames(facts, train=facts.train.assign(pgr=leak)), "MP15b")
        assert result.verdict is Verdict.BLOCK
        assert "pgr" in result.reason

    def test_missingness_that_follows_the_event_is_found(self):
        facts = release("breast")
        early = (facts.train["event"] == 1) & (facts.train["time"] < 700)
        result = judged(with_frames(facts, train=facts.train.assign(er=facts.train["er"].mask(early))), "MP15b")
        assert result.verdict is Verdict.BLOCK
        assert "er" in result.reason

    def test_a_category_that_follows_the_event_is_found(self):
        facts = release("colon")
        early = (facts.train["event"] == 1) & (facts.train["time"] < 500)
        leaked = facts.train.assign(surg=np.where(early, "long", "short"))
        assert judged(with_frames(facts, train=leaked), "MP15b").verdict is Verdict.BLOCK

    def test_a_copy_of_the_label_is_found_and_strong_measurements_warn(self):
        facts = release("breast_fna")
        assert judged(facts, "MP15b").verdict is Verdict.WARN
        copied = facts.train.assign(mean_radius=facts.train["label"] + rng().normal(0, 0.01, len(facts.train)))
        assert judged(with_frames(facts, train=copied), "MP15b").verdict is Verdict.BLOCK

    def test_too_few_events_are_inconclusive(self):
        facts = release("colon")
        few = facts.train[facts.train["event"] == 0].iloc[:80]
        assert judged(replace(with_frames(facts, train=few), oof=None), "MP15b").verdict is Verdict.INCONCLUSIVE

    def test_without_censoring_the_measure_is_the_plain_auroc(self):
        label, values = rng().random(200) < 0.4, rng().normal(size=200)
        expected = roc_auc_score(label, values)
        labels = HorizonLabels(label, np.ones(200))
        assert _separation(values, labels) == pytest.approx(max(expected, 1 - expected))


class TestOutput:
    @pytest.mark.parametrize(
        ("change", "named"),
        [
            (lambda risk: np.where(np.arange(len(risk)) == 3, np.nan, risk), "missing or infinite"),
            (lambda risk: risk + 0.9, "outside"),
            (lambda risk: np.full_like(risk, 0.3), "distinct"),
        ],
    )
    def test_what_is_no_risk_blocks(self, change, named):
        facts = release("colon")
        broken = replace(facts, test_pred=replace(facts.test_pred, risk=change(facts.test_pred.risk)))
        result = judged(broken, "MP18")
        assert result.verdict is Verdict.BLOCK
        assert named in result.reason

    def test_a_rising_curve_blocks(self):
        facts = release("colon")
        rising = replace(facts.test_pred, survival=facts.test_pred.survival[:, ::-1])
        assert "rise" in judged(replace(facts, test_pred=rising), "MP18").reason

    def test_too_few_events_to_see_the_sign(self):
        facts = release("colon")
        rows = np.flatnonzero(facts.test["event"] == 0)
        few = replace(with_frames(facts, test=facts.test.iloc[rows]), test_pred=select(facts.test_pred, rows))
        assert judged(few, "MP18").verdict is Verdict.INCONCLUSIVE


class TestParity:
    def test_a_server_that_reads_columns_by_position_is_found(self):
        facts = release("colon")
        names = [column.name for column in facts.contract.features]
        served = replace(facts, serve_score=lambda rows: facts.serve_score(rows.set_axis(names, axis=1)))
        result = judged(served, "MP19")
        assert result.verdict in (Verdict.BLOCK, Verdict.ERROR)

    def test_a_server_with_another_scale_is_found(self):
        facts = release("colon")
        result = judged(replace(facts, serve_score=lambda rows: facts.serve_score(rows) + 1e-4), "MP19")
        assert result.verdict is Verdict.BLOCK
        assert result.value == pytest.approx(1e-4)

    def test_a_score_that_depends_on_the_batch_is_found(self):
        facts = release("colon")

        def standardised(rows):
            risk = facts.serve_score(rows)
            return risk + (0.0 if len(rows) > 1 else 1e-3)

        result = judged(replace(facts, serve_score=standardised), "MP19")
        assert result.verdict is Verdict.BLOCK
        assert "one row" in result.reason

    def test_no_serving_path_is_no_pass(self):
        assert judged(replace(release("colon"), serve_score=None), "MP19").verdict is Verdict.BLOCK
