"""Every decision of a rollout taken again, from the ledger and the prediction log alone, and compared bit by bit.

Evidence is recomputed from the logged predictions, outcomes and counters; each decision is then taken again on the
evidence and on what its row says was seen of verdict, approval, telemetry and route.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from clinical_assets.foundation.canonical import canonical_json, sha256_json
from clinical_assets.rollout import stages
from clinical_assets.rollout.controller import Action, Order, RolloutState, RouteReading, decide
from clinical_assets.rollout.entries import StoredTransition, Transition
from clinical_assets.rollout.evidence.state import Evidence
from clinical_assets.rollout.evidence_log import EvidenceLog, state_digest
from clinical_assets.rollout.guardrails import counts, statistics
from clinical_assets.rollout.inputs import Reading
from clinical_assets.rollout.ledger import Ledger
from clinical_assets.rollout.plan import RolloutPlan
from clinical_assets.rollout.restraint import CONTESTED
from clinical_assets.rollout.writing import begun_decision

RESTRAINED = (CONTESTED, "route_rejected")
"""Rules of a hold that depends on the refusal or the fight of another writer, not on evidence."""


@dataclass(frozen=True)
class Replayed:
    """One decision taken again. `number` counts from 1; `differences` is empty when nothing differs."""

    number: int
    stored: StoredTransition
    evidence: Evidence | None
    differences: tuple[str, ...]


def replay(ledger: Ledger, rollout_id: str) -> list[Replayed]:
    """All decisions of the rollout, in order.

    Raises:
        EvidenceMismatch: a step of the evidence is not what the ledger gives now; no decision can be compared.
        LedgerError: unknown rollout.
    """
    rollout = ledger.rollout_by_id(rollout_id)
    plan = RolloutPlan.model_validate(rollout.policy)
    rows = ledger.transitions(rollout_id)
    log = EvidenceLog(ledger.engine)

    kept = log.archived(rollout_id)

    def every() -> Iterator[Evidence]:
        return iter([Evidence.start(plan), *kept]) if kept else log.replayed(rollout_id, plan)

    wanted = {row.transition.evidence.get("evidence") for row in rows}
    states: dict[str, Evidence] = {}
    for evidence in every():
        digest = state_digest(evidence)
        if digest in wanted:
            states[digest] = evidence
    found, stage, entered_at = [], stages.OPENING, rollout.opened_at
    for number, row in enumerate(rows, start=1):
        decided = row.transition
        sight = _Sight(plan, stage, entered_at, rollout.opened_at)
        evidence = states.get(decided.evidence.get("evidence", ""))
        differences = list(_differences(sight, decided, evidence))
        if differences and _finished(ledger, decided) and any(_rests_on(decided, state, plan) for state in every()):
            differences = []
        found.append(Replayed(number, row, evidence, tuple(differences)))
        if decided.stage != stage:
            stage, entered_at = decided.stage, decided.at
    return found


def needed(ledger: Ledger, rollout_id: str) -> list[Evidence]:
    """The states of evidence on which the rollout's decisions rest: with them alone, `replay` gives the same answer.

    Raises as `replay`.
    """
    plan = RolloutPlan.model_validate(ledger.rollout_by_id(rollout_id).policy)
    rows = [row.transition for row in ledger.transitions(rollout_id)]
    wanted = {row.evidence.get("evidence") for row in rows}
    finished = [row for row in rows if _finished(ledger, row)]
    states = list(EvidenceLog(ledger.engine).replayed(rollout_id, plan))[1:]
    resting = {
        digest: state
        for state in states
        if (digest := state_digest(state)) in wanted or any(_rests_on(row, state, plan) for row in finished)
    }
    return list(resting.values()) or states[-1:]


def _finished(ledger: Ledger, row: Transition) -> bool:
    """Whether the row finishes a rollback that an earlier tick had begun, and so carries out what was decided then."""
    if row.action != Action.ROLLBACK or row.intent_id is None:
        return False
    begun = begun_decision(ledger.intent(row.intent_id))
    same = ("stage", "weight", "rule", "reason", "actor")
    return begun.action is Action.ROLLBACK and all(getattr(begun, name) == getattr(row, name) for name in same)


def _rests_on(row: Transition, evidence: Evidence, plan: RolloutPlan) -> bool:
    return _equal(_recorded(row), statistics(evidence, plan))


def _recorded(row: Transition) -> dict[str, Any]:
    return {name: value for name, value in row.statistics.items() if name != "rollback"}


@dataclass(frozen=True)
class _Sight:
    plan: RolloutPlan
    stage: str
    entered_at: float
    opened_at: float

    def state(self, row: Transition) -> RolloutState:
        seen = row.evidence
        limit = self.plan.policy.blind_limit_s
        return RolloutState(
            plan=self.plan,
            stage=self.stage,
            entered_at=self.entered_at,
            opened_at=self.opened_at,
            verdict=seen["verdict"],
            next_verdict=seen["next_verdict"],
            approver=seen["approver"],
            telemetry=Reading(seen["telemetry"]),
            blind_s=limit + 1 if seen["blind"] else 0.0,
            route=RouteReading(seen["route"]),
            fallback=seen.get("fallback", ""),
            order=None if seen["order"] is None else Order(seen["order"], row.reason, row.rule),
        )


def _differences(sight: _Sight, row: Transition, evidence: Evidence | None) -> Iterator[str]:
    if sha256_json(dict(row.evidence)) != row.input_sha256:
        yield "what was seen does not have the digest that was recorded"
    if row.evidence.get("stage") != sight.stage:
        yield f"stage before: recorded {row.evidence.get('stage')}, replayed {sight.stage}"
    if evidence is None:
        yield f"no step gives the evidence {str(row.evidence.get('evidence'))[:12]} that was recorded"
        return
    yield from _compared("n", dict(row.n), counts(evidence))
    recorded, figures = _recorded(row), statistics(evidence, sight.plan)
    for name in sorted(recorded.keys() | figures.keys()):
        yield from _compared(name, recorded.get(name), figures.get(name))
    if row.rule in RESTRAINED:
        yield from _compared("action", row.action, Action.HOLD.value)
        return
    again = decide(sight.state(row), evidence, sight.plan.policy, row.at)
    for name in ("stage", "weight", "rule"):
        yield from _compared(name, getattr(row, name), getattr(again, name))
    yield from _compared("action", row.action, again.action.value)
    if again.action is Action.ROLLBACK:
        yield from _compared("first bad sample", row.statistics["rollback"]["first_bad_sample_at"], again.bad_since)


def _compared(name: str, recorded: Any, again: Any) -> Iterator[str]:
    if not _equal(recorded, again):
        yield f"{name}: recorded {recorded}, replayed {again}"


def _equal(recorded: Any, again: Any) -> bool:
    return canonical_json(recorded) == canonical_json(again)
