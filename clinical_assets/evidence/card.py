"""The model card, generated from the evidence: every number on it cites the file of the bundle that holds it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from clinical_assets.evidence.citation import cite
from clinical_assets.evidence.reporting_guidelines import chai_fields, tripod_items
from clinical_assets.evidence.words import VERDICTS, span
from clinical_assets.gates.verdict import Verdict

if TYPE_CHECKING:
    from clinical_assets.audit.decision import DecisionRecord
    from clinical_assets.catalog import CancerType
    from clinical_assets.gates.verdicts import Limit
    from clinical_assets.trials.column import Column

RECORD, METRICS, COHORT = "records/decision.json", "metrics.json", "tables/cohort.json"


def model_card(cancer: CancerType, record: DecisionRecord, measures: Mapping[str, Any], model: Mapping[str, Any],
               manifest: Mapping[str, Any], in_the_way: Iterable[Limit]) -> dict[str, Any]:  # fmt: skip
    """
    Args:
        in_the_way: why the record does not grant more.
        model: `name` and `family` of the model, from its own directory.
        manifest: of the snapshot that the model was trained and tested on.
    """
    endpoint = cancer.contract.endpoint
    card: dict[str, Any] = {
        "about": {
            "title": cancer.heading,
            "cancer": cancer.slug,
            "icd10": cancer.icd10,
            "task": cancer.task,
            "model": model["name"],
            "family": model["family"],
            "model_digest": record.model_digest,
            "owners": list(cancer.owners),
            "judged": record.issued_utc,
            "valid_until": record.expires_utc,
            "grants": record.scope.value,
            "tier": record.tier.value,
            "in_the_way": [{"check": limit.check_id, "reason": limit.reason} for limit in in_the_way],
        },
        "use": {
            "intended": cancer.context_of_use.intended_use,
            "users": cancer.context_of_use.users,
            "not_for": cancer.context_of_use.not_for,
            "risk_class": cancer.risk_class,
            "tier_reason": cancer.tier_reason,
        },
        "prediction": {
            "endpoint": endpoint.name,
            "kind": endpoint.kind,
            "definition": endpoint.definition or endpoint.name,
            "horizon": span(endpoint.horizon_days) or "at once",
            "horizon_days": _cited(measures, "horizon_days"),
            "decision_threshold": _cited(measures, "decision_threshold"),
            "answer": "a risk between 0 and 1 for one patient",
        },
        "inputs": [_input(column) for column in cancer.contract.features],
        "data": {
            "status": manifest["data_status"],
            "source": manifest["source"],
            "citation": manifest.get("citation") or "not given",
            "licence": manifest.get("licence") or "not given",
            "version": str(manifest.get("version") or "not given"),
            "training_patients": cite(measures["sizes"]["train"], METRICS, "sizes", "train"),
            "test_patients": cite(measures["sizes"]["test"], METRICS, "sizes", "test"),
            "row_flow": "tables/row_flow.json",
            "table_1": COHORT,
            "judged_on": measures["set_in_words"],
            "judged_patients": _cited(measures, "n"),
            "judged_events": _cited(measures, "events"),
        },
        "performance": _performance(record),
        "frequencies": _frequencies(measures),
        "fairness": {
            "audited": [column.name for column in cancer.contract.sensitive],
            "not_collected": list(cancer.contract.not_collected),
            "table": "tables/subgroups.json",
        },
        "limits": _limits(record),
        "provenance": {name: str(value) for name, value in sorted(record.lineage.items()) if name != "parameters"},
    }
    return card | {"tripod_ai": tripod_items(card), "chai": chai_fields(card)}


def _cited(measures: Mapping[str, Any], *steps: str) -> dict[str, Any] | None:
    value: Any = measures
    for step in steps:
        value = value[step]
    return None if value is None else cite(value, METRICS, *steps)


def _input(column: Column) -> dict[str, str]:
    allowed = ", ".join(column.categories or ())
    if column.plausible_range:
        allowed = f"{column.plausible_range[0]:g} to {column.plausible_range[1]:g}"
    return {
        "name": column.name,
        "description": column.description or column.name,
        "type": column.dtype,
        "unit": column.unit or "",
        "accepted": allowed or "yes or no",
    }


def _performance(record: DecisionRecord) -> list[dict[str, Any]]:
    """Every check with a measured value and its interval, as the signed record holds it."""
    found = []
    for gate, report in record.reports.items():
        for index, check in enumerate(report.checks):
            if not isinstance(check.value, float) or check.interval is None:
                continue
            place = (RECORD, "reports", gate.value, "checks", index)
            entry = {
                "check": check.id,
                "title": check.title,
                "measure": check.metric,
                "verdict": check.verdict.value,
                "value": cite(check.value, *place, "value"),
                "low": cite(check.interval[0], *place, "interval", 0),
                "high": cite(check.interval[1], *place, "interval", 1),
            }
            for count in ("n", "events"):
                if getattr(check, count) is not None:
                    entry[count] = cite(getattr(check, count), *place, count)
            found.append(entry)
    return found


def _frequencies(measures: Mapping[str, Any]) -> dict[str, Any]:
    cited = {
        "observed_risk": _cited(measures, "observed_risk", "value"),
        "mean_predicted_risk": _cited(measures, "mean_predicted_risk"),
    }
    if measures["frequencies"] is not None:
        cited |= {
            "flagged": _cited(measures, "frequencies", "flagged"),
            "event_if_flagged": _cited(measures, "frequencies", "event_if_flagged", "value"),
            "event_if_not_flagged": _cited(measures, "frequencies", "event_if_not_flagged", "value"),
        }
    return cited


def _limits(record: DecisionRecord) -> list[dict[str, str]]:
    """What did not simply pass, worst first."""
    open_checks = [
        (gate, check)
        for gate, report in record.reports.items()
        for check in report.checks
        if check.verdict is not Verdict.PASS
    ]
    worst_first = sorted(open_checks, key=lambda pair: list(VERDICTS).index(pair[1].verdict))
    return [
        {
            "gate": gate.value,
            "check": check.id,
            "title": check.title,
            "verdict": check.verdict.value,
            "reason": check.reason,
            "remedy": check.remedy,
        }
        for gate, check in worst_first
    ]
