"""Simulated cohorts are what their declaration says, by other libraries' estimates, and the same bytes everywhere."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from clinical_assets.trials.column import Column
from clinical_assets.trials.errors import ContractError
from clinical_assets.trials.simulation import portable
from clinical_assets.trials.simulation.covariates import quantile
from clinical_assets.trials.simulation.distributions import Count, LogNormal, Normal
from clinical_assets.trials.simulation.generator import simulate
from clinical_assets.trials.sources.read import read_source
from clinical_assets.trials.sources.spec import SourceSpec
from clinical_assets.trials.sources.state import source_state
from clinical_assets.trials.table_digest import table_sha256

from .simulations import (
    HORIZON,
    SIMULATION,
    binary_contract,
    binary_simulation,
    contract,
    simulated,
    simulation,
)

PIECEWISE = {"hazard": "piecewise", "breaks": [365, 1096], "relative": [1.0, 2.0, 0.5]}
PINNED = "bc123e201397fe52b12f98b96a3fa6a908b9e520be656cb7d6bb23c66c83f591"
ORIGIN = {"kind": "simulated", "data_status": "simulated", "licence": "none", "citation": "invented"}


@pytest.fixture(scope="module", params=["weibull", "piecewise"])
def cohort(request: pytest.FixtureRequest) -> pd.DataFrame:
    return simulated() if request.param == "weibull" else simulated(baseline=PIECEWISE, seed=8)


class TestPortableFunctions:
    """Against scipy and numpy, whose results differ in the last bit between machines."""

    def test_exp(self) -> None:
        x = np.concatenate([np.linspace(-690, 690, 100_001), np.linspace(-1, 1, 100_001)])
        assert np.abs(portable.exp(x) / np.exp(x) - 1).max() < 1e-15

    def test_log(self) -> None:
        x = np.exp(np.concatenate([np.linspace(-690, -0.01, 50_000), np.linspace(0.01, 690, 50_000)]))
        assert np.abs(portable.log(x) / np.log(x) - 1).max() < 1e-15
        assert portable.log(np.array([1.0]))[0] == 0.0

    def test_normal_cdf(self) -> None:
        x = np.linspace(-36, 36, 100_001)
        assert np.abs(portable.normal_cdf(x) - stats.norm.cdf(x)).max() < 1e-14
        assert portable.normal_cdf(np.array([-np.inf, np.inf])) == pytest.approx([0.0, 1.0], abs=1e-290)

    def test_normal_quantile(self) -> None:
        p = np.concatenate([np.logspace(-15, -0.31, 50_000), 1 - np.logspace(-15, -0.31, 50_000)])
        assert np.abs(portable.normal_quantile(p) - special.ndtri(p)).max() < 1e-14

    def test_uniform_numbers_are_uniform_and_independent_between_streams(self) -> None:
        one, other = portable.uniforms(1, "age", 50_000), portable.uniforms(1, "sex", 50_000)
        assert stats.kstest(one, "uniform").pvalue > 0.001
        assert abs(stats.spearmanr(one, other).statistic) < 4 / np.sqrt(50_000)
        assert 0.0 < one.min() < one.max() < 1.0


class TestReproducibility:
    def test_the_digest_of_a_declaration_is_known(self) -> None:
        assert table_sha256(simulated(patients=500)) == PINNED

    def test_the_processor_does_not_matter(self) -> None:
        """numpy without its vector instructions rounds `exp` differently; the cohort stays the same."""
        features = "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR X86_V3 X86_V4"
        program = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from simulations import simulated; "
            "from clinical_assets.trials.table_digest import table_sha256; "
            "print(table_sha256(simulated(patients=500)))"
        )
        environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": features}
        command = [sys.executable, "-W", "ignore", "-c", program]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == PINNED

    def test_another_seed_makes_other_patients(self) -> None:
        one, other = simulated(patients=500), simulated(patients=500, seed=8)
        assert (one["age"] != other["age"]).mean() > 0.9

    def test_a_new_column_leaves_the_values_of_the_others(self) -> None:
        columns = {name: value for name, value in SIMULATION["columns"].items() if name != "centre"}
        kept = [column.model_dump() for column in contract().columns if column.name != "centre"]
        without = simulate(simulation(patients=500, columns=columns), contract(columns=kept))
        pd.testing.assert_frame_equal(simulated(patients=500).drop(columns="centre"), without)


class TestCalibration:
    """20,000 subjects, so that a wrong constant shows; every tolerance is a stated number of standard errors."""

    def test_kaplan_meier_reaches_the_event_rate_at_the_horizon(self, cohort: pd.DataFrame) -> None:
        from lifelines import KaplanMeierFitter

        curve = KaplanMeierFitter().fit(cohort["days"], cohort["died"])
        risk = 1 - float(curve.predict(HORIZON))
        at_risk = int((cohort["days"] >= HORIZON).sum())
        assert risk == pytest.approx(0.4, abs=3 * np.sqrt(0.4 * 0.6 / at_risk))

    def test_a_cox_model_recovers_the_log_hazard_ratios(self, cohort: pd.DataFrame) -> None:
        from lifelines import CoxPHFitter

        fitted = CoxPHFitter().fit(design(cohort).assign(days=cohort["days"], died=cohort["died"]), "days", "died")
        effects = {"age": 0.03, "male": 0.25, "regional": 0.5, "distant": 1.2, "nodes": 0.1, "new": -0.357,
                   "resected": -0.5, "b": 0.0}  # fmt: skip
        distance = (fitted.params_ - pd.Series(effects)) / fitted.standard_errors_
        assert distance.abs().max() < 3

    def test_exactly_the_stated_share_is_censored(self, cohort: pd.DataFrame) -> None:
        assert (cohort["died"] == 0).sum() == 12_000

    def test_nobody_is_followed_beyond_the_end_of_the_study(self, cohort: pd.DataFrame) -> None:
        entered = pd.to_datetime(cohort["entered"])
        end = pd.Timestamp("2018-12-31") + pd.Timedelta(days=1096)
        left = (end - entered).dt.days - cohort["days"]
        assert left.min() == 0
        assert cohort["died"][left == 0].mean() < 0.01
        assert (entered.min(), entered.max()) == (pd.Timestamp("2012-01-01"), pd.Timestamp("2018-12-31"))
        assert stats.kstest((entered - entered.min()).dt.days / 2557, "uniform").statistic < 0.02

    def test_drop_out_does_not_depend_on_the_risk(self, cohort: pd.DataFrame) -> None:
        """A Cox model of the drop-out finds no effect of any covariate."""
        from lifelines import CoxPHFitter

        end = pd.Timestamp("2018-12-31") + pd.Timedelta(days=1096)
        lost = (cohort["died"] == 0) & (cohort["days"] < (end - pd.to_datetime(cohort["entered"])).dt.days)
        assert lost.sum() > 1000
        fitted = CoxPHFitter().fit(design(cohort).assign(days=cohort["days"], lost=lost * 1.0), "days", "lost")
        assert (fitted.params_ / fitted.standard_errors_).abs().max() < 3.5

    def test_marginal_frequencies(self, cohort: pd.DataFrame) -> None:
        expected = {("sex", "male"): 0.6, ("stage", "local"): 0.3, ("stage", "distant"): 0.2, ("arm", "new"): 0.5,
                    ("resected", 1.0): 0.7, ("centre", "c"): 0.2}  # fmt: skip
        for (name, value), share in expected.items():
            assert stats.binomtest(int((cohort[name] == value).sum()), 20_000, share).pvalue > 0.001, name

    def test_measured_values_follow_their_truncated_distribution(self, cohort: pd.DataFrame) -> None:
        marker = cohort["Marker (ng/mL)"].dropna()
        low, high = stats.norm.cdf((np.log([1, 200]) - np.log(20)) / 0.8)
        half = 0.05  # values are rounded to one decimal
        for value in (5.0, 20.0, 60.0):
            share = (stats.norm.cdf((np.log(value + half) - np.log(20)) / 0.8) - low) / (high - low)
            assert stats.binomtest(int((marker <= value).sum()), len(marker), share).pvalue > 0.001
        age = stats.truncnorm((40 - 62) / 12, (80 - 62) / 12, 62, 12)
        assert cohort["age"].mean() == pytest.approx(age.mean(), abs=4 * age.std() / np.sqrt(20_000))
        assert cohort["nodes"].mean() == pytest.approx(2.5, abs=4 * np.sqrt(2.5 / 20_000))
        assert cohort["nodes"].var() == pytest.approx(2.5, rel=0.05)

    def test_exactly_the_stated_share_is_missing_at_random(self, cohort: pd.DataFrame) -> None:
        gap = cohort["Marker (ng/mL)"].isna()
        assert gap.sum() == 1400
        assert stats.ttest_ind(cohort["age"][gap], cohort["age"][~gap]).pvalue > 0.001
        assert not cohort.drop(columns="Marker (ng/mL)").isna().to_numpy().any()

    def test_correlations_are_those_of_the_copula(self, cohort: pd.DataFrame) -> None:
        """For a Gaussian copula, Spearman's rho is 6/pi arcsin(r/2) (Kruskal 1958)."""
        full = cohort.dropna()
        spearman = stats.spearmanr(full["age"], full["Marker (ng/mL)"]).statistic
        assert spearman == pytest.approx(6 / np.pi * np.arcsin(0.2), abs=4 / np.sqrt(len(full)))
        late, resected = cohort["stage"] == "distant", cohort["resected"] == 1  # upper fifth, upper seven tenths
        both = stats.multivariate_normal(cov=[[1, -0.3], [-0.3, 1]]).cdf([-special.ndtri(0.8), -special.ndtri(0.3)])
        assert stats.binomtest(int((late & resected).sum()), 20_000, float(both)).pvalue > 0.001
        assert abs(stats.spearmanr(cohort["age"], cohort["nodes"]).statistic) < 4 / np.sqrt(20_000)

    def test_weibull_shape_and_piecewise_hazards_without_covariates(self) -> None:
        from lifelines import WeibullFitter

        weibull = simulated(effects={})
        fitted = WeibullFitter().fit(weibull["days"], weibull["died"])
        assert fitted.rho_ == pytest.approx(0.8, abs=3 * fitted.summary.loc["rho_", "se(coef)"])
        steps = simulated(effects={}, baseline=PIECEWISE)
        edges = [0, 365, 1096, np.inf]
        rates, errors = [], []
        for low, high in itertools.pairwise(edges):  # occurrence / exposure
            events = int(((steps["days"] > low) & (steps["days"] <= high) & (steps["died"] == 1)).sum())
            rates.append(events / (steps["days"].clip(low, high) - low).sum())
            errors.append(1 / np.sqrt(events))
        for k, ratio in ((1, 2.0), (2, 0.5)):
            assert np.log(rates[k] / rates[0] / ratio) == pytest.approx(0, abs=3 * np.hypot(errors[0], errors[k]))

    def test_a_logistic_model_recovers_the_log_odds_ratios(self) -> None:
        from sklearn.linear_model import LogisticRegression

        made = simulate(binary_simulation(), binary_contract())
        assert stats.binomtest(int(made["malignant"].sum()), 20_000, 0.2).pvalue > 0.001
        x = design(made)
        centred = x - x.mean()
        fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(centred, made["malignant"])
        p = fitted.predict_proba(centred)[:, 1]
        full = np.column_stack([np.ones(len(x)), centred])
        errors = np.sqrt(np.diag(np.linalg.inv((full * (p * (1 - p))[:, None]).T @ full)))[1:]
        effects = np.array([0.03, 0.25, 0.5, 1.2, 0.1, -0.357, -0.5, 0.0])
        assert np.abs((fitted.coef_[0] - effects) / errors).max() < 3


def design(cohort: pd.DataFrame) -> pd.DataFrame:
    """Covariates as numbers, with a centre that has no effect as a control."""
    return pd.DataFrame(
        {
            "age": cohort["age"],
            "male": cohort["sex"] == "male",
            "regional": cohort["stage"] == "regional",
            "distant": cohort["stage"] == "distant",
            "nodes": cohort["nodes"],
            "new": cohort["arm"] == "new",
            "resected": cohort["resected"],
            "b": cohort["centre"] == "b",
        }
    ).astype(float)


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-50, 50), st.floats(0.1, 50), st.tuples(st.floats(-100, 0), st.floats(0.5, 100)),
    st.lists(st.floats(1e-12, 1 - 1e-12), min_size=1, max_size=20),
)  # fmt: skip
def test_no_value_leaves_the_plausible_range_and_quantiles_rise(
    mean: float, sd: float, bounds: tuple[float, float], p: list[float]
) -> None:
    column = Column.model_validate(
        {"name": "x", "role": "feature", "unit": "1", "plausible_range": bounds, "available_at": 0}
    )
    for marginal in (
        Normal(distribution="normal", mean=mean, sd=sd),
        LogNormal(distribution="lognormal", median=sd, log_sd=1.0),
        Count(distribution="count", mean=sd),
    ):
        values = quantile(marginal, column, np.sort(p))
        assert np.all((values >= bounds[0]) & (values <= bounds[1]))
        assert np.all(np.diff(values) >= 0)


def changed(name: str, **values: Any) -> dict[str, Any]:
    return {**SIMULATION["columns"], name: {**SIMULATION["columns"].get(name, {}), **values}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": {}}, "no distribution for column age; no distribution for column sex"),
        ({"columns": changed("weight", distribution="bernoulli", share=0.5)}, "column weight is not in the contract"),
        ({"columns": changed("died", distribution="bernoulli", share=0.5)}, "column died .* has its own rule"),
        ({"columns": changed("sex", shares={"male": 0.5, "other": 0.5})}, "name the categories female, male"),
        ({"columns": changed("sex", missing=0.2)}, "missing 0.2 is more than its max_missing 0.05"),
        ({"effects": {"sex": 0.3}}, "effect of sex: give one number for each category"),
        ({"effects": {"age": {"male": 0.3}}}, "effect of age: give one number"),
        ({"effects": {"sex": {"men": 0.3}}}, "effect of sex: unknown categories men"),
        ({"effects": {"weight": 0.1}}, "effect of unknown column weight"),
        ({"correlations": [{"between": ["age", "weight"], "r": 0.1}]}, "correlation of unknown column weight"),
        ({"entry": None}, "`entry` belongs to a calendar index date"),
        ({"follow_up": None}, "`follow_up` is missing"),
        ({"follow_up": {"days": 100, "censored_share": 0.1}}, r"alone censors 0\.\d+ of 200 subjects, more than the"),
    ],
)  # fmt: skip
def test_a_declaration_that_does_not_fit_the_contract_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        simulated(patients=200, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": changed("sex", shares={"male": 0.5, "female": 0.6})}, r"sum to 1\.1, not to 1"),
        ({"correlations": [{"between": ["age", "age"], "r": 0.1}]}, "name each pair of two different columns once"),
        ({"correlations": [{"between": pair, "r": -0.9} for pair in (["age", "sex"], ["age", "arm"], ["sex", "arm"])]},
         "those of arm contradict each other"),
        ({"baseline": {**PIECEWISE, "breaks": [365]}}, "2 hazards needed for 1 breaks"),
        ({"baseline": {**PIECEWISE, "breaks": [1096, 365]}}, "in increasing order"),
        ({"entry": {"first": "2019-01-01", "last": "2018-01-01"}}, "`first` must not be after `last`"),
        ({"event_rate": 1.0}, "event_rate"),
        ({"generator": 2}, "generator"),
    ],
)  # fmt: skip
def test_an_impossible_declaration_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        simulation(**change)


class TestSource:
    def spec(self, **changes: Any) -> SourceSpec:
        return SourceSpec.model_validate({**ORIGIN, "simulation": {**SIMULATION, "patients": 300}, **changes})

    def test_it_is_read_like_any_other_source(self) -> None:
        raw = read_source(self.spec(), contract())
        assert raw.row_flow == (("rows in the source", 300),)
        assert (raw.label, raw.version) == ("simulated: 300 rows, seed 7", "generator 1")
        assert raw.content_sha256 == table_sha256(simulated(patients=300))

    def test_its_state_follows_the_declaration(self) -> None:
        state = source_state(self.spec())
        assert source_state(self.spec()) == state
        assert source_state(self.spec(simulation={**SIMULATION, "seed": 8})) != state

    @pytest.mark.parametrize("status", ["real", "real-simplified", "real-thin"])
    def test_it_can_never_be_declared_real(self, status: str) -> None:
        with pytest.raises(ValueError, match=f"is {status}; what is made by a simulation is simulated"):
            self.spec(data_status=status)

    @pytest.mark.parametrize("other", [{"path": "patients.csv"}, {"package": "survival"}, {"database": "URL"}])
    def test_it_cannot_be_mixed_with_patients(self, other: dict[str, str]) -> None:
        with pytest.raises(ValueError, match="a source of kind simulated takes no"):
            self.spec(**other)
        with pytest.raises(ValueError, match=r"takes no .*simulation"):
            self.spec(kind="csv", path="patients.csv")

    def test_every_row_carries_the_stamp_in_its_identifier(self) -> None:
        assert simulated(patients=300)["patient"].str.startswith("simulated-").all()
