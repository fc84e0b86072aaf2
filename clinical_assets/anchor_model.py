"""The anchor of a cancer type: the first model that was granted traffic, with which every later one is compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clinical_assets import evaluation
from clinical_assets.gates.verdict import Scope

if TYPE_CHECKING:
    from clinical_assets.audit.records import RecordStore
    from clinical_assets.gates.facts import Predictions
    from clinical_assets.training_data import TrainingData
    from clinical_assets.trials.contract import CohortContract
    from resources.object_store import ObjectStore


def anchor_of(records: RecordStore, cancer: str, candidate: str) -> str:
    """Digest of the first model with a record that granted traffic; "" if there is none, or it is the candidate."""
    first = records.first_granted(cancer, Scope.TRAFFIC)
    return "" if first is None or first.record.model_digest == candidate else first.record.model_digest


def anchor_predictions(
    anchor: str, contract: CohortContract, data: TrainingData, object_store: ObjectStore
) -> Predictions | None:
    """The anchor on the test split; None where it is gone, or was made for other features or another horizon."""
    if not anchor:
        return None
    from clinical_assets.modeling.artifact import load_model

    try:
        model = load_model(object_store.model(anchor), anchor)
    except FileNotFoundError:
        return None
    asked = tuple(column.name for column in contract.features)
    if model.kind != contract.endpoint.kind or model.horizon != contract.endpoint.horizon_days:
        return None
    if tuple(feature.name for feature in model.features) != asked:
        return None
    return evaluation.predict(model, data.test, contract)
