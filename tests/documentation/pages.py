"""The pages that users read, and the shell blocks on them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
BLOCK = re.compile(r"^(?:<!-- (?P<remark>.*?) -->\n)?```sh\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"not run here: (?P<reason>.+)")
STATE_OF = re.compile(r"state of: (?P<page>\S+)")


@dataclass(frozen=True)
class Block:
    """Lines for a shell. `reason`: why no test runs them; empty for those that are run."""

    page: Path
    text: str
    reason: str

    @property
    def commands(self) -> list[str]:
        """One entry for each `clinical` command: without comments, pipes and what follows on failure."""
        joined = self.text.replace("\\\n", " ")
        lines = [re.split(r"\s#|\|\||&&|\s\|\s|;", line)[0].strip() for line in joined.splitlines()]
        return [line for line in lines if line.startswith("clinical ")]


def blocks(page: Path) -> list[Block]:
    found = []
    for match in BLOCK.finditer(page.read_text()):
        reason = NOT_RUN.fullmatch(match["remark"] or "")
        found.append(Block(page, match["text"], reason["reason"] if reason else ""))
    return found


def starts_from(page: Path) -> str | None:
    """The page whose state this one goes on with."""
    found = STATE_OF.search(page.read_text())
    return found["page"] if found else None
