"""BI5: is the level and the spread of risk right in every group?

O/E compares Kaplan-Meier at the horizon with the mean risk of the group; its error comes from each patient's influence
on both, so that what the risks explain does not count as noise. The interval is taken on the square-root scale, which
follows the tail of a count where the log scale does not. The slope's labels are weighted for censoring.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import ndtr

from clinical_assets.gates.bias.group_audit import (
    COLLECT,
    NOTHING_COLLECTED,
    Audited,
    Group,
    calibrated,
    judged_groups,
    listed,
    multiplicity,
    quantiles,
    reference_risk,
    small_groups,
    wald,
)
from clinical_assets.gates.bias.policy import BiasPolicy
from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.modeling.likelihood import ConvergenceError
from clinical_assets.modeling.metrics.calibration import calibration_line, slope_error
from clinical_assets.modeling.metrics.influence import risk_influence
from clinical_assets.modeling.outcomes import Outcomes

INTERVAL = "O/E: influence function, square-root scale; slope: sandwich (White 1982)"
REMEDY = "find out why (coding, units, follow-up in this group), then recalibrate or train with enough such patients"


@dataclass(frozen=True)
class Level:
    """Observed / expected of some patients, and the standard error of its logarithm."""

    ratio: float
    error: float

    @classmethod
    def of(cls, outcomes: Outcomes, risk: np.ndarray, horizon: float | None) -> Level:
        """Nobody observed with the event, or everybody: the error is that of half a patient more or fewer."""
        n, expected = len(risk), float(np.mean(risk))
        observed, influence = risk_influence(outcomes, horizon)
        if expected <= 0.0:
            return cls(float("inf") if observed else float("nan"), float("nan"))
        if not 0.5 / n <= observed <= 1.0 - 0.5 / n:
            share = (observed * n + 1.0) / (n + 2.0)
            return cls(observed / expected, float(np.sqrt(share * (1.0 - share) / n)) / share)
        spread = influence / observed - (risk - expected) / expected
        return cls(observed / expected, float(np.sqrt(spread @ spread)) / n)

    def bounds(self, z: float) -> tuple[float, float]:
        half = z * self.error / 2.0
        return self.ratio * max(1.0 - half, 0.0) ** 2, self.ratio * (1.0 + half) ** 2

    @property
    def p_value(self) -> float:
        """Two-sided, of O/E = 1."""
        root = np.sqrt(self.ratio)
        return float(2.0 * ndtr(-abs(root - 1.0) / (root * self.error / 2.0))) if self.error > 0.0 < root else 1.0


@dataclass(frozen=True)
class GroupCalibration:
    """`citl_gap`: calibration-in-the-large, group minus all others. NaN where the labels determine no line."""

    attribute: str
    group: str
    n: int
    events: int
    oe: float
    oe_interval: tuple[float, float]
    oe_strict: tuple[float, float]
    citl_gap: float
    slope: float
    slope_interval: tuple[float, float]
    slope_strict: tuple[float, float]
    reference_slope: float = float("nan")

    def __str__(self) -> str:
        return (
            f"{self.attribute} {self.group} O/E {self.oe:.2f} ({self.oe_interval[0]:.2f} to {self.oe_interval[1]:.2f})"
            f", slope {self.slope:.2f} ({self.slope_interval[0]:.2f} to {self.slope_interval[1]:.2f})"
        )

    def wrong_level(self, band: tuple[float, float]) -> bool:
        """Outside the band, and over all groups together not 1."""
        return not band[0] <= self.oe <= band[1] and not self.oe_strict[0] <= 1.0 <= self.oe_strict[1]

    def flat(self, floor: float) -> bool:
        """High risks are stated too high and low ones too low, over all groups together: beyond the floor; or below it,
        not 1, and less than the slope of the reference model in the same patients, whom chance moves alike."""
        highest = self.slope_strict[1]
        beside = highest < 1.0 and highest < self.reference_slope
        return highest < floor or (self.slope < floor and beside)


def group_calibration(
    audit: Audited, policy: BiasPolicy, reference: np.ndarray | None = None
) -> list[GroupCalibration]:
    """Every group with enough events; each is looked at twice, for level and for spread.

    reference: (n,) risks of the reference model for the same patients.
    """
    groups = judged_groups(audit, policy)
    z = quantiles(policy, 2 * len(groups))
    found = [_calibration(audit, group, z) for group in groups]
    if reference is None:
        return found
    return [
        replace(
            row,
            reference_slope=calibration_slope(
                audit.outcomes.take(group.inside), reference[group.inside], audit.horizon
            )[1],
        )
        for row, group in zip(found, groups, strict=True)
    ]


def _calibration(audit: Audited, group: Group, z: tuple[float, float]) -> GroupCalibration:
    outcomes, risk = audit.outcomes.take(group.inside), audit.risk[group.inside]
    level = Level.of(outcomes, risk, audit.horizon)
    citl, slope, error = calibration_slope(outcomes, risk, audit.horizon)
    others = calibration_slope(audit.outcomes.take(~group.inside), audit.risk[~group.inside], audit.horizon)[0]
    return GroupCalibration(
        group.attribute, group.name, group.n, group.events,
        oe=level.ratio, oe_interval=level.bounds(z[0]), oe_strict=level.bounds(z[1]), citl_gap=citl - others,
        slope=slope, slope_interval=wald(slope, error, z[0]), slope_strict=wald(slope, error, z[1]),
    )  # fmt: skip


def calibration_slope(outcomes: Outcomes, risk: np.ndarray, horizon: float | None) -> tuple[float, float, float]:
    """Intercept at slope 1, slope and its error; NaN where the labels determine none."""
    try:
        citl, slope = calibration_line(outcomes, risk, horizon)
        return citl, slope, slope_error(outcomes, risk, slope, horizon)
    except (ConvergenceError, ValueError):
        return float("nan"), float("nan"), float("nan")


@check(GateName.BIAS, "BI5", "Calibration in every group", "observed / expected, furthest from 1")
def calibration_by_group(case: Case) -> Finding:
    """BLOCK, over all groups together: O/E of a group outside the band and not 1, or its slope below the floor."""
    policy, audit = case.policy.bias, case.once(calibrated)
    small, found = small_groups(audit, policy), group_calibration(audit, policy, case.once(reference_risk))
    band = policy.observed_expected
    common: dict[str, Any] = {
        "n": len(audit.risk),
        "events": int(audit.cases.sum()),
        "threshold": f"O/E {band[0]:g} to {band[1]:g}; slope >= {policy.slope_floor:g}; "
        f">= {policy.min_group_events} events per group",
        "threshold_source": BiasPolicy.source("observed_expected"),
        "details": {
            "groups": [vars(row) for row in found],
            "not_judged": small,
            "interval": INTERVAL,
            "multiplicity": multiplicity(policy, 2 * len(found)),
            "reference": "O/E 1 and slope 1; citl_gap: all other patients of the audit",
        },
    }
    if not audit.members:
        return Finding(Verdict.INCONCLUSIVE, NOTHING_COLLECTED, COLLECT, **common)
    wrong = [row for row in found if row.wrong_level(band) or row.flat(policy.slope_floor)]
    if found:
        worst = max(wrong or found, key=lambda row: abs(np.log(max(row.oe, 1e-9))))
        common |= {"value": worst.oe, "interval": worst.oe_strict if wrong else worst.oe_interval}
    if wrong:
        return Finding(Verdict.BLOCK, f"risk is wrong for: {listed(wrong)}", REMEDY, **common)
    if small or not found:
        reason = f"too few events to judge {', '.join(small) or 'any group'}"
        return Finding(Verdict.INCONCLUSIVE, reason, COLLECT, **common)
    doubtful = [row for row in found if not band[0] <= row.oe <= band[1] or not row.slope >= policy.slope_floor]
    if doubtful:
        return Finding(Verdict.WARN, f"could be wrong for: {listed(doubtful)}", REMEDY, **common)
    return Finding(Verdict.PASS, f"level and spread of risk hold in every group; furthest {worst}", **common)
