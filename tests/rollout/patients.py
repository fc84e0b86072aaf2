"""Simulated patients: 10 % prevalence, champion AUROC .79, an equal challenger with its own noise, Var Z .001."""

from __future__ import annotations

import numpy as np

INTERCEPT, SLOPE, NOISE = -2.788, 1.3, 0.24
BRIER = 0.0778
MARGIN = 0.05 * BRIER
SHIFT = {0: 0.0, 5: 0.546, 10: 0.738, 25: 1.089, 50: 1.447}
"""Logit shift of the challenger that makes its Brier score so many per cent worse."""


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def score(x: np.ndarray, rng: np.random.Generator, shift: float = 0.0) -> np.ndarray:
    """Calibrated risk of a model that sees the covariate with noise, then shifted on the logit scale."""
    seen = (x + NOISE * rng.normal(size=x.shape)) / (1 + NOISE**2)
    spread = (SLOPE * NOISE) ** 2 / (1 + NOISE**2)
    return sigmoid((INTERCEPT + SLOPE * seen) / np.sqrt(1 + np.pi * spread / 8) + shift)


def cohort(
    shape: tuple[int, ...], rng: np.random.Generator, worse: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(champion, challenger, outcome), each of `shape`; the challenger's Brier score is `worse` per cent worse."""
    x = rng.normal(size=shape)
    outcome = (rng.uniform(size=shape) < sigmoid(INTERCEPT + SLOPE * x)).astype(float)
    return score(x, rng), score(x, rng, SHIFT[worse]), outcome


def differences(shape: tuple[int, ...], rng: np.random.Generator, worse: int = 0) -> np.ndarray:
    champion, challenger, outcome = cohort(shape, rng, worse)
    return (challenger - outcome) ** 2 - (champion - outcome) ** 2
