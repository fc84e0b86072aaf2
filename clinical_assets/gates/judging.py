"""All five gates on one candidate."""

from __future__ import annotations

from clinical_assets.gates.bias import gate as bias
from clinical_assets.gates.data_quality import gate as data_quality
from clinical_assets.gates.facts import ReleaseFacts
from clinical_assets.gates.performance import gate as performance
from clinical_assets.gates.policy import GatePolicy
from clinical_assets.gates.regulatory import gate as regulatory
from clinical_assets.gates.security import gate as security
from clinical_assets.gates.verdict import GateName, GateReport

JUDGES = {gate.GATE: gate.judge for gate in (data_quality, performance, bias, regulatory, security)}
"""The gates, in the order in which they are judged."""


def judge(facts: ReleaseFacts, policy: GatePolicy) -> dict[GateName, GateReport]:
    """The five reports. Their scope is `verdicts.scope`."""
    return {gate: one(facts, policy) for gate, one in JUDGES.items()}
