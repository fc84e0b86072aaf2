"""GitHub's workflows: their schema, what they may do, and from which code they are made."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from tests.deployment.rendering import ROOT
from tests.deployment.test_one_machine import schema

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_a_workflow_fits_the_schema_and_starts_without_rights(file: Path) -> None:
    workflow = yaml.load(file.read_text(), Loader=yaml.BaseLoader)  # `on` stays a word
    jsonschema.validate(yaml.safe_load(file.read_text().replace("\non:", '\n"on":')), schema("github-workflows"))
    assert workflow["permissions"] == {"contents": "read"}


def test_dependabot_keeps_the_pins_current() -> None:
    settings = yaml.safe_load((GITHUB / "dependabot.yml").read_text())
    jsonschema.validate(settings, schema("dependabot"))
    assert {one["package-ecosystem"] for one in settings["updates"]} >= {"github-actions", "docker", "pip"}


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_every_action_is_a_commit_and_says_which_version_that_is(file: Path) -> None:
    used = re.findall(r"uses: (?!\./)(.+)", file.read_text())
    for action in used:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_zizmor_finds_nothing_of_weight() -> None:
    zizmor = Path(sys.executable).with_name("zizmor")
    command = [str(zizmor), "--offline", "--quiet", "--no-progress", "--min-severity", "medium", str(GITHUB)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_release_is_tested_signed_and_described() -> None:
    jobs = yaml.safe_load((GITHUB / "workflows" / "release.yml").read_text())["jobs"]
    assert jobs["images"]["needs"] == "ci"
    assert jobs["images"]["permissions"]["id-token"] == "write"
    steps = str(jobs["images"]["steps"])
    for part in ("cosign sign --yes", "cosign verify", "'sbom': True", "'provenance': 'mode=max'"):
        assert part in steps
