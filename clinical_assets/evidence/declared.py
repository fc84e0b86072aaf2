"""What was declared about a model before it was judged, as a page for people: kept, scanned and exported."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from typing import TYPE_CHECKING, Any

from clinical_assets.evidence.words import TIERS, span

if TYPE_CHECKING:
    from clinical_assets.catalog import CancerType

DECLARED = "model_card.txt"
WIDTH = 100


def declared_card(cancer: CancerType, family: str, manifest: Mapping[str, Any]) -> str:
    """Plain text: use, users, limits, endpoint, inputs, data. What was measured is not in it; the report holds that."""
    endpoint, use = cancer.contract.endpoint, cancer.context_of_use
    horizon = span(endpoint.horizon_days)
    sections = {
        "Intended use": use.intended_use,
        "Users": use.users,
        "Not for": use.not_for,
        "Predicts": f"the risk of the event{f' within {horizon}' if horizon else ''} ({endpoint.name})",
        "The event": endpoint.definition or endpoint.name,
        "Care would change from a risk of": f"{endpoint.decision_threshold:.0%}",
        "Model": f"family {family}; chosen by cross-validation among {', '.join(cancer.models.families)}",
        "Inputs": "; ".join(
            f"{column.name} ({column.description or column.dtype})" for column in cancer.contract.features
        ),
        "Attributes audited for fairness": ", ".join(c.name for c in cancer.contract.sensitive) or "none recorded",
        "Not collected": ", ".join(cancer.contract.not_collected) or "nothing declared",
        "Data": f"{manifest['source']}, {manifest['data_status']}; {manifest.get('citation') or 'no citation'}",
        "Licence of the data": str(manifest.get("licence") or "not given"),
        "Evidence": f"{TIERS[cancer.tier]}. {cancer.tier_reason}",
        "Owners": ", ".join(cancer.owners),
    }
    title = f"{cancer.heading}\n{'=' * min(len(cancer.heading), WIDTH)}"
    paragraphs = [f"{name}\n{fill(str(text), WIDTH - 4, initial_indent='    ', subsequent_indent='    ')}"
                  for name, text in sections.items()]  # fmt: skip
    return "\n\n".join([title, *paragraphs]) + "\n"
