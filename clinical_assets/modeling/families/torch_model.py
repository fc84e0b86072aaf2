"""A small network with a linear skip, trained on the Cox partial likelihood (Katzman et al. 2018) or the binomial one.

Four members are trained at once as one batch; each stops on its own held-out quarter, and their scores are averaged.
Beyond torch and numpy it needs only this package's own outcome and score types, so it runs alone on a GPU machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from clinical_assets.modeling.families import Job
from clinical_assets.modeling.folds import stratified_folds
from clinical_assets.modeling.outcomes import Outcomes
from clinical_assets.modeling.predictors import Predictor
from clinical_assets.modeling.scores import NetworkScore

MEMBERS = 4
UNITS = 16
EPOCHS = 300
PATIENCE = 15
LEARNING_RATE = 0.02
WEIGHT_DECAY = 0.05
_FAR = -1e9


def train(jobs: Sequence[Job]) -> list[Predictor]:
    """One ensemble per training set; float64 and one thread, so that equal inputs give equal weights."""
    return [job.predictor(_fit(job.encoded, job.outcomes, job.seed)) for job in jobs]


def _fit(encoded: np.ndarray, outcomes: Outcomes, seed: int) -> NetworkScore:
    fold = stratified_folds(outcomes, MEMBERS, seed)
    with _one_thread():
        order = np.argsort(-outcomes.times(), kind="stable") if outcomes.kind == "survival" else np.arange(outcomes.n)
        rows = torch.as_tensor(encoded[order], dtype=torch.float64)
        loss = _CoxLoss(outcomes, order) if outcomes.kind == "survival" else _BinomialLoss(outcomes)
        held_out = torch.as_tensor(fold[order] == np.arange(MEMBERS)[:, None])
        weights = _descend(rows, loss, held_out, seed)
    hidden, bias = weights["hidden"], weights["bias"]
    return NetworkScore(hidden, bias, *(weights[name][..., None] for name in ("output", "skip", "intercept")))


def _descend(
    rows: torch.Tensor, loss: _CoxLoss | _BinomialLoss, held_out: torch.Tensor, seed: int
) -> dict[str, np.ndarray]:
    """Full-batch AdamW; every member keeps the weights of its own best epoch."""
    weights = _initial(rows.shape[1], seed)
    optimiser = torch.optim.AdamW(weights.values(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    best = {name: tensor.detach().clone() for name, tensor in weights.items()}
    lowest = torch.full((MEMBERS,), torch.inf, dtype=torch.float64)
    stale = 0
    for _ in range(EPOCHS):
        score = _forward(rows, weights)
        with torch.no_grad():
            validation = loss(score, held_out)
            better = validation < lowest - 1e-6
            lowest = torch.where(better, validation, lowest)
            for name, tensor in weights.items():
                best[name][better] = tensor[better]
        stale = 0 if bool(better.any()) else stale + 1
        if stale > PATIENCE:
            break
        optimiser.zero_grad()
        loss(score, ~held_out).sum().backward()
        optimiser.step()
    return {name: tensor.numpy() for name, tensor in best.items()}


def _initial(width: int, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int, spread: float) -> torch.Tensor:
        values = torch.randn(*shape, generator=generator, dtype=torch.float64) * spread
        return values.requires_grad_()

    return {
        "hidden": drawn(MEMBERS, width, UNITS, spread=width**-0.5),
        "bias": drawn(MEMBERS, UNITS, spread=0.1),
        "output": drawn(MEMBERS, UNITS, spread=0.1 * UNITS**-0.5),
        "skip": drawn(MEMBERS, width, spread=0.01),
        "intercept": torch.zeros(MEMBERS, dtype=torch.float64, requires_grad=True),
    }


def _forward(rows: torch.Tensor, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """(MEMBERS, n) scores."""
    active = torch.tanh(rows @ weights["hidden"] + weights["bias"][:, None, :])
    deep = (active @ weights["output"][:, :, None]).squeeze(-1)
    return deep + weights["skip"] @ rows.T + weights["intercept"][:, None]


class _CoxLoss:
    """Negative log partial likelihood per event (Breslow's ties) over the chosen rows, latest time first."""

    def __init__(self, outcomes: Outcomes, order: np.ndarray) -> None:
        time = outcomes.times()[order]
        self.event = torch.as_tensor(outcomes.flag[order])
        self.last_tied = torch.as_tensor(np.searchsorted(-time, -time, side="right") - 1)

    def __call__(self, score: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        masked = torch.where(chosen, score, torch.full_like(score, _FAR))
        at_risk = torch.logcumsumexp(masked, dim=1)[:, self.last_tied]
        counted = chosen & self.event
        return torch.where(counted, at_risk - score, 0.0).sum(dim=1) / counted.sum(dim=1)


class _BinomialLoss:
    """Mean negative log likelihood over the chosen rows."""

    def __init__(self, outcomes: Outcomes) -> None:
        self.label = torch.as_tensor(outcomes.flag, dtype=torch.float64)

    def __call__(self, score: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        each = torch.nn.functional.binary_cross_entropy_with_logits(
            score, self.label.expand_as(score), reduction="none"
        )
        return torch.where(chosen, each, 0.0).sum(dim=1) / chosen.sum(dim=1)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
