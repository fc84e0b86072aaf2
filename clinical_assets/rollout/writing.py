"""Carrying out a decision: intent row, route write, observation in the data plane, decision row, done row.

Killed anywhere in between, the next tick finds the intent and finishes or reverts it; no step is taken twice because
the stage follows from decision rows alone, and a decision row names its intent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from clinical_assets.rollout.controller import Action, Decision
from clinical_assets.rollout.entries import Fence, Intent, IntentStep, Rollout, StaleLease, StoredTransition, Transition
from clinical_assets.rollout.ledger import Ledger
from clinical_assets.rollout.routing import RouteState, RoutingUnavailable, TrafficRouter
from clinical_assets.rollout.situation import same
from clinical_assets.rollout.stages import CLOSED

LEASE_S = 15.0
"""A killed tick holds up the next one no longer than this."""

_ORDER = (IntentStep.INTENT, IntentStep.WRITTEN, IntentStep.OBSERVED, IntentStep.DONE)


@dataclass(frozen=True)
class Facts:
    """What a decision row records beside the decision."""

    n: Mapping[str, int]
    interval: tuple[float, float] | None
    input_sha256: str
    evidence: Mapping[str, Any]


@dataclass(frozen=True)
class Writer:
    """Writes for one rollout under one lease. `now` is clinical time."""

    ledger: Ledger
    router: TrafficRouter
    rollout: Rollout
    fence: Fence
    now: float

    def unfinished(self) -> Intent | None:
        """The interrupted intent of this rollout, after closing those whose decision row is already there."""
        for intent in self.ledger.pending_intents(self.rollout.cancer):
            last = self.ledger.progress(intent.rollout_id).last
            if last is not None and last.transition.intent_id == intent.id:
                self._advance(intent, IntentStep.DONE)
            elif intent.rollout_id == self.rollout.id:
                return intent
            else:
                self.revert(intent, "its rollout is over")
        return None

    def revert(self, intent: Intent, reason: str) -> None:
        self.ledger.advance_intent(intent.id, IntentStep.REVERTED, self.now, self.fence, {"reason": reason})

    def begin(self, decision: Decision, target: RouteState) -> Intent:
        body = {"route": asdict(target), "decision": asdict(decision)}
        return self.ledger.begin_intent(self.rollout.id, self.rollout.cancer, body, self.now, self.fence)

    def carry_out(self, decision: Decision, target: RouteState, intent: Intent, facts: Facts) -> StoredTransition:
        """Write `target`, see it served, record the decision.

        Raises:
            RouteConflict, RouteRejected: the route was not changed; the intent is still open.
            RoutingUnavailable: it is unknown whether it was changed; the intent is still open.
            StaleLease: another holder took the lease over; the route was not changed.
        """
        applied = self.router.apply(target, self.ledger.wall(), lambda: self.ledger.renew_lease(self.fence, LEASE_S))
        confirmation = {"version": applied.version, "confirmed_at": applied.confirmed_at}
        self._advance(intent, IntentStep.WRITTEN, confirmation)
        served = self.router.read(self.rollout.cancer)
        if served is None or not same(served, target):
            raise RoutingUnavailable(f"{self.rollout.cancer}: the data plane does not serve the new route yet")
        observed = float(served.weights.get(self.rollout.challenger, 0))
        self._advance(intent, IntentStep.OBSERVED, {"weights": served.weights, "mirror": served.mirror})
        stored = self.record(decision, facts, observed, intent.id, applied.confirmed_at)
        self._advance(intent, IntentStep.DONE)
        return stored

    def record(
        self,
        decision: Decision,
        facts: Facts,
        observed_weight: float | None,
        intent_id: str | None = None,
        confirmed_at: float | None = None,
    ) -> StoredTransition:
        """Append the decision row."""
        figures = dict(decision.statistics)
        if decision.action is Action.ROLLBACK:
            figures["rollback"] = _delay(decision.bad_since, confirmed_at)
        transition = Transition(
            rollout_id=self.rollout.id,
            cancer=self.rollout.cancer,
            action=decision.action.value,
            stage=decision.stage,
            weight=decision.weight,
            reason=decision.reason,
            rule=decision.rule,
            actor=decision.actor,
            at=self.now,
            is_open=decision.stage not in CLOSED,
            observed_weight=observed_weight,
            n=facts.n,
            statistics=figures,
            interval=facts.interval,
            input_sha256=facts.input_sha256,
            intent_id=intent_id,
            evidence=facts.evidence,
        )
        return self.ledger.append_transition(transition, self.fence)

    def _advance(self, intent: Intent, upto: IntentStep, detail: Mapping[str, Any] | None = None) -> None:
        """Record every step after the one the intent has reached, up to `upto`.

        Raises:
            StaleLease: another holder took over, and has ended the intent.
        """
        pending = {found.id: found.step for found in self.ledger.pending_intents(self.rollout.cancer)}
        if intent.id not in pending:
            raise StaleLease(f"{self.rollout.cancer}: intent {intent.id} was ended by the holder that came after")
        for step in _ORDER[_ORDER.index(pending[intent.id]) + 1 : _ORDER.index(upto) + 1]:
            self.ledger.advance_intent(intent.id, step, self.now, self.fence, detail if step is upto else None)


def begun_route(intent: Intent | None) -> RouteState | None:
    return None if intent is None else RouteState(**intent.route["route"])


def begun_decision(intent: Intent) -> Decision:
    stored = intent.route["decision"]
    return Decision(**(stored | {"action": Action(stored["action"])}))


def _delay(bad_since: float | None, confirmed_at: float | None) -> dict[str, float | None]:
    """Wall times of the first bad sample and of the confirmed share 0, and the seconds between them."""
    seconds = None if bad_since is None or confirmed_at is None else max(0.0, confirmed_at - bad_since)
    return {"first_bad_sample_at": bad_since, "share_zero_at": confirmed_at, "seconds_to_share_zero": seconds}
