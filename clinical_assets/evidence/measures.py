"""The numbers behind the pictures, on patients whom the model had not seen: plain JSON, no cell below 11.

Curves are read on fixed grids, never at a patient's own time or risk, from which a row could be rebuilt.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from clinical_assets.evidence.patients import Unseen
from clinical_assets.evidence.proportions import event_risk
from clinical_assets.modeling.curves import horizon_labels, kaplan_meier
from clinical_assets.modeling.likelihood import ConvergenceError
from clinical_assets.modeling.metrics.bootstrap import Draws
from clinical_assets.modeling.metrics.smooth import observed_risk
from clinical_assets.modeling.metrics.usefulness import net_benefit
from clinical_assets.trials.small_cells import SMALLEST_CELL, shown

GRID = 40
REPLICATES = 200
THIRDS = ("lower third of risk", "middle third of risk", "upper third of risk")
_LARGE = 5000
"""Patients above which a band rests on fewer replicates: it is narrow there, and each replicate takes long."""


def measures(unseen: Unseen, seed: int) -> dict[str, Any]:
    """Everything that `plots` draws and the report says in natural frequencies; None where it does not exist."""
    outcomes, risk, horizon, shares = unseen.outcomes, unseen.risk, unseen.horizon, frequencies(unseen)
    return {
        "set": unseen.name,
        "set_in_words": unseen.words,
        "n": shown(outcomes.n),
        "events": shown(unseen.events),
        "horizon_days": horizon,
        "decision_threshold": unseen.threshold,
        "seed": seed,
        "observed_risk": _risk(unseen, np.ones(outcomes.n, dtype=bool)),
        "mean_predicted_risk": float(risk.mean()),
        "frequencies": shares,
        "of_100": of_100(shares),
        "calibration": calibration_curve(unseen, seed),
        "discrimination": discrimination(unseen, seed),
        "decision_curve": decision_curve(unseen),
        "risk_groups": risk_groups(unseen),
    }


def frequencies(unseen: Unseen) -> dict[str, Any] | None:
    """Shares at the declared decision threshold; None where a side of it holds fewer than 11 patients."""
    flagged = unseen.risk >= unseen.threshold
    if min(flagged.sum(), (~flagged).sum()) < SMALLEST_CELL:
        return None
    share, above, below = float(flagged.mean()), _risk(unseen, flagged), _risk(unseen, ~flagged)
    return {
        "flagged": share,
        "event_if_flagged": above,
        "event_if_not_flagged": below,
        "flagged_with_event": share * above["value"],
        "not_flagged_with_event": (1.0 - share) * below["value"],
    }


def of_100(shares: dict[str, Any] | None) -> dict[str, int] | None:
    """100 patients in four kinds, rounded by largest remainders so that they are 100."""
    if shares is None:
        return None
    exact = {
        "marked_event": 100.0 * shares["flagged_with_event"],
        "marked_free": 100.0 * (shares["flagged"] - shares["flagged_with_event"]),
        "missed": 100.0 * shares["not_flagged_with_event"],
        "unmarked_free": 100.0 * (1.0 - shares["flagged"] - shares["not_flagged_with_event"]),
    }
    counts = {kind: int(value) for kind, value in exact.items()}
    by_remainder = sorted(exact, key=lambda kind: counts[kind] - exact[kind])
    for kind in by_remainder[: 100 - sum(counts.values())]:
        counts[kind] += 1
    return counts


def calibration_curve(unseen: Unseen, seed: int) -> dict[str, Any] | None:
    """Smoothed observed risk over predicted risk with a 95 % band (patients resampled), and groups of equal size."""
    risk, outcomes = unseen.risk, unseen.outcomes
    low, high = np.quantile(risk, [0.02, 0.98])
    if outcomes.n < 2 * SMALLEST_CELL or high - low < 1e-9:
        return None
    grid = np.linspace(low, high, GRID)
    try:
        centre = _smoothed(unseen, np.arange(outcomes.n), grid)
    except (ConvergenceError, ValueError, FloatingPointError, np.linalg.LinAlgError):
        return None
    rng = np.random.default_rng(seed)
    curves = []
    for _ in range(REPLICATES if outcomes.n <= _LARGE else REPLICATES // 8):
        try:
            curves.append(_smoothed(unseen, rng.integers(0, outcomes.n, outcomes.n), grid))
        except (ConvergenceError, ValueError, FloatingPointError, np.linalg.LinAlgError):
            continue
    band = np.percentile(curves, [2.5, 97.5], axis=0) if len(curves) >= 20 else np.full((2, GRID), np.nan)
    return {
        "predicted": _plain(grid),
        "observed": _plain(centre),
        "low": _plain(band[0]),
        "high": _plain(band[1]),
        "replicates": len(curves),
        "groups": _groups_of_risk(unseen),
    }


def _smoothed(unseen: Unseen, rows: np.ndarray, grid: np.ndarray) -> np.ndarray:
    risk = unseen.risk[rows]
    observed = observed_risk(unseen.outcomes.take(rows), risk, unseen.horizon)
    order = np.argsort(risk, kind="stable")
    return np.interp(grid, risk[order], observed[order])


def _groups_of_risk(unseen: Unseen) -> list[dict[str, Any]]:
    count = int(np.clip(unseen.events // 20, 2, 10))
    groups = []
    for part in np.array_split(np.argsort(unseen.risk, kind="stable"), count):
        if len(part) >= SMALLEST_CELL:
            inside = np.zeros(unseen.outcomes.n, dtype=bool)
            inside[part] = True
            found = _risk(unseen, inside)
            groups.append({"predicted": float(unseen.risk[part].mean()), "n": shown(len(part)), "observed": found})
    return groups


def discrimination(unseen: Unseen, seed: int) -> dict[str, Any] | None:
    """Survival: cumulative/dynamic AUC (Uno et al. 2007) at eighths of the horizon. Label: the ROC curve on a grid."""
    outcomes, risk = unseen.outcomes, unseen.risk
    if unseen.horizon is None:
        return _roc(outcomes.flag, risk)
    draws = Draws.make(outcomes.n, seed, REPLICATES if outcomes.n <= _LARGE else REPLICATES // 4)
    rows = []
    for time in np.linspace(unseen.horizon / 8, unseen.horizon, 8):
        labels = horizon_labels(outcomes, float(time))
        known = labels.weight > 0
        if min((labels.label & known).sum(), (~labels.label & known).sum()) < SMALLEST_CELL:
            continue
        found = weighted_auc(labels.label, risk, labels.weight[None, :])[0]
        interval = draws.interval(float(found), weighted_auc(labels.label, risk, labels.weight * draws.counts))
        rows.append({"days": float(time), "auc": interval.estimate, "low": interval.low, "high": interval.high})
    return {"kind": "auc_over_time", "points": rows} if rows else None


def weighted_auc(label: np.ndarray, risk: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(b,) P(risk of a case > risk of a control), ties one half, for each row of `weights` (b, n)."""
    order = np.argsort(risk, kind="stable")
    starts = np.unique(risk[order], return_index=True)[1]
    ordered, case = np.asarray(weights, dtype=np.float64)[:, order], label[order]
    cases = np.add.reduceat(ordered * case, starts, axis=1)
    controls = np.add.reduceat(ordered * ~case, starts, axis=1)
    below = np.cumsum(controls, axis=1) - controls
    total = cases.sum(axis=1) * controls.sum(axis=1)
    won = (cases * (below + 0.5 * controls)).sum(axis=1)
    return np.divide(won, total, out=np.full(len(total), np.nan), where=total > 0)


def _roc(label: np.ndarray, risk: np.ndarray) -> dict[str, Any] | None:
    if min(label.sum(), (~label).sum()) < SMALLEST_CELL:
        return None
    false_positive = np.linspace(0.0, 1.0, GRID + 1)
    cut = np.quantile(risk[~label], 1.0 - false_positive)
    true_positive = [float((risk[label] >= value).mean()) for value in cut]
    return {"kind": "roc", "false_positive": _plain(false_positive), "true_positive": [*true_positive[:-1], 1.0]}


def decision_curve(unseen: Unseen) -> dict[str, Any]:
    """Net benefit of acting on the model, on everybody and on nobody (0), over thresholds around the declared one."""
    end = min(0.95, max(2.0 * unseen.threshold, float(np.quantile(unseen.risk, 0.98))))
    thresholds = np.linspace(0.01, end, GRID)
    found = [net_benefit(unseen.outcomes, unseen.risk, float(at), unseen.horizon) for at in thresholds]
    return {
        "threshold": _plain(thresholds),
        "model": _plain(np.array([benefit.model for benefit in found])),
        "treat_all": _plain(np.array([benefit.treat_all for benefit in found])),
    }


def risk_groups(unseen: Unseen) -> list[dict[str, Any]]:
    """Thirds by predicted risk: event-free share over time while at least 11 are at risk, and how many are."""
    parts = np.array_split(np.argsort(unseen.risk, kind="stable"), len(THIRDS))
    groups = []
    for name, part in zip(THIRDS, parts, strict=True):
        if len(part) < SMALLEST_CELL:
            return []
        outcomes, inside = unseen.outcomes.take(part), np.zeros(unseen.outcomes.n, dtype=bool)
        inside[part] = True
        group = {
            "name": name,
            "n": shown(len(part)),
            "mean_predicted_risk": float(unseen.risk[part].mean()),
            "observed_risk": _risk(unseen, inside),
        }
        if unseen.horizon is not None:
            group |= _survival(outcomes.times(), outcomes.flag, unseen.horizon)
        groups.append(group)
    return groups


def _survival(time: np.ndarray, event: np.ndarray, horizon: float) -> dict[str, Any]:
    grid = np.linspace(0.0, horizon, GRID + 1)
    at_risk = np.array([(time >= moment).sum() for moment in grid])
    enough = at_risk >= SMALLEST_CELL
    ticks = np.linspace(0.0, horizon, 6)
    return {
        "days": _plain(grid[enough]),
        "event_free": _plain(kaplan_meier(time, event).at(grid[enough])),
        "at_risk_days": _plain(ticks),
        "at_risk": [shown(int((time >= moment).sum())) for moment in ticks],
    }


def _risk(unseen: Unseen, inside: np.ndarray) -> dict[str, float]:
    found = event_risk(unseen.outcomes.take(inside), unseen.horizon)
    return {"value": found[0], "low": found[1], "high": found[2]}


def _plain(values: np.ndarray) -> list[float | None]:
    """Six decimals, more than any picture shows; what is not finite becomes None."""
    return [round(float(value), 6) if np.isfinite(value) else None for value in values]
