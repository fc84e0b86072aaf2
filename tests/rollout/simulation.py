"""The mixture martingales of the rollout evidence, vectorised over replications: same formula, no state."""

from __future__ import annotations

import numpy as np


def log_e(log_factors: np.ndarray, weights: tuple[float, ...]) -> np.ndarray:
    """(replications, patients) log E from (components, replications, patients) log factors."""
    wealth = np.cumsum(log_factors, axis=2) + np.log(np.array(weights))[:, None, None]
    return np.logaddexp.reduce(wealth, axis=0)


def bets(w: np.ndarray, lo: float, fractions: tuple[float, ...], weights: tuple[float, ...]) -> np.ndarray:
    """Log E of bets on observations `w >= lo` (replications, patients)."""
    return log_e(np.stack([np.log1p(f * w / -lo) for f in fractions]), weights)


def ever(path: np.ndarray, alpha: float) -> float:
    """Share of replications that reject at any look."""
    return float((path.max(axis=1) >= -np.log(alpha)).mean())


def delay(path: np.ndarray, alpha: float) -> np.ndarray:
    """Patients until rejection; the length of the stream plus one where there is none."""
    crossed = path >= -np.log(alpha)
    return np.where(crossed.any(axis=1), crossed.argmax(axis=1) + 1, path.shape[1] + 1)
