"""Asset 2: what was known of each patient at the index date, through the feature store; and the fixed split."""

import dagster as dg

from clinical_assets import metadata
from clinical_assets.catalog import load_catalog
from clinical_assets.foundation.canonical import sha256_json
from clinical_assets.freshness import features_input
from clinical_assets.lineage import code_digest
from clinical_assets.partitions import cancer_types
from clinical_assets.references import FeaturesReference, SnapshotReference
from clinical_assets.training_data import open_snapshot, open_training_data
from resources.feature_store import FeatureStore
from resources.object_store import ObjectStore


@dg.asset(
    partitions_def=cancer_types,
    group_name="trial_to_route",
    kinds={"parquet", "duckdb"},
    owners=["team:biostatistics"],
    code_version=code_digest("trials"),
)
def features(
    context: dg.AssetExecutionContext,
    raw_trial_data: SnapshotReference,
    object_store: ObjectStore,
    feature_store: FeatureStore,
) -> dg.MaterializeResult[FeaturesReference]:
    """Contract-typed features, joined point in time at the index date, with the split by subject."""
    cancer = load_catalog()[context.partition_key]
    split = cancer.subject_split
    input_sha = features_input(cancer, raw_trial_data)
    reference = object_store.recall("features", cancer.slug, input_sha, FeaturesReference)
    if reference is not None:
        return dg.MaterializeResult(
            value=reference,
            data_version=dg.DataVersion(reference.digest),
            metadata={"reused": True, "data_status": cancer.source.data_status},
        )

    from clinical_assets.modeling.plots import split_over_time
    from clinical_assets.trials.features_table import feature_table
    from clinical_assets.trials.table_digest import table_sha256

    cohort = open_snapshot(cancer.slug, raw_trial_data, object_store).read()
    table = feature_table(cohort, cancer.contract)
    digest = sha256_json([table_sha256(table), raw_trial_data.digest, cancer.contract.digest, split.digest(cohort)])
    source = object_store.publish(
        "features",
        cancer.slug,
        digest,
        # DuckDB reads microseconds only
        lambda aside: table.to_parquet(
            aside / "table.parquet", coerce_timestamps="us", allow_truncated_timestamps=True
        ),
    )
    feature_store.register(cancer.slug, cancer.contract, source / "table.parquet")
    joined = feature_store.training_frame(cancer.slug, cancer.contract, cohort[["subject_id", "index_date"]])
    names = [column.name for column in cancer.contract.features]
    cohort[names] = joined[names]
    object_store.publish(
        "training", cancer.slug, digest, lambda aside: cohort.to_parquet(aside / "cohort.parquet", index=False)
    )
    online = feature_store.materialize(cancer.slug, table)
    reference = FeaturesReference(
        cancer=cancer.slug, digest=digest, split_digest=split.digest(cohort), snapshot=raw_trial_data
    )
    data = open_training_data(cancer, reference, object_store)
    object_store.remember("features", cancer.slug, input_sha, reference)
    return dg.MaterializeResult(
        value=reference,
        data_version=dg.DataVersion(digest),
        metadata={
            "reused": False,
            "data_status": cancer.source.data_status,
            "subjects_train": len(data.train),
            "subjects_test": len(data.test),
            "subjects_online": online,
            "split_digest": reference.split_digest,
            "contract_digest": cancer.contract.digest,
            "columns": metadata.table(
                [
                    {
                        "feature": column.name,
                        "type": column.dtype,
                        "unit": column.unit or "",
                        "known_at_day": "unknown" if column.available_at is None else column.available_at,
                        "sensitive": column.sensitive,
                        "missing_share": float(cohort[column.name].isna().mean()),
                    }
                    for column in cancer.contract.features
                ]
            ),
            "split": metadata.picture(
                split_over_time(data.train["index_date"], data.test["index_date"], f"{cancer.heading}: index dates")
            ),
        },
    )
