from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from clinical_assets.modeling.artifact import save_model
from clinical_assets.modeling.folds import stratified_folds
from clinical_assets.modeling.metrics.calibration import calibration_at_horizon
from clinical_assets.modeling.metrics.discrimination import auroc, harrell_c
from clinical_assets.modeling.options import ModelOptions
from clinical_assets.modeling.outcomes import Outcomes
from clinical_assets.modeling.search import SearchResult, search


@pytest.fixture(scope="module")
def colon_search(cohort) -> tuple[SearchResult, float]:
    data = cohort("colon")
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # its first use imports torch's compiler
    started = time.process_time()
    found = search(data.train, data.contract, ModelOptions())
    return found, time.process_time() - started


def test_folds_share_events_and_leave_nobody_out() -> None:
    event = np.arange(103) % 4 == 0
    outcomes = Outcomes.survival(np.arange(1.0, 104.0), event)
    fold = stratified_folds(outcomes, 5, seed=1)
    assert set(np.bincount(fold)) <= {20, 21}
    assert set(np.bincount(fold[event])) <= {5, 6}
    np.testing.assert_array_equal(fold, stratified_folds(outcomes, 5, seed=1))
    with pytest.raises(ValueError, match="cannot fill 30 folds"):
        stratified_folds(outcomes, 30, seed=1)


def test_colon_is_searched_within_ten_seconds(colon_search) -> None:
    _, seconds = colon_search
    assert seconds < 10.0


def test_every_training_subject_gets_one_unseen_prediction(colon_search, cohort) -> None:
    found, _ = colon_search
    data = cohort("colon")
    assert found.subject_ids.tolist() == data.train["subject_id"].tolist()
    assert np.isfinite(found.oof_risk).all()
    assert found.oof_survival.shape == (len(data.train), len(found.oof_times))
    np.testing.assert_allclose(1.0 - found.oof_survival[:, -1], found.oof_risk, atol=1e-12)
    assert [row["family"] for row in found.cv_table] == ["cox", "xgboost", "torch", "stack"]
    assert [row["family"] for row in found.cv_table if row["chosen"]] == [found.family]
    assert found.reference.family == "cox"


def test_out_of_fold_predictions_are_calibrated_and_no_better_than_fitted_ones(colon_search, cohort) -> None:
    found, _ = colon_search
    data = cohort("colon")
    outcomes = data.outcomes(data.train)
    measured = calibration_at_horizon(outcomes, found.oof_risk, data.horizon)
    assert measured.oe == pytest.approx(1.0, abs=0.1)
    assert measured.ici < 0.05
    assert harrell_c(outcomes, found.oof_risk) < harrell_c(outcomes, found.candidate.risk(data.train, data.horizon))


@pytest.mark.parametrize(("slug", "published"), [("lung_advanced", 0.615), ("colon", 0.67), ("breast", 0.69)])
def test_cross_validated_cox_has_the_published_concordance(slug: str, published: float, cohort) -> None:
    data = cohort(slug)
    found = search(data.frame, data.contract, ModelOptions(families=("cox",)))
    assert harrell_c(data.outcomes(data.frame), found.oof_risk) == pytest.approx(published, abs=0.03)


def test_cross_validated_logistic_regression_has_the_published_auroc(cohort) -> None:
    data = cohort("breast_fna")
    found = search(data.frame, data.contract, ModelOptions(families=("cox",)))
    assert found.oof_survival is None
    assert auroc(data.outcomes(data.frame), found.oof_risk) == pytest.approx(0.995, abs=0.004)


@pytest.mark.parametrize("family", ["cox", "xgboost", "torch"])
def test_the_digest_does_not_depend_on_threads(family: str, cohort, tmp_path) -> None:
    data = cohort("lung_advanced")
    digests = []
    before = torch.get_num_threads()
    for threads in (1, 4):
        torch.set_num_threads(threads)
        with threadpool_limits(limits=threads):
            found = search(data.train, data.contract, ModelOptions(families=tuple({"cox", family}), folds=3))
        model = found.candidate if found.candidate.family == family else refitted(found, family, data)
        digests.append(
            save_model(model, tmp_path / f"{family}-{threads}", data.contract, data.slug, {"seed": found.seed})
        )
    torch.set_num_threads(before)
    assert digests[0] == digests[1]


def refitted(found: SearchResult, family: str, data) -> object:
    """The family's own fit, where the search chose another."""
    from clinical_assets.modeling.model import FamilyModel

    model = FamilyModel(family, found.candidate.features, "survival", found.seed, data.horizon)
    return model.fit(data.train, data.outcomes(data.train))


def test_another_seed_gives_other_folds(cohort) -> None:
    data = cohort("lung_advanced")
    options = ModelOptions(families=("cox",), folds=3)
    first, second = (search(data.train, data.contract, options, seed=seed) for seed in (1, 2))
    assert (first.out_of_fold.fold != second.out_of_fold.fold).any()
