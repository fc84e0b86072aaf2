"""Decision rules on the same streams: the platform's tests, and what other tools or textbooks would do.

Every rule takes per-patient values of shape (replications, patients) and returns, per replication, the number of
patients after which it acts (looks every `EVERY`), or `NEVER`.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from clinical_assets.rollout.evidence.bets import FRACTION_WEIGHTS, FRACTIONS
from clinical_assets.rollout.evidence.errors import BROKEN, MULTIPLES, RATIOS
from clinical_assets.rollout.evidence.hazard import BAND_EDGES, BETS, RATIO_LIMIT
from clinical_assets.rollout.evidence.latency import ODDS_RATIOS
from clinical_assets.rollout.evidence.split import KAPPAS
from clinical_assets.rollout.evidence.winsorised import CLIP, GUARD_BETS, GUARD_LIMIT, PLAIN_WEIGHT
from clinical_assets.rollout.policy import POOL_ALPHA, RolloutPolicy

EVERY = 50
NEVER = np.iinfo(np.int64).max
ALPHA = 0.05
HAZARD_MARGIN = RolloutPolicy().hazard_margin


def first_look(crossed: np.ndarray) -> np.ndarray:
    """(replications, looks) of booleans to patients until the first."""
    return np.where(crossed.any(axis=1), (crossed.argmax(axis=1) + 1) * EVERY, NEVER)


def at_looks(values: np.ndarray) -> np.ndarray:
    """Running sums at the looks."""
    n = values.shape[1] // EVERY * EVERY
    return values[:, :n].reshape(len(values), -1, EVERY).sum(axis=2).cumsum(axis=1)


def mixture(log_factors: list[np.ndarray], weights: tuple[float, ...]) -> np.ndarray:
    """log E at the looks."""
    return np.logaddexp.reduce([at_looks(f) + np.log(w) for f, w in zip(log_factors, weights, strict=True)], axis=0)


def bounded(w: np.ndarray, lo: float) -> np.ndarray:
    """log E of the bounded-mean test of `E w <= 0`."""
    return mixture([np.log1p(f * w / -lo) for f in FRACTIONS], FRACTION_WEIGHTS)


def rejects(log_e: np.ndarray, alpha: float = ALPHA) -> np.ndarray:
    return first_look(log_e >= -np.log(alpha))


def winsorised(z: np.ndarray, tails: np.ndarray, eta: float, margin: float) -> np.ndarray:
    """The cut-off non-inferiority test with its guard, at threshold 1/(alpha - alpha_pool)."""
    plain = bounded(margin - z, margin - 1) + np.log(PLAIN_WEIGHT)
    gain = margin - eta - np.minimum(z, CLIP)
    clipped = mixture([np.log1p(f * gain / CLIP) for f in FRACTIONS], FRACTION_WEIGHTS) + np.log(1 - PLAIN_WEIGHT)
    thirds = (1 / 3, 1 / 3, 1 / 3)
    guard = mixture([np.log1p(min(b, 0.9 / eta) * (tails - eta)) for b in GUARD_BETS], thirds)
    off = np.maximum.accumulate(guard, axis=1) >= np.log(GUARD_LIMIT)
    both = np.where(off, plain, np.logaddexp(plain, clipped))
    return rejects(both, ALPHA - POOL_ALPHA)


def split(z: np.ndarray, pi: np.ndarray) -> np.ndarray:
    """log E of the split's harm test; z already holds 1/pi."""
    return mixture([np.log1p(k * pi * (1 - pi) * z) for k in KAPPAS], (1 / 3, 1 / 3, 1 / 3))


def rate_ratio(fail: np.ndarray, on_b: np.ndarray, share: float) -> np.ndarray:
    """log E of "failures fall on the challenger in proportion to its requests"; `on_b`: which requests it answered."""
    shares = [share * r / (share * r + 1 - share) for r in RATIOS]
    logs = [fail * np.where(on_b, np.log(q / share), np.log((1 - q) / (1 - share))) for q in shares]
    return mixture(logs, (1 / len(RATIOS),) * len(RATIOS))


def rate_objective(fail: np.ndarray, on_b: np.ndarray, p0: float, alternatives: list[float]) -> np.ndarray:
    """log E of "the challenger fails at most at rate `p0`"."""
    logs = [on_b * (fail * np.log(p / p0) + (1 - fail) * np.log((1 - p) / (1 - p0))) for p in alternatives]
    return mixture(logs, (1 / len(alternatives),) * len(alternatives))


def error_alternatives(p0: float) -> list[float]:
    return [min(m * p0, BROKEN) for m in MULTIPLES] + [BROKEN]


def latency_alternatives(p0: float) -> list[float]:
    odds = p0 / (1 - p0)
    return [odds * r / (1 + odds * r) for r in ODDS_RATIOS]


def person_time(a: np.ndarray, b: np.ndarray, event_at: np.ndarray, entry: np.ndarray, weeks: int) -> list[np.ndarray]:
    """Hazard log-score, accounted per follow-up band as the platform does: log E (harm, promotion) at each week.

    Args:
        a, b: (replications, patients) risks at the horizon. event_at: time of event or loss as share of the horizon;
            positive = event, negative = loss. entry: (patients,) weeks; the horizon is 52 weeks.
    """
    hazard_a, hazard_b = -np.log1p(-a), -np.log1p(-b)
    r = np.clip(np.log(hazard_b / hazard_a), -RATIO_LIMIT, RATIO_LIMIT)
    end, happened = np.abs(event_at), event_at > 0
    log_e = [np.zeros((len(BETS), len(a), weeks)) for _ in range(2)]
    for start, edge in zip((0.0, *BAND_EDGES), BAND_EDGES, strict=False):
        share = np.clip(end, start, edge) - start
        event = happened & (end > start) & (end <= edge)
        known = np.ceil(entry + 52 * edge).astype(int)
        for k, lam in enumerate(BETS):
            drift = lam * share * (hazard_b - hazard_a)
            harm = np.where(event, np.log1p(-lam * r), 0.0) + drift
            proof = np.where(event, np.log1p(lam * r), 0.0) - drift + lam * HAZARD_MARGIN * share * hazard_a
            for total, gain in zip(log_e, (harm, proof), strict=True):
                for week in np.unique(known[known < weeks]):
                    total[k, :, week] += gain[:, known == week].sum(axis=1)
    return [np.logaddexp.reduce(total.cumsum(axis=2), axis=0) - np.log(len(BETS)) for total in log_e]


# --- rules of others, on w with H0: E w <= 0 (harm: w = z, promotion: w = margin - z) ---


def _z_scores(w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sums, squares = at_looks(w), at_looks(w**2)
    n = np.arange(1, sums.shape[1] + 1) * EVERY
    variance = np.maximum(squares / n - (sums / n) ** 2, 1e-12)
    return sums / np.sqrt(n * variance), variance, n


def naive_z(w: np.ndarray) -> np.ndarray:
    """z > 1.645 at any look."""
    return first_look(_z_scores(w)[0] > norm.ppf(1 - ALPHA))


def fixed_horizon(w: np.ndarray) -> np.ndarray:
    """z > 1.645 at the planned end only."""
    z = _z_scores(w)[0]
    crossed = np.zeros_like(z, dtype=bool)
    crossed[:, -1] = z[:, -1] > norm.ppf(1 - ALPHA)
    return first_look(crossed)


def obrien_fleming(w: np.ndarray) -> np.ndarray:
    """Group-sequential, the many-look limit of O'Brien and Fleming: z sqrt(n/N) > Phi^-1(1 - alpha/2)."""
    z, _, n = _z_scores(w)
    return first_look(z * np.sqrt(n / n[-1]) > norm.ppf(1 - ALPHA / 2))


def msprt(w: np.ndarray, scale: float) -> np.ndarray:
    """Normal mixture SPRT with plugged-in variance (Johari et al. 2022); `scale` is the prior's standard deviation."""
    z, v, n = _z_scores(w)
    shrink = n * scale**2 / (v + n * scale**2)
    log_ratio = 0.5 * (np.log1p(-shrink) + shrink * z**2)
    return first_look((log_ratio >= -np.log(ALPHA)) & (z > 0))


INTERVAL, STEPS, WORSE_BY = 250, 10, 1.1
"""The step-wise tools: patients per check, passed checks that promote, and the ratio of mean losses that fails one."""


def flagger_like(loss_a: np.ndarray, loss_b: np.ndarray, failures: int = 5) -> np.ndarray:
    """Each interval compares the two halves of its patients; acts at the fifth failed check, unless ten passed."""
    n = loss_a.shape[1] // INTERVAL * INTERVAL
    shape = (len(loss_a), -1, INTERVAL // 2, 2)
    of_a = loss_a[:, :n].reshape(shape)[..., 0].mean(axis=2)
    of_b = loss_b[:, :n].reshape(shape)[..., 1].mean(axis=2)
    failed = (of_b > WORSE_BY * of_a).cumsum(axis=1)
    passed = np.arange(1, failed.shape[1] + 1) - failed
    crossed = (failed >= failures) & (passed < STEPS)
    return np.where(crossed.any(axis=1), (crossed.argmax(axis=1) + 1) * INTERVAL, NEVER)


def argo_like(loss_a: np.ndarray, loss_b: np.ndarray) -> np.ndarray:
    """The same checks, acting at the first failure (`failureLimit: 0`, the default)."""
    return flagger_like(loss_a, loss_b, failures=1)


def kayenta_like(loss_a: np.ndarray, loss_b: np.ndarray) -> np.ndarray:
    """Mann-Whitney over the interval means so far, one-sided 2 % at every look from the tenth interval on."""
    a, b = (np.diff(at_looks(x), axis=1, prepend=0) for x in (loss_a, loss_b))
    wins = (b[:, :, None] > a[:, None, :]).astype(np.int32)
    looks = a.shape[1]
    crossed = np.zeros(a.shape, dtype=bool)
    corner = wins.cumsum(axis=1).cumsum(axis=2)
    for k in range(10, looks + 1):
        u = corner[:, k - 1, k - 1]
        crossed[:, k - 1] = (u - k * k / 2) / np.sqrt(k * k * (2 * k + 1) / 12) > norm.ppf(0.98)
    return first_look(crossed)


def oracle_sprt(w: np.ndarray, mean: float, variance: float) -> np.ndarray:
    """Who knows mean and variance of the alternative: normal likelihood ratio against mean 0."""
    return rejects(mixture([(mean * w - mean**2 / 2) / variance], (1.0,)))
