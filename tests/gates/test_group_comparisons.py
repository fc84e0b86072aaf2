from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from clinical_assets.gates.bias import gate as bias  # noqa: F401  registers the checks
from clinical_assets.gates.bias.group_audit import Audited, quantile
from clinical_assets.gates.bias.group_calibration import Level, group_calibration
from clinical_assets.gates.bias.group_discrimination import concordance_gaps
from clinical_assets.gates.bias.group_net_benefit import net_benefit
from clinical_assets.gates.bias.sensitivity import _at_event_rate, sensitivity_gaps
from clinical_assets.gates.checks import REGISTER
from clinical_assets.gates.policy import GatePolicy
from clinical_assets.gates.verdict import CheckResult, Verdict
from clinical_assets.modeling.curves import horizon_labels
from clinical_assets.modeling.metrics import usefulness
from clinical_assets.modeling.metrics.discrimination import auroc
from clinical_assets.modeling.metrics.pairs import ConcordancePairs
from clinical_assets.modeling.outcomes import Outcomes

from .simulated_audits import HORIZON, case_of, fair, group_with, observed

POLICY = GatePolicy()
COMPARING = ("BI2", "BI3", "BI4", "BI5", "BI6", "BI7", "BI8", "BI9", "BI10", "BI11", "BI12")


def judged(audit: Audited, id: str, threshold: float = 0.4) -> CheckResult:
    return REGISTER[id].run(case_of(audit, threshold, POLICY))


@pytest.fixture(scope="module")
def labels() -> Audited:
    return fair(np.random.default_rng(2), 900)


@pytest.fixture(scope="module")
def survival() -> Audited:
    return fair(np.random.default_rng(3), 700, survival=True)


@pytest.fixture(scope="module")
def resampled(survival) -> list[np.ndarray]:
    rng = np.random.default_rng(4)
    return [rng.integers(0, 700, 700) for _ in range(150)]


class TestAgainstFairlearn:
    def test_sensitivity_by_group_is_fairlearns(self, labels):
        from fairlearn.metrics import MetricFrame, true_positive_rate

        frame = MetricFrame(
            metrics=true_positive_rate, y_true=labels.outcomes.flag, y_pred=labels.risk >= 0.4,
            sensitive_features=labels.groups["race"],
        )  # fmt: skip
        found = {gap.group: gap for gap in sensitivity_gaps(labels, 0.4, POLICY.bias) if gap.attribute == "race"}
        assert len(found) == 3
        for group, gap in found.items():
            assert gap.sensitivity == pytest.approx(frame.by_group[group])
            assert gap.cases == labels.outcomes.flag[labels.groups["race"] == group].sum()

    def test_equalized_odds_difference_is_fairlearns(self, labels):
        from fairlearn.metrics import equalized_odds_difference

        expected = max(
            equalized_odds_difference(labels.outcomes.flag, labels.risk >= 0.4, sensitive_features=labels.groups[name])
            for name in labels.groups
        )
        assert abs(float(judged(labels, "BI4").value)) == pytest.approx(expected)

    def test_selection_ratio_is_fairlearns(self, labels):
        from fairlearn.metrics import demographic_parity_ratio

        expected = min(
            demographic_parity_ratio(labels.outcomes.flag, labels.risk >= 0.4, sensitive_features=labels.groups[name])
            for name in labels.groups
        )
        assert judged(labels, "BI10").value == pytest.approx(expected)


class TestErrors:
    def test_observed_over_expected_has_the_error_of_a_bootstrap(self, survival, resampled):
        level = Level.of(survival.outcomes, survival.risk, HORIZON)
        values = [Level.of(survival.outcomes.take(rows), survival.risk[rows], HORIZON).ratio for rows in resampled]
        assert level.error == pytest.approx(np.std(np.log(values)), rel=0.2)

    def test_sensitivity_at_the_groups_event_rate_has_the_error_of_a_bootstrap(self, survival, resampled):
        inside = (survival.groups["sex"] == "male").to_numpy()
        _, error = _at_event_rate(survival, inside, 0.4)
        values = [_at_event_rate(survival.take(rows), inside[rows], 0.4)[0] for rows in resampled]
        assert error == pytest.approx(np.std(values), rel=0.25)

    def test_a_gap_in_concordance_has_the_error_of_a_bootstrap(self, labels):
        rows = [np.random.default_rng(i).integers(0, 900, 900) for i in range(100)]
        gap = next(gap for gap in concordance_gaps(labels, POLICY.bias) if gap.group == "male")
        values = []
        for drawn in rows:
            again = labels.take(drawn)
            own, others = (
                auroc(again.outcomes.take(part), again.risk[part])
                for part in ((again.groups["sex"] == sex).to_numpy() for sex in ("male", "female"))
            )
            values.append(own - others)
        half = (gap.interval[1] - gap.interval[0]) / 2.0
        looks = len(concordance_gaps(labels, POLICY.bias))
        assert half / quantile(0.95, looks) == pytest.approx(np.std(values), rel=0.2)

    def test_intervals_widen_with_the_number_of_groups(self):
        assert quantile(0.95, 1) == pytest.approx(1.959964, abs=1e-6)
        assert quantile(0.95, 5) == pytest.approx(2.575829, abs=1e-6)


class TestConcordance:
    def test_others_are_ranked_within_their_own_groups(self, labels):
        """What age separates counts for neither side."""
        gap = next(gap for gap in concordance_gaps(labels, POLICY.bias) if gap.group == "50-64")
        agreed = pairs = 0.0
        for age in ("<50", ">=65"):
            inside = (labels.groups["age"] == age).to_numpy()
            positive, negative = labels.risk[inside & labels.cases], labels.risk[inside & labels.controls]
            agreed += ((positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)).sum()
            pairs += len(positive) * len(negative)
        assert gap.others == pytest.approx(agreed / pairs)

    def test_pairs_between_groups_by_brute_force(self, survival):
        inside = (survival.groups["sex"] == "female").to_numpy()
        found = judged(survival, "BI8").details["groups"]
        gap = next(row for row in found if row["group"] == "female")
        whole = ConcordancePairs.of(survival.outcomes, HORIZON)
        agreed = whole.comparable * (survival.risk[whole.cases][:, None] > survival.risk)
        first, second = inside[whole.cases], ~inside
        expected = agreed[first][:, second].sum() / whole.comparable[first][:, second].sum()
        assert gap["own"] == pytest.approx(expected, rel=1e-4)

    def test_a_large_group_is_sampled_and_not_squared(self, monkeypatch, labels):
        from clinical_assets.gates.bias import group_discrimination

        whole = concordance_gaps(labels, POLICY.bias)
        monkeypatch.setattr(group_discrimination, "LARGEST", 200)
        for gap, full in zip(concordance_gaps(labels, POLICY.bias), whole, strict=True):
            assert gap.own == pytest.approx(full.own, abs=0.12)


def test_net_benefit_and_its_sign_are_those_of_the_metric(survival):
    expected = usefulness.net_benefit(survival.outcomes, survival.risk, 0.4, HORIZON).model
    value, ((low, high),) = net_benefit(survival.outcomes, survival.risk, 0.4, HORIZON, (1.96,))
    assert value == pytest.approx(expected)
    assert low < value < high
    assert net_benefit(survival.outcomes, survival.risk, 0.99999, HORIZON, (1.96,)) == (0.0, [(0.0, 0.0)])


class TestFaults:
    def test_harm_in_one_group_blocks_on_net_benefit(self):
        groups, risk = group_with(np.random.default_rng(1), 60, rate=0.1, others=600)
        inside = (groups["site"] == "a").to_numpy()
        audit = observed(np.random.default_rng(2), groups, risk, np.where(inside, 0.5, risk), survival=True)
        result = judged(audit, "BI12")
        assert result.verdict is Verdict.BLOCK
        assert "site a" in result.reason
        assert float(result.value) < 0

    def test_a_level_that_is_off_in_one_group_blocks_on_calibration(self):
        groups, risk = group_with(np.random.default_rng(3), 150)
        inside = (groups["site"] == "a").to_numpy()
        audit = observed(np.random.default_rng(4), groups, risk, np.where(inside, risk / 1.6, risk), survival=True)
        result = judged(audit, "BI5")
        assert result.verdict is Verdict.BLOCK
        assert float(result.value) == pytest.approx(1.6, abs=0.25)
        assert "site b" not in result.reason

    def test_a_group_that_is_ranked_by_chance_blocks_on_discrimination_and_slope(self):
        rng = np.random.default_rng(5)
        groups, risk = group_with(rng, 250, spread=1.5)
        inside = (groups["site"] == "a").to_numpy()
        stated = risk.copy()
        stated[inside] = rng.permutation(stated[inside])
        audit = observed(rng, groups, risk, stated, survival=False)
        assert judged(audit, "BI6").verdict is Verdict.BLOCK
        assert judged(audit, "BI5").verdict is Verdict.BLOCK

    def test_a_slope_that_only_the_reference_model_shows_to_be_wrong_blocks_and_one_that_it_shares_does_not(self):
        """Too few patients to say that the slope is under its floor; the reference model ranks them soundly."""
        rng = np.random.default_rng(6)
        groups, risk = group_with(rng, 110, spread=1.2)
        inside = (groups["site"] == "a").to_numpy()
        stated = np.where(inside, expit(2.2 * logit(risk)), risk)
        audit = observed(rng, groups, risk, stated, survival=False)
        slopes = {row.group: row for row in group_calibration(audit, POLICY.bias, risk)}
        floor = POLICY.bias.slope_floor
        assert slopes["a"].slope < floor < slopes["a"].slope_strict[1] < 1.0
        assert slopes["a"].flat(floor)
        assert not any(row.flat(floor) for row in group_calibration(audit, POLICY.bias, stated))
        assert not any(row.flat(floor) for row in group_calibration(audit, POLICY.bias))

    def test_a_fault_at_a_crossing_of_two_attributes_is_found_there(self):
        rng = np.random.default_rng(7)
        audit = fair(rng, 4000, survival=True)
        inside = ((audit.groups["sex"] == "male") & (audit.groups["race"] == "black")).to_numpy()
        result = judged(replace(audit, risk=np.where(inside, audit.risk / 2.2, audit.risk)), "BI11")
        assert result.verdict is Verdict.BLOCK
        assert "male x black" in result.reason

    def test_unequal_follow_up_is_no_unequal_sensitivity_once_weighted_by_group(self):
        """Group `a` loses its early cases' companions: pooled weights are wrong, its own are right."""
        rng = np.random.default_rng(8)
        audit = fair(rng, 6000, survival=True, spread=1.2)
        lost = np.where(audit.groups["sex"] == "male", rng.exponential(600, 6000), 1e9)
        time, event = audit.outcomes.times(), audit.outcomes.flag
        outcomes = Outcomes.survival(np.minimum(time, lost), event & (time <= lost))
        late = replace(audit, outcomes=outcomes, labels=horizon_labels(outcomes, HORIZON))
        truth = {sex: (audit.risk * (audit.risk >= 0.4))[part].sum() / audit.risk[part].sum()
                 for sex in ("male", "female") for part in [(audit.groups["sex"] == sex).to_numpy()]}  # fmt: skip
        found = {row["group"]: row["sensitivity"] for row in judged(late, "BI7").details["gaps"]}
        for sex in truth:
            assert found[sex] == pytest.approx(truth[sex], abs=0.035)


class TestOddCohorts:
    def odd(self) -> dict[str, Audited]:
        rng = np.random.default_rng(9)
        sound, label = fair(rng, 400, survival=True), fair(rng, 400)
        none = replace(sound, groups=pd.DataFrame(index=range(400)))
        censored = Outcomes.survival(sound.outcomes.times(), np.zeros(400, dtype=bool))
        dead = Outcomes.survival(np.linspace(1, HORIZON / 2, 400), np.ones(400, dtype=bool))
        return {
            "no attribute": none,
            "one group": replace(sound, groups=pd.DataFrame({"sex": ["female"] * 400})),
            "no event": replace(sound, outcomes=censored, labels=horizon_labels(censored, HORIZON)),
            "only events": replace(sound, outcomes=dead, labels=horizon_labels(dead, HORIZON)),
            "one risk": replace(sound, risk=np.full(400, 0.4)),
            "risk 0": replace(label, risk=np.zeros(400)),
            "one class": replace(label, outcomes=Outcomes.binary(np.ones(400, dtype=bool)),
                                 labels=horizon_labels(Outcomes.binary(np.ones(400, dtype=bool)), 0.0)),
            "40 rows": fair(rng, 40, survival=True),
            "a group of each": replace(sound, groups=pd.DataFrame({"site": np.arange(400).astype(str)})),
        }  # fmt: skip

    @pytest.mark.parametrize("id", COMPARING)
    def test_no_check_crashes_or_passes_without_evidence(self, id):
        for name, audit in self.odd().items():
            result = judged(audit, id)
            assert result.verdict is not Verdict.ERROR, (name, result.reason)
            if name in ("no attribute", "40 rows", "no event") and "does not apply" not in result.reason:
                assert result.verdict is Verdict.INCONCLUSIVE, (name, result)


def test_every_result_states_interval_multiplicity_and_reference(survival):
    for id in COMPARING:
        details = judged(survival, id).details
        assert {"interval", "multiplicity", "reference"} <= set(details), id


def test_group_calibration_is_that_of_the_metric(labels):
    from clinical_assets.modeling.metrics.calibration import calibration_at_horizon

    row = next(row for row in group_calibration(labels, POLICY.bias) if row.group == "female")
    inside = (labels.groups["sex"] == "female").to_numpy()
    at = calibration_at_horizon(labels.outcomes.take(inside), labels.risk[inside], None)
    assert (row.oe, row.slope) == pytest.approx((at.oe, at.slope))
