"""Why a rollout stands where it stands, in words: each test against its limit, what is missing, who must sign."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clinical_assets.rollout import stages
from clinical_assets.rollout.controller import Action, Decision
from clinical_assets.rollout.entries import Progress
from clinical_assets.rollout.inputs import Reading
from clinical_assets.rollout.plan import RolloutPlan

STAGES = {
    stages.OPENING: "is about to begin",
    stages.SHADOW: "scores every patient beside the present model; nobody sees its answers",
    stages.APPROVAL: "has passed every step of the ramp and waits for a signature",
    stages.FULL: "answers all patients",
    stages.WATCH: "answers all patients; the former model stays ready to take over",
    stages.DONE: "has replaced the former model",
    stages.BOTH_BAD: "was taken off, and the former model fails as well; a person must decide",
    stages.FALLBACK: "was taken off, and the former model fails as well: the fallback of the policy is in force",
    stages.ROLLED_BACK: "was taken off; the former model answers all patients",
}

MEANINGS = {
    "paired_harm": "its predictions are worse than the present model's on the same patients",
    "split_harm": "patients it answered for were predicted worse than patients of the present model",
    "hazard_harm": "it misjudges when events happen, over the follow-up so far",
    "subgroup_harm": "it misses more cases than the present model in some group of patients",
    "score_drift": "its risks no longer look like those it was judged on",
    "error_ratio": "it fails to answer more often than the present model",
    "error_objective": "it fails to answer more often than the objective allows",
    "latency_ratio": "it answers more slowly than the present model",
    "latency_objective": "it answers more slowly than the objective allows",
}

READINGS = {
    Reading.OK.value: "",
    Reading.NO_DATA.value: "no data yet, which is neither good nor bad",
    Reading.INSUFFICIENT.value: "too few so far to roll back on",
    Reading.CONFIG_ERROR.value: "cannot be read: configuration error",
}


@dataclass(frozen=True)
class Standing:
    """One test: how far the evidence for a harm has come on its way to the limit, 0..1 on the logarithmic scale."""

    name: str
    meaning: str
    e: float
    limit: float
    n: int
    way: float
    said: str


@dataclass(frozen=True)
class Explanation:
    """`missing`: conditions of the next step that are not met. `signature`: who must sign, "" if nobody need."""

    rollout: str
    stage: str
    weight: int
    now: str
    tests: tuple[Standing, ...]
    promotion: str
    next_stage: str
    missing: tuple[str, ...]
    signature: str


def explain(progress: Progress, decision: Decision | None) -> Explanation:
    """
    Args:
        decision: what would be decided now; `None` for a rollout that is over, whose last decision is explained.
    """
    plan = RolloutPlan.model_validate(progress.rollout.policy)
    stage = progress.stage if progress.last is not None else stages.OPENING
    figures: Mapping[str, Any] = decision.statistics if decision else {}
    if decision is None and progress.last is not None:
        figures = progress.last.transition.statistics
    return Explanation(
        rollout=progress.rollout.id,
        stage=stage,
        weight=progress.weight,
        now=f"the new model {STAGES.get(stage, f'answers {progress.weight} % of the patients, chosen at random')}",
        tests=() if plan.initial else tuple(_standing(name, rail) for name, rail in _rails(figures).items()),
        promotion="" if plan.initial else _promotion(figures),
        next_stage=stages.following(plan, stage) if stage not in (*stages.CLOSED, *stages.EMERGENCY) else "",
        missing=_missing(decision),
        signature=_signature(progress, plan, stage),
    )


def _rails(figures: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    return figures.get("guardrails", {})


def _standing(name: str, rail: Mapping[str, Any]) -> Standing:
    meaning = MEANINGS.get(name) or MEANINGS[name.rpartition("_")[0]]
    way = math.log(max(rail["peak"], 1.0)) / math.log(rail["threshold"])
    said = "REACHED: this rolls back" if rail["rejected"] else READINGS[rail["reading"]]
    return Standing(name, meaning, rail["e"], rail["threshold"], rail["n"], min(1.0, way), said)


def _promotion(figures: Mapping[str, Any]) -> str:
    found = figures.get("non_inferiority")
    if not found:
        return ""
    lost = f"less than {found['margin']:.4g} of prediction error is lost"
    if found["proven"]:
        return f"proven on {found['n']} patients: {lost} by changing to the new model"
    missing = f"; {found['missing']}" if found["missing"] else ""
    return (
        f"not proven yet on {found['n']} patients that {lost} by changing to the new model: "
        f"evidence {found['e']:.3g}, needed {found['threshold']:.3g}{missing}"
    )


def _missing(decision: Decision | None) -> tuple[str, ...]:
    if decision is None or decision.action in (Action.ADVANCE, Action.PROMOTE):
        return ()
    if decision.action is Action.CONTINUE:
        return tuple(decision.reason.split("; "))
    return (f"{decision.action.value} ({decision.rule}): {decision.reason}",)


def _signature(progress: Progress, plan: RolloutPlan, stage: str) -> str:
    if not plan.needs_approval or stage in (*stages.CLOSED, *stages.PROMOTED, *stages.EMERGENCY):
        return ""
    who = f"a named person other than {progress.rollout.author}, who made the model"
    when = "now" if stage == stages.APPROVAL else "before it answers all patients"
    return f"{who}, must sign {when}: clinical approve {progress.rollout.cancer} --name NAME --role ROLE"
