"""All tests of one rollout as one value, and the pure step that moves it on by what was newly logged.

The step sees rows in a fixed order (maturity, then position in the log), so the same log read in the same steps gives
bit-identical values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from clinical_assets.rollout.evidence.after_promotion import OutcomeWatch
from clinical_assets.rollout.evidence.bets import EProcess
from clinical_assets.rollout.evidence.companions import Companions
from clinical_assets.rollout.evidence.drift import DriftEvidence, ScoreReference, tie_breaker
from clinical_assets.rollout.evidence.hazard import BAND_EDGES, HazardEvidence
from clinical_assets.rollout.evidence.maturity import outcome_at_horizon
from clinical_assets.rollout.evidence.news import Answer, News, Observed, Pair, Passage
from clinical_assets.rollout.evidence.onset import Onset
from clinical_assets.rollout.evidence.outputs import OutputEvidence
from clinical_assets.rollout.evidence.service import ServiceEvidence
from clinical_assets.rollout.evidence.shadow import PairedEvidence, loss_difference
from clinical_assets.rollout.evidence.split import SplitEvidence, augmentation, split_difference
from clinical_assets.rollout.evidence.srm import assign, sample_ratio
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
        moved = _score(moved, news, plan)
        if news.pool is not None:
            moved = replace(moved, companions=moved.companions.with_pool(news.pool, plan))
        for passage in news.passages:
            moved = _pass(moved, passage, news, plan)
        for pair in news.pairs:
            moved = _pair(moved, pair, plan)
        for answer in news.answers:
            moved = _answer(moved, answer, plan)
        for pair in news.promoted:
            moved = _since_promotion(moved, pair, plan)
        for challenger, propensity in news.assigned:
            moved = replace(moved, assignment=assign(moved.assignment, challenger, propensity))
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


def _outcome(outcome: Observed, plan: RolloutPlan) -> tuple[int, float]:
    if outcome.label is not None:
        return outcome.label, 1.0
    if plan.horizon_days is None or outcome.time is None or outcome.event is None:
        raise ValueError(f"{plan.cancer}: a follow-up time was posted, but the rollout's plan has no horizon")
    cap = plan.policy.censoring_weight_cap
    return outcome_at_horizon(outcome.time, outcome.event, plan.horizon_days, plan.censoring, cap)


def _onset(evidence: Evidence, sample_at: float, *names: str) -> Evidence:
    logs = evidence.log_harm()
    moved = {name: evidence.onsets.get(name, Onset()).update(logs[name], sample_at) for name in names}
    return replace(evidence, onsets={**evidence.onsets, **moved})


def _score(evidence: Evidence, news: News, plan: RolloutPlan) -> Evidence:
    outputs, a, b = evidence.outputs, evidence.champion_drift, evidence.challenger_drift
    onset, log_e = evidence.onsets.get("score_drift", Onset()), b.log_e
    for score in news.scored:
        if score.challenger:
            outputs = outputs.update(score.patient, score.risk, score.answered, score.recorded_at)
        if score.risk is None or not score.first:
            continue
        uniform = tie_breaker(plan.cancer, str(score.challenger), score.patient)
        if score.challenger:
            b = _ranked(b, plan.challenger_scores, score.risk, uniform)
            onset = onset.update(b.log_e, score.recorded_at) if b.log_e != log_e else onset
            log_e = b.log_e
        else:
            a = _ranked(a, plan.champion_scores, score.risk, uniform)
    onsets = {**evidence.onsets, "score_drift": onset}
    return replace(evidence, outputs=outputs, champion_drift=a, challenger_drift=b, onsets=onsets)


def _ranked(drift: DriftEvidence, reference: ScoreReference, risk: float, uniform: float) -> DriftEvidence:
    return drift.update(reference, risk, uniform) if sum(reference.counts) else drift


def _pass(evidence: Evidence, passage: Passage, news: News, plan: RolloutPlan) -> Evidence:
    until = min(passage.until, BAND_EDGES[passage.band])
    share = plan.hazard_shape.within(passage.band, until)
    margin = plan.policy.hazard_margin
    hazard = evidence.hazard
    if passage.withdrawn:
        whole = plan.hazard_shape.within(passage.band, BAND_EDGES[passage.band])
        share -= whole
    hazard = hazard.update(passage.challenger, passage.champion, passage.band, passage.event, share, margin)
    return _onset(replace(evidence, hazard=hazard), news.wall, "hazard_harm")


def _pair(evidence: Evidence, pair: Pair, plan: RolloutPlan) -> Evidence:
    outcome, weight = _outcome(pair.outcome, plan)
    z = loss_difference(pair.challenger, pair.champion, outcome, weight)
    paired = evidence.paired.update(z, plan.margin, plan.max_weight)
    companions = evidence.companions.update(pair, z, outcome, weight, plan)
    moved = replace(evidence, paired=paired, companions=companions)
    return _onset(moved, pair.outcome.recorded_at, "paired_harm", "subgroup_harm")


def _since_promotion(evidence: Evidence, pair: Pair, plan: RolloutPlan) -> Evidence:
    outcome, weight = _outcome(pair.outcome, plan)
    z = loss_difference(pair.challenger, pair.champion, outcome, weight)
    seen = (pair.predicted_at, pair.outcome.recorded_at)
    return replace(evidence, promoted=evidence.promoted.update(z, *seen, plan.max_weight, plan.bets_since_promotion))


def _answer(evidence: Evidence, answer: Answer, plan: RolloutPlan) -> Evidence:
    outcome, weight = _outcome(answer.outcome, plan)
    centre = plan.champion_brier
    if plan.split_scores == "both":
        if answer.other is None:
            raise ValueError(f"{plan.cancer}: the plan promises both models' scores in the split, one is missing")
        scores = (answer.risk, answer.other) if answer.challenger_arm else (answer.other, answer.risk)
        centre = augmentation(*scores, answer.propensity)
    arm = "challenger" if answer.challenger_arm else "champion"
    z = split_difference(arm, (answer.risk - outcome) ** 2, answer.propensity, centre, weight)
    moved = replace(evidence, split=evidence.split.update(z, answer.propensity, plan.max_weight))
    return _onset(moved, answer.outcome.recorded_at, "split_harm")


def _count(evidence: Evidence, news: News, plan: RolloutPlan) -> Evidence:
    """What the data plane counted since the last sample."""
    if news.counters is None:
        return evidence if evidence.sampled_at is not None else replace(evidence, sampled_at=news.wall)
    service = evidence.service.update(news.counters, plan, news.stage == WATCH, news.now)
    moved = replace(evidence, service=service, sampled_at=news.wall)
    if evidence.service.counters is None:
        return moved
    began = evidence.sampled_at if evidence.sampled_at is not None else news.wall
    latency = [name for name in moved.log_harm() if name.startswith("latency")]
    return _onset(moved, began, "error_ratio", "error_objective", *latency)
