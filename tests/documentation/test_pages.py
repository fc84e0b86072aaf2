"""What the pages name exists: files, links, commands with their options, controls."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from clinical_assets.cli import app
from clinical_assets.gates.regulatory.control_maps import MAPS, evidence_for
from tests.documentation.pages import PAGES, ROOT, blocks

COMMANDS = sorted({(page.name, command) for page in PAGES for block in blocks(page) for command in block.commands})
IN_TEXT = re.compile(r"`((?:tests|benchmarks|clinical_assets|configs|deploy|resources|sensors|docs)/[\w./*-]*)`")
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(#[^)]*)?\)")


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=lambda text: text)
def test_a_command_exists_with_its_options(page: str, command: str) -> None:
    group = typer.main.get_command(app)
    _, name, *arguments = shlex.split(command)
    found = group.commands[name]  # type: ignore[attr-defined]
    if hasattr(found, "commands") and arguments:
        name, *arguments = arguments
        found = found.commands[name]
    found.make_context(name, arguments)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_files_exist(page: Path) -> None:
    text = page.read_text()
    linked = [page.parent / match[1] for match in LINK.finditer(text) if match[1]]
    named = [ROOT / match[1] for match in IN_TEXT.finditer(text) if "*" not in match[1]]
    assert [str(path) for path in linked + named if not path.exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_anchors_exist(page: Path) -> None:
    for match in LINK.finditer(page.read_text()):
        if match[2]:
            target = page.parent / match[1] if match[1] else page
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
            assert match[2][1:] in anchors, f"{match[2]} in {target.name}"


def test_the_page_on_validation_holds_the_map_of_controls() -> None:
    page = (ROOT / "docs" / "validate.md").read_text()
    for title, controls in MAPS.items():
        evidence = evidence_for(controls)
        rows = [
            f"| {one.name} | {', '.join(evidence[one.name]) or 'the user' + chr(39) + 's own'} |" for one in controls
        ]
        assert f"## {title}\n\n| control | evidence |\n|---|---|\n" + "\n".join(rows) + "\n" in page


def test_every_control_has_evidence_that_exists_or_is_the_users() -> None:
    for controls in MAPS.values():
        for control in controls:
            assert evidence_for(controls)[control.name] == control.checks
