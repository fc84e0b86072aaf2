"""What a person sees while a backfill runs: who is at which stage, what came out, how long it will take."""

from __future__ import annotations

import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from clinical_assets.backfill_worker import STAGES, Outcome


class BackfillProgress:
    """A bar for all, a bar for each running cancer type; without a terminal a line for each that is finished."""

    def __init__(self, console: Console, total: int) -> None:
        columns = (
            TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
        )  # fmt: skip
        self._bars = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
        self._console = console
        self._all = self._bars.add_task("backfill", total=total, note="")
        self._running: dict[str, TaskID] = {}
        self._started = time.monotonic()
        self._total, self._done, self._worked = total, 0, 0

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def began(self, cancer: str) -> None:
        self._running[cancer] = self._bars.add_task(f"  {cancer}", total=len(STAGES), note="starting")

    def stage(self, cancer: str, stage: str) -> None:
        self._bars.update(self._running[cancer], completed=STAGES.index(stage), note=stage)

    def finished(self, outcome: Outcome) -> None:
        """Print the answer and move on; time left is reckoned from the runs done so far."""
        self._done += 1
        if (task := self._running.pop(outcome.cancer, None)) is not None:
            self._worked += 1
            self._bars.remove_task(task)
        left = self._total - self._done
        note = ""
        if self._worked and left:
            note = f"about {(time.monotonic() - self._started) / self._worked * left:.0f} s left"
        self._bars.update(self._all, completed=self._done, note=note)
        self._console.print(f"[{self._done}/{self._total}] {line(outcome)}", soft_wrap=True)

    def note(self, text: str) -> None:
        self._console.print(text)


def line(outcome: Outcome) -> str:
    """One cancer type in one line."""
    parts = [f"{outcome.cancer}: {outcome.status}"]
    if outcome.family:
        parts.append(outcome.family)
    if outcome.discrimination is not None:
        parts.append(f"C {outcome.discrimination:.3f}")
    if outcome.scope:
        parts.append(f"scope {outcome.scope}")
    if outcome.seconds:
        parts.append(f"{outcome.seconds:.1f} s")
    return ", ".join(parts) + (f" ({outcome.reason})" if outcome.reason else "")
