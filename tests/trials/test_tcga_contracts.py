"""The thirty TCGA and four MSK-IMPACT cohorts: counts, what may be learnt from, and what the columns mean."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from pathlib import Path

import pandas as pd
import pytest
from lifelines import CoxPHFitter, KaplanMeierFitter

from clinical_assets.catalog import load_catalog
from clinical_assets.trials.canonical_table import canonical_table
from clinical_assets.trials.codes import codes
from clinical_assets.trials.contract import CohortContract, Column
from clinical_assets.trials.data_cut import apply_data_cut
from clinical_assets.trials.schema import pandera_schema
from clinical_assets.trials.snapshot import SnapshotStore, ingest
from clinical_assets.trials.sources.kinds import kind_reader
from clinical_assets.trials.sources.read import RawTable
from clinical_assets.trials.sources.rows import apply_row_rules, without_missing_text

FOUND = {  # patients with follow-up, events: what the tables of the package hold
    "adrenocortical": (91, 33),
    "astrocytoma": (191, 57),
    "bladder": (409, 180),
    "cervix_adeno": (42, 10),
    "cervix_squamous": (228, 56),
    "cholangiocarcinoma": (101, 40),
    "endometrial_endometrioid": (328, 39),
    "endometrial_serous": (98, 29),
    "esophageal_adeno": (88, 44),
    "gastric": (414, 167),
    "glioblastoma": (310, 237),
    "head_neck": (507, 219),
    "hepatocellular": (357, 123),
    "leiomyosarcoma": (93, 37),
    "liposarcoma_dediff": (48, 19),
    "lung_adeno": (500, 180),
    "lung_squamous": (473, 207),
    "melanoma_uveal": (80, 23),
    "mesothelioma": (79, 68),
    "oligoastrocytoma": (130, 25),
    "oligodendroglioma": (185, 41),
    "pancreas": (176, 97),
    "pheochromocytoma": (178, 20),
    "renal_chromophobe": (65, 11),
    "renal_clear_cell": (366, 99),
    "renal_papillary": (278, 41),
    "sarcoma_ups_mfs": (73, 24),
    "skin_nonmelanoma": (45, 18),
    "testicular_germ_cell": (129, 34),
    "thymoma": (121, 22),
    "thyroid_anaplastic": (23, 18),
    "thyroid_papillary": (491, 49),
    "upper_tract_urothelial": (50, 12),
    "uterine_carcinosarcoma": (56, 35),
}
LEFT_OUT = {  # of these, rows and events that do not enter the cohort
    "bladder": (21, 8),  # 3 withdrawn, 18 without a year of diagnosis
    "cervix_squamous": (1, 0),  # no year of diagnosis, as below where nothing else is said
    "endometrial_endometrioid": (7, 1),
    "gastric": (1, 0),
    "hepatocellular": (3, 3),  # 1 withdrawn, 2 without a year of diagnosis
    "lung_adeno": (10, 3),
    "lung_squamous": (15, 2),
    "pancreas": (1, 0),
    "skin_nonmelanoma": (1, 1),  # second specimens of the same patient
    "thyroid_anaplastic": (1, 1),
    "upper_tract_urothelial": (2, 0),
}
MSK = {"cholangiocarcinoma", "skin_nonmelanoma", "thyroid_anaplastic", "upper_tract_urothelial"}
TCGA = sorted(set(FOUND) - MSK)
NOT_DATED = {"esophageal_adeno", "renal_papillary"}
PROGRESSION = {"pheochromocytoma", "renal_chromophobe", "testicular_germ_cell", "thymoma", "thyroid_papillary"}
ONE_SEX = {
    "cervix_adeno": "FEMALE",
    "cervix_squamous": "FEMALE",
    "endometrial_endometrioid": "FEMALE",
    "endometrial_serous": "FEMALE",
    "testicular_germ_cell": "MALE",
    "uterine_carcinosarcoma": "FEMALE",
}
AFTER_DIAGNOSIS = {  # everything in TCGA's clinical table that is known only from follow-up
    "vital_status", "tumor_status", "last_contact_days_to", "death_days_to", "cause_of_death", "new_tumor_event_type",
    "new_tumor_event_site", "new_tumor_event_site_other", "new_tumor_event_dx_days_to",
    "treatment_outcome_first_course", "OS", "OS.time", "DSS", "DSS.time", "DFI", "DFI.time", "PFI", "PFI.time",
    "survival",
}  # fmt: skip


@lru_cache(maxsize=2)
def table(dataset: str) -> pd.DataFrame:
    """The table as the package holds it; one of them takes seconds to read, so it is read once."""
    source = next(cancer.source for cancer in load_catalog().values() if cancer.source.dataset == dataset)
    return kind_reader(source.kind).read(source).frame


@lru_cache
def rows(slug: str) -> pd.DataFrame:
    """The rows of the cohort, in the columns and codes of the source."""
    source = load_catalog()[slug].source
    return apply_row_rules(without_missing_text(table(source.dataset), source.missing), source)[0]


@lru_cache
def cohort(slug: str) -> pd.DataFrame:
    cancer = load_catalog()[slug]
    return canonical_table(RawTable(rows(slug), cancer.source.label, "", "", "", "", ()), cancer.contract)


def sources(contract: CohortContract, *roles: str) -> set[str]:
    return {column.source_name for column in contract.columns if column.role in roles}


def declared(slug: str, source: str) -> Column:
    return next(column for column in load_catalog()[slug].contract.columns if column.source_name == source)


def test_these_are_the_cohorts_of_the_package() -> None:
    in_catalogue = {slug: cancer.source.dataset for slug, cancer in load_catalog().items() if slug in FOUND}
    assert in_catalogue == dict.fromkeys(TCGA, "tcga") | dict.fromkeys(MSK, "msk")
    assert {cancer.source.package for slug, cancer in load_catalog().items() if slug in FOUND} == {"clicnet"}


@pytest.mark.parametrize("slug", ["hepatocellular", "skin_nonmelanoma"])
def test_snapshot_is_taken_from_the_pinned_file_and_counts_each_rule(slug: str, tmp_path: Path) -> None:
    cancer = load_catalog()[slug]
    snapshot = ingest(slug, cancer.source, cancer.contract, SnapshotStore(tmp_path))
    pd.testing.assert_frame_equal(snapshot.read(), cohort(slug))
    assert snapshot.manifest.content_sha256 == cancer.source.content_sha256
    assert snapshot.manifest.data_status == cancer.source.data_status
    left = [(step.step, step.rows) for step in snapshot.manifest.row_flow]
    if slug in MSK:
        assert left[-2:] == [("CANCER_TYPE = Skin Cancer, Non-Melanoma", 45), ("first row per PATIENT_ID", 44)]
    else:
        assert left[-4:] == [
            ("OS.time present", 362),
            ("initial_pathologic_dx_year present", 360),
            ("Redaction absent", 359),
            ("OS.time above 0", 354),
        ]


@pytest.mark.parametrize("slug", FOUND)
def test_patients_and_events_are_those_counted_before_less_those_left_out(slug: str) -> None:
    patients, events = FOUND[slug]
    less_patients, less_events = LEFT_OUT.get(slug, (0, 0))
    frame = cohort(slug)
    assert (len(frame), int(frame["event"].sum())) == (patients - less_patients, events - less_events)


@pytest.mark.parametrize("slug", FOUND)
def test_cohort_keeps_its_contract_on_both_sides_of_the_split(slug: str) -> None:
    cancer, frame = load_catalog()[slug], cohort(slug)
    pandera_schema(cancer.contract).validate(frame, lazy=True)
    for side in cancer.subject_split.parts(frame):
        over = [c.name for c in cancer.contract.attributes if side[c.name].isna().mean() > c.max_missing]
        assert not over


@pytest.mark.parametrize("slug", TCGA)
def test_what_is_known_only_from_follow_up_is_declared_as_such(slug: str) -> None:
    contract = load_catalog()[slug].contract
    outcome = {"PFI", "PFI.time"} if slug in PROGRESSION else {"OS", "OS.time"}
    assert sources(contract, "time", "event") == outcome
    assert sources(contract, "post_baseline") == AFTER_DIAGNOSIS - outcome
    assert "initial_pathologic_dx_year" in sources(contract, "index_date", "ignored")


@pytest.mark.parametrize("slug", FOUND)
def test_features_are_known_at_the_index_date(slug: str) -> None:
    contract = load_catalog()[slug].contract
    assert sources(contract, "feature").isdisjoint(AFTER_DIAGNOSIS | {"initial_pathologic_dx_year"})
    assert {column.available_at for column in contract.features} == {0}


@pytest.mark.parametrize("slug", FOUND)
def test_event_probability_at_the_horizon_lies_in_the_declared_band(slug: str) -> None:
    endpoint, frame = load_catalog()[slug].contract.endpoint, cohort(slug)
    horizon, (low, high) = endpoint.horizon_days, endpoint.event_rate_band
    probability = 1 - KaplanMeierFitter().fit(frame["time"], frame["event"]).predict(horizon)
    assert low < probability < high
    assert low < endpoint.decision_threshold < high
    assert (frame["time"] >= horizon).sum() >= 5


@pytest.mark.parametrize("slug", FOUND)
def test_fewer_than_twenty_events_are_called_thin_and_nothing_here_is_clinical(slug: str) -> None:
    cancer, frame = load_catalog()[slug], cohort(slug)
    assert cancer.source.data_status == ("real-thin" if frame["event"].sum() < 20 else "real")
    _, test = cancer.subject_split.parts(frame)
    assert test["event"].sum() < 100
    assert cancer.tier == "research"
    assert f"leave {int(test['event'].sum())} " in cancer.tier_reason


@pytest.mark.parametrize("slug", FOUND)
def test_what_is_ignored_as_constant_or_empty_is_so(slug: str) -> None:
    for column in load_catalog()[slug].contract.columns:
        values = rows(slug)[column.source_name]
        if column.reason.startswith("Not recorded"):
            assert values.isna().all(), column.name
        elif column.reason.startswith(("One type only", "Always", "Study code; fixed")):
            assert values.nunique() == 1, column.name
            assert values.isna().mean() < 0.05, column.name


@pytest.mark.parametrize("slug", TCGA)
def test_sex_is_a_feature_unless_there_is_only_one(slug: str) -> None:
    contract, found = load_catalog()[slug].contract, set(rows(slug)["gender"])
    if slug in ONE_SEX:
        assert found == {ONE_SEX[slug]}
        assert declared(slug, "gender").role == "ignored"
        assert "sex" in contract.not_collected
    else:
        assert found == {"FEMALE", "MALE"}
        assert declared(slug, "gender").sensitive
        assert declared(slug, "gender").role == "feature"


@pytest.mark.parametrize("slug", TCGA)
def test_race_is_audited_but_not_predicted_from(slug: str) -> None:
    column, reported = declared(slug, "race"), set(rows(slug)["race"].dropna())
    assert column.role == "ignored"
    assert column.sensitive == (len(reported) > 1)
    assert ("race" in load_catalog()[slug].contract.not_collected) != column.sensitive


@pytest.mark.parametrize("slug", TCGA)
def test_a_diagnosis_is_dated_by_its_year_where_nearly_all_years_are_known(slug: str) -> None:
    contract, years = load_catalog()[slug].contract, rows(slug)["initial_pathologic_dx_year"]
    if slug in NOT_DATED:
        assert contract.index_date.kind == "nominal"
        assert years.isna().mean() > 0.05
        return
    frame = cohort(slug)
    assert sorted(frame["index_date"].dt.year) == sorted(years)
    cut = dt.date(2011, 1, 1)
    early = apply_data_cut(frame, contract, cut)
    assert len(early) == (years < 2011).sum()
    assert (early["index_date"] + pd.to_timedelta(early["time"], unit="D") <= pd.Timestamp(cut)).all()
    assert early["event"].sum() < frame["event"].sum()


@pytest.mark.parametrize("slug", ["bladder", "gastric", "head_neck", "hepatocellular", "lung_adeno", "lung_squamous",
                                  "renal_clear_cell", "renal_papillary", "thyroid_papillary"])  # fmt: skip
def test_hazard_rises_with_stage(slug: str) -> None:
    """Staging systems are built to do so; a recode in the wrong order would not."""
    known = cohort(slug)[["time", "event", "stage"]].dropna()
    fit = CoxPHFitter().fit(known, "time", "event")
    assert fit.confidence_intervals_.to_numpy()[0, 0] > 0


def test_substages_count_as_their_stage() -> None:
    stage = rows("lung_adeno")["ajcc_pathologic_tumor_stage"]
    merged = pd.Series(cohort("lung_adeno")["stage"].to_numpy(), index=cohort("lung_adeno")["subject_id"])
    merged = merged.loc[rows("lung_adeno")["bcr_patient_barcode"]].to_numpy()
    roman = {1: "Stage I", 2: "Stage II", 3: "Stage III", 4: "Stage IV"}
    for code, score in zip(codes(stage), merged, strict=True):
        assert (code is None and pd.isna(score)) or str(code).rstrip("AB") == roman[int(score)]


def test_lung_carcinomas_share_a_study_code_and_no_patient() -> None:
    adeno, squamous = rows("lung_adeno"), rows("lung_squamous")
    assert set(adeno["type"]) == set(squamous["type"]) == {"LUAD"}
    assert set(adeno["bcr_patient_barcode"]).isdisjoint(squamous["bcr_patient_barcode"])


def test_pure_seminoma_is_the_only_seminoma() -> None:
    frame, histology = cohort("testicular_germ_cell"), rows("testicular_germ_cell")["histological_type"]
    assert frame["seminoma"].sum() == (histology == "Seminoma; NOS").sum() == 61
    assert histology.str.contains("(?<!Non-)Seminoma").sum() > 61, "mixed tumours hold seminoma too"


def test_every_patient_of_msk_is_in_the_cohort_once() -> None:
    for slug in MSK:
        source = load_catalog()[slug].source
        several = apply_row_rules(table("msk"), source.model_copy(update={"first_per": ()}))[0]
        assert set(cohort(slug)["subject_id"]) == set(several["PATIENT_ID"])
        outcomes = several.groupby("PATIENT_ID")[["survival", "vital_status"]].nunique()
        assert (outcomes == 1).all(axis=None), "the specimens of a patient agree on the outcome"
