"""The guide to one's own data says what the platform does: its excerpts load, its commands exist, its figures hold."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from clinical_assets.catalog import load_catalog
from clinical_assets.cli import app
from clinical_assets.drafting.location import declared_source
from clinical_assets.trials.column import Column
from clinical_assets.trials.sources.kinds import KINDS, kind_reader
from clinical_assets.trials.target_population import TargetPopulation

GUIDE = (Path(__file__).parent.parent / "docs" / "bring-your-own-trial.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("clinical ")]
    return [shlex.split(line)[1:] for line in lines]


PARSED = [(block, yaml.safe_load(block)) for block in blocks("yaml")]
SOURCES = [block for block, content in PARSED if "source" in content]


@pytest.mark.parametrize("excerpt", SOURCES, ids=lambda text: yaml.safe_load(text)["source"]["kind"])
def test_every_source_in_the_guide_is_a_valid_declaration(excerpt: str, tmp_path: Path) -> None:
    file = tmp_path / "source.yaml"
    file.write_text(excerpt)
    source = declared_source(str(file), {})
    written = yaml.safe_load(excerpt)["source"]
    assert source.kind == written["kind"]
    assert source.label


def test_the_guide_shows_every_kind_that_users_can_declare() -> None:
    shown = {yaml.safe_load(excerpt)["source"]["kind"] for excerpt in SOURCES}
    assert shown == KINDS.keys() - {"package", "simulated"}


def test_every_column_in_the_guide_is_valid() -> None:
    columns = [entry for _, content in PARSED if isinstance(content, list) for entry in content]
    assert len([Column.model_validate(column) for column in columns]) == 3


def test_the_population_in_the_guide_is_valid() -> None:
    (declared,) = (content["context_of_use"] for _, content in PARSED if "context_of_use" in content)
    assert TargetPopulation.model_validate(declared["target_population"]).mix


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_every_command_in_the_guide_exists_with_its_options(arguments: list[str]) -> None:
    group = typer.main.get_command(app)
    name, *options = arguments
    group.commands[name].make_context(name, list(options))  # type: ignore[attr-defined]


def test_the_draft_of_the_guide_says_what_the_guide_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = load_catalog()["breast"].source
    kind_reader("package").read(source).frame.convert_dtypes().to_csv(tmp_path / "breast.csv", index=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLINICAL_CONFIGS", str(tmp_path / "configs"))
    drafting = next(arguments for arguments in commands() if "breast.csv" in arguments)
    result = CliRunner().invoke(app, drafting)
    assert result.exit_code == 0, result.exception
    (shown,) = blocks("text")
    assert shown in result.output
    assert load_catalog()["my_breast"].contract.index_date.kind == "calendar"
