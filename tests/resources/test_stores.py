"""Real Feast and real MLflow, on a real cohort."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clinical_assets.catalog import load_catalog
from clinical_assets.foundation.canonical import sha256_directory
from clinical_assets.trials.features_table import feature_table
from clinical_assets.trials.snapshot import SnapshotStore, ingest
from resources.feature_store import FeatureStore, PointInTimeError
from resources.model_registry import ModelRegistry

CANCER = load_catalog()["lung_advanced"]
NAMES = [column.name for column in CANCER.contract.features]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    store = SnapshotStore(tmp_path_factory.mktemp("snapshots"))
    return ingest(CANCER.slug, CANCER.source, CANCER.contract, store).read()


@pytest.fixture(scope="module")
def store(cohort: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    directory = tmp_path_factory.mktemp("feast")
    table = directory / "table.parquet"
    feature_table(cohort, CANCER.contract).to_parquet(table, coerce_timestamps="us", allow_truncated_timestamps=True)
    feature_store = FeatureStore(directory=str(directory))
    feature_store.register(CANCER.slug, CANCER.contract, table)
    return feature_store


def test_the_point_in_time_join_gives_every_subject_its_own_values(store: FeatureStore, cohort: pd.DataFrame) -> None:
    shuffled = cohort.sample(frac=1.0, random_state=1).reset_index(drop=True)
    joined = store.training_frame(CANCER.slug, CANCER.contract, shuffled[["subject_id", "index_date"]])
    pd.testing.assert_frame_equal(joined[NAMES], shuffled[NAMES], check_dtype=False)
    assert joined["subject_id"].tolist() == shuffled["subject_id"].tolist()


def test_what_was_not_yet_known_does_not_enter(store: FeatureStore, cohort: pd.DataFrame) -> None:
    too_early = cohort[["subject_id", "index_date"]].assign(index_date=lambda d: d["index_date"] - pd.Timedelta(days=1))
    with pytest.raises(PointInTimeError, match="known at their index date"):
        store.training_frame(CANCER.slug, CANCER.contract, too_early)


def test_the_online_table_holds_the_same_values(store: FeatureStore, cohort: pd.DataFrame) -> None:
    assert store.materialize(CANCER.slug, feature_table(cohort, CANCER.contract)) == len(cohort)
    some = cohort.head(5)
    online = store.online(CANCER.slug, CANCER.contract, some["subject_id"].tolist())
    pd.testing.assert_frame_equal(online, some[NAMES].reset_index(drop=True), check_dtype=False)


def test_of_a_large_cohort_the_latest_subjects_are_online(
    store: FeatureStore, cohort: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resources.feature_store.ONLINE_SUBJECTS", 5)
    later = cohort.head(40).assign(subject_id=lambda d: "later-" + d["subject_id"])
    later["index_date"] += pd.to_timedelta(np.arange(40), unit="D")
    assert store.materialize(CANCER.slug, feature_table(later, CANCER.contract)) == 5
    online = store.online(CANCER.slug, CANCER.contract, later["subject_id"].tolist())
    assert online.notna().any(axis=1).tolist() == [False] * 35 + [True] * 5
    pd.testing.assert_frame_equal(
        online.tail(5), later[NAMES].tail(5).reset_index(drop=True).set_axis(range(35, 40)), check_dtype=False
    )


def test_a_model_is_registered_once_and_its_aliases_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINICAL_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.json").write_text("{}")
    digest = sha256_directory(model)
    registry = ModelRegistry()
    described = (
        CANCER.contract,
        {"family": "cox"},
        {"test_uno_c": 0.6},
        {"calibration": b"png"},
        {"cancer": CANCER.slug},
    )
    first = registry.register(CANCER.slug, digest, model, *described)
    assert registry.register(CANCER.slug, digest, model, *described) == first
    assert registry.digest_of(first) == digest
    name, client = f"clinical.{CANCER.slug}", registry._client()
    for _ in range(2):  # the second time changes nothing
        said = registry.keep_aliases(CANCER.slug, {"champion": "", "challenger": digest})
        assert said == f"{name} champion: none, challenger: version {first.version}"
        assert {alias: str(v) for alias, v in client.get_registered_model(name).aliases.items()} == {
            "challenger": first.version
        }
    said = registry.keep_aliases(CANCER.slug, {"champion": digest, "challenger": "f" * 64})
    assert said == f"{name} champion: version {first.version}, challenger: ffffffffffff, which is not registered"
    assert set(client.get_registered_model(name).aliases) == {"champion"}
    assert registry.keep_aliases("larynx", {"champion": digest}) == "clinical.larynx is not in the registry"
