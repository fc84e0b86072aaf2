"""The catalogue: what it resolves, and how it answers mistakes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clinical_assets.catalog import (
    CatalogError,
    configs_directory,
    json_schema,
    load_catalog,
    platform_defaults,
)
from clinical_assets.configuration import read_yaml


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    """A copy of the project's configuration that a test may spoil."""
    return Path(shutil.copytree(configs_directory(), tmp_path / "configs"))


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_reading_the_catalogue_loads_no_numerical_library() -> None:
    program = (
        "import sys; from clinical_assets.catalog import load_catalog; load_catalog(); "
        "print(sorted({'numpy', 'pandas', 'sklearn', 'torch', 'xgboost', 'dagster'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_adding_a_file_adds_a_partition(configs: Path) -> None:
    assert "colon_copy" not in load_catalog(configs)
    text = (configs / "cancers" / "colon.yaml").read_text().replace("slug: colon", "slug: colon_copy")
    (configs / "cancers" / "colon_copy.yaml").write_text(text)
    catalog = load_catalog(configs)
    assert list(catalog) == sorted(catalog)
    assert catalog["colon_copy"].contract.digest == catalog["colon"].contract.digest


def test_unknown_cancer_type_suggests_the_nearest() -> None:
    with pytest.raises(CatalogError, match="unknown cancer type 'colonn': did you mean 'colon'") as error:
        load_catalog()["colonn"]
    assert str(error.value).startswith("unknown")
    assert "colonn" not in load_catalog()
    assert load_catalog().get("zzz") is None


def test_unchanged_files_are_read_once_and_a_changed_file_again(configs: Path) -> None:
    first = load_catalog(configs)
    assert load_catalog(configs) is first
    edit(configs / "cancers" / "colon.yaml", "decision_threshold: 0.45", "decision_threshold: 0.4")
    assert load_catalog(configs)["colon"].contract.endpoint.decision_threshold == 0.4


def test_cancer_type_overrides_the_platform_which_overrides_the_built_in_value(configs: Path) -> None:
    built_in = load_catalog(configs)["colon"]
    (configs / "platform.yaml").write_text(
        "gates: {performance: {slope: [0.7, 1.3], ici_max: 0.04}}\nrollout: {dwell_days: 3}\n"
        "models: {folds: 4}\nretraining: {cron: '0 4 * * 2'}\n"
    )
    with (configs / "cancers" / "colon.yaml").open("a") as file:
        file.write("gates: {performance: {ici_max: 0.03}}\nmodels: {families: [cox]}\nretraining: {enabled: false}\n")
    colon, breast = (load_catalog(configs)[slug] for slug in ("colon", "breast"))
    assert (colon.gates.performance.slope, colon.gates.performance.ici_max) == ((0.7, 1.3), 0.03)
    assert breast.gates.performance.ici_max == 0.04
    assert colon.gates.bias == built_in.gates.bias
    assert colon.rollout.dwell_days == 3
    assert (colon.models.families, colon.models.folds, breast.models.folds) == (("cox",), 4, 4)
    assert (colon.retraining.enabled, colon.retraining.cron) == (False, "0 4 * * 2")
    assert colon.gates.digest != breast.gates.digest != built_in.gates.digest


def test_relative_source_path_starts_at_the_catalogue_file(configs: Path) -> None:
    file = configs / "cancers" / "colon.yaml"
    edit(file, "kind: package\n  package: survival", "kind: csv\n  path: data/colon.csv")
    edit(file, "  version: 2.0.0\n  dataset: colon\n", "")
    assert load_catalog(configs)["colon"].source.path == str(configs / "cancers" / "data" / "colon.csv")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("tier: clinical", "teir: clinical", r"teir: unknown key; did you mean `tier`\?"),
        ("tier: clinical\n", "", r"tier: missing; add it"),
        ("tier: clinical", "tier: gold", r"tier: Input should be 'clinical' or 'research'"),
        ("horizon_days", "horizon", r"contract.endpoint.horizon: unknown key; did you mean `horizon_days`\?"),
        ("unit: count", "unit: furlong", r"contract\.columns\.nodes\.unit: unit 'furlong' is not known; use one of"),
        ("role: time,", "role: tiem,", r"contract\.columns\.time\.role: Input should be"),
        ("available_at: 0, max", "availableat: 0, max", r"contract\.columns\.rx\.availableat: .*`available_at`"),
        ("role: event", "role: ignored, reason: none", r"contract: columns: 1 of role event needed"),
        ("kind: survival", "kind: servival", r"contract\.endpoint\.kind: Input should be 'survival' or 'binary'"),
        ("note: Random", "nota: Random", r"contract\.index_date\.nota: unknown key; did you mean `note`\?"),
        ("slug: colon", "slug: rectum", r"slug: is 'rectum'; rename the file to rectum.yaml or the slug"),
        ("slug: colon", "slug: colon\nslug: colon", r"line 3, column 1 is not valid YAML: key 'slug' appears twice"),
        ("split: {", "split: {{", r"line \d+, column \d+ is not valid YAML"),
        ("split: {", "gates: {performance: {slop: [0.5, 2]}}\nsplit: {", r"gates.performance.slop: .*`slope`"),
        ("split: {", "rollout: {ramp: [50, 10]}\nsplit: {", r"rollout: ramp must rise"),
        ("split: {", "models: {families: [xgboost]}\nsplit: {", r"models.families: families must hold 'cox'"),
        ("split: {", "retraining: {cron: monday}\nsplit: {", r"retraining.cron: String should match pattern"),
        ("split: {", "gates: none\nsplit: {", r"gates: Input should be a valid dictionary"),
        ('["team:oncology_analytics"]', "[somebody]", r"owners: owner 'somebody' must be an e-mail address or"),
        ("subject, dtype: integer", "ignored, reason: none", r"1 of role subject needed"),
    ],
)
def test_mistakes_name_file_key_and_remedy(configs: Path, old: str, new: str, message: str) -> None:
    edit(configs / "cancers" / "colon.yaml", old, new)
    with pytest.raises(CatalogError, match=message) as error:
        load_catalog(configs)
    assert str(configs / "cancers" / "colon.yaml") in str(error.value)


def test_every_faulty_file_is_reported_at_once(configs: Path) -> None:
    edit(configs / "cancers" / "colon.yaml", "tier:", "teir:")
    edit(configs / "cancers" / "breast.yaml", "icd10: C50", "icd10: breast")
    with pytest.raises(CatalogError, match=r"(?s)breast.yaml:\n  icd10.*colon.yaml:\n"):
        load_catalog(configs)


def test_row_numbers_as_subjects_need_pinned_content(configs: Path) -> None:
    file = configs / "cancers" / "melanoma.yaml"
    edit(file, "  content_sha256", "  # content_sha256")
    with pytest.raises(CatalogError, match=r"subject_from row_number needs `source.content_sha256`"):
        load_catalog(configs)


def test_a_split_in_time_needs_calendar_dates(configs: Path) -> None:
    edit(configs / "cancers" / "breast.yaml", "test_fraction: 0.30", "test_fraction: 0.30, test_from: 1988-01-01")
    assert load_catalog(configs)["breast"].subject_split.test_from is not None
    edit(configs / "cancers" / "colon.yaml", "test_fraction: 0.30", "test_fraction: 0.30, test_from: 1986-01-01")
    with pytest.raises(CatalogError, match=r"split.test_from needs calendar index dates"):
        load_catalog(configs)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gate: {}\n", r"gate: unknown key; did you mean `gates`\?"),
        ("gates: {bias: {min_group: 3}}\n", r"gates.bias.min_group: unknown key; did you mean `min_group_n`\?"),
        ("rollout: {dwell_days: -1}\n", r"rollout.dwell_days: Input should be greater than or equal to 0"),
        ("- gates\n", r"must hold keys and values at top level, found a list"),
        ("retraining: {cron: 5}\n", r"retraining.cron: Input should be a valid string"),
    ],
)
def test_mistakes_in_platform_defaults_are_reported_against_their_own_file(
    configs: Path, text: str, message: str
) -> None:
    (configs / "platform.yaml").write_text(text)
    for read in (platform_defaults, load_catalog):
        with pytest.raises(CatalogError, match=message) as error:
            read(configs)
        assert "platform.yaml" in str(error.value)


def test_platform_file_is_optional_and_an_empty_catalogue_is_not(configs: Path) -> None:
    (configs / "platform.yaml").unlink()
    sections = ("gates", "rollout", "models", "compute", "retraining", "trial", "change_plan")
    assert platform_defaults(configs) == {section: {} for section in sections}
    assert len(load_catalog(configs)) == len(load_catalog())
    with pytest.raises(CatalogError, match=r"no \*\.yaml file found; set CLINICAL_CONFIGS"):
        load_catalog(configs / "cancers")


def test_configs_directory_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLINICAL_CONFIGS", str(tmp_path))
    assert configs_directory() == tmp_path


def test_checked_in_json_schema_is_current() -> None:
    stored = json.loads((configs_directory() / "cancer.schema.json").read_text())
    assert stored == json_schema(), "run `python -m clinical_assets.catalog > configs/cancer.schema.json`"


def test_checked_in_json_schema_accepts_the_catalogue_and_refuses_a_misspelt_key() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    check = jsonschema.Draft202012Validator(json.loads((configs_directory() / "cancer.schema.json").read_text()))
    for file in (configs_directory() / "cancers").glob("*.yaml"):
        content = json.loads(json.dumps(read_yaml(file), default=str))
        assert not list(check.iter_errors(content)), file
        assert list(check.iter_errors({**content, "teir": "clinical"}))


def test_every_cancer_type_says_what_it_is_not_for_and_where_its_data_come_from() -> None:
    for cancer in load_catalog().values():
        assert cancer.context_of_use.not_for
        assert cancer.source.citation
        assert cancer.source.content_sha256
        assert all(column.available_at is not None for column in cancer.contract.features)
        assert all(column.description for column in cancer.contract.features)
