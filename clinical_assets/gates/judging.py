"""All five gates on one candidate."""

from __future__ import annotations

from clinical_assets.gates import bias, data_quality, performance, regulatory, security
from clinical_assets.gates.facts import ReleaseFacts
from clinical_assets.gates.policy import GatePolicy
from clinical_assets.gates.verdict import GateName, GateReport


def judge(facts: ReleaseFacts, policy: GatePolicy) -> dict[GateName, GateReport]:
    """The five reports, in the order of the gates. Their scope is `verdicts.scope`."""
    return {gate.GATE: gate.judge(facts, policy) for gate in (data_quality, performance, bias, regulatory, security)}
