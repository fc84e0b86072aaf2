"""Gate 4, regulatory: no direct identifiers, signatures that belong to this model, a complete lineage, declared use.

A passed check says that a control has evidence here. It never says that a system complies: validation is the user's.
"""

from __future__ import annotations

from clinical_assets.gates.checks import run_gate
from clinical_assets.gates.facts import ReleaseFacts
from clinical_assets.gates.policy import GatePolicy
from clinical_assets.gates.regulatory import (
    change_control,
    control_maps,
    declared_use,
    deidentification,
    signatures,
    traceability,
)
from clinical_assets.gates.verdict import GateName, GateReport

GATE = GateName.REGULATORY
THEMES = (deidentification, signatures, traceability, change_control, declared_use, control_maps)
"""Modules that register the checks of this gate."""


def judge(facts: ReleaseFacts, policy: GatePolicy) -> GateReport:
    return run_gate(GATE, facts, policy)
