"""Gate 4, regulatory: a new model differs from the approved one only as far as the change plan allows (PCCP)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.facts import CHANGE, Baseline, ReleaseFacts
from clinical_assets.gates.regulatory.declarations import DeclaredUse
from clinical_assets.gates.verdict import GateName, Verdict

GATE = GateName.REGULATORY


@dataclass(frozen=True)
class Difference:
    """One way in which the candidate differs from the baseline. `inside` None: cannot be told."""

    item: str
    before: Any
    now: Any
    allowed: str
    inside: bool | None

    def __str__(self) -> str:
        return f"{self.item} was {self.before}, is {self.now} (allowed: {self.allowed})"


@check(GATE, "RG14", "Changes stay inside the change plan", "changes outside the plan")
def change_envelope(case: Case) -> Finding:
    """Candidate against the approved baseline: intended use, outcome, data, features, family, operating point."""
    facts = case.facts
    common: dict[str, Any] = {
        "n": 0,
        "threshold": "0 outside the plan of the cancer type; the intended use never changes under it",
        "threshold_source": "FDA, Predetermined Change Control Plans for AI-enabled device software functions (2024)",
    }
    declared, baseline = facts.declared, facts.baseline
    if declared is None:
        return Finding(Verdict.INCONCLUSIVE, "no change plan is known", "declare `change_plan`", **common)
    if baseline is None:
        return Finding(
            Verdict.PASS, "does not apply: no other model of this cancer type was approved by a person", **common
        )
    found = list(differences(facts, declared, baseline))
    outside = [difference for difference in found if difference.inside is False]
    unknown = [difference for difference in found if difference.inside is None]
    common |= {
        "value": float(len(outside)),
        "n": len(found),
        "details": {
            "baseline": baseline.model_digest, "approved_by": baseline.approved_by, "approved": baseline.approved_utc,
            "differences": [asdict(difference) for difference in found],
            "protocol": declared.change_plan.protocol, "impact": declared.change_plan.impact,
        },
    }  # fmt: skip
    since = f"since model {baseline.model_digest[:12]}, which {baseline.approved_by} approved"
    if outside:
        text = f"{since}: {'; '.join(map(str, outside))}"
        signers = [approval.name for approval in facts.approvals if _approves_change(approval.rollout_id, facts)]
        if signers:
            return Finding(
                Verdict.WARN,
                f"outside the plan, approved by {', '.join(signers)}: {text}",
                "make it the next baseline",
                **common,
            )
        remedy = f"undo it, widen `change_plan`, or let a person sign it: `clinical approve {facts.cancer} --change`"
        return Finding(Verdict.BLOCK, text, remedy, **common)
    if unknown:
        names = ", ".join(difference.item for difference in unknown)
        remedy = f"let a person sign the change: `clinical approve {facts.cancer} --change`"
        return Finding(Verdict.INCONCLUSIVE, f"{since}, the record does not tell: {names}", remedy, **common)
    return Finding(Verdict.PASS, f"{len(found)} points compared {since}: all inside the plan", **common)


def _approves_change(rollout_id: str | None, facts: ReleaseFacts) -> bool:
    return rollout_id == CHANGE and bool(facts.model_digest)


def differences(facts: ReleaseFacts, declared: DeclaredUse, baseline: Baseline) -> Iterator[Difference]:
    """Every point that the plan speaks of, whether it changed or not."""
    plan, endpoint = declared.change_plan, facts.contract.endpoint
    before = baseline.card
    card = json.loads((facts.model_dir / "model.json").read_text())
    use = baseline.lineage.get("intended_use_digest")
    yield _same("intended use", use and use[:12], declared.context_of_use.digest[:12])
    yield _same("endpoint", before.get("endpoint"), endpoint.name)
    yield _same("horizon", before.get("horizon"), endpoint.horizon_days)
    yield from _data(facts, declared, baseline)
    yield from _features(before, card, plan.may_add, plan.may_drop)
    family = str(card.get("family"))
    yield Difference("family", before.get("family"), family, ", ".join(plan.families), family in plan.families)
    for name, (low, high) in plan.parameters.items():
        value = facts.lineage.get("parameters", {}).get(name)
        inside = low <= value <= high if isinstance(value, int | float) else None
        was = baseline.lineage.get("parameters", {}).get(name)
        yield Difference(f"parameter {name}", was, value, f"{low:g} to {high:g}", True if value is None else inside)
    yield _shift("decision threshold", before.get("decision_threshold"), card.get("decision_threshold"),
                 plan.threshold_shift)  # fmt: skip
    calibration = card.get("recalibration", {})
    for name, (low, high) in (
        ("slope", plan.recalibration_slope), ("intercept", plan.recalibration_intercept),
    ):  # fmt: skip
        value = calibration.get(name)
        inside = None if value is None else low <= value <= high
        was = before.get("recalibration", {}).get(name)
        yield Difference(f"recalibration {name}", was, value, f"{low:g} to {high:g}", inside)


def _data(facts: ReleaseFacts, declared: DeclaredUse, baseline: Baseline) -> Iterator[Difference]:
    plan, was, now = declared.change_plan, baseline.manifest, facts.manifest
    if plan.same_source:
        yield _same("data source", _source(was), _source(now))
    rows = (was.get("rows"), now.get("rows"))
    ratio = rows[1] / rows[0] if rows[0] and rows[1] else None
    inside = None if ratio is None else ratio >= plan.min_rows
    yield Difference("rows of data", *rows, f"at least {plan.min_rows:.0%} of them", inside)
    if plan.later_cut:
        cuts = (was.get("data_cut"), now.get("data_cut"))
        yield Difference("data cut", *cuts, "the same, later, or none", _no_earlier(*cuts))
    if plan.site_column and plan.sites and plan.site_column in facts.train.columns:
        column = pd.concat([facts.train[plan.site_column], facts.test[plan.site_column]]).dropna()
        foreign = sorted(set(column.astype(str)) - set(plan.sites))
        yield Difference("sites", None, ", ".join(foreign) or "as planned", ", ".join(plan.sites), not foreign)


def _features(
    before: Mapping[str, Any], card: Mapping[str, Any], may_add: tuple[str, ...], may_drop: tuple[str, ...]
) -> Iterator[Difference]:
    was = [feature["name"] for feature in before.get("features", ())]
    now = [feature["name"] for feature in card.get("features", ())]
    if not was:
        yield Difference("features", None, len(now), "as approved", None)
        return
    added, dropped = sorted(set(now) - set(was)), sorted(set(was) - set(now))
    yield Difference("added features", "none", ", ".join(added) or "none", ", ".join(may_add) or "none",
                     set(added) <= set(may_add))  # fmt: skip
    yield Difference("dropped features", "none", ", ".join(dropped) or "none", ", ".join(may_drop) or "none",
                     set(dropped) <= set(may_drop))  # fmt: skip


def _same(item: str, before: Any, now: Any) -> Difference:
    missing = item in ("intended use", "endpoint", "data source") and not before
    return Difference(item, before, now, "unchanged", None if missing else before == now)


def _shift(item: str, before: Any, now: Any, most: float) -> Difference:
    known = isinstance(before, int | float) and isinstance(now, int | float)
    inside = abs(float(now) - float(before)) <= most + 1e-12 if known else None
    return Difference(item, before, now, f"within {most:g}", inside)


def _no_earlier(before: Any, now: Any) -> bool | None:
    """ISO dates; no cut means all follow-up there is, of which an earlier cut cannot be told from a later one."""
    if not now:
        return True
    return str(now) >= str(before) if before else None


def _source(manifest: Mapping[str, Any]) -> str:
    return " ".join(str(manifest[key]) for key in ("source", "package") if manifest.get(key))
