"""Survival outcomes from the first day: hazard log-score over person-time at risk, nothing waits for the horizon.

The log-score difference of challenger B and champion A over an interval at risk is `1{event} r - int (h_B - h_A)`,
`r = log(h_B / h_A)` clipped to +-2. A working hazard cancels, so with at-risk status and both hazards fixed before the
interval the products below are exact test supermartingales, without censoring weights or a censoring model:

    harm             prod_events (1 - lam r) exp(+lam int (h_B - h_A))
                     H0: expected difference >= 0
    non-inferiority  prod_events (1 + lam r) exp(-lam int (h_B - h_A) + lam m int h_A)
                     H0: expected difference <= -m int h_A

Null: the difference accumulated over the person-time at risk so far; m in nats per event that the champion expects.
Cf. ter Schure, Perez-Ortiz, Ly and Grunwald, "The anytime-valid logrank test", 2024. A model good early and bad late
passes early, so promotion also asks for events in every band of follow-up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clinical_assets.rollout.evidence.bets import EProcess
from clinical_assets.rollout.evidence.courses import Course, log1p, multiplied

BETS = (0.12, 0.24, 0.45)
RATIO_LIMIT = 2.0
BAND_EDGES = (0.125, 0.25, 0.5, 0.75, 1.0)
"""Ends of the follow-up bands as shares of the horizon; a patient's band is accounted once it has passed."""

_FLOOR, _CEILING = 1e-6, 1 - 1e-6


def log_ratio(challenger: float, champion: float) -> float:
    """r of two risks at the horizon under hazards of one common shape, clipped to +-2."""
    ratio = math.log(cumulative_hazard(challenger) / cumulative_hazard(champion))
    return min(max(ratio, -RATIO_LIMIT), RATIO_LIMIT)


def cumulative_hazard(risk: float) -> float:
    """-log(1 - risk) up to the horizon, of a risk kept within (0, 1)."""
    return -math.log1p(-min(max(risk, _FLOOR), _CEILING))


def _cumulative_hazards(risks: np.ndarray) -> np.ndarray:
    return -log1p(-np.minimum(np.maximum(risks, _FLOOR), _CEILING))


@dataclass(frozen=True)
class HazardShape:
    """Share of the cumulative hazard up to the horizon reached by a time; linear between the band edges.

    `shares` at `BAND_EDGES`, rising, last 1; frozen at the opening from the training data.
    """

    shares: tuple[float, ...] = BAND_EDGES

    def __post_init__(self) -> None:
        rises = all(a < b for a, b in zip((0.0, *self.shares), self.shares, strict=False))
        if len(self.shares) != len(BAND_EDGES) or not rises or not math.isclose(self.shares[-1], 1.0):
            raise ValueError(f"a hazard shape needs {len(BAND_EDGES)} rising shares that end at 1, got {self.shares}")

    def within(self, band: int, until: float) -> float:
        """Share that falls between the start of `band` and `until` (share of the horizon, inside the band)."""
        start, share = (0.0, 0.0) if band == 0 else (BAND_EDGES[band - 1], self.shares[band - 1])
        portion = (min(until, BAND_EDGES[band]) - start) / (BAND_EDGES[band] - start)
        return max(portion, 0.0) * (self.shares[band] - share)


@dataclass(frozen=True)
class HazardEvidence:
    """State of both tests and the events seen in each follow-up band."""

    harm: EProcess
    non_inferiority: EProcess
    events: tuple[int, ...] = (0,) * len(BAND_EDGES)

    @classmethod
    def start(cls) -> HazardEvidence:
        thirds = (1 / 3, 1 / 3, 1 / 3)
        return cls(EProcess.start(thirds), EProcess.start(thirds))

    def update(
        self, challenger: float, champion: float, band: int, event: bool, share: float, margin: float
    ) -> HazardEvidence:
        """One patient's passage through one band, as far as it was at risk in it.

        Args:
            challenger, champion: risks at the horizon, fixed before the band.
            share: share of the cumulative hazard that the patient was exposed to within the band.
            margin: nats per event that the champion expects.
        """
        r = log_ratio(challenger, champion) if event else 0.0
        expected = share * cumulative_hazard(champion)
        excess = share * cumulative_hazard(challenger) - expected
        harm = [math.log1p(-lam * r) + lam * excess for lam in BETS]
        proof = [math.log1p(lam * r) - lam * excess + lam * margin * expected for lam in BETS]
        events = tuple(n + (event and i == band) for i, n in enumerate(self.events))
        return HazardEvidence(self.harm.multiply(harm), self.non_inferiority.multiply(proof), events)

    def follow(
        self,
        challenger: np.ndarray,
        champion: np.ndarray,
        band: np.ndarray,
        event: np.ndarray,
        share: np.ndarray,
        margin: float,
    ) -> tuple[HazardEvidence, Course]:
        """The same for n >= 1 passages in a row, all (n,), and log E of harm after each."""
        r = np.zeros(len(event))
        pairs = zip(challenger[event].tolist(), champion[event].tolist(), strict=True)
        r[event] = [log_ratio(b, a) for b, a in pairs]
        expected = share * _cumulative_hazards(champion)
        excess = share * _cumulative_hazards(challenger) - expected
        harm, course = multiplied(self.harm, [log1p(-lam * r) + lam * excess for lam in BETS])
        proof, _ = multiplied(
            self.non_inferiority, [log1p(lam * r) - lam * excess + lam * margin * expected for lam in BETS]
        )
        added = np.bincount(band[event], minlength=len(BAND_EDGES)).tolist()
        events = tuple(n + more for n, more in zip(self.events, added, strict=True))
        return HazardEvidence(harm, proof, events), course

    def covers_follow_up(self, minimum: int) -> bool:
        """Whether every band has shown at least `minimum` events."""
        return min(self.events) >= minimum

    def to_json(self) -> dict[str, Any]:
        tests = {"harm": self.harm.to_json(), "non_inferiority": self.non_inferiority.to_json()}
        return {**tests, "events": list(self.events)}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> HazardEvidence:
        tests = (EProcess.from_json(state["harm"]), EProcess.from_json(state["non_inferiority"]))
        return cls(*tests, tuple(state["events"]))


def hazard_shape(times: Sequence[float], events: Sequence[int], horizon: float) -> HazardShape:
    """Nelson-Aalen estimate at the band edges, as shares of its value at `horizon` days.

    Args:
        times: (n,) follow-up in days. events: (n,) 1 = event. Bands without any event get a small share.
    """
    subjects = sorted(zip((float(t) for t in times), (int(e) for e in events), strict=True))
    sums, position, total = [], 0, 0.0
    for edge in BAND_EDGES:
        while position < len(subjects) and subjects[position][0] <= edge * horizon:
            total += subjects[position][1] / (len(subjects) - position)
            position += 1
        sums.append(total)
    if not total:
        return HazardShape()
    smooth = [0.99 * s / total + 0.01 * e for s, e in zip(sums, BAND_EDGES, strict=True)]
    return HazardShape((*smooth[:-1], 1.0))
