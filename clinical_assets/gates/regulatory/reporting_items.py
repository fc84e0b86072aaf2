"""What a model card must be able to say, item by item, and where that is known before the model is judged.

TRIPOD+AI (Collins et al., BMJ 2024;385:e078378): 27 items. CHAI applied model card: sections and fields. An item is
answered by declared texts, by the check that measures it, or by people; what people must add is named, never assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clinical_assets.gates.facts import ReleaseFacts
from clinical_assets.trials.placeholder import TO_BE_COMPLETED


@dataclass(frozen=True)
class Item:
    """`texts`: dotted names in `sources`, all needed. `checks`: ids, any of which will do. Neither: left to people."""

    name: str
    texts: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()


TRIPOD_AI = (
    Item("1 title", ("endpoint.name",)),
    Item("2 abstract", ("use.intended_use",)),
    Item("3 background and purpose", ("use.intended_use", "use.users", "use.not_for")),
    Item("4 objectives", ("use.intended_use", "endpoint.name")),
    Item(
        "5 source and dates of data", ("manifest.source", "manifest.citation", "manifest.extracted_utc", "index_date")
    ),
    Item("6 participants", ("manifest.row_flow", "index_date")),
    Item("7 data preparation", (), ("DQ1", "DQ3")),
    Item("8 outcome", ("endpoint.definition",), ("DQ9",)),
    Item("9 predictors", ("features",)),
    Item("10 sample size", (), ("DQ17",)),
    Item("11 missing data", (), ("DQ3",)),
    Item("12 analytical methods", ("lineage.split_digest", "lineage.parameters", "lineage.seed"), ("MP1", "MP5")),
    Item("13 class imbalance", ("endpoint.decision_threshold",)),
    Item("14 fairness", (), ("BI1", "BI2", "BI19")),
    Item("15 model output", ("endpoint.decision_threshold",)),
    Item("16 training against evaluation", ("lineage.split_digest",)),
    Item("17 ethical approval"),
    Item("18 open science", ("manifest.licence", "lineage.commit")),
    Item("19 patient and public involvement"),
    Item("20 flow and characteristics", ("manifest.row_flow",), ("BI16",)),
    Item("21 model development numbers", (), ("DQ17",)),
    Item("22 model specification", ("card.features", "card.predictor", "card.encoder")),
    Item("23 performance", (), ("MP1", "MP3", "MP5")),
    Item("24 updating", ("lineage.parent_model",)),
    Item("25 interpretation"),
    Item("26 limitations", ("use.not_for",)),
    Item("27 usability", ("use.users", "features")),
)

CHAI = (
    Item("name and developer", ("endpoint.name",)),
    Item("intended use and workflow", ("use.intended_use", "use.users")),
    Item("out-of-scope use", ("use.not_for",)),
    Item("known risks, biases, clinical risk level", ("risk_class",), ("BI1", "BI19")),
    Item("model type, input data, development data", ("card.family", "features", "manifest.source")),
    Item("bias mitigation, maintenance, security", ("change_plan.protocol",), ("BI2", "SE1")),
    Item("funding and third parties"),
    Item("key metrics: usefulness, fairness, safety", (), ("MP1", "BI2", "MP18")),
)


def sources(facts: ReleaseFacts, card: Mapping[str, Any]) -> dict[str, Any]:
    """All that is declared or fixed about a release before it is judged, by the names that `Item.texts` uses."""
    contract, declared = facts.contract, facts.declared
    undescribed = [column.name for column in contract.features if not column.description]
    return {
        "use": declared.context_of_use.model_dump() if declared else {},
        "change_plan": declared.change_plan.model_dump() if declared else {},
        "risk_class": declared.risk_class if declared else "",
        "endpoint": contract.endpoint.model_dump(),
        "index_date": contract.index_date.model_dump(),
        "features": [column.name for column in contract.features] if not undescribed else [],
        "manifest": facts.manifest,
        "lineage": facts.lineage,
        "card": card,
    }


def unanswered(items: tuple[Item, ...], known: Mapping[str, Any], checks: Mapping[str, Any]) -> dict[str, list[str]]:
    """Items that lack something, with the names of it."""
    found = {}
    for item in items:
        lacking = [name for name in item.texts if not _said(known, name)]
        if item.checks and not any(id in checks for id in item.checks):
            lacking.append(f"check {' or '.join(item.checks)}")
        if lacking:
            found[item.name] = lacking
    return found


def left_to_people(items: tuple[Item, ...]) -> list[str]:
    return [item.name for item in items if not item.texts and not item.checks]


def _said(known: Mapping[str, Any], name: str) -> bool:
    value: Any = known
    for step in name.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value not in (None, "", [], {}, ()) and TO_BE_COMPLETED not in str(value)
