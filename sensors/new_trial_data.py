"""A source whose content or contract changed asks for a retraining of its cancer type, once per change."""

import json

import dagster as dg

from clinical_assets.catalog import load_catalog
from clinical_assets.foundation.canonical import sha256_json
from clinical_assets.trials.errors import SourceError
from clinical_assets.trials.sources.state import source_state


def build_new_trial_data_sensor(job_name: str) -> dg.SensorDefinition:
    """A source seen for the first time is a baseline, not a change."""

    @dg.sensor(
        name="new_trial_data",
        job_name=job_name,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Retrains a cancer type whose source or contract changed since it was last seen.",
    )
    def new_trial_data(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        seen: dict[str, str] = json.loads(context.cursor or "{}")
        now, problems = _fingerprints()
        changed = [slug for slug, fingerprint in now.items() if seen.get(slug, fingerprint) != fingerprint]
        if not changed and seen.keys() >= now.keys():
            return dg.SkipReason("; ".join(problems) or "no source changed")
        requests = [dg.RunRequest(partition_key=slug, run_key=f"{slug}:{now[slug]}") for slug in changed]
        return dg.SensorResult(run_requests=requests, cursor=json.dumps({**seen, **now}, sort_keys=True))

    return new_trial_data


def _fingerprints() -> tuple[dict[str, str], list[str]]:
    fingerprints, problems = {}, []
    for slug, cancer in load_catalog().items():
        try:
            fingerprints[slug] = sha256_json([cancer.contract.digest, source_state(cancer.source)])
        except SourceError as error:
            problems.append(f"{slug}: {error}")
    return fingerprints, problems
