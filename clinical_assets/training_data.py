"""The cohort as the models see it: outcomes of the snapshot, features as the feature store joined them, the split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clinical_assets.references import FeaturesReference, SnapshotReference
from resources.object_store import ObjectStore

if TYPE_CHECKING:
    import pandas as pd

    from clinical_assets.catalog import CancerType
    from clinical_assets.trials.snapshot import Snapshot


@dataclass(frozen=True)
class TrainingData:
    """`train` and `test` are canonical tables, each subject on the side that its identifier fixes for ever."""

    snapshot: Snapshot
    train: pd.DataFrame
    test: pd.DataFrame
    split_digest: str


def open_snapshot(cancer: str, reference: SnapshotReference, store: ObjectStore) -> Snapshot:
    """
    Raises:
        SnapshotError: the snapshot is gone or damaged.
    """
    from clinical_assets.trials.errors import SnapshotError
    from clinical_assets.trials.snapshot import SnapshotStore

    snapshot = SnapshotStore(store.objects()).find(cancer, reference.digest)
    if snapshot is None:
        raise SnapshotError(f"{cancer}: snapshot {reference.digest} is not in the store; materialize raw_trial_data")
    return snapshot


def open_training_data(cancer: CancerType, reference: FeaturesReference, store: ObjectStore) -> TrainingData:
    """The joined cohort of a `features` materialization, split."""
    import pandas as pd

    snapshot = open_snapshot(cancer.slug, reference.snapshot, store)
    cohort = pd.read_parquet(store.fetch("training", cancer.slug, reference.digest) / "cohort.parquet")
    split = cancer.subject_split
    train, test = split.parts(cohort)
    return TrainingData(snapshot, train, test, split.digest(cohort))


def provenance(cancer: CancerType, features: FeaturesReference, input_sha: str) -> dict[str, str]:
    """What a model's own file says about where it comes from."""
    return {
        "data_status": cancer.source.data_status,
        "features": features.digest,
        "snapshot": features.snapshot.digest,
        "input": input_sha,
    }
