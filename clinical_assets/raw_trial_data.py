"""Asset 1: an immutable, content-addressed copy of the trial's data, with its manifest."""

import datetime as dt

import dagster as dg

from clinical_assets import metadata
from clinical_assets.catalog import load_catalog
from clinical_assets.freshness import snapshot_input
from clinical_assets.lineage import code_digest
from clinical_assets.partitions import cancer_types
from clinical_assets.references import SnapshotReference
from resources.object_store import ObjectStore


class DataCut(dg.Config):
    """`data_cut` (ISO date): keep patients enrolled before it and censor follow-up there. Empty: all data."""

    data_cut: str = ""


@dg.asset(
    partitions_def=cancer_types,
    group_name="trial_to_route",
    kinds={"parquet", "pandas"},
    owners=["team:biostatistics"],
    code_version=code_digest("trials"),
)
def raw_trial_data(
    context: dg.AssetExecutionContext, config: DataCut, object_store: ObjectStore
) -> dg.MaterializeResult[SnapshotReference]:
    """Trial data as read from its source: verified, canonical, unchangeable."""
    from clinical_assets.modeling.outcomes import Outcomes
    from clinical_assets.modeling.plots import kaplan_meier
    from clinical_assets.trials.snapshot import SnapshotStore, ingest

    cancer = load_catalog()[context.partition_key]
    store = SnapshotStore(object_store.objects())
    cut = dt.date.fromisoformat(config.data_cut) if config.data_cut else None
    snapshot = ingest(cancer.slug, cancer.source, cancer.contract, store, cut)
    manifest = snapshot.manifest
    reference = SnapshotReference(cancer=cancer.slug, digest=snapshot.digest, table_sha256=snapshot.sha256)
    object_store.remember("raw_trial_data", cancer.slug, snapshot_input(cancer, config.data_cut), reference)
    frame = snapshot.read()
    plots = {}
    if cancer.contract.endpoint.kind == "survival":
        outcome = Outcomes.from_frame(frame, cancer.contract.endpoint)
        plots["kaplan_meier"] = metadata.picture(
            kaplan_meier(outcome, cancer.heading, cancer.contract.endpoint.horizon_days)
        )
    return dg.MaterializeResult(
        value=reference,
        data_version=dg.DataVersion(snapshot.sha256),
        metadata={
            "reused": snapshot.known,
            "data_status": manifest.data_status,
            "rows": manifest.rows,
            "subjects": manifest.subjects,
            "events": manifest.events,
            "data_cut": str(manifest.data_cut or "none: all follow-up"),
            "source": manifest.source,
            "package": manifest.package,
            "version": manifest.version,
            "file_sha256": manifest.file_sha256,
            "licence": manifest.licence,
            "citation": manifest.citation,
            "row_flow": metadata.table([step.model_dump() for step in manifest.row_flow]),
            "snapshot": dg.MetadataValue.path(snapshot.path),
            **plots,
        },
    )
