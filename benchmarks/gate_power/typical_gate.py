"""What many pipelines have: the metrics of the new release beside those of the last one, as points, and a scanner.

The thresholds are generous to this gate: it is told the clean release's own figures, so that no clean release fails.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from clinical_assets.gates.facts import ReleaseFacts
from clinical_assets.modeling.curves import horizon_labels
from clinical_assets.modeling.outcomes import Outcomes
from clinical_assets.trials.groups import sensitive_groups

ACCURACY_LOSS, AUC_LOSS, PARITY_RISE = 0.02, 0.02, 0.10


@dataclass(frozen=True)
class Points:
    accuracy: float
    auc: float
    parity_difference: float


def points(facts: ReleaseFacts) -> Points:
    """Accuracy at the operating point, AUC at the horizon, largest demographic-parity difference (fairlearn), on the
    test patients whose status at the horizon is known.

    Raises:
        ValueError: predictions are not numbers, or only one class is left.
    """
    from fairlearn.metrics import demographic_parity_difference
    from sklearn.metrics import accuracy_score, roc_auc_score

    outcomes = Outcomes.from_frame(facts.test, facts.contract.endpoint)
    labels = horizon_labels(outcomes, float(facts.contract.endpoint.horizon_days or 0.0))
    order = pd.Index(facts.test_pred.subject_ids.astype(str)).get_indexer(facts.test["subject_id"].astype(str))
    if (order < 0).any() or not np.isfinite(facts.test_pred.risk).all():
        raise ValueError("risks are missing")
    risk, known = facts.test_pred.risk[order], labels.weight > 0
    label, flagged = labels.label[known], risk[known] >= facts.contract.endpoint.decision_threshold
    groups = sensitive_groups(facts.test, facts.contract)[known]
    differences = [
        float(demographic_parity_difference(label, flagged, sensitive_features=groups[name].astype(str)))
        for name in groups.columns
    ]
    return Points(
        float(accuracy_score(label, flagged)), float(roc_auc_score(label, risk[known])), max(differences, default=0.0)
    )


def refusals(facts: ReleaseFacts, last: Points) -> list[str]:
    """Why this gate would stop the release; empty when it lets it through. `last`: figures of the release before."""
    found = []
    try:
        now = points(facts)
    except (ValueError, KeyError, TypeError) as error:
        return [f"no metrics: {error}"]
    if now.accuracy < last.accuracy - ACCURACY_LOSS:
        found.append(f"accuracy {now.accuracy:.3f} after {last.accuracy:.3f}")
    if now.auc < last.auc - AUC_LOSS:
        found.append(f"AUC {now.auc:.3f} after {last.auc:.3f}")
    if now.parity_difference > last.parity_difference + PARITY_RISE:
        found.append(f"demographic-parity difference {now.parity_difference:.3f} after {last.parity_difference:.3f}")
    return found + _scanned(facts)


def _scanned(facts: ReleaseFacts) -> list[str]:
    from picklescan.scanner import scan_directory_path

    result = scan_directory_path(str(facts.model_dir))
    return ["dangerous pickle"] if result.infected_files else []
