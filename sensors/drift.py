"""Recent answers against those that were judged: an observation each window; at a shift the gates again, or training.

The challenger of an open rollout is watched by the rollout itself, which holds or rolls back on its own drift test.
"""

import logging
from typing import TYPE_CHECKING

import dagster as dg

from clinical_assets.gates.verdict import GateName
from resources.ledger_store import LedgerStore
from sensors.alerts import alert

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

    from clinical_assets.rollout.recent_scores import Look

GATES = (
    dg.AssetCheckKey(dg.AssetKey("raw_trial_data"), GateName.DATA_QUALITY.value),
    dg.AssetCheckKey(dg.AssetKey("trained_model"), GateName.PERFORMANCE.value),
    dg.AssetCheckKey(dg.AssetKey("trained_model"), GateName.BIAS.value),
)
"""What a shift of the patients can have changed."""


def build_drift_sensor(
    retraining: "UnresolvedAssetJobDefinition", gates: "UnresolvedAssetJobDefinition"
) -> dg.SensorDefinition:
    """
    Args:
        retraining: the job that makes a model anew. gates: the job whose checks are run again on the model that stands.
    """

    @dg.sensor(
        name="drift",
        jobs=[retraining, gates],
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Compares recent scores with those that were judged; asks for the gates or a retraining.",
    )
    def drift(context: dg.SensorEvaluationContext, ledger_store: LedgerStore) -> dg.SensorResult:
        from clinical_assets.rollout.recent_scores import Place, looks, references

        place = Place.model_validate_json(context.cursor or "{}")
        ledger = ledger_store.ledger()
        found = list(looks(ledger.engine, references(ledger), place))
        for look in found:
            _tell(context.log, look)
        requests = [_request(look, retraining.name, gates.name) for look in found if look.verdict != "as judged"]
        return dg.SensorResult(
            run_requests=requests, asset_events=[_observation(look) for look in found], cursor=place.model_dump_json()
        )

    return drift


def _request(look: "Look", retraining: str, gates: str) -> dg.RunRequest:
    cause = f"drift:{look.cancer}:{look.upto}"
    if look.verdict == "large":
        return dg.RunRequest(job_name=retraining, partition_key=look.cancer, run_key=cause)
    return dg.RunRequest(job_name=gates, partition_key=look.cancer, run_key=cause, asset_check_keys=list(GATES))


def _observation(look: "Look") -> dg.AssetObservation:
    shown = {
        "model": look.digest,
        "patients": look.n,
        "population_stability_index": look.psi,
        "p_value": look.p,
        "verdict": look.verdict,
        "ledger_position": look.upto,
    }
    return dg.AssetObservation("deployed_variant", partition=look.cancer, metadata=shown)


def _tell(log: logging.Logger, look: "Look") -> None:
    if look.verdict == "as judged":
        return
    reason = f"population stability index {look.psi:.2f} over {look.n} patients (p = {look.p:.2g})"
    alert(log, "scores have drifted", cancer=look.cancer, rule=look.verdict, reason=reason)
