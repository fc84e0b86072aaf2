"""The networks of a training set: what they share with their jobs, how they are pooled, and what they can learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from clinical_assets.modeling.batched_networks import Network
from clinical_assets.modeling.curves import kaplan_meier
from clinical_assets.modeling.families import Job, cox, torch_model
from clinical_assets.modeling.metrics.discrimination import auroc, harrell_c
from clinical_assets.modeling.network_scores import NetworkScore
from clinical_assets.modeling.outcomes import Outcomes
from clinical_assets.modeling.predictor_format import dismantle
from clinical_assets.modeling.predictors import DiscreteHazards, Pool, ProportionalHazards


def made_up(n: int, seed: int, log_hazard=lambda x: x[:, 0]) -> Job:
    rng = np.random.default_rng(seed)
    encoded = rng.normal(size=(n, 4))
    died, left = rng.exponential(1000.0 * np.exp(-log_hazard(encoded))), rng.uniform(300.0, 3000.0, n)
    return Job(encoded, Outcomes.survival(np.ceil(np.minimum(died, left)), died <= left), 1000.0, seed)


def binary(n: int, seed: int) -> Job:
    job = made_up(n, seed)
    return Job(job.encoded, Outcomes.binary(job.encoded[:, 0] + 0.1 * job.encoded[:, 1] > 0), None, seed)


def crossed(x: np.ndarray) -> np.ndarray:
    """Risk in the product of two columns, where a linear score sees nothing."""
    return 1.5 * np.sign(x[:, 0] * x[:, 1])


def same(a, b) -> bool:
    (structure, tensors), (other, others) = dismantle(a), dismantle(b)
    return structure == other and all(np.array_equal(tensors[name], others[name]) for name in tensors)


def test_jobs_trained_together_are_those_trained_alone() -> None:
    jobs = [made_up(120, 1), binary(90, 2), made_up(75, 3), made_up(120, 1)]
    together = torch_model.train(jobs)
    assert all(same(one, torch_model.train([job])[0]) for one, job in zip(together, jobs, strict=True))
    assert same(together[0], together[3])
    assert not same(together[0], torch_model.train([replace(jobs[0], seed=9)])[0])


@pytest.mark.parametrize("job", [made_up(16, 0), binary(16, 1)])
def test_sixteen_subjects_are_enough(job: Job) -> None:
    predictor = torch_model.train([job])[0]
    if job.outcomes.kind == "binary":
        assert np.isfinite(predictor.logit(job.encoded)).all()
    else:
        assert np.isfinite(predictor.log_cumulative_hazard(job.encoded, np.array([500.0]))).all()


def test_one_event_is_declined() -> None:
    outcomes = Outcomes.survival(np.arange(1.0, 17.0), np.arange(16) == 3)
    with pytest.raises(ValueError, match="16 subjects with 1 events"):
        torch_model.train([Job(np.ones((16, 2)), outcomes, 5.0, 1)])


def test_events_at_time_zero_and_constant_columns_are_learnt_from() -> None:
    outcomes = Outcomes.survival(np.repeat([0.0, 5.0], 10), np.arange(20) < 8)
    predictor = torch_model.train([Job(np.ones((20, 2)), outcomes, 3.0, 1)])[0]
    risk = -np.expm1(-np.exp(predictor.log_cumulative_hazard(np.ones((1, 2)), np.array([3.0]))))
    assert risk[0, 0] == pytest.approx(0.4, abs=0.1)


def test_networks_learn_what_a_linear_score_cannot() -> None:
    job, new = made_up(600, 1, crossed), made_up(600, 2, crossed)
    linear, deep = (
        family.train([job])[0].log_cumulative_hazard(new.encoded, np.array([1000.0]))[:, 0]
        for family in (cox, torch_model)
    )
    assert harrell_c(new.outcomes, linear) < 0.55
    assert harrell_c(new.outcomes, deep) > 0.65


@pytest.mark.parametrize("slug", ["colon", "lung_advanced", "renal_wilms"])
def test_networks_keep_pace_with_the_penalised_cox_on_real_patients(slug: str, cohort, fitted) -> None:
    data = cohort(slug)
    floor, found = (
        harrell_c(data.outcomes(data.test), fitted(slug, family).risk(data.test, data.horizon))
        for family in ("cox", "torch")
    )
    assert found > floor - 0.015


def test_networks_keep_pace_with_the_logistic_regression_on_real_cells(cohort, fitted) -> None:
    data = cohort("breast_fna")
    assert auroc(data.outcomes(data.test), fitted("breast_fna", "torch").risk(data.test, None)) > 0.985


def test_partial_likelihood_wins_where_hazards_are_proportional() -> None:
    predictor = torch_model.train([made_up(1500, 4)])[0]
    assert isinstance(predictor, ProportionalHazards)


def test_hazards_win_where_a_risk_turns_into_its_opposite() -> None:
    rng = np.random.default_rng(8)
    side = rng.choice([-1.0, 1.0], size=(800, 1))
    early = rng.exponential(500.0 * np.exp(-1.5 * side[:, 0]))
    late = 200.0 + rng.exponential(500.0 * np.exp(1.5 * side[:, 0]))
    died = np.where(early < 200.0, early, late)
    job = Job(side, Outcomes.survival(np.minimum(died, 1500.0), died <= 1500.0), 500.0, 1)
    predictor = torch_model.train([job])[0]
    assert isinstance(predictor, DiscreteHazards)
    times = np.array([200.0, 1400.0])
    for value in (-1.0, 1.0):
        inside = side[:, 0] == value
        observed = kaplan_meier(job.outcomes.times()[inside], job.outcomes.flag[inside]).at(times)
        found = np.exp(-np.exp(predictor.log_cumulative_hazard(np.array([[value]]), times)))[0]
        np.testing.assert_allclose(found, observed, atol=0.1)


def test_a_pool_weighs_each_setting_alike_and_follows_kaplan_meier(cohort, fitted) -> None:
    data, model = cohort("colon"), fitted("colon", "torch")
    assert isinstance(model.predictor_, Pool)
    networks = np.array([len(part.score.intercept) for part in model.predictor_.members])
    np.testing.assert_allclose(model.predictor_.weights, networks / networks.sum())
    outcomes, times = data.outcomes(data.train), np.linspace(200.0, 2000.0, 7)
    observed = kaplan_meier(outcomes.times(), outcomes.flag).at(times)
    np.testing.assert_allclose(model.survival(data.train, times).mean(axis=0), observed, atol=0.02)


def test_settings_are_compared_by_the_likelihood_of_their_survival_curves() -> None:
    job = made_up(120, 5)
    breaks = torch_model._breaks(job.outcomes)
    for networks in torch_model._plan(job):
        network = networks[0]
        weights = torch_model.train_batch([network])[0].weights
        found = torch_model._held_out_loss(job, network, weights)
        np.testing.assert_allclose(found, by_hand(network, weights, breaks), atol=1e-4)


def by_hand(network: Network, weights, breaks: np.ndarray) -> np.ndarray:
    """-log of the chance of what was seen, row by row: an event in its interval, or survival until the last look."""
    held_out, score = network.held_out, weights(network.held_out.rows)
    if network.loss == "hazard":
        hazard = np.log1p(np.exp(score))
    else:
        hazard = np.exp(score) * likeliest(network, weights, breaks)
    return np.array([-log_chance(*row, breaks) for row in zip(held_out.times, held_out.flag, hazard, strict=True)])


def log_chance(time: float, event: bool, hazard: np.ndarray, breaks: np.ndarray) -> float:
    """Of an event in the interval of `time`, or of survival until `time` under a hazard constant in each interval."""
    cumulative = np.append(0.0, np.cumsum(hazard))
    interval = int(np.searchsorted(breaks, time))
    if event and interval < len(breaks):
        return float(np.log(np.exp(-cumulative[interval]) - np.exp(-cumulative[interval + 1])))
    return -float(np.interp(time, np.append(0.0, breaks), cumulative))


def likeliest(network: Network, weights, breaks: np.ndarray) -> np.ndarray:
    """The baseline that a general optimiser finds; half an event and half a survivor per interval are added."""
    training, ratio = network.training, np.exp(weights(network.training.rows))

    def loss(log_baseline: np.ndarray) -> float:
        baseline = np.exp(log_baseline)
        rows = zip(training.times, training.flag, ratio * baseline, strict=True)
        added = ratio.mean() * baseline
        prior = 0.5 * np.log(-np.expm1(-added)) - 0.5 * added
        return -sum(log_chance(*row, breaks) for row in rows) - float(prior.sum())

    return np.exp(minimize(loss, np.full(len(breaks), -1.0), method="BFGS").x)


def test_a_large_training_set_is_shared_out_among_its_networks(monkeypatch) -> None:
    monkeypatch.setattr(torch_model, "LARGEST_SAMPLE", 100)
    job = made_up(1000, 6)
    samples = torch_model._samples(job)
    assert len(samples) == torch_model.FOLDS
    learnt_from = [{row.tobytes() for row in training.rows} for training, _ in samples]
    for training, held_out in samples:
        assert len(training.flag) + len(held_out.flag) == 100
        share = np.mean(np.concatenate((training.flag, held_out.flag)))
        assert share == pytest.approx(job.outcomes.flag.mean(), abs=0.01)
    assert not learnt_from[0] & learnt_from[1]


def test_rare_events_are_not_shared_out_to_nothing(monkeypatch) -> None:
    monkeypatch.setattr(torch_model, "LARGEST_SAMPLE", 10)
    outcomes = Outcomes.survival(np.arange(1.0, 1001.0), np.arange(1000) % 100 == 0)
    for training, held_out in torch_model._samples(Job(np.ones((1000, 1)), outcomes, 5.0, 1)):
        assert training.flag.any()
        assert held_out.flag.any()


def ensemble(members: int, outputs: int) -> NetworkScore:
    rng = np.random.default_rng(members)
    shapes = ((members, 3, 5), (members, 5), (members, 5, outputs), (members, 3, 1), (members, outputs))
    return NetworkScore(*(rng.normal(size=shape) for shape in shapes))


@pytest.mark.parametrize("outputs", [1, 4])
def test_numpy_evaluates_an_ensemble_as_torch_does(outputs: int, monkeypatch) -> None:
    monkeypatch.setattr("clinical_assets.modeling.network_scores.ROWS_AT_ONCE", 7)
    score, rows = ensemble(3, outputs), np.random.default_rng(0).normal(size=(20, 3))
    tensors = {name: torch.as_tensor(values) for name, values in vars(score).items()}
    members = []
    for k in range(3):
        units = torch.nn.functional.linear(torch.as_tensor(rows), tensors["hidden"][k].T, tensors["bias"][k])
        deep = torch.nn.functional.softsign(units) @ tensors["output"][k]
        members.append(deep + torch.as_tensor(rows) @ tensors["skip"][k] + tensors["intercept"][k])
    stacked = torch.stack(members)
    np.testing.assert_allclose(score(rows), stacked.mean(dim=0).numpy(), atol=1e-12)
    np.testing.assert_allclose(score.spread(rows), stacked.std(dim=0).numpy(), atol=1e-12)


def test_networks_disagree_more_about_patients_unlike_the_training_set() -> None:
    job = made_up(200, 7)
    predictor = torch_model.train([job])[0]
    parts = predictor.members if isinstance(predictor, Pool) else (predictor,)
    for part in parts:
        assert part.score.spread(5.0 * job.encoded).mean() > 2.0 * part.score.spread(job.encoded).mean()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the GPU that is asked for")
def test_a_missing_gpu_is_named() -> None:
    outcomes = Outcomes.survival(np.arange(1.0, 21.0), np.arange(20) % 2 == 0)
    job = Job(np.ones((20, 2)), outcomes, 3.0, 1, device="cuda")
    with pytest.raises(ValueError, match=r"set models\.device to 'cpu'"):
        torch_model.train([job])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here")
def test_a_gpu_gives_the_risks_of_the_cpu() -> None:
    job = made_up(300, 1)
    times = np.array([job.horizon or 0.0])
    cpu, gpu = (torch_model.train([replace(job, device=device)])[0] for device in ("cpu", "cuda"))
    np.testing.assert_allclose(
        gpu.log_cumulative_hazard(job.encoded, times), cpu.log_cumulative_hazard(job.encoded, times), atol=0.05
    )
