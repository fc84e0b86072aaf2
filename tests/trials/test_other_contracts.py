"""The cancer types beside TCGA and MSK: what the packages hold is what the catalogue says of it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter
from lifelines.utils import concordance_index

from clinical_assets.catalog import CancerType, load_catalog
from clinical_assets.gates.data_quality.duplicates import pairs_between
from clinical_assets.trials.errors import SourceError
from clinical_assets.trials.schema import pandera_schema
from clinical_assets.trials.snapshot import Snapshot, SnapshotStore, ingest
from clinical_assets.trials.sources.kinds import kind_reader
from clinical_assets.trials.sources.state import source_state

from .cohorts import packaged

COHORTS = {  # subjects, events, features, data status
    "breast_biopsy": (645, 232, 9, "real"),  # the first of the aspirates of each of 645 sample numbers
    "breast_mammographic": (830, 403, 4, "real"),
    "dlbcl": (414, 165, 6, "real"),
    "esophageal_squamous": (431, 81, 5, "real"),
    "larynx": (90, 50, 4, "real"),
    "leukemia_all": (1870, 736, 3, "real-simplified"),
    "leukemia_aml": (1043, 879, 3, "real"),
    "leukemia_cml": (1977, 872, 2, "real-simplified"),
    "lung_small_cell": (48, 45, 5, "real"),
    "lymphoma_follicular": (541, 348, 4, "real"),
    "lymphoma_hodgkin": (42, 25, 4, "real"),  # 43 rows, of which one repeats another
    "lymphoma_mantle": (92, 64, 20, "real"),
    "myeloma": (256, 70, 8, "real"),
    "oral_tongue": (80, 53, 1, "real"),
    "oropharynx": (192, 139, 8, "real"),
    "ovarian_epithelial": (358, 266, 3, "real"),
    "prostate": (502, 354, 14, "real"),
    "rectum": (2434, 2074, 3, "real"),
}
LEAKS = {  # source columns that come after the index date, follow from the outcome, or fix how long follow-up can last
    "breast_mammographic": {"x1"},
    "esophageal_squamous": {"fac_zincset"},
    "leukemia_all": {"cod", "year"},
    "leukemia_cml": {"rel", "relstat", "yrel"},
    "oropharynx": {"EntryDate"},
    "prostate": {"num_sdate"},
    "rectum": {"diag"},
}


def _installed(slug: str) -> bool:
    try:
        return bool(source_state(load_catalog()[slug].source))
    except SourceError:
        return False


def _needs_its_package(slug: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not _installed(slug), reason=f"{load_catalog()[slug].source.package} is not installed")


CASES = {slug: pytest.param(slug, marks=_needs_its_package(slug)) for slug in COHORTS}
PROGNOSES = [slug for slug in COHORTS if load_catalog()[slug].task == "prognosis"]
EACH = pytest.mark.parametrize("slug", CASES.values())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SnapshotStore:
    return SnapshotStore(tmp_path_factory.mktemp("objects"))


@lru_cache
def _snapshot(slug: str, store: SnapshotStore) -> Snapshot:
    cancer = load_catalog()[slug]
    return ingest(slug, cancer.source, cancer.contract, store)


def _rows(slug: str, store: SnapshotStore) -> tuple[CancerType, pd.DataFrame]:
    return load_catalog()[slug], _snapshot(slug, store).read()


@EACH
def test_subjects_events_and_status_are_those_of_the_catalogue(slug: str, store: SnapshotStore) -> None:
    manifest, contract = _snapshot(slug, store).manifest, load_catalog()[slug].contract
    found = (manifest.rows, manifest.events, len(contract.features), manifest.data_status)
    assert found == COHORTS[slug]
    assert manifest.subjects == manifest.rows


@EACH
def test_cohort_keeps_its_own_contract_on_both_sides_of_the_split(slug: str, store: SnapshotStore) -> None:
    cancer, frame = _rows(slug, store)
    pandera_schema(cancer.contract).validate(frame, lazy=True)
    sides = cancer.subject_split.parts(frame)
    for side in sides:
        assert all(side[column.name].isna().mean() <= column.max_missing for column in cancer.contract.features)
    assert not pairs_between(*sides, cancer.contract).beyond_chance


@EACH
def test_event_probability_at_the_horizon_lies_in_the_declared_band(slug: str, store: SnapshotStore) -> None:
    cancer, frame = _rows(slug, store)
    endpoint = cancer.contract.endpoint
    if endpoint.kind == "binary":
        probability = frame["label"].mean()
    else:
        probability = 1 - KaplanMeierFitter().fit(frame["time"], frame["event"]).predict(endpoint.horizon_days)
        assert (frame["time"] >= endpoint.horizon_days).any()
    low, high = endpoint.event_rate_band
    assert low < probability < high


@pytest.mark.parametrize("slug", COHORTS)
def test_no_column_from_after_the_index_date_is_a_feature(slug: str) -> None:
    contract = load_catalog()[slug].contract
    features = {column.source_name for column in contract.features}
    declared = {column.source_name for column in contract.columns}
    assert not features & LEAKS.get(slug, set())
    assert LEAKS.get(slug, set()) <= declared
    assert not features & {column.source_name for column in contract.columns if column.role == "post_baseline"}
    assert all(column.available_at is not None and column.available_at <= 0 for column in contract.features)


@pytest.mark.parametrize("slug", [CASES[slug] for slug in PROGNOSES])
def test_no_feature_alone_tells_when_the_event_comes(slug: str, store: SnapshotStore) -> None:
    cancer, frame = _rows(slug, store)
    for column in cancer.contract.features:
        values = frame[column.name] if column.numeric else frame[column.name].astype("category").cat.codes
        known = frame[column.name].notna()
        ranks = concordance_index(frame["time"][known], values[known].astype(float), frame["event"][known])
        assert 0.2 < ranks < 0.8, column.name


@EACH
def test_clinical_tier_needs_real_data_and_100_test_events_by_the_horizon(slug: str, store: SnapshotStore) -> None:
    cancer, frame = _rows(slug, store)
    _, test = cancer.subject_split.parts(frame)
    if slug in PROGNOSES:
        judged = ((test["event"] == 1) & (test["time"] <= cancer.contract.endpoint.horizon_days)).sum()
    else:
        judged = min(test["label"].sum(), (1 - test["label"]).sum())
    assert (cancer.tier == "clinical") == (judged >= 100 and cancer.source.data_status == "real")


def test_version_of_the_package_and_salt_of_the_split_are_declared() -> None:
    for slug in COHORTS:
        cancer = load_catalog()[slug]
        assert cancer.source.version
        assert cancer.split.salt == f"{slug}-1"


def test_men_who_died_in_the_month_of_entry_stay_in_the_prostate_trial(store: SnapshotStore) -> None:
    _, frame = _rows("prostate", store)
    early = frame.loc[frame["time"] < 30]
    assert (len(early), early["event"].sum(), early["time"].unique().tolist()) == (16, 16, [0.5 * 30.4375])


def test_day_0_of_the_prostate_trial_puts_the_end_of_follow_up_into_one_month(store: SnapshotStore) -> None:
    _, frame = _rows("prostate", store)
    alive = frame.loc[frame["event"] == 0]
    end = alive["index_date"] + pd.to_timedelta(alive["time"] + 15, unit="D")
    assert frame["index_date"].dt.year.between(1967, 1969).all()
    assert end.between("1973-07-15", "1973-10-01").all()


@_needs_its_package("rectum")
def test_slovene_registry_diagnosed_from_1994_to_2000_and_mortality_rises_with_stage(store: SnapshotStore) -> None:
    _, frame = _rows("rectum", store)
    assert frame["index_date"].dt.year.between(1994, 2000).all()
    assert (frame["age_days"] / 365.25).median() == pytest.approx(67.6, abs=0.1)
    within = (frame["time"] <= 1826.25).groupby(frame["stage"]).mean()
    assert within["stage 1"] < within["stage 2"] < within["unknown"] < within["stage 3"]


def test_a_sample_number_of_breast_biopsy_is_on_one_side_only(store: SnapshotStore) -> None:
    cancer, _ = _rows("breast_biopsy", store)
    flow = [(step.step, step.rows) for step in _snapshot("breast_biopsy", store).manifest.row_flow]
    assert flow == [("rows in the source", 699), ("first row per ID", 645)]
    frame = kind_reader("package").read(cancer.source).frame
    assert frame["ID"].nunique() == 645


def test_mantle_cell_panel_is_the_twenty_clones_of_largest_variance(store: SnapshotStore) -> None:
    cancer, _ = _rows("lymphoma_mantle", store)
    clones = kind_reader("package").read(cancer.source).frame.filter(like="num_X")
    assert clones.shape == (92, 574)
    largest = clones.var().nlargest(20).index
    assert {column.source_name for column in cancer.contract.features} == set(largest)


def test_probe_sets_of_dlbcl_behave_like_their_genes(store: SnapshotStore) -> None:
    """Germinal-centre markers rise together and against AICDA, which marks the activated type; a second probe set of
    MME and of FCER2 agrees with the one that was chosen."""
    cancer, frame = _rows("dlbcl", store)
    assert frame["mme"].corr(frame["serpina9"]) > 0.4
    assert frame["mme"].corr(frame["aicda"]) < 0
    probes = kind_reader("package").read(cancer.source).frame
    assert probes["num_203434_s_at"].corr(probes["num_203435_s_at"]) > 0.8
    assert probes["num_206759_at"].corr(probes["num_206760_s_at"]) > 0.7


def test_ovarian_codes_are_karnofsky_scores(store: SnapshotStore) -> None:
    _, frame = _rows("ovarian_epithelial", store)
    other = kind_reader("package").read(packaged("oncodatasets", "ovarian_cancer")).frame
    assert (frame["karnofsky"] / 10).value_counts().to_dict() == other["Karnofsky"].value_counts().to_dict()


def test_oropharynx_holds_the_patients_of_the_survset_copy(store: SnapshotStore) -> None:
    _, frame = _rows("oropharynx", store)
    other = kind_reader("package").read(packaged("SurvSet", "d.oropha.rec")).frame
    assert np.sort(frame["time"]) == pytest.approx(np.sort(other["time"].astype(float) * 365))


def test_cancer_risk_rises_with_the_worst_histology_in_linxian(store: SnapshotStore) -> None:
    cancer, frame = _rows("esophageal_squamous", store)
    grades = next(column.categories for column in cancer.contract.features if column.name == "histology")
    share = frame.groupby("histology")["event"].mean()
    assert grades is not None
    assert share[list(grades)].is_monotonic_increasing


def test_follicular_events_are_relapses_and_deaths(store: SnapshotStore) -> None:
    cancer, frame = _rows("lymphoma_follicular", store)
    codes = kind_reader("package").read(cancer.source).frame["event"].value_counts().to_dict()
    assert codes == {1: 272, 0: 193, 2: 76}
    assert frame["event"].sum() == 272 + 76


def test_malignancy_follows_the_margin_of_the_mass(store: SnapshotStore) -> None:
    _, frame = _rows("breast_mammographic", store)
    share = frame.groupby("margin")["label"].mean()
    assert share["circumscribed"] < 0.2 < 0.7 < share["spiculated"]
