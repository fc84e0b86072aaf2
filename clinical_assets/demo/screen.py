"""What the demo shows: live on a terminal, plain lines otherwise, and a summary at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table


class Screen:
    """Chapters and facts, with the seconds since the start."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        self.started = time.monotonic()

    def chapter(self, text: str) -> None:
        self.console.print()
        self.console.rule(f"[bold]{text}", align="left")

    def say(self, text: str) -> None:
        self.console.print(f"[dim]{time.monotonic() - self.started:6.1f} s[/dim]  {text}", soft_wrap=True)

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """A spinner on a terminal; one line before and none after elsewhere."""
        if self.console.is_terminal:
            with self.console.status(text):
                yield
        else:
            self.say(text)
            yield

    def summary(self, rows: list[tuple[str, bool, str]]) -> None:
        table = Table(title="What happened", title_justify="left", show_lines=True)
        table.add_column("step")
        table.add_column("as it should")
        table.add_column("figures", overflow="fold")
        for step, ok, figures in rows:
            table.add_row(step, "[green]yes[/green]" if ok else "[red]no[/red]", figures)
        self.console.print()
        self.console.print(table)
