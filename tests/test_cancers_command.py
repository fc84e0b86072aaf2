"""`clinical cancers`: whose data, and what is missing to read them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clinical_assets.catalog import configs_directory, load_catalog
from clinical_assets.cli import app
from clinical_assets.commands.cancers import count, package_state
from clinical_assets.trials.sources.packages import PACKAGES
from clinical_assets.trials.sources.spec import SourceSpec


def listed(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("clinical_assets.commands.cancers.console._width", 250)
    done = CliRunner().invoke(app, ["cancers"])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def rehearsal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's configuration with its simulated cohorts in the catalogue."""
    configs = Path(shutil.copytree(configs_directory(), tmp_path / "configs"))
    (configs / "platform.yaml").write_text("catalogue: {simulated: true}\n")
    monkeypatch.setenv("CLINICAL_CONFIGS", str(configs))
    return configs


def test_every_type_is_listed_with_its_data_its_tier_and_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    said = listed(monkeypatch)
    for slug, cancer in load_catalog().items():
        row = next(line for line in said.splitlines() if line.startswith(f"{slug} "))
        shown = row.removeprefix(slug).split(maxsplit=3)
        assert shown[:3] == [cancer.task, cancer.source.data_status, cancer.tier.value]
        assert shown[3].startswith(f"{cancer.source.label} {package_state(cancer.source)}")
        assert cancer.title in shown[3]


def test_simulated_cohorts_are_left_out_of_the_count_unless_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = listed(monkeypatch)
    assert re.search(r"^[1-9]\d* real, \d+ thin, 0 simulated$", said, re.MULTILINE)
    assert "20 simulated cohorts stay out" in said


def test_a_rehearsal_counts_them_apart(rehearsal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = load_catalog()
    thin = sum(cancer.source.data_status == "real-thin" for cancer in catalog.values())
    assert count(catalog) == f"{len(catalog) - thin - 20} real, {thin} thin, 20 simulated"
    said = listed(monkeypatch)
    assert count(catalog) in said
    assert "stay out" not in said


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_a_missing_package_is_shown_with_the_command_that_brings_it(
    package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("CLINICAL_R_LIBRARY", str(tmp_path))
    origin = {"data_status": "real", "licence": "none", "citation": "none"}
    source = SourceSpec.model_validate({"kind": "package", "package": package, "dataset": "any", **origin})
    assert re.match(r"missing: `(pip|apt-get) install ", package_state(source))
