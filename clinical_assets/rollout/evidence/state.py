"""All tests of one rollout as one value, and the pure step that moves it on by what was newly logged.

The step sees rows in a fixed order (maturity, then position in the log), so the same log read in the same steps gives
bit-identical values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from clinical_assets.rollout.evidence.after_promotion import OutcomeWatch
from clinical_assets.rollout.evidence.bets import EProcess
from clinical_assets.rollout.evidence.companions import Companions
from clinical_assets.rollout.evidence.courses import Course, squared
from clinical_assets.rollout.evidence.drift import DriftEvidence, ScoreReference, tie_breaker
from clinical_assets.rollout.evidence.hazard import BAND_EDGES, HazardEvidence
from clinical_assets.rollout.evidence.maturity import outcomes_at_horizon
from clinical_assets.rollout.evidence.news import Answers, News, Observed, Pairs, Passage, Scores
from clinical_assets.rollout.evidence.onset import Onset
from clinical_assets.rollout.evidence.outputs import OutputEvidence
from clinical_assets.rollout.evidence.service import ServiceEvidence
from clinical_assets.rollout.evidence.shadow import PairedEvidence, loss_differences
from clinical_assets.rollout.evidence.split import SplitEvidence, augmentations, split_differences
from clinical_assets.rollout.evidence.srm import assign_all, sample_ratio
from clinical_assets.rollout.plan import RolloutPlan

WATCH = "watch"


@dataclass(frozen=True)
class Evidence:
    """State of every test. `to_json` is exact."""

    paired: PairedEvidence
    companions: Companions
    hazard: HazardEvidence
    split: SplitEvidence
    service: ServiceEvidence
    assignment: EProcess
    outputs: OutputEvidence
    champion_drift: DriftEvidence
    challenger_drift: DriftEvidence
    onsets: Mapping[str, Onset]
    matured: int = 0
    sampled_at: float | None = None
    stage: str = ""
    answered_before: int = 0
    promoted: OutcomeWatch = field(default_factory=OutcomeWatch.start)

    @classmethod
    def start(cls, plan: RolloutPlan) -> Evidence:
        return cls(
            PairedEvidence.start(plan.margin),
            Companions.start(plan),
            HazardEvidence.start(),
            SplitEvidence.start(plan.margin),
            ServiceEvidence.start(plan),
            sample_ratio(),
            OutputEvidence(),
            DriftEvidence.start(plan.champion_scores),
            DriftEvidence.start(plan.challenger_scores),
            {},
        )

    @property
    def overdue(self) -> float:
        """Share of mature shadow patients whose outcome is missing."""
        return 1 - self.paired.n / self.matured if self.matured else 0.0

    @property
    def stage_requests(self) -> int:
        """Requests that the challenger answered in the present stage."""
        return self.outputs.answered - self.answered_before

    def log_harm(self) -> dict[str, float]:
        """log E of every test that can roll back, by name."""
        service = self.service
        found = {
            "paired_harm": self.paired.harm.log_e,
            "split_harm": self.split.harm.log_e,
            "hazard_harm": self.hazard.harm.log_e,
            "subgroup_harm": self.companions.subgroups.log_e,
            "score_drift": self.challenger_drift.log_e,
            "error_ratio": service.errors.ratio.log_e,
            "error_objective": service.errors.objective.log_e,
        }
        for index, test in enumerate(service.latency):
            found |= {f"latency_ratio_{index}": test.ratio.log_e, f"latency_objective_{index}": test.objective.log_e}
        return found

    def update(self, news: News, plan: RolloutPlan) -> Evidence:
        """The evidence after `news`."""
        moved = self if news.stage == self.stage else self._entered(news.stage)
        moved = _scored(moved, news.scored, plan)
        if news.pool is not None:
            moved = replace(moved, companions=moved.companions.with_pool(news.pool, plan))
        moved = _passed(moved, news.passages, news.wall, plan)
        moved = _paired(moved, news.pairs, plan)
        moved = _answered(moved, news.answers, plan)
        moved = _since_promotion(moved, news.promoted, plan)
        if news.assigned:
            assignment = assign_all(moved.assignment, news.assigned.challenger, news.assigned.propensity)
            moved = replace(moved, assignment=assignment)
        return _count(replace(moved, matured=moved.matured + news.matured), news, plan)

    def _entered(self, stage: str) -> Evidence:
        return replace(self, stage=stage, answered_before=self.outputs.answered)

    def to_json(self) -> dict[str, Any]:
        parts = ("paired", "companions", "hazard", "split", "service", "assignment", "outputs")
        plain = ("matured", "sampled_at", "stage", "answered_before")
        drifts = ("champion_drift", "challenger_drift")
        return {
            **{name: getattr(self, name).to_json() for name in (*parts, *drifts)},
            "onsets": {name: onset.to_json() for name, onset in self.onsets.items()},
            **{name: getattr(self, name) for name in plain},
            **({"promoted": self.promoted.to_json()} if self.promoted.n else {}),
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Evidence:
        return cls(
            PairedEvidence.from_json(state["paired"]),
            Companions.from_json(state["companions"]),
            HazardEvidence.from_json(state["hazard"]),
            SplitEvidence.from_json(state["split"]),
            ServiceEvidence.from_json(state["service"]),
            EProcess.from_json(state["assignment"]),
            OutputEvidence.from_json(state["outputs"]),
            DriftEvidence.from_json(state["champion_drift"]),
            DriftEvidence.from_json(state["challenger_drift"]),
            {name: Onset.from_json(onset) for name, onset in state["onsets"].items()},
            state["matured"],
            state["sampled_at"],
            state["stage"],
            state["answered_before"],
            OutcomeWatch.from_json(state["promoted"]) if "promoted" in state else OutcomeWatch.start(),
        )


def _outcomes(outcome: Observed, plan: RolloutPlan) -> tuple[np.ndarray, np.ndarray]:
    """(n,) outcomes and weights: a label as it is, a follow-up time at the horizon."""
    timed = np.isnan(outcome.label)
    if not timed.any():
        return outcome.label, np.ones(len(outcome))
    time, event = outcome.time[timed], outcome.event[timed]
    if plan.horizon_days is None or np.isnan(time).any() or np.isnan(event).any():
        raise ValueError(f"{plan.cancer}: a follow-up time was posted, but the rollout's plan has no horizon")
    cap = plan.policy.censoring_weight_cap
    found, weights = outcome.label.copy(), np.ones(len(outcome))
    found[timed], weights[timed] = outcomes_at_horizon(time, event, plan.horizon_days, plan.censoring, cap)
    return found, weights


def _since(evidence: Evidence, samples_at: np.ndarray, courses: Mapping[str, Course]) -> Evidence:
    moved = {name: evidence.onsets.get(name, Onset()).follow(course, samples_at) for name, course in courses.items()}
    return replace(evidence, onsets={**evidence.onsets, **moved})


def _scored(evidence: Evidence, scored: Scores | None, plan: RolloutPlan) -> Evidence:
    onset = evidence.onsets.get("score_drift", Onset())
    if not scored:
        return replace(evidence, onsets={**evidence.onsets, "score_drift": onset})
    ours = np.flatnonzero(scored.challenger)
    patients = [scored.patient[i] for i in ours.tolist()]
    answered, at = scored.answered[ours], scored.recorded_at[ours]
    outputs = evidence.outputs.follow(patients, scored.risk[ours], answered, at)
    valid = scored.first & ~np.isnan(scored.risk)
    a, _, _ = _ranked(evidence.champion_drift, plan.champion_scores, scored, valid & ~scored.challenger, plan)
    before = evidence.challenger_drift
    b, course, at = _ranked(before, plan.challenger_scores, scored, valid & scored.challenger, plan)
    told = course != np.concatenate(([before.log_e], course[:-1])) if len(course) else np.zeros(0, bool)
    if told.any():
        moving = course[told]
        onset = onset.follow(Course(moving, lambda i: float(moving[i]), np.ones(len(moving), bool)), at[told])
    onsets = {**evidence.onsets, "score_drift": onset}
    return replace(evidence, outputs=outputs, champion_drift=a, challenger_drift=b, onsets=onsets)


def _ranked(
    drift: DriftEvidence, reference: ScoreReference, scored: Scores, which: np.ndarray, plan: RolloutPlan
) -> tuple[DriftEvidence, np.ndarray, np.ndarray]:
    """The drift test after the scores `which`; (m,) log E after each of them, and when they were recorded."""
    places = np.flatnonzero(which)
    if not sum(reference.counts) or not len(places):
        return drift, np.zeros(0), np.zeros(0)
    model = str(bool(scored.challenger[places[0]]))
    uniforms = np.array([tie_breaker(plan.cancer, model, scored.patient[i]) for i in places.tolist()])
    moved, course = drift.follow(reference, scored.risk[places], uniforms)
    return moved, course, scored.recorded_at[places]


def _passed(evidence: Evidence, passages: Sequence[Passage], wall: float, plan: RolloutPlan) -> Evidence:
    if not passages:
        return evidence
    columns = zip(*((p.challenger, p.champion, p.band, p.event, _exposure(p, plan)) for p in passages), strict=True)
    challenger, champion, band, event, share = (np.array(column) for column in columns)
    hazard, course = evidence.hazard.follow(challenger, champion, band, event, share, plan.policy.hazard_margin)
    return _since(replace(evidence, hazard=hazard), np.full(len(passages), wall), {"hazard_harm": course})


def _exposure(passage: Passage, plan: RolloutPlan) -> float:
    """Share of the cumulative hazard that was met in the band, less the whole of it where that was counted before."""
    share = plan.hazard_shape.within(passage.band, min(passage.until, BAND_EDGES[passage.band]))
    if passage.withdrawn:
        share -= plan.hazard_shape.within(passage.band, BAND_EDGES[passage.band])
    return share


def _paired(evidence: Evidence, pairs: Pairs | None, plan: RolloutPlan) -> Evidence:
    if not pairs:
        return evidence
    outcome, weight = _outcomes(pairs.outcome, plan)
    z = loss_differences(pairs.challenger, pairs.champion, outcome, weight)
    paired, harm = evidence.paired.follow(z, plan.margin, plan.max_weight)
    companions, missed = evidence.companions.follow(pairs, z, outcome, weight, plan)
    moved = replace(evidence, paired=paired, companions=companions)
    return _since(moved, pairs.outcome.recorded_at, {"paired_harm": harm, "subgroup_harm": missed})


def _since_promotion(evidence: Evidence, pairs: Pairs | None, plan: RolloutPlan) -> Evidence:
    if not pairs:
        return evidence
    outcome, weight = _outcomes(pairs.outcome, plan)
    z = loss_differences(pairs.challenger, pairs.champion, outcome, weight)
    promoted = evidence.promoted
    for column in zip(z.tolist(), pairs.predicted_at.tolist(), pairs.outcome.recorded_at.tolist(), strict=True):
        promoted = promoted.update(*column, plan.max_weight, plan.bets_since_promotion)
    return replace(evidence, promoted=promoted)


def _answered(evidence: Evidence, answers: Answers | None, plan: RolloutPlan) -> Evidence:
    if not answers:
        return evidence
    outcome, weight = _outcomes(answers.outcome, plan)
    centre: Any = plan.champion_brier
    if plan.split_scores == "both":
        if np.isnan(answers.other).any():
            raise ValueError(f"{plan.cancer}: the plan promises both models' scores in the split, one is missing")
        challenger = np.where(answers.challenger_arm, answers.risk, answers.other)
        champion = np.where(answers.challenger_arm, answers.other, answers.risk)
        centre = augmentations(challenger, champion, answers.propensity)
    loss = squared(answers.risk - outcome)
    z = split_differences(answers.challenger_arm, loss, answers.propensity, centre, weight)
    split, course = evidence.split.follow(z, answers.propensity, plan.max_weight)
    return _since(replace(evidence, split=split), answers.outcome.recorded_at, {"split_harm": course})


def _count(evidence: Evidence, news: News, plan: RolloutPlan) -> Evidence:
    """What the data plane counted since the last sample."""
    if news.counters is None:
        return evidence if evidence.sampled_at is not None else replace(evidence, sampled_at=news.wall)
    service = evidence.service.update(news.counters, plan, news.stage == WATCH, news.now)
    moved = replace(evidence, service=service, sampled_at=news.wall)
    if evidence.service.counters is None:
        return moved
    began = news.wall if evidence.sampled_at is None else max(evidence.sampled_at, news.heard or evidence.sampled_at)
    logs = moved.log_harm()
    names = ["error_ratio", "error_objective", *(name for name in logs if name.startswith("latency"))]
    onsets = {name: moved.onsets.get(name, Onset()).update(logs[name], began) for name in names}
    return replace(moved, onsets={**moved.onsets, **onsets})
