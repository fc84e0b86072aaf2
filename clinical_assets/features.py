"""Asset 2: what was known of each patient at the index date, through the feature store; and the fixed split."""

import dagster as dg

from clinical_assets import metadata
from clinical_assets.catalog import load_catalog
from clinical_assets.foundation.canonical import sha256_json
from clinical_assets.lineage import code_digest
from clinical_assets.partitions import cancer_types
from clinical_assets.references import FeaturesReference, SnapshotReference
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
    contract = cancer.contract
    split = cancer.subject_split
    input_sha = sha256_json([raw_trial_data.digest, contract.digest, split.salt, split.test_fraction, code_digest("trials")])
    known = object_store.recall("features", cancer.slug, input_sha, FeaturesReference)
    if known is not None:
        return dg.MaterializeResult(value=known, data_version=dg.DataVersion(known.digest), metadata={"reused": True})

    from clinical_assets.modeling.plots import split_over_time
    from clinical_assets.trials.features_table import feature_table
    from clinical_assets.trials.snapshot import SnapshotStore
    from clinical_assets.trials.table_digest import table_sha256

    snapshot = SnapshotStore(object_store.directory).find(cancer.slug, raw_trial_data.digest)
    if snapshot is None:
        raise dg.Failure(f"{cancer.slug}: snapshot {raw_trial_data.digest} is gone; materialize raw_trial_data again")
    cohort = snapshot.read()
    table = feature_table(cohort, contract)
    digest = sha256_json([table_sha256(table), contract.digest, split.digest(cohort)])
    directory = object_store.publish(
        "features",
        cancer.slug,
        digest,
        lambda aside: table.to_parquet(aside / "table.parquet", coerce_timestamps="us", allow_truncated_timestamps=True),
    )
    feature_store.register(cancer.slug, contract, directory / "table.parquet")
    joined = feature_store.training_frame(cancer.slug, contract, cohort[["subject_id", "index_date"]])
    if not joined.equals(cohort[joined.columns]):
        differing = [name for name in joined.columns if not joined[name].equals(cohort[name])]
        raise dg.Failure(
            f"{cancer.slug}: the point-in-time join changed {', '.join(differing)}; "
            "a feature is not available at the index date (see available_at in the contract)",
            allow_retries=False,
        )
    feature_store.materialize(cancer.slug)
    reference = FeaturesReference(
        cancer=cancer.slug, digest=digest, split_digest=split.digest(cohort), snapshot=raw_trial_data
    )
    object_store.remember("features", cancer.slug, input_sha, reference)
    train, test = split.parts(cohort)
    return dg.MaterializeResult(
        value=reference,
        data_version=dg.DataVersion(digest),
        metadata={
            "reused": False,
            "subjects_train": len(train),
            "subjects_test": len(test),
            "split_digest": reference.split_digest,
            "contract_digest": contract.digest,
            "columns": metadata.table(
                [
                    {
                        "feature": column.name,
                        "type": column.dtype,
                        "unit": column.unit or "",
                        "available_at_day": "unknown" if column.available_at is None else column.available_at,
                        "sensitive": column.sensitive,
                        "missing": float(cohort[column.name].isna().mean()),
                    }
                    for column in contract.features
                ]
            ),
            "split": metadata.picture(split_over_time(train["index_date"], test["index_date"])),
        },
    )
