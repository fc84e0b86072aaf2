"""Which field of the card answers which item of TRIPOD+AI (Collins et al. 2024) and of the CHAI applied model card.

An item that the platform cannot answer says so: silence would read like an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Item = tuple[str, str, tuple[str, ...], str]
"""Number, what the item asks for, fields of the card or files of the bundle that answer it, what is left to people."""

PROTOCOL, TEAM = "the study's protocol holds it", "for the team to add"

TRIPOD_AI: tuple[Item, ...] = (
    ("1", "title: development or evaluation, population, outcome", ("about.title", "prediction.endpoint"), ""),
    ("2", "abstract", ("use.intended",), ""),
    ("3a", "healthcare context and rationale", ("use.intended",), ""),
    ("3b", "target population, purpose, intended users", ("use.intended", "use.users", "use.not_for"), ""),
    ("3c", "known inequalities between groups", ("fairness.not_collected",), TEAM),
    ("4", "objectives", ("use.intended", "prediction.endpoint"), ""),
    ("5a", "sources of data", ("data.source", "data.citation", "data.status"), ""),
    ("5b", "dates of the data", ("data.version",), PROTOCOL),
    ("6a", "setting", ("data.citation",), PROTOCOL),
    ("6b", "eligibility", ("data.row_flow",), PROTOCOL),
    ("6c", "treatments received", ("inputs",), PROTOCOL),
    ("7", "preparation of the data and its quality", ("records/decision.json#/reports/data_quality",), ""),
    ("8a", "outcome and horizon", ("prediction.definition", "prediction.horizon"), ""),
    ("8b", "assessors of the outcome", (), PROTOCOL),
    ("8c", "blinding of the outcome's assessment", (), PROTOCOL),
    ("9a", "choice of the predictors", ("inputs",), ""),
    ("9b", "definition of the predictors", ("inputs",), ""),
    ("9c", "assessors of the predictors", (), PROTOCOL),
    ("10", "sample size", ("data.judged_patients", "data.judged_events", "use.tier_reason"), ""),
    ("11", "missing data", ("data.table_1", "records/decision.json#/reports/data_quality"), ""),
    ("12a", "how the data were divided", ("data.judged_on", "provenance.split_digest"), ""),
    ("12b", "handling of the predictors", ("inputs",), ""),
    ("12c", "type of model, how it was built and chosen", ("about.model", "about.family", "lineage.json"), ""),
    ("12d", "differences between clusters", ("fairness.table",), ""),
    ("12e", "measures of performance", ("performance", "metrics.json"), ""),
    ("12f", "updating of the model", ("provenance.parent_model",), ""),
    ("12g", "how predictions were computed", ("provenance.code_digest", "about.model_digest"), ""),
    ("13", "class imbalance", ("frequencies",), ""),
    ("14", "fairness", ("fairness.table", "records/decision.json#/reports/bias"), ""),
    ("15", "output of the model", ("prediction.answer", "prediction.decision_threshold"), ""),
    ("16", "differences between training and evaluation", ("data.table_1", "data.judged_on"), ""),
    ("17", "ethical approval", (), PROTOCOL),
    ("18a", "funding", (), TEAM),
    ("18b", "conflicts of interest", (), TEAM),
    ("18c", "protocol", ("provenance.policy_digest",), PROTOCOL),
    ("18d", "registration", (), PROTOCOL),
    ("18e", "sharing of data", ("data.licence",), ""),
    ("18f", "sharing of code", ("provenance.commit", "provenance.code_digest"), ""),
    ("19", "patient and public involvement", (), TEAM),
    ("20a", "flow of participants", ("data.row_flow",), ""),
    ("20b", "characteristics of participants", ("data.table_1",), ""),
    ("20c", "development against evaluation", ("data.table_1",), ""),
    ("21", "participants and events in each analysis", ("data.judged_patients", "data.judged_events"), ""),
    ("22", "full specification of the model", ("about.model_digest", "inputs", "model/signature.json"), ""),
    ("23a", "performance with intervals", ("performance", "metrics.json"), ""),
    ("23b", "heterogeneity of performance", ("fairness.table",), ""),
    ("24", "results of updating", ("provenance.parent_model",), ""),
    ("25", "interpretation, fairness included", ("limits",), TEAM),
    ("26", "limitations", ("limits", "use.not_for"), ""),
    ("27a", "poor or missing input", ("inputs",), ""),
    ("27b", "what users must do and know", ("use.users", "prediction.answer"), TEAM),
    ("27c", "next steps", ("limits",), TEAM),
)  # fmt: skip

CHAI: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("Basic information", "name", ("about.title", "about.model"), ""),
    ("Basic information", "developer", ("about.owners",), ""),
    ("Basic information", "release version", ("about.model_digest",), ""),
    ("Basic information", "release date", ("about.judged",), ""),
    ("Basic information", "release stage", ("about.grants", "about.tier"), ""),
    ("Basic information", "regulatory approval", (), TEAM),
    ("Uses and directions", "intended use and workflow", ("use.intended",), ""),
    ("Uses and directions", "primary intended users", ("use.users",), ""),
    ("Uses and directions", "targeted patient population", ("use.intended", "data.table_1"), ""),
    ("Uses and directions", "cautioned out-of-scope settings and use cases", ("use.not_for",), ""),
    ("Warnings", "known risks and limitations", ("limits",), ""),
    ("Warnings", "known biases or ethical considerations", ("fairness.not_collected", "fairness.table"), ""),
    ("Warnings", "clinical risk level", ("use.risk_class",), ""),
    ("Trust ingredients", "outcome and output", ("prediction.endpoint", "prediction.answer"), ""),
    ("Trust ingredients", "model type", ("about.model", "about.family"), ""),
    ("Trust ingredients", "input data source and type", ("data.source", "inputs"), ""),
    ("Trust ingredients", "development data characterisation", ("data.table_1", "data.row_flow"), ""),
    ("Trust ingredients", "bias mitigation approaches", ("records/decision.json#/reports/bias",), ""),
    ("Trust ingredients", "ongoing maintenance", ("about.valid_until",), ""),
    ("Trust ingredients", "security and compliance practices", ("records/decision.json#/reports/security",), ""),
    ("Transparency", "funding and third parties", (), TEAM),
    ("Key metrics", "usefulness, usability and efficacy", ("performance", "frequencies"), ""),
    ("Key metrics", "fairness and equity", ("fairness.table", "records/decision.json#/reports/bias"), ""),
    ("Key metrics", "safety and reliability", ("records/decision.json#/reports/security", "limits"), ""),
    ("Resources", "evaluation references", ("data.citation",), ""),
    ("Resources", "clinical trials and peer review", (), TEAM),
)


def tripod_items(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every item with what answers it; a field that is empty on this card does not count as an answer."""
    return [{"item": number, **_answer(card, asks, fields, left)} for number, asks, fields, left in TRIPOD_AI]


def chai_fields(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"section": section, **_answer(card, asks, fields, left)} for section, asks, fields, left in CHAI]


def _answer(card: Mapping[str, Any], asks: str, fields: tuple[str, ...], left: str) -> dict[str, Any]:
    answered = [field for field in fields if ".json" in field or _filled(card, field)]
    return {"asks": asks, "answered_by": answered, "left": left or ("" if answered else TEAM)}


def _filled(card: Mapping[str, Any], field: str) -> bool:
    value: Any = card
    for step in field.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value not in (None, "", [], {}, "not given")
