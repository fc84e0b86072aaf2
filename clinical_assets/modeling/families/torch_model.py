"""Ensembles of small networks with a linear skip, every network of every training set in one batched call.

A survival endpoint is learnt through the partial likelihood and through one logit per interval of time, a binary one
through the cross-entropy, each under a weak and a strong penalty. A setting has one network per validation fold. The
settings whose held-out loss is within two standard errors of the lowest are pooled: on 22 public cohorts of more than
100 patients their concordance was 0.002 above the ridge-penalised Cox fit's at the median, that of the best setting
alone nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from clinical_assets.modeling.batched_networks import Fitted, Loss, Network, Sample, Weights, at_risk
from clinical_assets.modeling.batched_networks import train as train_batch
from clinical_assets.modeling.families import Fitter, Job
from clinical_assets.modeling.folds import fewest_of_a_kind, stratified_folds
from clinical_assets.modeling.network_scores import NetworkScore
from clinical_assets.modeling.outcomes import Outcomes
from clinical_assets.modeling.predictors import LARGEST_SCORE, DiscreteHazards, Pool, Predictor

FOLDS = 4
LARGEST_SAMPLE = 20_000  # a network of a larger training set learns on its own part, with the same share of events
INTERVALS = 6
EVENTS_PER_INTERVAL = 5
NEWTON_STEPS = 6
FIRST_TIME = 1e-6  # an interval has a length, even where every event is at time 0


class Setting(NamedTuple):
    loss: Loss
    skip_penalty: float
    unit_penalty: float


SETTINGS: dict[str, tuple[Setting, ...]] = {
    "survival": (
        Setting("cox", 0.3, 0.01),
        Setting("cox", 1.0, 0.1),
        Setting("hazard", 0.3, 0.03),
        Setting("hazard", 1.0, 0.1),
    ),
    "binary": (Setting("binomial", 0.01, 0.003), Setting("binomial", 0.3, 0.03)),
}


@dataclass(frozen=True)
class _Trained:
    """The networks of one setting, one per fold, with their negative log likelihood per held-out row."""

    loss: Loss
    networks: list[Weights]
    held_out: np.ndarray


def train(jobs: Sequence[Job]) -> list[Predictor]:
    """One pooled ensemble per training set.

    Raises:
        ValueError: fewer than two events, or than two rows of each label; or the jobs' device is not here.
    """
    device, fit = _place(jobs)
    plans = [_plan(job) for job in jobs]
    every = [network for plan in plans for networks in plan for network in networks]
    fitted = iter(fit(every, device))
    return [
        _pool(job, [_assess(job, [(network, next(fitted)) for network in networks]) for networks in plan])
        for job, plan in zip(jobs, plans, strict=True)
    ]


def _place(jobs: Sequence[Job]) -> tuple[str, Fitter]:
    """The one device of all jobs, and what fits them there."""
    devices = {job.device for job in jobs} or {"cpu"}
    if len(devices) > 1:
        raise ValueError(f"one batch trains on one device, these jobs name {', '.join(sorted(devices))}")
    return devices.pop(), next((job.fitter for job in jobs if job.fitter is not None), _fit_here)


def _fit_here(networks: Sequence[Network], device: str) -> list[Fitted]:
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("models.device is 'cuda', and torch finds no NVIDIA GPU here; set models.device to 'cpu'")
    return train_batch(networks, device=device)


def _plan(job: Job) -> list[list[Network]]:
    """The networks of each setting; settings share their samples."""
    samples = _samples(job)
    return [
        [
            Network(
                training,
                held_out,
                setting.loss,
                seed=job.seed * FOLDS + fold,
                skip_penalty=setting.skip_penalty,
                unit_penalty=setting.unit_penalty,
                breaks=_breaks(job.outcomes) if setting.loss == "hazard" else None,
            )
            for fold, (training, held_out) in enumerate(samples)
        ]
        for setting in SETTINGS[job.outcomes.kind]
    ]


def _samples(job: Job) -> list[tuple[Sample, Sample]]:
    """(training, held-out) rows of each fold."""
    outcomes = job.outcomes
    fewest = fewest_of_a_kind(outcomes)
    folds = min(FOLDS, fewest)
    if folds < 2:
        raise ValueError(
            f"{outcomes.n} subjects with {outcomes.events} events: networks need two events to learn from one and stop "
            "on the other; leave the family out"
        )
    parts = min(-(-outcomes.n // LARGEST_SAMPLE), fewest // folds)
    part = stratified_folds(outcomes, parts, job.seed)
    samples = []
    for k in range(folds):
        rows = np.flatnonzero(part == k % parts)
        chosen = stratified_folds(outcomes.take(rows), folds, job.seed) == k
        samples.append((_sample(job, rows[~chosen]), _sample(job, rows[chosen])))
    return samples


def _sample(job: Job, rows: np.ndarray) -> Sample:
    times = job.outcomes.times()[rows] if job.outcomes.kind == "survival" else None
    return Sample(job.encoded[rows], job.outcomes.flag[rows], times)


def _breaks(outcomes: Outcomes) -> np.ndarray:
    """Right ends of intervals with equal shares of the events."""
    intervals = int(np.clip(outcomes.events // EVENTS_PER_INTERVAL, 1, INTERVALS))
    ends = np.quantile(outcomes.times()[outcomes.flag], np.arange(1, intervals + 1) / intervals)
    return np.unique(np.maximum(ends, FIRST_TIME))


def _assess(job: Job, folds: list[tuple[Network, Fitted]]) -> _Trained:
    networks = [_centred(network, fitted.weights) for network, fitted in folds]
    held_out = [_held_out_loss(job, network, weights) for (network, _), weights in zip(folds, networks, strict=True)]
    return _Trained(folds[0][0].loss, networks, np.concatenate(held_out))


def _centred(network: Network, weights: Weights) -> Weights:
    """A partial likelihood leaves the level of a score open; at mean 0 the scores of several networks compare."""
    if network.loss != "cox":
        return weights
    return replace(weights, intercept=-weights(network.training.rows).mean(axis=0))


def _held_out_loss(job: Job, network: Network, weights: Weights) -> np.ndarray:
    """(n,) negative log likelihood of each held-out row; for survival that of the hazards over the job's intervals, in
    which partial likelihood and hazards per interval compare."""
    score = _bounded(weights(network.held_out.rows))
    if network.loss == "binomial":
        return np.logaddexp(0.0, score[:, 0]) - network.held_out.flag * score[:, 0]
    breaks = _breaks(job.outcomes)
    if network.loss == "hazard":
        hazard = np.logaddexp(0.0, score)
    else:
        hazard = np.exp(score) * _baseline(network.training, weights, breaks)
    seen, happened = at_risk(network.held_out, breaks)
    return (seen.T * hazard - happened.T * (hazard + np.log(-np.expm1(-hazard)))).sum(axis=1)


def _baseline(training: Sample, weights: Weights, breaks: np.ndarray) -> np.ndarray:
    """(intervals,) hazard at score 0 under which the training rows are likeliest, given their scores.

    Half an event and half a survivor of mean hazard are added, so that it is neither 0 nor infinite. The slope of the
    likelihood is convex, and Newton's steps from below it climb to its root.
    """
    ratio = np.exp(_bounded(weights(training.rows)))
    seen, happened = at_risk(training, breaks)
    ratio = np.append(ratio, [[ratio.mean()]], axis=0)
    events = np.append(happened, np.full((len(breaks), 1), 0.5), axis=1).T * ratio
    survivors = ((seen - happened) @ ratio[:-1])[:, 0] + 0.5 * ratio[-1]
    hazard = (happened.sum(axis=1) + 0.5) / (survivors + 0.5 * events.sum(axis=0))
    for _ in range(NEWTON_STEPS):
        with np.errstate(over="ignore"):
            chance = 1.0 / np.expm1(hazard * ratio)
        slope = (events * chance).sum(axis=0) - survivors
        hazard = hazard + slope / (events * ratio * chance * (1.0 + chance)).sum(axis=0)
    return hazard


def _bounded(score: np.ndarray) -> np.ndarray:
    return np.clip(score, -LARGEST_SCORE, LARGEST_SCORE)


def _pool(job: Job, settings: list[_Trained]) -> Predictor:
    """Settings that cannot be told from the best, averaged on the link scale."""
    best = min(settings, key=lambda one: one.held_out.mean())
    kept = [one for one in settings if _excess(one, best) <= 2.0]
    parts = {loss: [one for one in kept if one.loss == loss] for loss in dict.fromkeys(one.loss for one in kept)}
    predictors = []
    for loss, members in parts.items():
        score = _ensemble([weights for one in members for weights in one.networks])
        predictors.append(DiscreteHazards(score, _breaks(job.outcomes)) if loss == "hazard" else job.predictor(score))
    if len(predictors) == 1:
        return predictors[0]
    return Pool(tuple(predictors), np.array([len(members) / len(kept) for members in parts.values()]))


def _excess(setting: _Trained, best: _Trained) -> float:
    """How many standard errors the mean held-out loss is above the best setting's."""
    difference = setting.held_out - best.held_out
    error = float(difference.std()) / np.sqrt(len(difference))
    return float(difference.mean()) / error if error > 0.0 else 0.0


def _ensemble(networks: list[Weights]) -> NetworkScore:
    parts = ("hidden", "bias", "output", "skip", "intercept")
    return NetworkScore(*(np.stack([getattr(weights, part) for weights in networks]) for part in parts))
