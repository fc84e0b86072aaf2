"""Where assets, checks, jobs, schedules, sensors and resources meet. Loading it imports no heavy library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from clinical_assets import deployed_variant, features, gate_checks, gate_verdict, raw_trial_data, trained_model
from clinical_assets.partitions import cancer_types
from resources.data_plane import data_plane
from resources.feature_store import FeatureStore
from resources.ledger_store import LedgerStore
from resources.model_registry import ModelRegistry
from resources.network_fits import network_fitting
from resources.object_store import ObjectStore, ReferenceIOManager
from resources.signer import Signer
from sensors.drift import build_drift_sensor
from sensors.failure_alerts import failure_alerts
from sensors.new_trial_data import build_new_trial_data_sensor
from sensors.registry_aliases import registry_aliases
from sensors.rollout import rollout_sensor
from sensors.schedules import build_retraining_schedules

trial_to_route = dg.define_asset_job(
    "trial_to_route",
    selection=dg.AssetSelection.groups("trial_to_route"),
    partitions_def=cancer_types,
    description="Trial data to a signed verdict and an open rollout, for one cancer type.",
)

gates_again = dg.define_asset_job(
    "gates_again",
    selection=dg.AssetSelection.checks_for_assets("raw_trial_data", "trained_model"),
    partitions_def=cancer_types,
    description="The gates of the model that stands, without making anything anew.",
)


def default_resources() -> dict[str, Any]:
    ledger_store = LedgerStore(signer=Signer())
    return {
        "io_manager": ReferenceIOManager(),
        "object_store": ObjectStore(),
        "feature_store": FeatureStore(),
        "model_registry": ModelRegistry(),
        "network_fitting": network_fitting(),
        "ledger_store": ledger_store,
        **data_plane(ledger_store),
    }


def build_defs(resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """The code location; tests replace resources by name."""
    return dg.Definitions(
        assets=dg.load_assets_from_modules([raw_trial_data, features, trained_model, gate_verdict, deployed_variant]),
        asset_checks=dg.load_asset_checks_from_modules([gate_checks]),
        jobs=[trial_to_route, gates_again],
        schedules=build_retraining_schedules(trial_to_route.name),
        sensors=[
            rollout_sensor,
            build_drift_sensor(trial_to_route, gates_again),
            build_new_trial_data_sensor(trial_to_route.name),
            failure_alerts,
            registry_aliases,
        ],
        resources={**default_resources(), **(resource_overrides or {})},
        executor=dg.in_process_executor,
    )


defs = build_defs()
