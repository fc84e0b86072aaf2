"""Titled tables: as Markdown for the repository, by rich on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

Row = Sequence[str]


@dataclass(frozen=True)
class Section:
    """A titled table with a sentence on how to read it."""

    title: str
    note: str
    header: Row
    rows: Sequence[Row]


def markdown(title: str, introduction: str, sections: Iterable[Section]) -> str:
    """One page: title, introduction, tables."""
    lines = [f"# {title}", "", introduction]
    for section in sections:
        lines += ["", f"## {section.title}", "", section.note, "", _line(section.header)]
        lines.append(_line(["---"] * len(section.header)))
        lines += [_line(row) for row in section.rows]
    return "\n".join(lines) + "\n"


def show(sections: Iterable[Section], console: Console) -> None:
    for section in sections:
        table = Table(title=section.title, caption=section.note, title_justify="left", caption_justify="left")
        for position, name in enumerate(section.header):
            table.add_column(name, justify="left" if position == 0 else "right", overflow="fold")
        for row in section.rows:
            table.add_row(*row)
        console.print(table)


def _line(cells: Row) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
