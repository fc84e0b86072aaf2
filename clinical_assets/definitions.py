"""Where assets, checks, jobs, schedules, sensors and resources meet, and nowhere else. Loading it imports no heavy library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from clinical_assets import features, raw_trial_data
from resources.feature_store import FeatureStore
from resources.ledger_store import LedgerStore
from resources.model_registry import ModelRegistry
from resources.object_store import ObjectStore, ReferenceIOManager

RESOURCES: dict[str, Any] = {
    "io_manager": ReferenceIOManager(),
    "object_store": ObjectStore(),
    "feature_store": FeatureStore(),
    "model_registry": ModelRegistry(),
    "ledger_store": LedgerStore(),
}


def build_defs(resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """The code location; tests replace resources by name."""
    return dg.Definitions(
        assets=dg.load_assets_from_modules([raw_trial_data, features]),
        resources={**RESOURCES, **(resource_overrides or {})},
        executor=dg.in_process_executor,
    )


defs = build_defs()
