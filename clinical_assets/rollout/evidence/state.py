"""All tests of one rollout as one value, and the pure step that moves it on by what was newly logged.

The step sees rows in a fixed order (maturity, then position in the log), so the same log read in the same steps gives
bit-identical values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clinical_assets.rollout.evidence.bets import EProcess
from clinical_assets.rollout.evidence.errors import ErrorEvidence
from clinical_assets.rollout.evidence.maturity import outcome_at_horizon
from clinical_assets.rollout.evidence.onset import Onset
from clinical_assets.rollout.evidence.outputs import OutputEvidence
from clinical_assets.rollout.evidence.shadow import PairedEvidence, loss_difference
from clinical_assets.rollout.evidence.split import SplitEvidence, augmentation, split_difference
from clinical_assets.rollout.evidence.srm import assign, sample_ratio
from clinical_assets.rollout.plan import RolloutPlan

TESTS = ("paired_harm", "split_harm", "error_ratio", "error_objective")


@dataclass(frozen=True)
class Observed:
    """What became of a patient: (time in days, event) or a label."""

    time: float | None
    event: int | None
    label: int | None
    recorded_at: float


@dataclass(frozen=True)
class Pair:
    """Both scores of a mature patient of the shadow stage."""

    champion: float
    challenger: float
    outcome: Observed


@dataclass(frozen=True)
class Answer:
    """The score that a mature patient of the split was given; `other` is the other model's, where logged."""

    challenger_arm: bool
    propensity: float
    risk: float
    other: float | None
    outcome: Observed


@dataclass(frozen=True)
class News:
    """What was logged since the last step, each patient once, in reading order.

    Attributes:
        wall: wall time of the step. stage: stage in force.
        matured: pairs whose horizon has passed, with or without outcome.
        assigned: (challenger arm?, propensity) of patients first seen in the split.
        scored: (patient, risk or None, given to the patient?, recorded at) of the challenger's scores.
        counters: cumulative (requests, errors) by digest, `None` when telemetry was missing.
    """

    wall: float
    stage: str
    matured: int = 0
    pairs: Sequence[Pair] = ()
    answers: Sequence[Answer] = ()
    assigned: Sequence[tuple[bool, float]] = ()
    scored: Sequence[tuple[str, float | None, bool, float]] = ()
    counters: Mapping[str, tuple[int, int]] | None = None


@dataclass(frozen=True)
class Evidence:
    """State of every test. `to_json` is exact."""

    paired: PairedEvidence
    split: SplitEvidence
    errors: ErrorEvidence
    assignment: EProcess
    outputs: OutputEvidence
    onsets: Mapping[str, Onset]
    matured: int = 0
    counters: Mapping[str, tuple[int, int]] | None = None
    sampled_at: float | None = None
    stage: str = ""
    answered_before: int = 0

    @classmethod
    def start(cls, plan: RolloutPlan) -> Evidence:
        return cls(
            PairedEvidence.start(plan.margin),
            SplitEvidence.start(),
            ErrorEvidence.start(),
            sample_ratio(),
            OutputEvidence(),
            {name: Onset() for name in TESTS},
        )

    @property
    def overdue(self) -> float:
        """Share of mature shadow patients whose outcome is missing."""
        return 1 - self.paired.n / self.matured if self.matured else 0.0

    @property
    def stage_requests(self) -> int:
        """Requests that the challenger answered in the present stage."""
        return self.outputs.answered - self.answered_before

    def harm_processes(self) -> dict[str, EProcess]:
        """The tests that can roll back, by name."""
        processes = (self.paired.harm, self.split.harm, self.errors.ratio, self.errors.objective)
        return dict(zip(TESTS, processes, strict=True))

    def update(self, news: News, plan: RolloutPlan) -> Evidence:
        """The evidence after `news`."""
        moved = self if news.stage == self.stage else self._entered(news.stage)
        moved = _score(moved, news)
        for pair in news.pairs:
            moved = _pair(moved, pair, plan)
        for answer in news.answers:
            moved = _answer(moved, answer, plan)
        for challenger, propensity in news.assigned:
            moved = replace(moved, assignment=assign(moved.assignment, challenger, propensity))
        return _count(replace(moved, matured=moved.matured + news.matured), news, plan)

    def _entered(self, stage: str) -> Evidence:
        return replace(self, stage=stage, answered_before=self.outputs.answered)

    def to_json(self) -> dict[str, Any]:
        counters = None if self.counters is None else {k: list(v) for k, v in sorted(self.counters.items())}
        return {
            "paired": self.paired.to_json(),
            "split": self.split.to_json(),
            "errors": self.errors.to_json(),
            "assignment": self.assignment.to_json(),
            "outputs": self.outputs.to_json(),
            "onsets": {name: onset.to_json() for name, onset in self.onsets.items()},
            "matured": self.matured,
            "counters": counters,
            "sampled_at": self.sampled_at,
            "stage": self.stage,
            "answered_before": self.answered_before,
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Evidence:
        counters = state["counters"]
        return cls(
            PairedEvidence.from_json(state["paired"]),
            SplitEvidence.from_json(state["split"]),
            ErrorEvidence.from_json(state["errors"]),
            EProcess.from_json(state["assignment"]),
            OutputEvidence.from_json(state["outputs"]),
            {name: Onset.from_json(state["onsets"][name]) for name in TESTS},
            state["matured"],
            None if counters is None else {k: (v[0], v[1]) for k, v in counters.items()},
            state["sampled_at"],
            state["stage"],
            state["answered_before"],
        )


def _outcome(outcome: Observed, plan: RolloutPlan) -> tuple[int, float]:
    if outcome.label is not None:
        return outcome.label, 1.0
    if plan.horizon_days is None or outcome.time is None or outcome.event is None:
        raise ValueError(f"{plan.cancer}: a follow-up time was posted, but the rollout's plan has no horizon")
    cap = plan.policy.censoring_weight_cap
    return outcome_at_horizon(outcome.time, outcome.event, plan.horizon_days, plan.censoring, cap)


def _onset(evidence: Evidence, name: str, sample_at: float) -> Evidence:
    log_e = evidence.harm_processes()[name].log_e
    return replace(evidence, onsets={**evidence.onsets, name: evidence.onsets[name].update(log_e, sample_at)})


def _score(evidence: Evidence, news: News) -> Evidence:
    outputs = evidence.outputs
    for patient, risk, answered, recorded_at in news.scored:
        outputs = outputs.update(patient, risk, answered, recorded_at)
    return replace(evidence, outputs=outputs)


def _pair(evidence: Evidence, pair: Pair, plan: RolloutPlan) -> Evidence:
    outcome, weight = _outcome(pair.outcome, plan)
    z = loss_difference(pair.challenger, pair.champion, outcome, weight)
    moved = replace(evidence, paired=evidence.paired.update(z, plan.margin, plan.max_weight))
    return _onset(moved, "paired_harm", pair.outcome.recorded_at)


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
    return _onset(moved, "split_harm", answer.outcome.recorded_at)


def _count(evidence: Evidence, news: News, plan: RolloutPlan) -> Evidence:
    """New requests and errors since the last sample; a counter that fell was reset and starts again at 0."""
    if news.counters is None:
        return evidence if evidence.sampled_at is not None else replace(evidence, sampled_at=news.wall)
    fresh = {digest: (int(n), int(errors)) for digest, (n, errors) in news.counters.items()}
    if evidence.counters is None:
        return replace(evidence, counters=fresh, sampled_at=news.wall)
    champion = _increment(evidence.counters, fresh, plan.champion)
    challenger = _increment(evidence.counters, fresh, plan.challenger)
    moved = replace(
        evidence,
        errors=evidence.errors.update(champion, challenger, plan.error_objective),
        counters={**evidence.counters, **fresh},
        sampled_at=news.wall,
    )
    began = evidence.sampled_at if evidence.sampled_at is not None else news.wall
    return _onset(_onset(moved, "error_ratio", began), "error_objective", began)


def _increment(
    before: Mapping[str, tuple[int, int]], now: Mapping[str, tuple[int, int]], digest: str
) -> tuple[int, int]:
    if digest not in now:
        return 0, 0
    (n0, errors0), (n1, errors1) = before.get(digest, (0, 0)), now[digest]
    requests, errors = (n1 - n0, errors1 - errors0) if n1 >= n0 and errors1 >= errors0 else (n1, errors1)
    return max(requests, errors), errors
