"""MP16: was the operating point fixed without the test split?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.facts import ReleaseFacts, TestLook, utc_seconds
from clinical_assets.gates.verdict import GateName, Verdict


@check(GateName.PERFORMANCE, "MP16", "The operating point was fixed beforehand", "faults in its provenance")
def operating_point(case: Case) -> Finding:
    """The operating point is part of the contract. It was fixed beforehand if the contract in force is the one under
    which the cohort was ingested and the model trained. That both lie before the model's look at the test split must be
    shown by the moments on record, else the check warns.

    A search that chose an operating point says on which split (`cv_choice["operating_point"]`); not on this test split.
    """
    facts = case.facts
    threshold = facts.contract.endpoint.decision_threshold
    contracts = {
        "the cohort was ingested": facts.manifest.get("contract_sha256"),
        "the model was trained": facts.lineage.get("contract_digest"),
    }
    problems = [
        f"{when} under another contract, so that the operating point may have been chosen later"
        for when, digest in contracts.items()
        if digest and digest != facts.contract.digest
    ]
    chosen = facts.cv_choice.get("operating_point")
    if isinstance(chosen, Mapping) and chosen.get("split_digest") == facts.split.digest:
        problems.append("the operating point was chosen on the test split")
    common: dict[str, Any] = {
        "value": float(len(problems)),
        "n": len(facts.test),
        "threshold": f"0: risk {threshold:g} fixed in the contract before the test split was opened",
        "threshold_source": "an operating point tuned on the test split overstates what it will do",
        "details": {
            "operating_point": threshold,
            "contract": facts.contract.digest,
            "ingested": facts.manifest.get("extracted_utc"),
            "opened": [look.opened_utc for look in _own_looks(facts)],
        },
    }
    remedy = "fix the operating point in the contract, then make a new test split of patients nobody has seen"
    if problems:
        return Finding(Verdict.BLOCK, "; ".join(problems), remedy, **common)
    missing = [when for when, digest in contracts.items() if not digest]
    if missing:
        reason = f"not recorded under which contract {' and '.join(missing)}"
        return Finding(Verdict.INCONCLUSIVE, reason, "ingest and train again", **common)
    if _too_late(facts):
        reason = "the snapshot is younger than the model's look at the test split: the order cannot be shown"
        return Finding(Verdict.WARN, reason, "keep the snapshot that the model was trained on", **common)
    return Finding(Verdict.PASS, f"risk {threshold:g}, in the contract since the cohort was ingested", **common)


def _own_looks(facts: ReleaseFacts) -> list[TestLook]:
    return [
        look
        for look in facts.looks
        if look.split_digest == facts.split.digest and look.model_digest == facts.model_digest
    ]


def _too_late(facts: ReleaseFacts) -> bool:
    ingested, own = facts.manifest.get("extracted_utc"), _own_looks(facts)
    if not ingested or not own:
        return False
    return utc_seconds(str(ingested)) > min(utc_seconds(look.opened_utc) for look in own)
