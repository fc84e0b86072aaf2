"""One contract for every family and endpoint, and each score against the library it was learnt with."""

from __future__ import annotations

import numpy as np
import pytest
import xgboost

from clinical_assets.modeling.families import TRAINERS, Job
from clinical_assets.modeling.families.booster_trees import trees_of
from clinical_assets.modeling.families.xgboost_model import boosters, grow
from clinical_assets.modeling.interface import RiskModel
from clinical_assets.modeling.metrics.discrimination import auroc, harrell_c
from clinical_assets.modeling.model import FamilyModel
from clinical_assets.modeling.outcomes import Outcomes

FAMILIES = tuple(TRAINERS)
BINARY_FOREST = ("breast_fna", "rsf")
EVERY = [(slug, family) for slug in ("colon", "breast_fna") for family in FAMILIES if (slug, family) != BINARY_FOREST]
survival_only = pytest.mark.parametrize("family", FAMILIES)


@pytest.mark.parametrize(("slug", "family"), EVERY)
def test_risk_is_a_probability_that_ranks_new_patients(slug: str, family: str, cohort, fitted) -> None:
    data, model = cohort(slug), fitted(slug, family)
    assert isinstance(model, RiskModel)
    risk = model.risk(data.test, data.horizon)
    assert risk.shape == (len(data.test),)
    assert ((risk >= 0) & (risk <= 1)).all()
    assert len(np.unique(risk)) > 20
    outcomes = data.outcomes(data.test)
    if slug == "colon":
        assert harrell_c(outcomes, risk) > 0.62
    else:
        assert auroc(outcomes, risk) > 0.97


@pytest.mark.parametrize(("slug", "family"), EVERY)
def test_prediction_depends_on_names_and_not_on_order_or_company(slug: str, family: str, cohort, fitted) -> None:
    data, model = cohort(slug), fitted(slug, family)
    names = [column.name for column in data.contract.features]
    X = data.test[names]
    batch = model.risk(X, data.horizon)
    np.testing.assert_array_equal(model.risk(X[names[::-1]], data.horizon), batch)
    single = [model.risk(X.iloc[[row]], data.horizon)[0] for row in range(25)]
    np.testing.assert_allclose(single, batch[:25], rtol=0, atol=1e-14)
    rows = X.astype(object).where(X.notna(), None).to_dict("records")
    np.testing.assert_allclose(model.risk(rows, data.horizon), batch, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("slug", "family"), EVERY)
def test_missing_values_are_the_models_business(slug: str, family: str, cohort, fitted) -> None:
    data, model = cohort(slug), fitted(slug, family)
    nothing = {column.name: None for column in data.contract.features}
    risk = model.risk([nothing], data.horizon)[0]
    assert 0.0 < risk < 1.0


@survival_only
def test_survival_is_monotone_and_agrees_with_the_risk(family: str, cohort, fitted) -> None:
    data, model = cohort("colon"), fitted("colon", family)
    times = np.linspace(0.0, 6000.0, 80)
    survival = model.survival(data.test, times)
    assert survival.shape == (len(data.test), 80)
    assert (survival[:, 0] == 1.0).all()
    assert (np.diff(survival, axis=1) <= 0).all()
    at_horizon = model.survival(data.test, np.array([data.horizon]))[:, 0]
    np.testing.assert_allclose(1.0 - at_horizon, model.risk(data.test, data.horizon), atol=1e-12)


@survival_only
def test_mean_predicted_survival_follows_kaplan_meier(family: str, cohort, fitted) -> None:
    from clinical_assets.modeling.curves import kaplan_meier

    data, model = cohort("colon"), fitted("colon", family)
    times = np.linspace(200.0, 2200.0, 20)
    outcomes = data.outcomes(data.train)
    observed = kaplan_meier(outcomes.time, outcomes.event).at(times)
    np.testing.assert_allclose(model.survival(data.train, times).mean(axis=0), observed, atol=0.02)


def test_a_survival_model_asks_for_a_horizon_and_a_binary_one_has_no_curve(cohort, fitted) -> None:
    with pytest.raises(ValueError, match="needs a horizon"):
        fitted("colon", "cox").risk(cohort("colon").test, None)
    with pytest.raises(TypeError, match="no survival curve"):
        fitted("breast_fna", "cox").survival(cohort("breast_fna").test, np.array([1.0]))


def test_outcomes_of_the_wrong_kind_or_length_are_refused(cohort, fitted) -> None:
    colon, cells = cohort("colon"), cohort("breast_fna")
    model = FamilyModel("cox", fitted("colon", "cox").features, "survival", 1, colon.horizon)
    with pytest.raises(ValueError, match="survival outcomes, got binary"):
        model.fit(colon.train, cells.outcomes(cells.train))
    with pytest.raises(ValueError, match="rows of features"):
        model.fit(colon.train, colon.outcomes(colon.test))


@pytest.mark.parametrize("slug", ["colon", "breast_fna"])
def test_trees_in_numpy_equal_xgboost_on_real_rows(slug: str, cohort, fitted) -> None:
    data, encoder = cohort(slug), fitted(slug, "cox").encoder_
    job = Job(encoder.transform(data.train), data.outcomes(data.train), data.horizon, 7)
    encoded = encoder.transform(data.frame)
    matrix, found = xgboost.DMatrix(encoded.astype(np.float32)), []
    for booster, sign in boosters(job):
        native = booster.predict(matrix, output_margin=True)
        np.testing.assert_allclose(trees_of(booster)(encoded)[:, 0], native, atol=1e-5)
        found.append(sign * native)
    np.testing.assert_allclose(grow(job)(encoded)[:, 0], np.mean(found, axis=0), atol=1e-5)
    ranked = [auroc(Outcomes.binary(found[0] > np.median(found[0])), margin) for margin in found]
    assert min(ranked) > 0.85, "one of the ways to grow trees points the other way"


def test_an_unknown_family_is_named() -> None:
    from clinical_assets.modeling.families import trainer

    with pytest.raises(KeyError, match="forest"):
        trainer("forest")
