"""Gate reports and records to start from; each test changes the one thing it is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clinical_assets.audit.records import RecordStore, SignedRecord
from clinical_assets.gates.verdict import CheckResult, GateName, GateReport, Tier, Verdict

MODEL = "a" * 64
OTHER = "b" * 64
NOW = 1_800_000_000.0
DAY = 86_400.0
FIRST_CHECK = {
    GateName.DATA_QUALITY: "DQ1",
    GateName.PERFORMANCE: "MP9",
    GateName.BIAS: "BI2",
    GateName.REGULATORY: "RG8",
    GateName.SECURITY: "SE1",
}


def reports(verdicts: Mapping[str, Verdict] | None = None, **changes: Any) -> list[GateReport]:
    """Five reports with one required check each, passing unless `verdicts` says otherwise by check id."""
    made = []
    for gate, check_id in FIRST_CHECK.items():
        verdict = (verdicts or {}).get(check_id, Verdict.PASS)
        check = CheckResult(id=check_id, title=check_id, verdict=verdict, metric="m", value=0.5, reason="as given")
        fields = {"cancer": "colon", "model_digest": MODEL, "policy_digest": "policy"} | changes
        made.append(
            GateReport(
                gate=gate,
                verdict=Verdict.PASS,  # the field is not what counts
                checks=(check,),
                required=(check_id,),
                started="2026-01-01T00:00:00+00:00",
                finished="2026-01-01T00:00:01+00:00",
                **fields,
            )
        )
    return made


def issue(store: RecordStore, **changes: Any) -> SignedRecord:
    fields: dict[str, Any] = {
        "cancer": "colon",
        "model_digest": MODEL,
        "data_digests": {"snapshot": "s", "features": "f", "split": "p"},
        "policy_digest": "policy",
        "lineage": {"commit": "c0ffee", "clean": True},
        "reports": reports(),
        "tier": Tier.CLINICAL,
        "actor": "gate_verdict",
        "now": NOW,
    }
    return store.issue(**fields | changes)
