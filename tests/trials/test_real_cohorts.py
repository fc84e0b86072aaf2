"""Six cohorts of permissive packages, read as installed: published counts, codes, and pinned content."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter

from clinical_assets.catalog import load_catalog
from clinical_assets.trials.schema import pandera_schema
from clinical_assets.trials.snapshot import Snapshot, SnapshotStore, ingest

COHORTS = {  # patients, events, features
    "breast": (2982, 1272, 9),
    "breast_fna": (569, 212, 30),
    "colon": (929, 452, 11),
    "lung_advanced": (228, 165, 7),
    "melanoma": (284, 196, 3),
    "renal_wilms": (4028, 571, 4),
}
TABLES = {
    "breast": "1c1c9a7ce0a3aa50794c768e88ad7ce4ef46ae685367d6ea8c8e5fa189bede18",
    "breast_fna": "a632bda3c7e3ff5c5dd527ed1f7f019687e341664aee3b1d0820382db1781333",
    "colon": "3b6516abc130cf98211d5d456b846517a448bf8776a18f38c68a48b3c203f42a",
    "lung_advanced": "9a5dcdffbe8b42fad81e104e294c9311c4d0dc7f4f64ddac4d95c0fdff04b457",
    "melanoma": "75de101e185e75b443858cf43549cddd195f312012fb179d51b5026e749c6b2a",
    "renal_wilms": "7fea36a0ed91410d93820e4728e43bbae8398a1cd57bbcffcd0377669f5f9f55",
}


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Snapshot]:
    store, catalog = SnapshotStore(tmp_path_factory.mktemp("objects")), load_catalog()
    return {slug: ingest(slug, catalog[slug].source, catalog[slug].contract, store) for slug in COHORTS}


def test_the_catalogue_holds_these_cohorts() -> None:
    assert set(load_catalog()) >= set(COHORTS)


@pytest.mark.parametrize("slug", COHORTS)
def test_counts_are_the_published_ones_and_values_never_change(slug: str, snapshots: dict[str, Snapshot]) -> None:
    manifest, contract = snapshots[slug].manifest, load_catalog()[slug].contract
    assert (manifest.rows, manifest.events, len(contract.features)) == COHORTS[slug]
    assert manifest.subjects == manifest.rows
    assert manifest.table_sha256 == TABLES[slug]
    assert manifest.data_status == "real"


@pytest.mark.parametrize("slug", COHORTS)
def test_cohort_keeps_its_own_contract_on_both_sides_of_the_split(slug: str, snapshots: dict[str, Snapshot]) -> None:
    cancer, frame = load_catalog()[slug], snapshots[slug].read()
    pandera_schema(cancer.contract).validate(frame, lazy=True)
    for side in cancer.subject_split.parts(frame):
        for column in cancer.contract.features:
            assert side[column.name].isna().mean() <= column.max_missing, column.name


@pytest.mark.parametrize("slug", COHORTS)
def test_event_probability_at_the_horizon_lies_in_the_declared_band(slug: str, snapshots: dict[str, Snapshot]) -> None:
    endpoint, frame = load_catalog()[slug].contract.endpoint, snapshots[slug].read()
    if endpoint.kind == "binary":
        probability = frame["label"].mean()
    else:
        curve = KaplanMeierFitter().fit(frame["time"], frame["event"])
        probability = 1 - curve.predict(endpoint.horizon_days)
        assert endpoint.horizon_days <= frame["time"].quantile(0.9)
    low, high = endpoint.event_rate_band
    assert low < probability < high


@pytest.mark.parametrize("slug", COHORTS)
def test_clinical_tier_is_claimed_exactly_where_the_test_split_holds_100_events(
    slug: str, snapshots: dict[str, Snapshot]
) -> None:
    cancer = load_catalog()[slug]
    _, test = cancer.subject_split.parts(snapshots[slug].read())
    events = int(test[cancer.contract.outcome_names[-1]].sum())
    assert (cancer.tier == "clinical") == (events >= 100)


def test_lung_status_2_is_death_and_sex_1_is_male(snapshots: dict[str, Snapshot]) -> None:
    frame = snapshots["lung_advanced"].read()
    assert frame["sex"].value_counts().to_dict() == {"male": 138, "female": 90}
    assert frame[["meal_cal", "wt_loss"]].isna().sum().to_dict() == {"meal_cal": 47, "wt_loss": 14}
    assert frame.loc[0, ["age", "time", "event"]].tolist() == [74, 306, 1]


def test_colon_has_one_row_per_patient_with_the_time_to_death(snapshots: dict[str, Snapshot]) -> None:
    frame = snapshots["colon"].read()
    assert frame["rx"].value_counts().to_dict() == {"Obs": 315, "Lev": 310, "Lev+5FU": 304}
    assert frame.loc[frame["subject_id"] == "1", "time"].tolist() == [1521]


def test_malignant_is_the_positive_label(snapshots: dict[str, Snapshot]) -> None:
    frame = snapshots["breast_fna"].read()
    assert frame.groupby("label")["mean_radius"].mean().loc[1] > frame.groupby("label")["mean_radius"].mean().loc[0]


def test_melanoma_follow_up_is_in_days_and_age_stays_centred(snapshots: dict[str, Snapshot]) -> None:
    frame = snapshots["melanoma"].read()
    assert frame["time"].max() == pytest.approx(9.64384 * 365.25)
    assert frame["age_centred"].mean() == pytest.approx(0, abs=1e-9)


def test_breast_data_cut_shows_what_was_known_then(tmp_path: Path, snapshots: dict[str, Snapshot]) -> None:
    cancer, cut = load_catalog()["breast"], dt.date(1990, 1, 1)
    early = ingest("breast", cancer.source, cancer.contract, SnapshotStore(tmp_path), cut).read()
    full = snapshots["breast"].read().set_index("subject_id")
    then = full.loc[full["index_date"] < pd.Timestamp(cut)]
    assert len(early) == len(then) == 1918
    known = then["index_date"] + pd.to_timedelta(then["time"], unit="D") <= pd.Timestamp(cut)
    assert early["event"].sum() == (then["event"].eq(1) & known).sum() == 308
    assert ((early["index_date"] + pd.to_timedelta(early["time"], unit="D")) <= pd.Timestamp(cut)).all()
    late_side = cancer.subject_split.assign(full.index)
    early_side = cancer.subject_split.assign(early["subject_id"])
    assert np.array_equal(early_side, pd.Series(late_side, index=full.index).loc[early["subject_id"]].to_numpy())
